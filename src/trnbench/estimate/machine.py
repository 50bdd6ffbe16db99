"""What of a chip and of the node around it decides how fast a step is, each figure with its source.

What is not known is None, and `gaps` says why: an estimate leaves such a term out and says so.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from trnbench.catalog import number, read_table
from trnbench.catalog.accelerators import Accelerator, accelerators
from trnbench.catalog.instances import instances
from trnbench.errors import ConfigError, did_you_mean

GIGABIT_BYTES = 1e9 / 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A chip and the node that it is in. All figures are of one chip; rates in one direction."""

    chip: Accelerator
    instance: str | None
    """The instance type; None: a usual node of this chip."""
    chips_per_node: int
    """Chips that the fast links join: an instance's, an NVLink domain's, or a pod's."""
    link_bytes_per_second: float | None
    """To the other chips of the node."""
    network_bytes_per_second: float | None
    """This chip's share of what the node sends to others."""
    source: str
    gaps: Mapping[str, str] = field(default_factory=dict)
    """Why a figure is None, by its name."""

    def peak_flops_per_second(self, precision: str) -> float | None:
        """Return the dense peak of the blocks' matmuls in a precision; None: not published."""
        if precision == "fp8":
            return self.chip.fp8_flops_per_second
        if precision == "fp32":
            return self.chip.fp32_flops_per_second
        return self.chip.bf16_flops_per_second


@functools.cache
def _networks() -> dict[str, dict[str, str]]:
    return {row["name"]: row for row in read_table("networks.csv")}


@functools.cache
def _links() -> dict[str, float | None]:
    """Return the bytes/s of all links of each chip, in one direction: tables sum both."""
    column = "interconnect_gb_per_second_both_directions"
    rows = {row["accelerator"]: number(row[column]) for row in read_table("accelerators.csv")}
    return {name: None if both is None else both / 2 * 1e9 for name, both in rows.items()}


def machine_of(chip: str | None = None, instance: str | None = None) -> Machine:
    """Return the machine of an instance type, or of a chip in its usual node.

    Args:
        chip: a name of the catalog of accelerators; None: the instance's.
        instance: a name of the catalog of instance types; None: no certain one.

    Raises:
        ConfigError: a name is not known, or the instance does not carry the chip.
    """
    known = instances().get(instance or "")
    if instance is not None and known is None:
        hint = did_you_mean(instance, instances(), "`trnbench prices` lists them")
        raise ConfigError(f"instance {instance} is not known", hint=hint)
    carried = known.accelerator if known else None
    if known is not None and carried is None:
        raise ConfigError(
            f"of the chips of instance {instance} no figures are known",
            hint="name an instance with a chip of the catalog",
        )
    name = chip or (carried.name if carried else "")
    if name not in accelerators():
        raise ConfigError(
            f"chip {name or '(none)'} is not known", hint=did_you_mean(name, accelerators(), "")
        )
    if carried is not None and carried.name != name:
        raise ConfigError(
            f"instance {instance} carries {carried.name}, not {name}",
            hint="name one of the two, or an instance that carries the chip",
        )
    return _machine(accelerators()[name], known.name if known else None)


def driven(machine: Machine, devices: int, devices_per_chip: int) -> tuple[Machine, int]:
    """Return the machine as a job sees it that drives so many of its devices, and its chips.

    Where they are no whole chips, or a chip has other devices than usual (Trainium's logical
    cores), they are one chip with the rates of so many.
    """
    chip = machine.chip
    if devices_per_chip == chip.devices_per_chip and devices % devices_per_chip == 0:
        return machine, devices // devices_per_chip
    share = devices / devices_per_chip

    def part(rate: float | None) -> float | None:
        return None if rate is None else rate * share

    of_devices = replace(
        chip,
        devices_per_chip=devices,
        bf16_flops_per_second=part(chip.bf16_flops_per_second),
        fp8_flops_per_second=part(chip.fp8_flops_per_second),
        fp32_flops_per_second=part(chip.fp32_flops_per_second),
        memory_bytes=part(chip.memory_bytes),
        memory_bytes_per_second=part(chip.memory_bytes_per_second),
    )
    seen = replace(
        machine,
        chip=of_devices,
        chips_per_node=1,
        link_bytes_per_second=part(machine.link_bytes_per_second),
        network_bytes_per_second=part(machine.network_bytes_per_second),
    )
    return seen, 1


def _machine(chip: Accelerator, instance: str | None) -> Machine:
    row = _networks().get(instance or chip.name)
    chips = instances()[instance].chips if instance else int(row["chips"]) if row else 1
    gbit = number(row["network_gbit_per_second"]) if row else None
    link = _links()[chip.name]
    gaps = {}
    if link is None:
        gaps["link_bytes_per_second"] = f"no rate of {chip.name}'s links is published"
    if gbit is None:
        where = instance or f"a usual node of {chip.name}"
        gaps["network_bytes_per_second"] = f"the rate between nodes of {where} is not known"
    if chip.memory_bytes_per_second is None:
        gaps["memory_bytes_per_second"] = f"no memory rate of {chip.name} is published"
    return Machine(
        chip=chip,
        instance=instance,
        chips_per_node=chips,
        link_bytes_per_second=link,
        network_bytes_per_second=None if gbit is None else gbit * GIGABIT_BYTES / chips,
        source=f"{chip.source} {row['source'] if row else ''}".strip(),
        gaps=gaps,
    )
