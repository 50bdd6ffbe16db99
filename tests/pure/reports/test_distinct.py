"""What tells the rows of one table apart."""

from typing import Any

from tests.builders import make_measurement, make_plan, make_result
from trnbench.reports import render
from trnbench.reports.distinct import differences
from trnbench.reports.document import Cell, Page
from trnbench.reports.results import REPORT, device_cell, model_cell
from trnbench.reports.texts import RATE, number_notes, say_margin, say_numbers
from trnbench.schema.result import Result


def result(changes: dict[str, Any] | None = None, **updates: Any) -> Result:
    plan = make_plan(changes or {})
    return make_result(plan, make_measurement(plan)).model_copy(update=updates)


def found(*results: Result) -> dict[str, list[str]]:
    names = [(model_cell(each), device_cell(each)) for each in results]
    return {each.heading: [*each.cells] for each in differences(results, names)}


def test_a_swept_key_is_a_column_where_rows_of_one_name_differ_in_it() -> None:
    one = result({"workload.activation_checkpointing": "none"})
    other = result({"workload.activation_checkpointing": "full"})
    assert found(one, other) == {"recompute": ["none", "full"]}
    assert (
        found(one, one.model_copy(update={"model": other.model.model_copy(update={"name": "x"})}))
        == {}
    )


def test_the_execution_and_the_run_are_columns_wherever_they_differ() -> None:
    one = result({"workload.execution": "eager"}, run_id="a")
    other = result({"workload.execution": "compile", "model": "tiny-gpt2"}, run_id="b")
    assert found(one, other)["run"] == ["a", "b"]
    assert found(one, other)["execution"] == ["eager", "compile"]


def test_rows_that_look_the_same_have_their_time_and_then_their_case() -> None:
    one = result(started_at="2026-11-23T10:00:00+00:00")
    later = one.model_copy(update={"started_at": "2026-11-23T11:00:00+00:00"})
    assert found(one, later) == {"started": ["2026-11-23 10:00", "2026-11-23 11:00"]}
    again = one.model_copy(update={"case_id": "another"})
    assert found(one, again) == {"case": [one.case_id, "another"]}
    assert found(one, one) == {}


def test_no_two_rows_look_the_same_at_any_width() -> None:
    results = [result(run_id=run) for run in ("monday", "tuesday")]
    for width in (40, 80, 120, 200):
        text = render(REPORT, results, "terminal", Page(width=width))
        assert text.count("monday") == text.count("tuesday") == 1
    assert render(REPORT, results, "markdown", Page()).startswith("| run | model | device |")


def test_notes_of_some_rows_have_numbers_and_come_first() -> None:
    notes = number_notes(
        [("all", 0), ("some", 0), ("all", 1), ("other", 1), ("some", 2), ("all", 2)], 3
    )
    assert notes.texts == ["some", "other", "all"]
    assert (notes.numbered, notes.marks) == (2, ["1", "2", "1"])
    assert number_notes([("one", 0)], 1).numbered == 0


def test_numbers_are_joined_to_runs() -> None:
    assert say_numbers([1, 3, 4, 5, 8]) == "1,3-5,8"
    assert say_numbers([]) == ""


def test_a_margin_is_the_farther_end() -> None:
    assert say_margin(1000.0, 980.0, 1030.0, RATE) == "1,000 ±3.0 %"
    assert say_margin(1000.0, None, None, RATE, without=" ±?") == "1,000 ±?"
    assert say_margin(None, None, None, RATE) == "—"


def test_a_narrow_table_keeps_the_verdicts_colour_and_names_what_it_leaves_out() -> None:
    table, _ = REPORT.document([result(), result(run_id="b")], Page()).parts
    narrow = table.narrow  # type: ignore[union-attr]
    assert narrow is not None
    assert narrow.narrow is not None
    last = narrow.narrow.rows[0][-1]
    assert isinstance(last, Cell)
    assert last.style == "good"
    assert "step time, peak memory, price" in (narrow.narrow.notes or [""])[0]
