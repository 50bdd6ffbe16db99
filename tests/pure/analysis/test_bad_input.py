"""Records that are damaged, edited or of a clock that jumped: an error, or no figure and why.

Never a traceback, never a division by zero, and never a verdict that rests on nothing.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bad_records import NUMBERS, WRONG_TYPES, edited, mutated, places
from tests.builders import PLAN_SHA256, make_measurement, make_plan
from tests.comparisons import write_launch
from trnbench.analysis.analyze import analyze
from trnbench.analysis.records import is_valid_block
from trnbench.compare.compare import compare
from trnbench.compare.gates import Terms
from trnbench.compare.launches import Launch, make_launch
from trnbench.errors import DataError, Problem
from trnbench.protocol.codec import encode
from trnbench.protocol.records import Block
from trnbench.reports import comparison as comparison_report
from trnbench.reports import render, results, text_formats
from trnbench.reports.document import Page
from trnbench.run.baselines import read_sides
from trnbench.run.results import load_result
from trnbench.run.store import read_plan
from trnbench.schema.measurement import Reading, parse_measurement
from trnbench.schema.plan import Plan
from trnbench.schema.result import Result

STORED = Path(__file__).resolve().parents[2] / "golden" / "schema"


@dataclass(frozen=True)
class Case:
    """The lines of a measurement file, and the plan that it was made by."""

    lines: list[bytes]
    plan: Plan
    plan_sha256: str

    def result_of(self, lines: Sequence[bytes]) -> Result:
        """Read and analyse changed lines."""
        return analyze(
            self.plan,
            parse_measurement(lines, "m"),
            plan_sha256=self.plan_sha256,
            run_id="r",
            measurement_bytes=1,
        )


def stored_case() -> Case:
    """Return a case that was really measured."""
    (plan,) = STORED.glob("v1/tiny-gpt2-*/plan.json")
    text = plan.read_bytes()
    lines = (plan.parent / "measurement.jsonl").read_bytes().splitlines(keepends=True)
    return Case(lines, read_plan(plan.parent), hashlib.sha256(text).hexdigest())


def whole_case() -> Case:
    """Return a case with at least one record of every kind."""
    plan = make_plan()
    measurement = make_measurement(plan)
    measurement.readings = [
        Reading(
            at_seconds=1.5 + i / 2, source="rapl", device=None, is_valid=True, note=None,
            values={"energy_joules": 20.0 * i}, flags=[],
        )
        for i in range(6)
    ]  # fmt: skip
    records = [record for name, record in measurement.records() if name != "outcome"]
    lines = [
        encode(r).encode() + b"\n" for r in (measurement.header, *records, measurement.outcome)
    ]
    return Case(lines, plan, PLAN_SHA256)


CASES = {"stored": stored_case(), "whole": whole_case()}
GOOD = CASES["whole"]


def assert_honest(case: Case, lines: Sequence[bytes]) -> Result | None:
    """Assert that lines are refused, or come to figures that can be; return those."""
    problems: Sequence[Problem] = ()
    result = None
    try:
        result = case.result_of(lines)
    except DataError as error:
        problems = error.problems
    assert all(problem.message and problem.hint for problem in problems)
    if result is None:
        return None
    assert Result.model_validate_json(result.model_dump_json()) == result
    for name, metric in result.metrics.items():
        numbers = [x for x in (metric.low, metric.value, metric.high) if x is not None]
        assert all(map(math.isfinite, numbers)), name
        assert numbers == sorted(numbers), name
        assert metric.value is not None or metric.reason, name
    if result.standing in ("sound", "doubtful"):
        assert_timed(parse_measurement(lines, "m").blocks, result)
    return result


def assert_timed(blocks: list[Block], result: Result) -> None:
    """Assert that a figure rests on three samples or more, one after the other, none impossible."""
    measured = [block for block in blocks if block.purpose == "measure"]
    assert len(measured) >= 3
    ended = 0.0
    for block in blocks:
        assert is_valid_block(block)
        assert block.at_seconds - ended >= block.seconds * (1 - 1e-5) - 1e-5
        ended = block.at_seconds
    for name in ("tokens_per_second", "step_time_mean_seconds", "step_time_median_seconds"):
        assert (result.metrics[name].value or 0.0) > 0, name
    if result.standing == "sound":
        fastest = min(block.seconds / block.steps for block in measured)
        assert fastest >= 0.5 * (result.metrics["step_time_median_seconds"].value or math.inf)
        assert sum(block.seconds for block in measured) >= 0.9 * (ended - measured[0].at_seconds)


@pytest.mark.parametrize("name", CASES)
def test_the_files_that_are_damaged_here_are_whole_before(name: str) -> None:
    result = assert_honest(CASES[name], CASES[name].lines)
    assert result is not None
    assert "invalid" not in {check.verdict for check in result.checks}
    assert result.metrics["tokens_per_second"].value is not None


@pytest.mark.parametrize("name", CASES)
def test_files_with_a_few_things_wrong_are_refused_or_told_as_they_are(name: str) -> None:
    case = CASES[name]
    seen = [assert_honest(case, mutated(case.lines, Random(seed))) for seed in range(700)]
    refused = sum(result is None for result in seen)
    assert refused > 350, "most of what goes wrong can be seen"
    standings = {result.standing for result in seen if result is not None}
    assert standings >= {"doubtful", "invalid", "failed"}


def places_of_one_of_each_kind(case: Case) -> list[tuple[int, tuple[Any, ...]]]:
    """Return each field of one record of each kind; blocks of both purposes."""
    first: dict[tuple[str, Any], int] = {}
    for at, line in enumerate(case.lines):
        document = json.loads(line)
        first[document["kind"], document.get("purpose")] = at
    return [(at, path) for at in first.values() for path in places(json.loads(case.lines[at]))]


def assert_each_field_can_hold_anything(stride: int) -> None:
    """Try every `stride`-th value in each field, all of them in turn."""
    values = (*NUMBERS, *WRONG_TYPES)
    for number, (at, path) in enumerate(places_of_one_of_each_kind(GOOD)):
        for value in values[number % stride :: stride]:
            assert_honest(GOOD, edited(GOOD.lines, at, path, value))


def test_each_field_of_each_record_can_hold_anything() -> None:
    assert_each_field_can_hold_anything(stride=6)


# --- what the issue names -------------------------------------------------------------------------


def block_lines(case: Case) -> list[int]:
    return [i for i, line in enumerate(case.lines) if b'"purpose":"measure","first_step"' in line]


def with_block(number: int, **changes: Any) -> list[bytes]:
    """Return the good file with fields of one measured block replaced."""
    lines, at = list(GOOD.lines), block_lines(GOOD)[number]
    for key, value in changes.items():
        lines = edited(lines, at, (key,), value)
    return lines


def refusal(lines: Sequence[bytes]) -> str:
    with pytest.raises(DataError) as caught:
        GOOD.result_of(lines)
    (problem,) = caught.value.problems
    assert problem.hint
    return problem.message


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "1 steps from step 30 took 0 s"),
        (-0.05, "took -0.05 s"),
        (1e-300, "took 1e-300 s"),
        (1e9, "took 1e+09 s"),
        (float("nan"), "seconds: 'nan' is not float"),
        (float("inf"), "seconds: 'inf' is not float"),
        (None, "seconds: 'None' is not float"),
        ("0.05", "seconds: '0.05' is not float"),
        (True, "seconds: 'True' is not float"),
        (5.0, "step 30 took 5.00005 s and was over at"),
    ],
)
def test_a_time_that_cannot_be_is_refused_by_its_step_or_line(seconds: Any, said: str) -> None:
    assert said in refusal(with_block(22, seconds=seconds))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"at_seconds": 0.5}, "step 30 is recorded at 0.5 s, before step 29"),
        ({"at_seconds": 1e7}, "step 31 is recorded at"),
        ({"at_seconds": -1.0}, "is recorded at -1 s"),
        ({"prepare_seconds": 3.0}, "step 30 took 3.05"),
        ({"event_seconds": -0.05}, "took -0.05 s on the device"),
        ({"rank_seconds": [0.05, 0.0]}, "rank 1 took 0 s"),
        ({"steps": 0}, "has not one loss and one gradient for each of the 0 steps"),
        ({"steps": 2}, "for each of the 2 steps"),
        ({"first_step": 3}, "step 3 follows step 29"),
        ({"losses": []}, "has not one loss"),
        ({"losses": [1e31]}, "a loss of 1e+31"),
        ({"oracle_losses": [-0.1]}, "a loss below 0 was possible"),
    ],
)
def test_a_clock_that_jumped_and_an_edited_block_are_refused(
    changes: dict[str, Any], said: str
) -> None:
    assert said in refusal(with_block(22, **changes))


def test_a_clock_that_jumped_forward_is_time_that_no_block_accounts_for() -> None:
    at = block_lines(GOOD)
    lines = list(GOOD.lines)
    for place in at[30:]:
        later = json.loads(lines[place])["at_seconds"] + 3600
        lines = edited(lines, place, ("at_seconds",), later)
    result = assert_honest(GOOD, lines)
    assert result is not None
    (told,) = [check for check in result.checks if check.name == "accounted_time"]
    assert told.verdict == "doubtful"
    assert "cover 0% of" in told.evidence


def test_a_clock_that_stood_still_for_a_step_is_a_doubt() -> None:
    result = assert_honest(GOOD, with_block(22, seconds=1e-6))
    assert result is not None
    assert result.standing == "doubtful"
    (told,) = [check for check in result.checks if check.name == "tail"]
    assert "the shortest took 1" in told.evidence


def test_a_loss_below_zero_is_training_gone_wrong() -> None:
    result = assert_honest(GOOD, with_block(22, losses=[-0.5]))
    assert result is not None
    (told,) = [check for check in result.checks if check.name == "finite"]
    assert (told.verdict, result.standing) == ("invalid", "invalid")


def test_nothing_and_a_newer_file_are_refused() -> None:
    assert refusal([]) == "m: is empty"
    assert refusal([b""]).startswith("m, line 1: not a line of JSON")
    assert "has format 99" in refusal(edited(GOOD.lines, 0, ("schema_version",), 99))
    assert "has format 0, and the first" in refusal(edited(GOOD.lines, 0, ("schema_version",), 0))
    assert "a second header" in refusal([*GOOD.lines, GOOD.lines[0]])


@pytest.mark.parametrize("count", [0, 1, 2])
def test_one_step_or_none_comes_to_no_figure_and_no_standing(count: int) -> None:
    last = block_lines(GOOD)[count]
    result = assert_honest(GOOD, GOOD.lines[:last])
    assert result is not None
    assert result.standing == "failed"
    speed = result.metrics["tokens_per_second"]
    assert speed.value is None
    assert speed.reason


def test_a_file_cut_anywhere_is_never_taken_for_a_finished_one() -> None:
    text = b"".join(GOOD.lines)
    for end in range(0, len(text) - 2, 211):
        result = assert_honest(GOOD, text[:end].splitlines(keepends=True))
        if result is not None:
            assert result.standing in ("failed", "doubtful", "invalid")


@pytest.mark.parametrize(
    ("kind", "path", "value", "said"),
    [
        ("memory", ("peak_bytes",), -1, "'memory' whose peak_bytes cannot be"),
        ("memory", ("peak_bytes",), 10**400, "'memory' whose peak_bytes cannot be"),
        ("movement", ("steps",), 10**400, "'movement' whose steps cannot be"),
        ("movement", ("least",), 0.9, "a least movement of 0.9, above the most"),
        ("movement", ("most",), -0.5, "a distance of -0.5"),
        ("parity", ("points", 0, "worst_distance"), -1e-9, "a distance of -1e-09"),
        ("parity", ("points", 0, "least_cosine"), 1.5, "a cosine of 1.5"),
        ("watch", ("foreign_cpu_share",), -0.2, "others used -20% of the processors"),
        ("watch", ("foreign_cpu_share",), 1.2, "others used 120% of the processors"),
        ("ceiling", ("points", 0, "flops_per_second"), [], "a ceiling without a rate"),
        ("ceiling", ("points", 0, "flops_per_second"), [0.0], "a ceiling of 0 FLOP/s"),
        ("outcome", ("at_seconds",), 1e9, "at_seconds is 1e+09"),
        ("environment", ("device_name",), "\ud800", "device_name"),
        ("decision", ("value",), 7, "ended after 7 samples and holds 60"),
    ],
)
def test_a_record_that_no_run_writes_is_refused(
    kind: str, path: tuple[Any, ...], value: Any, said: str
) -> None:
    (at,) = [i for i, line in enumerate(GOOD.lines) if json.loads(line)["kind"] == kind]
    assert said in refusal(edited(GOOD.lines, at, path, value))


def energies(values: Sequence[float]) -> Result:
    measurement = make_measurement(GOOD.plan)
    measurement.readings = [
        Reading(
            at_seconds=1.5 + i / 2, source="rapl", device=None, is_valid=True, note=None,
            values={"energy_joules": value}, flags=[],
        )
        for i, value in enumerate(values)
    ]  # fmt: skip
    return analyze(GOOD.plan, measurement, plan_sha256=PLAN_SHA256, run_id="r", measurement_bytes=1)


def test_a_counter_of_energy_that_jumped_gives_no_energy_and_the_reason() -> None:
    good = energies([20.0 * i for i in range(6)]).energy
    assert good is not None
    assert good.mean_power_watts == pytest.approx(40.0)
    for values, said in (
        ([0.0, 20.0, 40.0, 60.0, 80.0, 1e300], "which no device draws"),
        ([0.0, 20.0, 400.0, 60.0, 80.0, 100.0], "went backwards"),
        ([100.0, 80.0, 60.0, 40.0, 20.0, 0.0], "too few readings"),
        ([1e308, -1e308], "too few readings"),
        ([-1e308, 1e308], "which no device draws"),
        ([5.0], "too few readings"),
    ):
        found = energies(values).energy
        assert found is not None
        assert not found.is_valid
        assert said in (found.reason or "")


# --- any times at all -----------------------------------------------------------------------------

SECONDS = st.one_of(
    st.floats(1e-9, 1e8), st.floats(0.01, 1.0), st.sampled_from([0.0, -1.0, 1e-300, 1e300, 5e-324])
)


@given(st.lists(SECONDS, max_size=60), st.integers(1, 3), st.floats(0, 1e4))
def test_any_times_are_refused_or_come_to_figures_that_can_be(
    times: list[float], steps: int, gap: float
) -> None:
    lines = [line for line in GOOD.lines if json.loads(line)["kind"] not in ("block", "decision")]
    at = 1.0
    for number, seconds in enumerate(times):
        at += gap + abs(seconds)
        block = Block(
            at_seconds=at, purpose="measure", first_step=number * steps, steps=steps,
            seconds=seconds, prepare_seconds=0.0, losses=[1.0] * steps,
            gradient_norms=[1.0] * steps, oracle_losses=[0.7] * steps,
        )  # fmt: skip
        lines.append(encode(block).encode() + b"\n")
    result = assert_honest(GOOD, lines)
    if any(seconds < 1e-9 for seconds in times):
        assert result is None
    if result is not None and len(times) < 3:
        assert result.standing in ("failed", "invalid")


@given(st.binary(max_size=400))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(DataError):
        parse_measurement(data.splitlines(keepends=True), "m")


# --- comparisons and reports ----------------------------------------------------------------------


def launch_of(result: Result, lines: Sequence[bytes], number: int) -> Launch:
    return make_launch(result, GOOD.plan, parse_measurement(lines, "m"), digest=str(number))


def test_what_can_be_read_can_be_compared_and_reported_in_every_format() -> None:
    base = [launch_of(GOOD.result_of(GOOD.lines), GOOD.lines, -1)]
    told = 0
    for seed in range(2000, 2150):
        lines = mutated(GOOD.lines, Random(seed))
        result = assert_honest(GOOD, lines)
        if result is None:
            continue
        told += 1
        for name in text_formats():
            assert result.standing in render(results.REPORT, [result], name, Page())
        launch = launch_of(result, lines, seed)
        comparison = compare(base, [launch], Terms())
        for name in text_formats("comparison"):
            assert render(comparison_report.REPORT, comparison, name, Page())
        if not launch.is_usable:
            found = [metric for case in comparison.cases for metric in case.metrics]
            assert {metric.verdict for metric in found} <= {"cannot_tell"}, seed
            assert all(metric.ratio.value is None for metric in found), seed
    assert told > 20


def test_files_that_went_wrong_are_refused_or_read_by_compare(tmp_path: Path) -> None:
    base = write_launch(tmp_path / "base")
    cand = write_launch(tmp_path / "cand", number=20)
    path = cand / "measurement.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    refused = 0
    for seed in range(60):
        path.write_bytes(b"".join(mutated(lines, Random(seed))))
        try:
            sides = read_sides([str(base)], [str(cand)])
        except DataError:
            refused += 1
            continue
        compare(*sides, Terms())
    assert refused > 20


@pytest.mark.parametrize("content", [b"", b"\x00" * 50, b"{", b"[]", b"null", b'{"metrics": 1}'])
def test_a_result_that_is_none_is_refused_without_its_records(
    tmp_path: Path, content: bytes
) -> None:
    case = write_launch(tmp_path / "run")
    (case / "measurement.jsonl").unlink()
    (case / "result.json").write_bytes(content)
    with pytest.raises(DataError, match=r"result\.json"):
        load_result(case)
