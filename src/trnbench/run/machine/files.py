"""The kernel's small files: read whole, and nothing where they are not."""

from pathlib import Path

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


def count_pci_devices(root: Path, vendor: str, ids: tuple[str, ...] = (), kind: str = "") -> int:
    """Count the devices on the PCI bus, which stand there whether or not a driver knows them.

    Args:
        root: where `sys` is.
        vendor: the vendor's number, such as `0x10de`.
        ids: the device numbers that count; any if none is given.
        kind: how the class number begins; any if empty.
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
