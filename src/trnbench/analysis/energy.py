"""How much power a case drew, or why that is not known, and the site and grid that it came from.

Source: docs/metrics.md, "Energy". Only what was metered is a measurement. A maker's thermal rating
is shown as an upper bound of the chips alone, and never in a measurement's place. PUE and grid hold
for the provider whose row states them: other machines have none unless the user gives it.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from trnbench.catalog.accelerators import accelerators
from trnbench.catalog.backends import Meter, backend_of
from trnbench.catalog.facts import grids, rooms
from trnbench.catalog.instances import instances
from trnbench.schema.measurement import Measurement, Reading
from trnbench.schema.plan import Plan
from trnbench.schema.price import Price
from trnbench.schema.result import ResultEnergy

COVERED_SHARE = 0.8
"""Of the time that was measured, the readings must cover so much."""

MAX_GAP_SECONDS = 2.5
"""Power that is sampled more rarely than this is not integrated."""

MOST_WATTS = 1e5
"""Of one device: some hundred times what any draws. What is above is a damaged reading."""

FOREIGN_SHARE = 0.05
"""Others' part of the processors' time, above which their energy is not the job's."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a job takes from the grid, and what that emits."""

    kwh_it: float
    kwh_facility: float | None
    """None where the room is not known."""
    grams_co2e: float | None
    """None where the room or the grid is not known."""


def footprint(
    *,
    mean_power_watts: float,
    seconds: float,
    pue: float | None,
    grams_co2e_per_kwh: float | None,
) -> Footprint:
    """Work out what so much power for so long comes to."""
    kwh = mean_power_watts * seconds / 3.6e6
    if pue is None:
        return Footprint(kwh, None, None)
    grams = None if grams_co2e_per_kwh is None else kwh * pue * grams_co2e_per_kwh
    return Footprint(kwh, kwh * pue, grams)


def find_energy(plan: Plan, measurement: Measurement) -> ResultEnergy:
    """Return the power that was metered while the case measured, with its scope and standing."""
    bound = _bound(plan)
    backend = backend_of(plan.order.backend)
    meter = backend.meter
    if meter is None:
        why = backend.unmetered or f"nothing here meters the power of {backend.name}"
        return _none(why, bound)
    of_meter = [reading for reading in measurement.readings if reading.source == meter.name]
    valid = [r for r in of_meter if r.is_valid and "energy_joules" in r.values]
    if not valid:
        told = next((r.note for r in of_meter if r.note), None)
        return _none(f"no energy was read from {meter.name}{f': {told}' if told else ''}", bound)
    window = _window(measurement)
    if window is None:
        return _none("nothing was measured, so no time is known for the power", bound)
    return _metered(valid, meter, window, plan, measurement, bound)


@dataclass(frozen=True, slots=True)
class _Bound:
    """The most that the chips are made for, and who says so."""

    watts: float | None
    source: str | None


def _metered(
    readings: Sequence[Reading],
    meter: Meter,
    window: tuple[float, float],
    plan: Plan,
    measurement: Measurement,
    bound: _Bound,
) -> ResultEnergy:
    by_device: dict[int | None, list[Reading]] = {}
    for reading in readings:
        if window[0] <= reading.at_seconds <= window[1]:
            by_device.setdefault(reading.device, []).append(reading)
    powers = [_mean_power(series) for series in by_device.values()]
    known = [power for power in powers if power is not None]
    if not known or len(known) < len(powers):
        return _none(f"{meter.name} gave too few readings while it measured", bound)
    if max(known) > MOST_WATTS:
        return _none(f"{meter.name} tells of {max(known):.3g} W, which no device draws", bound)
    doubt = _doubt(by_device, meter, window, plan, measurement)
    sampled = any("integrates samples" in (reading.note or "") for reading in readings)
    return ResultEnergy(
        kind="power_samples" if sampled else "counter",
        scope=meter.scope,
        source=meter.name,
        is_valid=doubt is None,
        reason=doubt,
        mean_power_watts=sum(known),
        tdp_bound_watts=bound.watts,
        tdp_source=bound.source,
    )


def _mean_power(series: Sequence[Reading]) -> float | None:
    """Return the energy from the first reading to the last, over the time between them."""
    first, last = series[0], series[-1]
    seconds = last.at_seconds - first.at_seconds
    joules = last.values["energy_joules"] - first.values["energy_joules"]
    return joules / seconds if seconds > 0 and joules > 0 else None


def _doubt(
    by_device: dict[int | None, list[Reading]],
    meter: Meter,
    window: tuple[float, float],
    plan: Plan,
    measurement: Measurement,
) -> str | None:
    """Return why the power is not the job's own, or not known well enough."""
    if meter.is_of_device and len(by_device) != plan.device.devices_used:
        return f"{len(by_device)} GPUs were metered and the job drove {plan.device.devices_used}"
    for series in by_device.values():
        span = series[-1].at_seconds - series[0].at_seconds
        if span < COVERED_SHARE * (window[1] - window[0]):
            return f"the readings cover {span:.0f} s of {window[1] - window[0]:.0f} s measured"
        sampled = any("integrates samples" in (reading.note or "") for reading in series)
        times = [reading.at_seconds for reading in series]
        gap = max(b - a for a, b in itertools.pairwise(times))
        if sampled and gap > MAX_GAP_SECONDS:
            return f"power was sampled {gap:.1f} s apart, which is too rarely to be summed"
        joules = [reading.values["energy_joules"] for reading in series]
        if any(after < before for before, after in itertools.pairwise(joules)):
            return "the counter of energy went backwards"
        if any(reading.values.get("foreign_processes", 0) > 0 for reading in series):
            return "other processes were on the device: their energy is in it"
    return None if meter.is_of_device else _foreign_load(measurement)


def _foreign_load(measurement: Measurement) -> str | None:
    watches = [watch for watch in measurement.watches if watch.purpose == "measure"]
    seconds = sum(watch.seconds for watch in watches)
    if not seconds:
        return "nobody watched whether others used the processors"
    foreign = sum(watch.foreign_cpu_share * watch.seconds for watch in watches) / seconds
    if foreign > FOREIGN_SHARE:
        return f"others used {foreign:.0%} of the processors: their energy is in it"
    return None


def _window(measurement: Measurement) -> tuple[float, float] | None:
    """Return when it measured: from the start of the first block that counts to the last's end."""
    blocks = [block for block in measurement.blocks if block.purpose == "measure"]
    if not blocks:
        return None
    return blocks[0].at_seconds - blocks[0].seconds, blocks[-1].at_seconds


def _bound(plan: Plan) -> _Bound:
    chip = accelerators().get(plan.device.accelerator or "")
    if chip is None or chip.tdp_watts is None:
        return _Bound(None, None)
    return _Bound(chip.tdp_watts * plan.device.chips_billed, f"{chip.name}: {chip.source}")


def _none(reason: str, bound: _Bound) -> ResultEnergy:
    return ResultEnergy(
        kind="none",
        scope=None,
        source=None,
        is_valid=False,
        reason=reason,
        mean_power_watts=None,
        tdp_bound_watts=bound.watts,
        tdp_source=bound.source,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A room and its grid, each with its source or why it is not known."""

    pue: float | None
    pue_source: str
    grams_co2e_per_kwh: float | None
    grid_source: str

    @property
    def reason(self) -> str | None:
        """Why no emissions follow; None where they do."""
        lacking = [
            source
            for value, source in (
                (self.pue, self.pue_source),
                (self.grams_co2e_per_kwh, self.grid_source),
            )
            if value is None
        ]
        return "; ".join(lacking) or None


def find_site(
    price: Price | None, pue: float | None = None, grams_co2e_per_kwh: float | None = None
) -> Site:
    """Look up where a priced machine stands; what the user gives wins."""
    found_pue, pue_source = _pue(price, pue)
    grams, grid_source = _grid(price, grams_co2e_per_kwh)
    return Site(
        pue=found_pue,
        pue_source=pue_source,
        grams_co2e_per_kwh=grams,
        grid_source=grid_source,
    )


def _pue(price: Price | None, given: float | None) -> tuple[float | None, str]:
    if given is not None:
        return given, "given by the user"
    room = rooms().get(_provider(price) or "")
    if room is None:
        return None, "no PUE is known of who houses this machine (`trnbench cost --pue` sets one)"
    return room.pue, f"{room.year}: {room.source}"


def _grid(price: Price | None, given: float | None) -> tuple[float | None, str]:
    if given is not None:
        return given, f"{given:g} g a kWh, given by the user"
    region = price.region if price else None
    grid = grids().get((_provider(price) or "", region or ""))
    if grid is None:
        where = region or "this place"
        return None, f"no grid is known of {where} (`trnbench cost --grid` sets one)"
    return grid.grams_co2e_per_kwh, (
        f"{grid.grams_co2e_per_kwh:g} g a kWh, {grid.basis}-based, {grid.zone} {grid.year}: "
        f"{grid.source}"
    )


def _provider(price: Price | None) -> str | None:
    instance = instances().get(price.instance or "") if price else None
    return instance.provider if instance else None
