"""Where a job's devices are plugged in: the processors near each of them, and what joins them.

What the vendor's tool says counts; where it says nothing, `catalog/numa.csv` may know the instance.
Sources: AWS Neuron documentation, tools/neuron-sys-tools/neuron-ls (2.32); NVIDIA System Management
Interface, `nvidia-smi topo -m`, its own legend.
"""

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trnbench.catalog import read_table
from trnbench.machine.look import ROOT, find_tool, run_tool
from trnbench.machine.neuron import Neuron
from trnbench.machine.nvml import visible_indices

TOPOLOGY_SECONDS = 20.0

_TOOLS = "usr/bin"
_PROCESSORS = "CPU Affinity"
_LIST = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
"""Processors as Linux lists them: `0-47,96-143`."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The devices of one job, in the order of its ranks."""

    processors: tuple[str | None, ...] = ()
    """Those on the NUMA node of each device; None where it is not known."""
    links: dict[str, int] | None = None
    """Pairs of devices by what joins them, in the words of the vendor's tool; None: not known."""


def place_devices(
    backend: str,
    first: int,
    count: int,
    neuron: Neuron,
    instance: str | None,
    *,
    environment: Mapping[str, str] = os.environ,
    root: Path = ROOT,
) -> Placement:
    """Find where devices of a kind are, from the first that the job drives on."""
    if backend == "neuron":
        return Placement(tuple(_near_cores(neuron, instance)[first:][:count]))
    if backend == "cuda":
        tool = find_tool("nvidia-smi", root / _TOOLS)
        text = "" if tool is None else run_tool([tool, "topo", "-m"], TOPOLOGY_SECONDS).text
        return read_topology(text, environment.get("CUDA_VISIBLE_DEVICES"), first, count)
    return Placement()


def _near_cores(neuron: Neuron, instance: str | None) -> list[str | None]:
    known = {
        chip: row["processors"]
        for row in read_table("numa.csv")
        if row["instance_type"] == (neuron.instance or instance)
        for chip in range(int(row["first_chip"]), int(row["last_chip"]) + 1)
    }
    return [
        chip.processors or known.get(chip.index)
        for chip in neuron.chips
        for _ in range(chip.logical_cores or 0)
    ]


def read_topology(text: str, visible: str | None, first: int, count: int) -> Placement:
    """Read `nvidia-smi topo -m`; what is odd is not known."""
    lines = [line.split("\t") for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()]
    heads = next(([cell.strip() for cell in line] for line in lines if len(line) > 2), [])
    rows = {line[0].strip(): [cell.strip() for cell in line] for line in lines if len(line) > 2}
    gpus = [name for name in heads if re.fullmatch(r"GPU\d+", name) and name in rows]
    chosen = [gpus[n] for n in visible_indices(visible, gpus)][first:][:count]
    if len(chosen) < count:
        return Placement()
    cells = {name: dict(zip(heads, rows[name], strict=False)) for name in chosen}
    near = [cells[name].get(_PROCESSORS, "") for name in chosen]
    pairs = Counter(
        cells[one].get(other, "") for n, one in enumerate(chosen) for other in chosen[n + 1 :]
    )
    return Placement(
        tuple(each if _LIST.fullmatch(each) else None for each in near),
        None if "" in pairs else dict(pairs),
    )
