"""What was compiled is told apart: made, found, some of each, nothing, failed, not known."""

from typing import Any

import pytest

from tests.builders import make_activity, make_measurement, make_plan, make_result
from trnbench.analysis.case import summarize_compilation
from trnbench.reports.results import notes_of
from trnbench.schema.result import Result, ResultCompilation


def summarize(status: Any = "finished", **changes: Any) -> ResultCompilation:
    outcome = make_measurement(status=status).outcome
    assert outcome is not None
    return summarize_compilation(make_plan(), [make_activity(8, **changes)], outcome)


@pytest.mark.parametrize(
    ("counts", "cache"),
    [
        ({"graphs": 0, "compilations": 0, "cache_hits": 0}, "none"),
        ({"graphs": 2, "compilations": 2, "cache_hits": 0}, "cold"),
        ({"graphs": 2, "compilations": 1, "cache_hits": 1}, "mixed"),
        ({"graphs": 2, "compilations": 0, "cache_hits": 2}, "cached"),
        ({"graphs": 2, "compilations": 0, "cache_hits": None}, "cached"),
        ({"graphs": 2, "compilations": 5, "cache_hits": None}, "cold"),
        ({"graphs": 2, "compilations": None, "cache_hits": None}, "unknown"),
    ],
)
def test_where_programs_came_from_is_told_by_their_counts(counts: Any, cache: str) -> None:
    assert summarize(**counts).cache == cache


def test_a_compiler_that_gave_up_is_failed_whatever_was_counted_before() -> None:
    assert summarize("compile_failure", graphs=2, compilations=1).cache == "failed"


def test_a_case_that_told_nothing_is_unknown() -> None:
    outcome = make_measurement().outcome
    assert outcome is not None
    found = summarize_compilation(make_plan(), [], outcome)
    assert (found.cache, found.graphs, found.seconds_per_program) == ("unknown", None, ())


def result_of(**changes: Any) -> Result:
    plan = make_plan({"workload.execution": "compile"})
    measurement = make_measurement(plan)
    measurement.activities.append(make_activity(8, graphs=2, compilations=2, **changes))
    return make_result(plan, measurement)


def test_seconds_are_summed_and_a_compiler_that_does_not_tell_gives_a_reason() -> None:
    told = result_of(compile_seconds=[1.5, 2.0])
    assert told.metrics["compile_seconds"].value == 3.5
    assert told.compilation is not None
    assert told.compilation.seconds_per_program == (1.5, 2.0)
    silent = result_of().metrics["compile_seconds"]
    assert silent.value is None
    assert "does not report" in (silent.reason or "")


def test_a_compiled_case_says_so_beside_its_figures() -> None:
    (note,) = [n for n in notes_of([result_of(compile_seconds=[1.5, 2.0])]) if "compile" in n]
    assert note == "compile cache cold: 2 graphs, 2 programs made, 0 found; 3.5 s in all"
