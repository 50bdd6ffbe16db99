"""Kernel files, vendors' tools, and the processes that hold a device."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil

from trnbench.process import ENGLISH
from trnbench.redact import redact

ROOT = Path("/")
"""Under which `proc`, `sys`, `dev`, `opt` and `var` are; another one in tests."""


def read_lines(path: Path) -> list[str]:
    """Return a file's lines; none where it is not, is not readable, or this is not Linux."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def read_word(path: Path) -> str | None:
    """Return what a file of one line says; None where it says nothing."""
    lines = read_lines(path)
    return (lines[0].strip() or None) if lines else None


def list_names(folder: Path, pattern: str = "*") -> list[str]:
    """Return the names in a folder, in order; none where there is no such folder."""
    try:
        return sorted(path.name for path in folder.glob(pattern))
    except OSError:
        return []


def is_container(root: Path = ROOT) -> bool:
    """Return whether this is a container, which sees its host's buses and not all of its devices.

    Source: the files that Docker and Podman write; systemd, CONTAINER_INTERFACE; Kubernetes and
    containerd leave their names in the control group of the first process, or only an overlay as
    the root file system.
    """
    files = (".dockerenv", "run/.containerenv", "run/systemd/container")
    if any((root / file).exists() for file in files):
        return True
    group = " ".join(read_lines(root / "proc/1/cgroup"))
    if any(name in group for name in ("docker", "kubepods", "containerd", "libpod", "lxc")):
        return True
    mounts = (line.split(" - ") for line in read_lines(root / "proc/self/mountinfo"))
    return any(
        len(halves) == 2 and halves[0].split()[4:5] == ["/"] and halves[1].startswith("overlay ")
        for halves in mounts
    )


def count_pci_devices(root: Path, vendor: str, ids: tuple[str, ...] = (), kind: str = "") -> int:
    """Count a vendor's devices on the PCI bus, which are there with and without a driver.

    Only those with one of `ids`, if any is given, and a class number that begins with `kind`.
    """
    count = 0
    devices = root / "sys/bus/pci/devices"
    for name in list_names(devices):
        device = devices / name
        if read_word(device / "vendor") != vendor:
            continue
        is_of_ids = not ids or read_word(device / "device") in ids
        count += is_of_ids and (read_word(device / "class") or "").startswith(kind)
    return count


@dataclass(frozen=True, slots=True)
class Answer:
    """What a tool wrote, or why it wrote nothing that can be used."""

    text: str
    exit_code: int | None
    reason: str | None = None
    """Set where it could not be run to its end."""


def find_tool(name: str, folder: Path, path: str | None = None) -> str | None:
    """Return the tool's path: from `path`, by default `PATH`, else from its vendor's folder."""
    return shutil.which(name, path=path) or shutil.which(name, path=str(folder))


def run_tool(command: Sequence[str], seconds: float, folder: Path | None = None) -> Answer:
    """Run a tool in `folder`; after `seconds` end it, and all that it started."""
    name = Path(command[0]).name
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=folder,
            env={**os.environ, **ENGLISH},
        )
    except OSError as error:
        return Answer("", None, f"{name} cannot be started: {error.strerror}")
    with process:
        try:
            written, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            return Answer("", None, f"{name} did not answer in {seconds:g} s")
    return Answer(written.decode(errors="replace"), process.returncode)


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has a device open."""

    device: str
    pid: int
    program: str | None
    """The file name of what runs; None where it cannot be seen, as from inside a container."""
    index: int | None = None
    """Of the chip or the GPU, as its vendor's tool counts them; None where that is not known."""

    def __str__(self) -> str:
        """Say who holds it."""
        return f"{self.program or 'a process'} (pid {self.pid}) holds {self.device}"


def program_of(command_line: str) -> str | None:
    """Return the program of a command line without its folder and its arguments."""
    words = command_line.split()
    return redact(PurePosixPath(words[0]).name)[:40] or None if words else None


def program_of_process(pid: int) -> str | None:
    """Return the program that a living process runs."""
    try:
        return program_of(psutil.Process(pid).name().replace(" ", "_"))
    except (psutil.Error, ValueError):
        return None
