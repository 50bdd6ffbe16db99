"""Each check trips on a case that has its fault, and on no other."""

import math
from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules

import pytest

from tests.builders import (
    PARITY,
    PLAN_SHA256,
    WEIGHT_UPDATE,
    learned,
    make_activity,
    make_blocks,
    make_measurement,
    make_plan,
    make_result,
    steady_times,
)
from trnbench.analysis import checks
from trnbench.analysis.analyze import analyze
from trnbench.analysis.checks import CHECKS, find_validity
from trnbench.protocol.records import Block, Built
from trnbench.schema.measurement import Reading
from trnbench.schema.result import CheckOutcome, Result


def outcome_of(name: str, result: Result) -> CheckOutcome:
    (found,) = [check for check in result.checks if check.name == name]
    return found


def result_of(blocks: list[Block] | None = None, **changes: object) -> Result:
    plan = make_plan()
    return make_result(plan, make_measurement(plan, blocks=blocks, **changes))  # type: ignore[arg-type]


def nan_late(step: int) -> float | None:
    return None if step == 40 else learned(step)


TWO_LEVELS = [t * (1.1 if i % 5 > 2 else 1) for i, t in enumerate(steady_times())]
STALLED = [0.05] * 57 + [0.9, 0.05, 0.05]
SLOWER = steady_times(40) + [1.2 * t for t in steady_times(60)]

built = make_measurement().built
assert built is not None
BUILT = built
environment = make_measurement().environment
assert environment is not None
ENVIRONMENT = environment


def on_a_chip(planned: str, told: str) -> Result:
    """Return the result of a case planned for one chip on a device that calls itself so."""
    plan = make_plan()
    device = plan.device.model_copy(update={"accelerator": planned})
    measurement = make_measurement(plan)
    assert measurement.environment is not None
    measurement.environment = replace(measurement.environment, device_name=told)
    return make_result(plan.model_copy(update={"device": device}), measurement)


def make_reading(flags: list[str]) -> Reading:
    return Reading(
        at_seconds=2.0, source="nvml", device=0, is_valid=True, note=None, values={}, flags=flags
    )


TRIPPED = {
    "finished": (result_of(status="died"), "doubtful", "died"),
    "finite": (result_of(make_blocks(steady_times(), loss=nan_late)), "invalid", "step 40"),
    "initial_loss": (
        result_of(make_blocks(steady_times(), loss=lambda s: learned(s) - 0.4)), "invalid", "7.2",
    ),
    "learning": (
        result_of(make_blocks(steady_times(), loss=lambda s: 7.65 - 0.01 * s)), "invalid", "7%",
    ),
    "leakage": (
        result_of(make_blocks(steady_times(), loss=lambda s: learned(s) - 0.1 * (s > 30))),
        "invalid", "-0.0",
    ),
    "steady": (result_of(make_blocks(SLOWER)), "doubtful", "slowdown"),
    "tail": (result_of(make_blocks(STALLED)), "doubtful", "1 stalls (longest 900 ms)"),
    "precision": (
        result_of(make_blocks([t * (1 + i % 7 / 9) for i, t in enumerate(steady_times())])),
        "doubtful", "asked for",
    ),
    "foreign_load": (result_of(foreign_cpu_share=0.3), "doubtful", "30.0%"),
    "accounted_time": (
        result_of(make_blocks(steady_times(), gap_seconds=0.03)), "doubtful", "cover 6",
    ),
    "proven": (result_of(proven=False), "doubtful", "never run"),
    "placement": (
        result_of(built=replace(BUILT, placement=["cpu float32", "meta float32"])),
        "invalid", "meta float32",
    ),
    "parity": (
        result_of(parity=replace(PARITY, losses=[7.625, 8.0, 8.5])),
        "invalid", "loss of step 2 is 8",
    ),
    "movement": (
        result_of(movement=replace(WEIGHT_UPDATE, still=["norm.weight"])), "invalid", "norm",
    ),
    "chip": (on_a_chip("trainium2", "trn3"), "invalid", "trn3 is trainium3"),
    "fallback": (
        result_of(activities=[make_activity(1, fallback_ops={}),
                              make_activity(40, fallback_ops={"aten::mm": 3})]),
        "invalid", "aten::mm",
    ),
    "recompiled": (
        result_of(activities=[make_activity(1, graphs=1), make_activity(40, graphs=2)]),
        "invalid", "by step 40",
    ),
    "clocks": (
        result_of([replace(b, event_seconds=0.9 * b.seconds) for b in make_blocks(steady_times())]),
        "doubtful", "-10.00%",
    ),
    "levels": (
        result_of(make_blocks(TWO_LEVELS)), "doubtful", "40% of the samples are 9.9% slower",
    ),
    "resolution": (
        result_of(environment=replace(ENVIRONMENT, clock_step_seconds=0.015625)),
        "doubtful", "the clock moves by 15.6 ms, 0.3 of a sample: more than 0.0005",
    ),
    "ranks": (
        result_of([
            replace(b, rank_seconds=[0.04, 0.041, 0.045, 0.04])
            for b in make_blocks(steady_times())
        ]),
        "doubtful", "rank 2 of 4 is the slowest in 100%, by +12.5%",
    ),
    "throttling": (
        result_of(readings=[make_reading(flags=["throttle_thermal"])]),
        "doubtful", "throttle_thermal in 1 readings",
    ),
    "possible": (result_of(ceiling=[1e6] * 3), "invalid", "cannot be"),
}  # fmt: skip


def test_a_good_case_is_sound_in_every_check() -> None:
    result = make_result()
    sound = [check.name for check in result.checks if check.verdict == "sound"]
    untold = {check.name for check in result.checks if check.verdict == "not_judged"}
    of_several = {
        "agreement", "all_reduce", "equal_devices", "idle_devices", "links", "nodes", "peer_access",
        "ranks", "seats", "transports",
    }  # fmt: skip
    assert untold == {"chip", "clocks", "fallback", "throttling", *of_several}, "none here"
    assert len(sound) + len(untold) == len(result.checks)
    assert result.standing == "sound"
    assert all(check.evidence for check in result.checks)
    assert all(check.advice is None for check in result.checks)


@pytest.mark.parametrize("name", sorted(TRIPPED))
def test_a_fault_trips_its_check(name: str) -> None:
    result, verdict, evidence = TRIPPED[name]
    found = outcome_of(name, result)
    assert found.verdict == verdict, found
    assert evidence in found.evidence
    assert found.advice or name == "finished"
    worst = {c.verdict for c in result.checks}
    assert result.standing == ("invalid" if "invalid" in worst else "doubtful")


@pytest.mark.parametrize("told", ["trn2", "trn2u", "TRN2"])
def test_a_chip_by_its_own_name_is_sound_and_by_an_unknown_one_not_judged(told: str) -> None:
    found = outcome_of("chip", on_a_chip("trainium2", told))
    assert found.verdict == ("not_judged" if told == "TRN2" else "sound"), found


def test_every_check_is_tried_here() -> None:
    tried = {*TRIPPED, "plan", "parameters"}
    tried |= {"agreement", "equal_devices", "idle_devices", "links", "peer_access", "seats"}
    tried |= {"transports", "all_reduce", "nodes"}
    assert {check.name for check in make_result().checks} == tried


def test_a_plan_that_was_changed_afterwards_voids_the_result() -> None:
    plan = make_plan()
    result = analyze(
        plan, make_measurement(plan), plan_sha256="1" * 64, run_id="r", measurement_bytes=1
    )
    assert PLAN_SHA256 != "1" * 64
    assert outcome_of("plan", result).verdict == "invalid"
    assert result.standing == "invalid"


@pytest.mark.parametrize(("count", "tied"), [(893_569, False), (893_568, True)])
def test_another_model_on_the_device_voids_the_result(count: int, tied: bool) -> None:
    built = Built(
        at_seconds=0.5, parameter_count=count, parameter_bytes=1, embeddings_are_tied=tied
    )
    assert outcome_of("parameters", result_of(built=built)).verdict == "invalid"


@pytest.mark.parametrize("norm", [0.0, 1e5, None])
def test_a_gradient_that_is_nothing_or_everything_is_not_finite(norm: float | None) -> None:
    result = result_of(make_blocks(steady_times(), gradient_norm=norm))
    assert outcome_of("finite", result).verdict == "invalid"


def test_what_cannot_be_judged_says_what_it_lacks() -> None:
    plan = make_plan()
    nothing = make_result(
        plan,
        make_measurement(
            plan, blocks=[], status="out_of_memory", ceiling=None, built=None, environment=None,
            watches=[], memory=None, parity=None, movement=None,
        ),
    )  # fmt: skip
    judged = {check.name: check for check in nothing.checks}
    for name in set(judged) - {"finished", "plan"}:
        assert judged[name].verdict == "not_judged", judged[name]
        assert judged[name].evidence
    assert nothing.standing == "failed"


def test_few_steps_are_too_few_to_judge_learning_but_not_the_first_loss() -> None:
    result = result_of(make_blocks(steady_times(20)))
    assert outcome_of("learning", result).verdict == "not_judged"
    assert outcome_of("initial_loss", result).verdict == "sound"
    assert outcome_of("precision", result).verdict == "doubtful"
    assert "50 samples are the minimum" in outcome_of("precision", result).evidence


@pytest.mark.parametrize(
    ("nats", "wobble", "verdict"),
    [(1.0, 0.02, "sound"), (0.2, 0.02, "sound"), (0.02, 0.02, "doubtful"), (-0.5, 0.02, "doubtful"),
     (0.2, 0.3, "doubtful"), (0.0, 0.0, "doubtful")],
)  # fmt: skip
def test_adapters_must_learn_something_and_nobody_knows_how_much(
    nats: float, wobble: float, verdict: str
) -> None:
    def falling(step: int) -> float:
        return 7.65 - nats * step / 50 + wobble * math.sin(2.4 * step)

    plan = make_plan({"workload.lora.rank": "8"})
    blocks = make_blocks(steady_times(), loss=falling)
    found = outcome_of("learning", make_result(plan, make_measurement(plan, blocks=blocks)))
    assert found.verdict == verdict, found
    assert "of the way" in found.evidence
    assert bool(found.advice) == (verdict == "doubtful")


def test_the_expected_first_loss_is_the_one_of_a_random_head() -> None:
    # ln 2048 + 128 x 0.02^2 / 2, and 0.05 + 3 x sqrt(128 x 0.02^2 / 64) about it.
    seen = outcome_of("initial_loss", make_result()).evidence
    assert f"expected {math.log(2048) + 0.0256:.3f} within {0.05 + 3 * 0.02828:.3f}" in seen


@pytest.mark.parametrize(
    ("has_figure", "verdicts", "standing"),
    [
        (True, ["sound", "not_judged"], "sound"),
        (True, ["sound", "doubtful"], "doubtful"),
        (True, ["doubtful", "invalid"], "invalid"),
        (False, ["doubtful"], "failed"),
        (False, ["invalid"], "invalid"),
    ],
)
def test_the_worst_check_decides(has_figure: bool, verdicts: list[str], standing: str) -> None:
    found = tuple(CheckOutcome(name="x", verdict=v, evidence="e") for v in verdicts)  # type: ignore[arg-type]
    assert find_validity(has_figure, found) == standing


def test_the_registry_holds_every_check_of_its_file() -> None:
    files = iter_modules(checks.__path__, f"{checks.__name__}.")
    modules = [import_module(file.name) for file in files]
    written = {name for module in modules for name in vars(module) if name.startswith("check_")}
    assert written - {"check_possible", "check_launches"} == {
        check.__name__ for check in CHECKS.values()
    }


def test_what_was_compiled_before_the_measuring_is_no_fault() -> None:
    result = result_of(activities=[make_activity(1, graphs=1), make_activity(5, graphs=2)])
    assert outcome_of("recompiled", result).verdict == "sound"


def test_a_first_step_that_was_timed_is_caught_by_what_it_compiled() -> None:
    blocks = [replace(block, purpose="measure") for block in make_blocks(steady_times())]
    result = result_of(blocks, activities=[make_activity(1, graphs=1)])
    assert outcome_of("recompiled", result).verdict == "invalid"


@pytest.mark.parametrize(
    ("precision", "instructions", "verdict"),
    [("bf16", "none", "doubtful"), ("fp32", "none", "not_judged"),
     ("bf16", "amx_bf16", "not_judged")],
)  # fmt: skip
def test_bf16_on_a_processor_without_bf16_instructions_is_doubtful(
    precision: str, instructions: str, verdict: str
) -> None:
    plan = make_plan({"workload.precision": precision})
    told = replace(ENVIRONMENT, settings={"bf16_instructions": instructions})
    result = make_result(plan, make_measurement(plan, environment=told))
    found = outcome_of("fallback", result)
    assert found.verdict == verdict
    assert ("no bf16 instructions" in found.evidence) == (verdict == "doubtful")


def test_a_fallback_that_is_told_once_is_not_forgotten() -> None:
    told = [make_activity(1, fallback_ops={"aten::sort": 1}), make_activity(9, fallback_ops={})]
    assert outcome_of("fallback", result_of(activities=told)).verdict == "invalid"


def test_nothing_falls_back_on_a_device_that_counts() -> None:
    result = result_of(activities=[make_activity(1, fallback_ops={})])
    assert outcome_of("fallback", result).verdict == "sound"


@pytest.mark.parametrize("place", ["", "cpu", "cpu  float32", "cpu float32 float32"])
def test_weights_at_a_place_that_is_not_of_the_form_are_not_in_place(place: str) -> None:
    result = result_of(built=replace(BUILT, placement=[place]))
    assert outcome_of("placement", result).verdict == "invalid"
