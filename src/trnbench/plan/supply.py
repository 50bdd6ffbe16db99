"""How many devices a job can have: what is here and free, or what the named instance has."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from trnbench.catalog.accelerators import Accelerator
from trnbench.catalog.backends import BACKENDS
from trnbench.catalog.instances import Instance
from trnbench.catalog.worlds import worlds_of
from trnbench.config.device import DeviceConfig
from trnbench.config.load import Conflict
from trnbench.errors import UnavailableError
from trnbench.machine.describe import Machine
from trnbench.machine.look import Holder
from trnbench.plan.device import Target, devices_per_chip

NEURON_CORES = "NEURON_RT_VISIBLE_CORES"
CUDA_GPUS = "CUDA_VISIBLE_DEVICES"

SHOWN_HOLDERS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """The devices of one kind that a job can be given."""

    asked: DeviceConfig
    indices: tuple[int, ...] | None = None
    """Of those that are free; None where no number limits the job: on a processor, and where
    nothing was looked for."""
    total: int | None = None
    """Devices of this kind, free or not."""
    holders: tuple[Holder, ...] = ()
    instance: Instance | None = None
    """Where they were counted by the instance type, and not seen; then several may be rented."""
    worlds: tuple[int, ...] | None = None
    """Numbers of ranks that the runtime supports on one machine; None: any."""
    per_chip: int = 1
    nodes: int = 1
    """Machines that each have these devices, and that the ranks are spread over evenly."""

    @property
    def fill(self) -> int:
        """The devices that a size of `auto` shares out."""
        each = self.asked.count or (1 if self.indices is None else len(self.indices))
        return each * self.nodes

    @property
    def count(self) -> int | None:
        """The ranks that the config's number of devices comes to; None where it gives none."""
        return None if self.asked.count is None else self.asked.count * self.nodes

    @property
    def free(self) -> int:
        """The devices that can be had, of all machines."""
        return len(self.indices or ()) * self.nodes

    def start_of(self, world: int) -> int | None:
        """Return the index of the first of so many devices, all of them free; else None.

        Of several machines it is that on each of them.
        """
        if world % self.nodes:
            return None
        world //= self.nodes
        if self.indices is None:
            return self.asked.first or 0
        if self.instance is not None and self.total and world > self.total:
            return None if world % self.total else 0
        step = world if self.worlds is not None else 1
        free = set(self.indices)
        for start in self.indices:
            if start % step == 0 and free.issuperset(range(start, start + world)):
                return start
        return None

    def supports(self, world: int) -> bool:
        """Whether the runtime supports so many ranks, on one machine or on several whole ones."""
        if world % self.nodes:
            return False
        world //= self.nodes
        if self.worlds is None or world in self.worlds:
            return True
        return self.instance is not None and bool(self.total) and world % (self.total or 1) == 0

    def takes(self, world: int) -> bool:
        """Whether a job of so many ranks can be had."""
        is_asked = self.count is None or world == self.count
        return is_asked and self.supports(world) and self.start_of(world) is not None

    def say(self) -> str:
        """Say how many the job may have: as many as are asked for, or all that can be had."""
        count = self.asked.count
        if count is None or count > len(self.indices or range(count)):
            return self.say_here()
        return f"{devices(count)} {_are(count)} asked for (device: {self.asked})"

    def say_here(self) -> str:
        """Say how many there are, and who has those that are not free."""
        if self.nodes > 1 and self.indices is None:
            return f"{self.nodes} nodes have as many ranks each"
        each = f" on each of {self.nodes} nodes" if self.nodes > 1 else ""
        return self._say_one() + each

    def _say_one(self) -> str:
        if self.total is None or self.indices is None:
            return "how many devices there are is not known"
        if self.instance is not None:
            return f"{self.instance.name} has {devices(self.total)}"
        free, row = len(self.indices), _longest_row(self.indices)
        if not self.holders and free < self.total and self.asked.first is None:
            return f"{NEURON_CORES} leaves {free} of {devices(self.total)}"
        if not self.holders:
            return f"{devices(self.total)} {_are(self.total)} here"
        in_a_row = f", {row} of them in a row" if row < free else ""
        return (
            f"{free} of {devices(self.total)} {_are(free)} free{in_a_row}: "
            f"{say_holders(self.holders)}"
        )


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _longest_row(indices: Sequence[int]) -> int:
    """Return the length of the longest stretch of neighbours."""
    rows = itertools.groupby(enumerate(indices), key=lambda pair: pair[1] - pair[0])
    return max((len([*row]) for _, row in rows), default=0)


def devices(count: int) -> str:
    """Return the count and its noun."""
    return f"{count} device{'' if count == 1 else 's'}"


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


def say_holders(holders: Sequence[Holder]) -> str:
    """Say who holds what, the first few of them."""
    said = [str(holder) for holder in holders[:SHOWN_HOLDERS]]
    more = len(holders) - len(said)
    return "; ".join(said) + (f"; and {more} more" if more else "")


def find_supply(asked: DeviceConfig, target: Target, machine: Machine) -> Supply:
    """Count the devices that a job on this target can have.

    Raises:
        Conflict: devices are asked for that cannot make one job.
        UnavailableError: they are not here, or not free.
    """
    chip, row = target.accelerator, target.likely_row
    if row.is_host:
        return Supply(asked=asked, nodes=target.nodes)
    if row.process_group is None:
        return _one_device(asked, row.name)
    per_chip = 1 if chip is None else devices_per_chip(chip, machine)
    worlds = None if chip is None else worlds_of(chip.name, per_chip)
    supply = Supply(asked=asked, worlds=worlds, per_chip=per_chip, nodes=target.nodes)
    if target.found is not None and target.found.supported:
        supply = _seen(supply, target, machine)
    elif target.instance is not None and chip is not None and target.instance.accelerator == chip:
        total = target.instance.chips * per_chip
        named = _named(asked, total, target.instance.name)
        indices = tuple(range(total) if named is None else named)
        supply = replace(supply, indices=indices, total=total, instance=target.instance)
    if supply.indices is not None:
        _check_count(supply, row.name)
    return supply


def _seen(supply: Supply, target: Target, machine: Machine) -> Supply:
    """Add the devices that were found here, without those that others hold."""
    total = 0 if target.found is None else target.found.device_count
    holders = _holders(target, machine, supply.per_chip)
    held = {index for index, _ in holders}
    named = _named(supply.asked, total, target.backend)
    if named is not None:
        holders = [each for each in holders if each[0] in named]
    indices = _visible(target, machine, total) if named is None else named
    # One device that is named is shared if it must be, and a check says so.
    is_shared = named is not None and len(named) == 1
    return replace(
        supply,
        indices=tuple(index for index in indices if is_shared or index not in held),
        total=total,
        holders=tuple(dict.fromkeys(holder for _, holder in holders)),
    )


def _check_count(supply: Supply, kind: str) -> None:
    """Refuse devices that are asked for and cannot make a job, before its sizes are looked at."""
    asked, free, named = supply.asked, len(supply.indices or ()), supply.asked.first is not None
    if supply.instance is None and free < (asked.count or 1):
        share = "" if free else f", or share one by its number: --device {kind}:0"
        fewer = f", or take fewer: `device: {{kind: {kind}, count: {free}}}`" if free else share
        ended = "wait until they have ended" if supply.holders else "look at `trnbench doctor`"
        raise UnavailableError(f"device {asked}: {supply.say_here()}", hint=f"{ended}{fewer}")
    if asked.count is None or (supply.supports(asked.count * supply.nodes) and not named):
        return
    if not supply.supports(asked.count * supply.nodes):
        takes = _listed(supply.worlds or ())
        raise Conflict(
            "device",
            f"{asked}: the runtime supports jobs of {takes} devices, and this is {asked.count}",
            hint=f"use the next smaller, e.g. `device: {{kind: {kind}, "
            f"count: {max(n for n in supply.worlds or (1,) if n < asked.count)}}}`",
        )
    if supply.start_of(asked.count * supply.nodes) is None:
        first = (asked.first or 0) // asked.count * asked.count
        raise Conflict(
            "device",
            f"{asked}: {asked.count} devices of one job begin at a multiple of {asked.count}",
            hint=f"use {kind}:{first}-{first + asked.count - 1}",
        )


def _one_device(asked: DeviceConfig, kind: str) -> Supply:
    """Return the one device of a kind that has no collectives here."""
    if asked.count is not None and asked.count > 1:
        several = ", ".join(row.name for row in BACKENDS.values() if row.process_group)
        raise Conflict(
            "device",
            f"{asked}: this version drives one {kind} device for each job",
            hint=f"use `device: {kind}`, or one of {several}",
        )
    first = asked.first or 0
    return Supply(asked=asked, indices=(first,), total=first + 1)


def _named(asked: DeviceConfig, total: int, where: str) -> range | None:
    """Return the devices that the config names by their numbers; None where it names none."""
    if asked.first is None:
        return None
    end = total if asked.count is None else asked.first + asked.count
    if end > total or asked.first >= total:
        raise UnavailableError(
            f"device {asked}: {where} has {devices(total)}, counted from 0",
            hint=f"use {asked.kind}:0" + (f" to {asked.kind}:{total - 1}" if total > 1 else ""),
        )
    return range(asked.first, end)


def _holders(target: Target, machine: Machine, per_chip: int) -> list[tuple[int, Holder]]:
    """Return who holds which device, by the index that torch has for it."""
    chip: Accelerator | None = target.accelerator
    if target.row.is_counted_by_tool:
        order = sorted(chip.index for chip in machine.chips.neuron.chips)
        return [
            (order.index(holder.index) * per_chip + core, holder)
            for holder in machine.chips.neuron.holders
            if holder.index in order
            for core in range(per_chip)
        ]
    if chip is None or chip.vendor != "NVIDIA":
        return []
    held = [(each.index, each) for each in machine.chips.nvidia.holders if each.index is not None]
    visible = machine.variables.get(CUDA_GPUS)
    if visible is None:
        return held
    order = [int(part) for part in visible.split(",") if part.strip().isdecimal()]
    return [(order.index(index), holder) for index, holder in held if index in order]


def _visible(target: Target, machine: Machine, total: int) -> Sequence[int]:
    """Return the devices that the user's environment leaves; torch has counted CUDA's so."""
    text = machine.variables.get(NEURON_CORES) if target.row.is_counted_by_tool else None
    if not text:
        return range(total)
    chosen: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()):
            return range(total)  # the runtime itself refuses it
        chosen += range(int(first), int(last or first) + 1)
    return [index for index in chosen if index < total] or range(total)
