"""What a worker finds without training: packages, devices, and what a guest is."""

from dataclasses import dataclass
from typing import Literal

from trnbench.wire.terms import NeuronGeneration


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDevice:
    """One kind of device that the child's interpreter can train on."""

    backend: str
    device_name: str
    device_count: int
    proven: bool
    """Whether this backend has been run by the project on such a device."""
    supported: bool = True
    """Whether this version has a backend for it; else `note` says what is missing."""
    note: str | None = None
    compiler_lacks: str | None = None
    """What torch.compile lacks for this device, beside torch; None for nothing that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What the child's interpreter has installed, read without importing any of it."""

    kind: Literal["inventory"] = "inventory"
    at_seconds: float
    wire_version: int
    python: str
    versions: dict[str, str]
    """Of the distributions that decide how training runs, by name."""
    neuron: NeuronGeneration | None
    processor: FoundDevice
    """What any torch here could train on."""
    entry_points: dict[str, list[str]]
    """Devices and compilers that packages add to torch, by the group of their entry point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The devices that are here, best first, and the versions that would drive them."""

    kind: Literal["probe"] = "probe"
    at_seconds: float
    wire_version: int
    devices: list[FoundDevice]
    versions: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a guest is, found by building it without memory and without a device."""

    kind: Literal["described"] = "described"
    at_seconds: float
    wire_version: int
    parameter_count: int
    trained_count: int
    embeddings_are_tied: bool
    vocabulary_size: int
    config: str | None
    """Its whole config as JSON, with what the class adds by default; null where it has none."""
    flops_per_token: float | None
    """Of a forward and a backward pass, by torch's counter; null where it could not count."""
    flops_reason: str | None
    """Why it could not."""
    versions: dict[str, str]
