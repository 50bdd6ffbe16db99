"""EFA, the network that EC2's training instances have between them."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trnbench.machine.look import ROOT, find_tool, list_names, read_word, run_tool

FI_INFO_SECONDS = 2.0

_TOOLS = "opt/amazon/efa/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What this machine could reach other machines with."""

    efa_devices: tuple[str, ...] = ()
    other_rdma_devices: int = 0
    driver_version: str | None = None
    has_provider: bool | None = None
    """Whether libfabric offers `efa`; None where it was not asked, or could not know."""
    reason: str | None = None
    """Why it was not, or could not, on a machine with EFA."""
    is_hidden: bool = False
    """Whether EFA is on the bus and its device files are not here, as in a container."""

    def kept(self) -> dict[str, Any] | None:
        """Return what a result keeps of it."""
        if not self.efa_devices:
            return None
        return {
            "devices": len(self.efa_devices),
            "driver_version": self.driver_version,
            "has_provider": self.has_provider,
        }


def look_at_network(root: Path = ROOT, seconds: float = FI_INFO_SECONDS) -> Network:
    """Look for EFA devices, and where there are some, whether libfabric can use them."""
    folder = root / "sys/class/infiniband"
    names = list_names(folder)
    efa = tuple(name for name in names if _driver(folder / name) == "efa")
    version = read_word(root / "sys/module/efa/version")
    has_provider, reason = _ask_libfabric(root, seconds) if efa else (None, None)
    is_hidden = bool(efa) and not has_provider and not any(_is_given(root, name) for name in efa)
    if is_hidden:
        has_provider = None
        reason = reason or "its device files (/dev/infiniband) are not here"
    return Network(
        efa_devices=efa,
        other_rdma_devices=len(names) - len(efa),
        driver_version=version,
        has_provider=has_provider,
        reason=reason,
        is_hidden=is_hidden,
    )


def _is_given(root: Path, name: str) -> bool:
    """Return whether the file by which libfabric opens an RDMA device is here.

    sysfs shows a container all devices of its host.
    """
    files = list_names(root / "dev/infiniband", "uverbs*")
    verbs = root / "sys/class/infiniband_verbs"
    own = {each for each in list_names(verbs) if read_word(verbs / each / "ibdev") == name}
    own.update(list_names(root / "sys/class/infiniband" / name / "device/infiniband_verbs"))
    return bool(own.intersection(files) if own else files)


def _driver(device: Path) -> str | None:
    """Return the driver of an RDMA device, which EFA's names alone do not always tell."""
    try:
        return (device / "device/driver").resolve(strict=True).name
    except OSError:
        return "efa" if device.name.startswith("efa") else None


def _ask_libfabric(root: Path, seconds: float) -> tuple[bool | None, str | None]:
    tool = find_tool("fi_info", root / _TOOLS)
    if tool is None:
        return None, "fi_info is not installed"
    answer = run_tool([tool, "-p", "efa"], seconds)
    if answer.reason is not None:
        return None, answer.reason
    return re.search(r"^provider:\s*efa", answer.text, re.MULTILINE) is not None, None
