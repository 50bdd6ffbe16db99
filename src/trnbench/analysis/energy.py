"""How much power a case drew, or why that is not known, and the site's PUE and grid.

Source: docs/metrics.md, "Energy". A thermal rating is an upper bound, never in a measurement's
place.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from trnbench.catalog.accelerators import accelerators
from trnbench.catalog.backends import backend_of
from trnbench.catalog.facts import facilities, grids
from trnbench.catalog.instances import instances
from trnbench.schema.measurement import Measurement, Reading
from trnbench.schema.plan import Plan
from trnbench.schema.price import Price
from trnbench.schema.result import ResultEnergy

JOULES_PER_KWH = 3.6e6

COVERED_SHARE = 0.8
"""Of the measured time, at least, that the readings must cover."""

MAX_GAP_SECONDS = 2.5
"""Power that is sampled more rarely than this is not integrated."""

MOST_WATTS = 1e5
"""Of one device: some hundred times what any draws. A reading above it is damaged."""

MAX_FOREIGN_CPU_SHARE = 0.05
"""Others' part of the processors' time, above which speed and energy are not the job's alone."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a job takes from the grid, and what that emits."""

    kwh_it: float
    kwh_facility: float | None
    """None where the PUE is not known."""
    grams_co2e: float | None
    """None where PUE or grid is not known."""


def footprint(
    *,
    mean_power_watts: float,
    seconds: float,
    pue: float | None,
    grams_co2e_per_kwh: float | None,
) -> Footprint:
    """Multiply power by time, PUE and the grid's carbon."""
    kwh = mean_power_watts * seconds / JOULES_PER_KWH
    if pue is None:
        return Footprint(kwh, None, None)
    grams = None if grams_co2e_per_kwh is None else kwh * pue * grams_co2e_per_kwh
    return Footprint(kwh, kwh * pue, grams)


def find_energy(plan: Plan, measurement: Measurement) -> ResultEnergy:
    """Return the power that was metered while the case measured, or why it cannot be used."""
    chip = accelerators().get(plan.device.accelerator or "")
    tdp_watts = tdp_source = None
    if chip is not None and chip.tdp_watts is not None:
        tdp_watts = chip.tdp_watts * plan.device.chips_billed
        tdp_source = f"{chip.name}: {chip.source}"
    watts, sampled, reason = _metered(plan, measurement)
    if plan.parallel.nodes > 1:
        watts, reason = None, "power is read on the first node of several alone"
    meter = None if watts is None else backend_of(plan.order.backend).meter
    return ResultEnergy(
        kind="none" if meter is None else "power_samples" if sampled else "counter",
        scope=None if meter is None else meter.scope,
        source=None if meter is None else meter.name,
        is_valid=reason is None,
        reason=reason,
        mean_power_watts=watts,
        tdp_bound_watts=tdp_watts,
        tdp_source=tdp_source,
    )


def _metered(plan: Plan, measurement: Measurement) -> tuple[float | None, bool, str | None]:
    """Return watts, whether power was sampled, and why there are none or they may not be used."""
    backend = backend_of(plan.order.backend)
    meter = backend.meter
    if meter is None:
        return None, False, backend.unmetered or f"nothing here meters the power of {backend.name}"
    of_meter = [reading for reading in measurement.readings if reading.source == meter.name]
    valid = [r for r in of_meter if r.is_valid and "energy_joules" in r.values]
    if not valid:
        note = next((r.note for r in of_meter if r.note), None)
        because = f": {note}" if note else ""
        return None, False, f"no energy was read from {meter.name}{because}"
    blocks = [block for block in measurement.blocks if block.purpose == "measure"]
    if not blocks:
        return None, False, "nothing was measured, so no time is known for the power"
    window = blocks[0].at_seconds - blocks[0].seconds, blocks[-1].at_seconds
    by_device: dict[int | None, list[Reading]] = {}
    for reading in valid:
        if window[0] <= reading.at_seconds <= window[1]:
            by_device.setdefault(reading.device, []).append(reading)
    powers = [_mean_power(series) for series in by_device.values()]
    known = [power for power in powers if power is not None]
    if not known or len(known) < len(powers):
        return None, False, f"{meter.name} gave too few readings while it measured"
    if max(known) > MOST_WATTS:
        return None, False, f"{meter.name} reports {max(known):.3g} W, which no device draws"
    if meter.is_of_device and len(by_device) != plan.device.devices_used:
        devices = plan.device.devices_used
        doubts = [f"{len(by_device)} GPUs were metered and the job drove {devices}"]
    else:
        doubts = [why for series in by_device.values() if (why := _doubt(series, window))]
        if not meter.is_of_device and (load := _foreign_load(measurement)):
            doubts.append(load)
    return sum(known), any(map(_is_sampled, valid)), doubts[0] if doubts else None


def _mean_power(series: Sequence[Reading]) -> float | None:
    """Return the energy from the first reading to the last, over the time between them."""
    first, last = series[0], series[-1]
    seconds = last.at_seconds - first.at_seconds
    joules = last.values["energy_joules"] - first.values["energy_joules"]
    return joules / seconds if seconds > 0 and joules > 0 else None


def _is_sampled(reading: Reading) -> bool:
    return "integrates samples" in (reading.note or "")


def _doubt(series: Sequence[Reading], window: tuple[float, float]) -> str | None:
    """Say why a device's readings are not the job's own, or too few; None if neither."""
    span = series[-1].at_seconds - series[0].at_seconds
    measured = window[1] - window[0]
    if span < COVERED_SHARE * measured:
        return f"the readings cover {span:.0f} s of {measured:.0f} s measured"
    gap = max(b.at_seconds - a.at_seconds for a, b in itertools.pairwise(series))
    if any(map(_is_sampled, series)) and gap > MAX_GAP_SECONDS:
        return f"power was sampled {gap:.1f} s apart, which is too rarely to be summed"
    joules = [reading.values["energy_joules"] for reading in series]
    if any(after < before for before, after in itertools.pairwise(joules)):
        return "the counter of energy went backwards"
    if any(reading.values.get("foreign_processes", 0) > 0 for reading in series):
        return "other processes were on the device: their energy is in it"
    return None


def _foreign_load(measurement: Measurement) -> str | None:
    foreign = foreign_cpu_share(measurement)
    if foreign is None:
        return "it is not known whether others used the processors"
    if foreign > MAX_FOREIGN_CPU_SHARE:
        return f"others used {foreign:.0%} of the processors: their energy is in it"
    return None


def foreign_cpu_share(measurement: Measurement) -> float | None:
    """Return others' part of the processors' time while the case measured; None if unknown."""
    watches = [watch for watch in measurement.watches if watch.purpose == "measure"]
    seconds = sum(watch.seconds for watch in watches)
    if not seconds:
        return None
    return sum(watch.foreign_cpu_share * watch.seconds for watch in watches) / seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A place's PUE and grid, each with its source or why it is not known."""

    pue: float | None
    pue_source: str
    grams_co2e_per_kwh: float | None
    grid_source: str

    @property
    def reason(self) -> str | None:
        """Why no emissions follow; None where they do."""
        pue = [self.pue_source] if self.pue is None else []
        grid = [self.grid_source] if self.grams_co2e_per_kwh is None else []
        return "; ".join(pue + grid) or None


def find_site(
    price: Price | None, pue: float | None = None, grams_co2e_per_kwh: float | None = None
) -> Site:
    """Look up the site of a priced machine; what the user gives takes precedence."""
    known = instances().get(price.instance or "") if price else None
    provider = known.provider if known else ""
    found_pue, pue_source = _pue(provider, pue)
    grams, grid_source = _grid(provider, price.region if price else None, grams_co2e_per_kwh)
    return Site(
        pue=found_pue, pue_source=pue_source, grams_co2e_per_kwh=grams, grid_source=grid_source
    )


def _pue(provider: str, given: float | None) -> tuple[float | None, str]:
    if given is not None:
        return given, "given by the user"
    room = facilities().get(provider)
    if room is None:
        return None, "no PUE is known of this machine's site (`trnbench cost --pue` sets one)"
    return room.pue, f"{room.year}: {room.source}"


def _grid(provider: str, region: str | None, given: float | None) -> tuple[float | None, str]:
    if given is not None:
        return given, f"{given:g} g a kWh, given by the user"
    grid = grids().get((provider, region or ""))
    if grid is None:
        where = region or "this place"
        return None, f"no grid is known of {where} (`trnbench cost --grid` sets one)"
    return grid.grams_co2e_per_kwh, (
        f"{grid.grams_co2e_per_kwh:g} g a kWh, {grid.basis}-based, {grid.zone} {grid.year}: "
        f"{grid.source}"
    )
