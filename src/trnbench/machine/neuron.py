"""AWS Trainium and Inferentia: what `neuron-ls`, the driver, the PCI bus and `nccom-test` say.

The tool's output differs from its documentation in small ways, so it is read leniently: what is
missing or odd is unknown, and never an error.
Source: AWS Neuron documentation 2.32, tools/neuron-sys-tools/neuron-ls; public captures.
"""

import json
import re
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from trnbench.machine.look import (
    ROOT,
    Holder,
    count_pci_devices,
    find_tool,
    is_container,
    list_names,
    program_of,
    read_lines,
    read_word,
    run_tool,
)
from trnbench.protocol.orders import CollectiveTask

LS_SECONDS = 5.0

_LIST = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")

TOOLS = "opt/aws/neuron/bin"
"""Where Neuron's packages put their tools; not every image has it on its PATH."""

_AMAZON = "0x1d0f"
_PCI_IDS = ("0x7164", "0x7264", "0x7364", "0x7564", "0x7565")
"""Trainium1, Inferentia2, Trainium2, and Trainium3 twice.
Source: the public Neuron driver, neuron_device.h, read 2026-11-23."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuronChip:
    """One chip, as `neuron-ls` describes it; `doctor --json` writes every field."""

    index: int
    logical_cores: int | None
    logical_core_config: int | None
    """Physical cores in a logical one (LNC); None on chips that know only one."""
    memory_bytes: int | None
    numa_node: int | None
    processors: str | None = None
    """Those on its NUMA node, as Linux lists them."""
    connected_to: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Neuron:
    """Neuron chips and what is needed to use them."""

    chips: tuple[NeuronChip, ...] = ()
    holders: tuple[Holder, ...] = ()
    device_files: int = 0
    """`/dev/neuron*`."""
    pci_devices: int = 0
    is_driver_loaded: bool = False
    driver_version: str | None = None
    system_packages: dict[str, str] = field(default_factory=dict)
    instance: str | None = None
    """The instance type, where the tool says it."""
    reason: str | None = None
    """Why nothing is known of chips that are here."""
    is_hidden: bool = False
    """Whether this is a container that was given none of the chips on its host's bus."""

    @property
    def is_here(self) -> bool:
        """Whether there is a chip, usable or not."""
        on_bus = 0 if self.is_hidden else self.pci_devices
        return bool(self.chips or self.device_files or on_bus)

    @property
    def logical_cores(self) -> int | None:
        """Logical cores of all chips."""
        counts = [chip.logical_cores for chip in self.chips]
        return sum(n for n in counts if n) if counts and None not in counts else None

    @property
    def logical_core_config(self) -> int | None:
        """The one LNC of all chips."""
        configs = {chip.logical_core_config for chip in self.chips}
        return configs.pop() if len(configs) == 1 else None

    def kept(self) -> dict[str, Any] | None:
        """Return what a result keeps of it: no process of anybody."""
        if not self.is_here:
            return None
        return {
            "chips": len(self.chips) or self.device_files or self.pci_devices,
            "logical_cores": self.logical_cores,
            "logical_core_config": self.logical_core_config,
            "memory_bytes_per_chip": self.chips[0].memory_bytes if self.chips else None,
            "driver_version": self.driver_version,
            "system_packages": dict(self.system_packages),
        }


def look_at_neuron(root: Path = ROOT, seconds: float = LS_SECONDS) -> Neuron:
    """Look for Neuron chips without touching one."""
    device_files = len(list_names(root / "dev", "neuron[0-9]*"))
    driver_version = read_word(root / "sys/module/neuron/version")
    loaded = any(line.startswith("neuron ") for line in read_lines(root / "proc/modules"))
    tool = find_tool("neuron-ls", root / TOOLS)
    chips: tuple[NeuronChip, ...] = ()
    holders: tuple[Holder, ...] = ()
    instance, reason = None, None
    if tool is not None:
        answer = run_tool([tool, "--json-output"], seconds)
        try:
            chips, holders, instance = parse_neuron_ls(answer.text)
        except ValueError as error:
            reason = f"neuron-ls {error}"
        if device_files and not chips and reason is None:
            reason = f"neuron-ls saw none of {device_files} devices"
        reason = answer.reason or reason
    elif device_files:
        reason = "neuron-ls is not installed"
    seen = Neuron(
        chips=chips,
        holders=holders,
        device_files=device_files,
        pci_devices=count_pci_devices(root, _AMAZON, _PCI_IDS),
        is_driver_loaded=loaded or driver_version is not None,
        driver_version=driver_version,
        instance=instance,
        reason=reason,
        is_hidden=not (chips or device_files) and is_container(root),
    )
    if seen.is_here or tool is not None:
        return replace(seen, system_packages=_system_packages(root))
    return seen


def parse_neuron_ls(text: str) -> tuple[tuple[NeuronChip, ...], tuple[Holder, ...], str | None]:
    """Read the chips, who holds them, and the instance type out of `neuron-ls --json-output`."""
    if not text.strip():
        return (), (), None  # its way to say that there is no chip
    try:
        document = json.loads(_LINES_BEFORE.sub("", text))
    except (ValueError, RecursionError):
        raise ValueError("wrote something that is not JSON") from None
    if isinstance(document, dict):  # a list under a name of its own
        document = next((each for each in document.values() if _is_list_of_chips(each)), None)
    if not isinstance(document, list):
        raise ValueError("wrote something that is not a list of devices")
    entries = [entry for entry in document if isinstance(entry, dict)]
    chips = tuple(_chip(entry, number) for number, entry in enumerate(entries))
    holders = tuple(
        holder
        for entry, chip in zip(entries, chips, strict=True)
        for holder in _holders(entry, chip.index)
    )
    types = [entry.get("instance_type") for entry in entries]
    return chips, holders, next((name for name in types if isinstance(name, str) and name), None)


_LINES_BEFORE = re.compile(r"\A(?:[^\[{\s].*\n|\[[A-Za-z].*\n|\s+)+")
"""Warnings before a document."""


def _is_list_of_chips(value: Any) -> bool:
    return isinstance(value, list) and any(
        isinstance(each, dict) and "neuron_device" in each for each in value
    )


def _chip(entry: dict[str, Any], number: int) -> NeuronChip:
    index, node = _whole(entry.get("neuron_device")), _whole(entry.get("numa_node"))
    connected, near = entry.get("connected_to"), entry.get("cpu_affinity")
    return NeuronChip(
        index=number if index is None or index < 0 else index,
        logical_cores=_size(entry.get("nc_count"), least=0),
        logical_core_config=_size(entry.get("logical_neuroncore_config")),
        memory_bytes=_size(entry.get("memory_size")),
        numa_node=None if node is None or node < 0 else node,
        processors=near if isinstance(near, str) and _LIST.fullmatch(near) else None,
        connected_to=tuple(
            there
            for there in map(_whole, connected if isinstance(connected, list) else ())
            if there is not None
        ),
    )


def _holders(entry: dict[str, Any], index: int) -> list[Holder]:
    processes = entry.get("neuron_processes")
    found = []
    for process in processes if isinstance(processes, list) else ():
        pid = _whole(process.get("pid")) if isinstance(process, dict) else None
        if pid is not None:
            program = program_of(str(process.get("command") or ""))
            found.append(Holder(f"Neuron device {index}", pid, program, index))
    return found


def _size(value: Any, least: int = 1) -> int | None:
    """Return a whole number; a device that is broken may have 0 or -1 there."""
    size = _whole(value)
    return size if size is not None and size >= least else None


def _whole(value: Any) -> int | None:
    """Return a whole number that came as one, as `8.0`, or as text."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _system_packages(root: Path) -> dict[str, str]:
    """Return the versions of the `aws-neuronx-*` packages, from dpkg's own list."""
    found, name = {}, ""
    for line in read_lines(root / "var/lib/dpkg/status"):
        key, _, value = line.partition(": ")
        if key == "Package":
            name = value
        elif key == "Version" and name.startswith("aws-neuron"):
            found[name] = value
    return found


TOOL = "nccom-test"
SECONDS = 300.0
OPERATIONS: dict[str, str] = {
    "all_reduce": "allr",
    "all_gather": "allg",
    "reduce_scatter": "redsct",
    "all_to_all": "alltoall",
}
"""The tool's names. Source: AWS Neuron documentation, tools/neuron-sys-tools/nccom-test (2.32)."""
SIZE_KEY, TIME_KEY = "size(B)", "time:avg(us)"


def find_nccom_test(root: Path = ROOT) -> str | None:
    """Return the tool's path, if it is installed."""
    return find_tool(TOOL, root / TOOLS)


def time_collective(
    tool: str, task: CollectiveTask, ranks: int, *, seconds: float = SECONDS
) -> float | str:
    """Time one collective between the first cores here: its seconds, or why there are none."""
    size = str(task.whole_bytes)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            tool, "-r", str(ranks), "-b", size, "-e", size, "-f", "2", "-d", "fp32",
            OPERATIONS[task.operation], "--non-interactive", "--report-to-json-file", str(report),
        ]  # fmt: skip
        answer = run_tool(command, seconds, Path(folder))
        if answer.reason is not None:
            return answer.reason
        try:
            text = report.read_text(encoding="utf-8")
        except OSError:
            last = answer.text.strip().splitlines()[-1:] or ["nothing"]
            ended = f"{TOOL} ended with {answer.exit_code} and no report"
            return f"{ended}; it said: {last[0][:200]}"
    return read_report(text, task.whole_bytes)


def read_report(text: str, whole_bytes: int) -> float | str:
    """Read the mean seconds of one size out of a report; whatever is odd is no time."""
    try:
        results = json.loads(text)["results"]
        rows = [row for row in results if int(row[SIZE_KEY]) == whole_bytes]
        seconds = float(rows[0][TIME_KEY]) / 1e6
    except (ValueError, TypeError, KeyError, IndexError) as error:
        return f"{TOOL}'s report has no {TIME_KEY!r} of {whole_bytes} bytes ({error!r:.80})"
    if not 0 < seconds < SECONDS:
        return f"{TOOL} says {seconds:g} s of one operation, which cannot be"
    return seconds
