"""Machines made of files: a root folder with `proc`, `sys`, `dev`, and tools that are scripts."""

from pathlib import Path

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "neuron"


def write(root: Path, path: str, text: str = "") -> Path:
    """Write a file of the kernel's under a root."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def write_tool(folder: Path, name: str, script: str) -> Path:
    """Write a tool that is a shell script."""
    tool = write(folder, name, f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    return tool


def write_neuron_ls(folder: Path, sample: str) -> Path:
    """Write a `neuron-ls` that prints a sample when it is asked for JSON."""
    path = SAMPLES / f"neuron-ls.{sample}.json"
    return write_tool(folder, "neuron-ls", f'test "$1" = --json-output && exec cat "{path}"')


def write_firmware(root: Path, vendor: str, product: str) -> None:
    """Write what the firmware's tables say of maker and product."""
    folder = "sys/devices/virtual/dmi/id"
    write(root, f"{folder}/sys_vendor", f"{vendor}\n")
    write(root, f"{folder}/product_name", f"{product}\n")


def write_pci(root: Path, slot: str, vendor: str, device: str, kind: str) -> None:
    """Put a device on the PCI bus."""
    folder = f"sys/bus/pci/devices/{slot}"
    write(root, f"{folder}/vendor", f"{vendor}\n")
    write(root, f"{folder}/device", f"{device}\n")
    write(root, f"{folder}/class", f"{kind}\n")
