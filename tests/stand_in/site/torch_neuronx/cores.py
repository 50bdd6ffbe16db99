"""Logical cores, each of one process until that ends: a process that names none claims them all."""

import fcntl
import os
import re
from pathlib import Path

LOGICAL_CORES = 4
"""One Trainium2 chip, two physical cores to a logical one."""


def claim(folder: Path, visible: str | None) -> None:
    """Claim the cores that NEURON_RT_VISIBLE_CORES names, by locks in a folder.

    Raises:
        RuntimeError: another process has one of them, in the runtime's words.
    """
    first, last = named_cores(visible)
    folder.mkdir(parents=True, exist_ok=True)
    files = [
        os.open(folder / f"core-{core}", os.O_CREAT | os.O_WRONLY)
        for core in range(first, last + 1)
    ]
    available = [file for file in files if _lock(file)]
    if len(available) == len(files):
        return  # a lock lives as long as its descriptor: to the end of the process
    for file in files:
        os.close(file)
    raise RuntimeError(
        f"Logical Neuron Core(s) not available - Requested:lnc{first}-lnc{last} "
        f"Available:{len(available)} Logical Core size:2 (cores busy, ret=-16)"
    )


def named_cores(visible: str | None) -> tuple[int, int]:
    """Return the first and the last core that a value of NEURON_RT_VISIBLE_CORES names."""
    if visible is None:
        return 0, LOGICAL_CORES - 1
    numbers = [int(number) for number in re.findall(r"\d+", visible)]
    return numbers[0], numbers[-1]


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
