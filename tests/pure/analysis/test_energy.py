"""Energy from readings: what is metered, when it may not be used, and what is never invented."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import make_measurement, make_plan, make_result
from trnbench.analysis.energy import find_energy, footprint
from trnbench.catalog.accelerators import accelerators
from trnbench.catalog.facts import facilities, grids
from trnbench.schema.measurement import Measurement, Reading
from trnbench.schema.plan import Plan
from trnbench.schema.result import Result

WATTS = 180.0


def readings(
    source: str = "rapl",
    devices: tuple[int, ...] = (0,),
    *,
    watts: float = WATTS,
    until: float = 5.0,
    every: float = 0.5,
    **changes: Any,
) -> list[Reading]:
    """Return what a meter tells: an energy that grows, device by device."""
    details: dict[str, Any] = {"is_valid": True, "note": None, "flags": [], **changes}
    more = details.pop("values", {})
    count = int(until / every) + 1
    return [
        Reading(
            at_seconds=n * every, source=source, device=device,
            values={"energy_joules": watts * n * every, **more}, **details,
        )
        for n in range(count)
        for device in devices
    ]  # fmt: skip


def gpus(count: int = 1) -> Plan:
    plan = make_plan({"price": "{}"})
    device = plan.device.model_copy(
        update={
            "backend": "cuda", "accelerator": "h100-sxm", "devices_used": count,
            "chips_used": count, "chips_billed": 8,
        }
    )  # fmt: skip
    return plan.model_copy(update={"device": device, "order": replace(plan.order, backend="cuda")})


def metered(found: list[Reading], plan: Plan | None = None, **changes: Any) -> Measurement:
    return make_measurement(plan or make_plan(), readings=found, **changes)


def result(found: list[Reading], plan: Plan | None = None, **changes: Any) -> Result:
    plan = plan or make_plan()
    return make_result(plan, metered(found, plan, **changes))


def test_joules_a_token_are_power_over_speed() -> None:
    found = result(readings())
    energy, metrics = found.energy, found.metrics
    assert energy is not None
    assert (energy.kind, energy.source, energy.is_valid) == ("counter", "rapl", True)
    assert "without memory" in str(energy.scope)
    assert metrics["mean_power_watts"].value == pytest.approx(WATTS)
    tokens, joules = metrics["tokens_per_second"], metrics["joules_per_token"]
    assert tokens.value is not None
    assert tokens.low is not None
    assert joules.value == pytest.approx(WATTS / tokens.value)
    assert joules.high == pytest.approx(WATTS / tokens.low)


def test_power_is_that_of_all_packages_or_gpus_together() -> None:
    found = find_energy(gpus(2), metered(readings("nvml", (0, 1)), gpus(2)))
    assert found.is_valid
    assert found.mean_power_watts == pytest.approx(2 * WATTS)


def test_what_was_drawn_before_and_after_measuring_is_not_in_it() -> None:
    quiet = [replace(r, values={"energy_joules": 5e6}) for r in readings(until=0.5)]
    late = [
        replace(r, at_seconds=r.at_seconds + 100, values={"energy_joules": 9e9})
        for r in readings(until=1)
    ]
    found = find_energy(make_plan(), metered(quiet[:1] + readings() + late))
    assert found.mean_power_watts == pytest.approx(WATTS)


def test_sampled_power_is_told_from_a_counter() -> None:
    note = "energy_joules integrates samples of power by trapezoids: no energy counter here"
    found = find_energy(gpus(), metered(readings("nvml", note=note), gpus()))
    assert (found.kind, found.is_valid) == ("power_samples", True)
    rare = find_energy(gpus(), metered(readings("nvml", every=2.6, note=note), gpus()))
    assert not rare.is_valid


@pytest.mark.parametrize(
    ("found", "plan", "said"),
    [
        (readings("nvml", (0,)), gpus(2), "1 GPUs were metered and the job drove 2"),
        (readings("nvml", (0, 1)), gpus(1), "2 GPUs were metered and the job drove 1"),
        (readings(until=2.5), None, "the readings cover"),
        (
            readings("nvml", values={"foreign_processes": 1.0}),
            gpus(),
            "other processes were on the device",
        ),
    ],
)
def test_energy_that_is_not_the_jobs_own_is_not_used(
    found: list[Reading], plan: Plan | None, said: str
) -> None:
    energy = find_energy(plan or make_plan(), metered(found, plan))
    assert not energy.is_valid
    assert said in str(energy.reason)
    assert energy.mean_power_watts is not None
    shown = result(found, plan).metrics
    assert shown["joules_per_token"].value is None
    assert said in str(shown["joules_per_token"].reason)


def test_a_package_that_others_used_too_is_not_the_jobs() -> None:
    busy = find_energy(make_plan(), metered(readings(), foreign_cpu_share=0.2))
    assert "others used 20% of the processors" in str(busy.reason)
    unseen = find_energy(make_plan(), metered(readings(), watches=[]))
    assert "it is not known whether others used the processors" in str(unseen.reason)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "no energy was read from rapl"),
        (
            readings(is_valid=False, note="only root may read it", until=0),
            "rapl: only root may read it",
        ),
        (readings(until=0), "too few readings"),
        (readings(watts=0.0), "too few readings"),
        (readings(watts=-5.0), "too few readings"),
        (readings("nvml"), "no energy was read from rapl"),
    ],
)
def test_where_nothing_was_metered_nothing_is_said(found: list[Reading], said: str) -> None:
    energy = find_energy(make_plan(), metered(found))
    assert (energy.kind, energy.is_valid, energy.mean_power_watts) == ("none", False, None)
    assert said in str(energy.reason)


def test_a_case_that_measured_nothing_has_no_power() -> None:
    energy = find_energy(make_plan(), metered(readings(), blocks=[]))
    assert "nothing was measured" in str(energy.reason)


@pytest.mark.parametrize("backend", ["neuron", "xla"])
def test_nothing_is_invented_for_a_chip_that_tells_no_power(backend: str) -> None:
    plan = gpus()
    device = plan.device.model_copy(update={"backend": backend, "accelerator": "trainium2"})
    plan = plan.model_copy(update={"device": device, "order": replace(plan.order, backend=backend)})
    power = readings("neuron-monitor", values={"power_watts": 400.0})
    found = result([*power, *readings("rapl")], plan)
    assert found.energy is not None
    assert found.energy.kind == "none"
    assert "no power in watts" in str(found.energy.reason)
    assert found.energy.tdp_bound_watts is None
    for name in ("mean_power_watts", "joules_per_token", "joules_per_token_tdp_bound"):
        assert found.metrics[name].value is None
        assert found.metrics[name].reason
    assert accelerators()["trainium2"].tdp_watts is None


def test_a_rating_is_a_bound_of_all_billed_chips_and_never_a_measurement() -> None:
    found = result([], gpus())
    energy, metrics = found.energy, found.metrics
    assert energy is not None
    assert energy.tdp_bound_watts == 8 * 700
    assert str(energy.tdp_source).startswith("h100-sxm: ")
    assert metrics["joules_per_token"].value is None
    tokens = metrics["tokens_per_second"].value
    assert tokens is not None
    assert metrics["joules_per_token_tdp_bound"].value == pytest.approx(5600 / tokens)


def test_another_backend_says_that_nothing_meters_it() -> None:
    plan = gpus()
    plan = plan.model_copy(update={"order": replace(plan.order, backend="mps")})
    assert "nothing here meters" in str(find_energy(plan, metered([], plan)).reason)


# --- from watts to grams --------------------------------------------------------------------------


def test_a_kilowatt_for_an_hour_by_hand() -> None:
    # 8 x 700 W for 24 h = 134.4 kWh; x 1.15 = 154.56 kWh; x 418 g = 64,606 g.
    found = footprint(
        mean_power_watts=5600, seconds=86_400, pue=facilities()["aws"].pue,
        grams_co2e_per_kwh=grids()["aws", "us-east-2"].grams_co2e_per_kwh,
    )  # fmt: skip
    assert f"{found.kwh_it:.1f}" == "134.4"
    assert f"{found.kwh_facility:.2f}" == "154.56"
    assert f"{found.grams_co2e:,.0f}" == "64,606"


def test_an_unknown_grid_gives_no_grams() -> None:
    found = footprint(mean_power_watts=1, seconds=1, pue=1, grams_co2e_per_kwh=None)
    assert found.grams_co2e is None
    assert found.kwh_facility is not None
    roomless = footprint(mean_power_watts=1, seconds=1, pue=None, grams_co2e_per_kwh=400)
    assert (roomless.kwh_facility, roomless.grams_co2e) == (None, None)
    assert roomless.kwh_it == pytest.approx(1 / 3.6e6)


@given(st.floats(1, 1e6), st.floats(1, 1e8), st.floats(1, 3), st.floats(1, 1000))
def test_it_is_linear_in_everything(watts: float, seconds: float, pue: float, grid: float) -> None:
    def at(factor: float) -> float:
        found = footprint(
            mean_power_watts=watts * factor, seconds=seconds, pue=pue, grams_co2e_per_kwh=grid
        )
        assert found.grams_co2e is not None
        return found.grams_co2e

    assert at(3) == pytest.approx(3 * at(1))
    assert at(1) == pytest.approx(watts * seconds / 3.6e6 * pue * grid)


def test_every_region_has_its_year_basis_and_source() -> None:
    for name, grid in grids().items():
        assert (grid.provider, grid.region) == name
        assert 5 < grid.grams_co2e_per_kwh < 1000
        assert grid.year >= 2024
        assert grid.basis == "location"
        assert "ODbL" in grid.source
    for provider, room in facilities().items():
        assert room.provider == provider
        assert 1 < room.pue < 2
        assert room.year >= 2024
        assert room.source
