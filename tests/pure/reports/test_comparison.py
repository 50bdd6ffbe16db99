"""What every format promises: read by its reader, and not steered by what it shows."""

import csv
import dataclasses
import io
import json
import math
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import junitparser
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from rich.cells import cell_len

from tests.comparisons import base_side, cand_side
from tests.pure.reports.comparisons import rich, slower
from tests.pure.reports.consumers import BMF, CUSTOM_BENCHMARKS
from trnbench.compare.compare import compare
from trnbench.compare.gates import Terms
from trnbench.compare.metrics import COMPARABLES
from trnbench.reports import ci, render, text_formats
from trnbench.reports.columns import COMPARISON_COLUMNS, describe_columns
from trnbench.reports.comparison import REPORT, say_value, say_verdict, summary_of
from trnbench.reports.document import Page
from trnbench.schema.comparison import Comparison, Difference, GateOutcome
from trnbench.schema.result import Validity

PAGE = Page(width=160)
SLOWER, RICH = slower(), rich()
EMPTY = SLOWER.model_copy(update={"cases": (), "gates": ()})
ROOT = Path(__file__).resolve().parents[3]

HOSTILE = st.text(
    st.sampled_from(
        [*'=+-@|`*_[]<>&$~\\{}" \t\r\nab', "\x1b", "\x07", "\u202e", "\u2028", "\uff1d", "\uffff"]
    ),
    min_size=1,
    max_size=20,
)


def write(form: str, comparison: Comparison, page: Page = PAGE) -> str:
    return render(REPORT, comparison, form, page)


def hostile(text: str) -> Comparison:
    """Return a comparison whose every free text is this one."""
    case = SLOWER.cases[0]
    sides = {
        name: getattr(case, name).model_copy(
            update={"device": text, "instance": text, "versions": {"torch": text}}
        )
        for name in ("base", "cand")
    }
    spoilt = case.model_copy(
        update={
            **sides,
            "name": text,
            "notes": (text,),
            "differences": (Difference(key=text, base=text, cand=text, kind="setup"),),
            "metrics": tuple(
                metric.model_copy(update={"reason": text, "verdict": "cannot_tell"})
                for metric in case.metrics
            ),
        }
    )
    gates = tuple(
        gate.model_copy(update={"case": text, "evidence": text, "advice": text, "gate": text})
        for gate in SLOWER.gates[:1]
    )
    return SLOWER.model_copy(
        update={"cases": (spoilt,), "gates": gates, "notes": (text,), "base": (text,)}
    )


def with_states(states: Sequence[str]) -> Comparison:
    gates = tuple(
        SLOWER.gates[0].model_copy(update={"state": state, "gate": f"mfu > -{number}%"})
        for number, state in enumerate(states)
    )
    return SLOWER.model_copy(update={"gates": gates})


@pytest.mark.parametrize("name", sorted(text_formats("comparison")))
def test_no_cases_is_a_report_too(name: str) -> None:
    assert write(name, EMPTY, PAGE).endswith("\n")


# --- for people -----------------------------------------------------------------------------------


@given(HOSTILE, st.integers(20, 220))
def test_no_text_steers_the_terminal(text: str, width: int) -> None:
    written = write("terminal", hostile(text), Page(width=width))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202a-\u202e]", written)


@pytest.mark.parametrize("width", [80, 100, 120, 160, 250])
@pytest.mark.parametrize("comparison", [SLOWER, RICH])
def test_no_line_is_wider_than_the_page(comparison: Comparison, width: int) -> None:
    written = write("terminal", comparison, Page(width=width))
    assert max(cell_len(line) for line in written.splitlines()) <= width


def test_doubts_stand_beside_the_launches_and_the_gates() -> None:
    case = SLOWER.cases[0]
    doubted = tuple(
        one.model_copy(update={"standing": "doubtful"}) for one in case.cand.launches[:2]
    )
    side = case.cand.model_copy(update={"launches": (*doubted, *case.cand.launches[2:])})
    gates = tuple(gate.model_copy(update={"doubts": ("drift",)}) for gate in SLOWER.gates)
    comparison = SLOWER.model_copy(
        update={"cases": (case.model_copy(update={"cand": side}),), "gates": gates}
    )
    for name in ("terminal", "markdown", "github"):
        written = write(name, comparison, PAGE)
        assert "6 launches (2 doubtful)" in written
        assert "(doubtful: drift)" in written
    assert "(doubtful: drift)" in write("junit", comparison, PAGE)


def of_standing(standing: Validity) -> Comparison:
    """Return a comparison in which one check of CAND's launches came out so."""
    verdict = {"doubtful": "doubtful", "invalid": "invalid"}.get(standing, "sound")
    launches = []
    for one in cand_side():
        checks = tuple(
            check.model_copy(update={"verdict": verdict, "evidence": "as it was seen"})
            if check.name == "learning"
            else check
            for check in one.result.checks
        )
        update = {"standing": standing, "checks": checks}
        launches.append(dataclasses.replace(one, result=one.result.model_copy(update=update)))
    return compare(base_side(), launches, Terms())


@pytest.mark.parametrize("name", sorted(text_formats("comparison")))
def test_sound_doubtful_and_invalid_are_three_states_in_every_format(name: str) -> None:
    standings: tuple[Validity, ...] = ("sound", "doubtful", "invalid")
    texts = [write(name, of_standing(standing), PAGE) for standing in standings]
    assert len(set(texts)) == 3
    assert "doubtful" in texts[1]
    if name not in ("github-action-benchmark", "bmf", "openmetrics"):  # they hold figures alone
        assert "learning" in texts[2]


def test_trackers_count_the_launches_of_each_state() -> None:
    counts: dict[Validity, tuple[int, int]] = {
        "sound": (0, 0), "doubtful": (6, 0), "invalid": (0, 6),
    }  # fmt: skip
    for standing, (doubtful, unusable) in counts.items():
        comparison = of_standing(standing)
        ((_, measures),) = json.loads(write("bmf", comparison, PAGE)).items()
        assert measures["doubtful_launches"] == {"value": doubtful}
        assert measures["unusable_launches"] == {"value": unusable}
        text = write("openmetrics", comparison, PAGE)
        labels = f'side="cand",standing="{standing}"'
        assert f"{labels}}} 6.0" in text
        entries = json.loads(write("github-action-benchmark", comparison, PAGE))
        assert bool(entries) == (standing != "invalid")
        assert all(("(doubtful)" in e["extra"]) == (standing == "doubtful") for e in entries)


def test_colour_is_put_on_a_terminal_alone() -> None:
    assert "\x1b[31m" in write("terminal", SLOWER, Page(width=80, is_coloured=True))
    assert "\x1b[" not in write("terminal", SLOWER, Page(width=80))


@given(HOSTILE)
def test_no_text_breaks_the_markdown(text: str) -> None:
    for name in ("markdown", "github"):
        written = write(name, hostile(text), PAGE)
        for line in written.split("\n"):
            if line.startswith("|"):
                assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) in (4, 7), line
        tags = set(re.findall(r"<[^>]*>", written))
        assert tags <= {"<details>", "</details>", "<summary>", "</summary>"}


def test_the_step_summary_says_first_what_was_decided() -> None:
    written = write("github", SLOWER, PAGE)
    assert written.startswith("## trnbench compare: 4 gates: 2 passed, 2 FAILED\n")
    assert written.count("<details>") == written.count("</details>") == 2


def test_a_step_summary_stays_below_what_github_shows() -> None:
    many = SLOWER.model_copy(update={"cases": SLOWER.cases * 1000})
    written = write("github", many, PAGE)
    assert len(written.encode()) < 1024 * 1024
    assert ci.SHORTENED in written


@pytest.mark.parametrize(
    ("ratio", "verdict", "said"),
    [
        (1.021, "better", "better by 2.1 %"),
        (0.5, "worse", "worse by 50.0 %"),
        (5.3, "better", "better, 5.3 x"),
        (0.1, "worse", "worse, 10 x"),
        (1.001, "same", "same"),
        (1.001, "cannot_tell", "cannot tell"),
        (None, "cannot_tell", "cannot tell"),
    ],
)
def test_a_verdict_is_said_with_the_size_of_the_change(
    ratio: float | None, verdict: str, said: str
) -> None:
    metric = SLOWER.cases[0].metrics[0]
    changed = metric.ratio.model_copy(update={"value": ratio})
    assert say_verdict(metric.model_copy(update={"ratio": changed, "verdict": verdict})) == said


@pytest.mark.parametrize(
    ("value", "said"), [(1.5, "1.5 s"), (0.05113, "51.13 ms"), (0.00004567, "45.67 µs")]
)
def test_times_keep_four_digits(value: float, said: str) -> None:
    assert say_value("step_time_median_seconds", value) == said


def test_a_job_of_several_instances_says_how_many_are_paid() -> None:
    case = SLOWER.cases[0]
    side = case.cand.model_copy(update={"instances_billed": 4})
    comparison = SLOWER.model_copy(update={"cases": (case.model_copy(update={"cand": side}),)})
    assert "$3.6/h x 4 (user 2026-08-01)" in write("terminal", comparison, PAGE)


# --- for programs ---------------------------------------------------------------------------------


def test_json_is_the_record_and_is_read_back() -> None:
    for comparison in (SLOWER, RICH):
        text = write("json", comparison, PAGE)
        assert Comparison.model_validate_json(text) == comparison


@given(HOSTILE)
def test_no_text_steers_what_shows_the_json_and_none_is_lost(text: str) -> None:
    written = write("json", hostile(text), PAGE)
    steering = {c for c in written if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert steering == {"\n"}
    assert json.loads(written)["cases"][0]["name"] == text


@given(HOSTILE)
def test_no_cell_of_the_csv_starts_a_formula(text: str) -> None:
    written = write("csv", hostile(text), PAGE)
    for cells in csv.DictReader(io.StringIO(written)):
        for name in ("case", "verdict_reason", "notes", "differences"):
            assert not cells[name].lstrip().startswith(("=", "+", "-", "@", "\uff1d")), name


def test_the_columns_stand_in_the_page_that_explains_them() -> None:
    assert describe_columns(COMPARISON_COLUMNS) in (ROOT / "docs" / "compare.md").read_text()


# --- JUnit ----------------------------------------------------------------------------------------


def read_junit(comparison: Comparison) -> Any:
    return junitparser.JUnitXml.fromstring(write("junit", comparison, PAGE).encode())


def test_a_junit_reader_sees_what_became_of_each_gate() -> None:
    read = read_junit(with_states(["passed", "failed", "undecided", "not_judged"]))
    assert (read.tests, read.failures, read.errors) == (10, 1, 1)
    (suite,) = read
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (10, 1, 1, 1)
    kinds = [type(test.result[0]).__name__ if test.result else "passed" for test in suite][:4]
    assert kinds == ["passed", "Failure", "Skipped", "Error"]
    assert "-2.12 %" in list(suite)[1].result[0].message


def test_a_metric_that_is_worse_fails_no_test_of_its_own() -> None:
    read = read_junit(SLOWER.model_copy(update={"gates": ()}))
    assert (read.tests, read.failures, read.errors) == (6, 0, 0)


def test_every_case_is_a_suite_and_so_is_one_that_is_gone() -> None:
    names = [suite.name for suite in read_junit(RICH)]
    assert names == [
        "tiny-gpt2 (790k) 8x128 bf16", "tiny-llama (894k) 8x64 fp32", "tiny-llama (894k) 2x128 fp32"
    ]  # fmt: skip


def test_the_document_has_the_elements_and_attributes_of_the_schema() -> None:
    """Source: Jenkins' xUnit plugin, `junit-10.xsd` (read 2026-11), in our words."""
    allowed = {
        "testsuites": {"name", "time", "tests", "failures", "errors", "disabled"},
        "testsuite": {
            "name", "tests", "failures", "errors", "time", "disabled", "skipped", "timestamp",
            "hostname", "id", "package",
        },
        "testcase": {"name", "assertions", "time", "classname", "status"},
        "failure": {"type", "message"},
        "error": {"type", "message"},
        "skipped": {"message"},
        "system-out": set(),
        "properties": set(),
        "property": {"name", "value"},
    }  # fmt: skip
    for comparison in (SLOWER, RICH, with_states(["undecided", "not_judged"])):
        text = write("junit", comparison, PAGE)
        for element in ElementTree.fromstring(text).iter():
            assert set(element.attrib) <= allowed[element.tag]
            if element.tag in ("testsuite", "testcase"):
                assert element.get("name")


@given(HOSTILE)
def test_no_text_breaks_the_xml(text: str) -> None:
    assert len(list(read_junit(hostile(text)))) == 1


# --- trackers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("comparison", [SLOWER, RICH, EMPTY])
def test_bencher_reads_its_format(comparison: Comparison) -> None:
    document = json.loads(write("bmf", comparison, PAGE))
    jsonschema.validate(document, BMF)
    for measures in document.values():
        for metric in measures.values():
            assert metric.get("lower_value", 0) <= metric["value"]
            assert metric["value"] <= metric.get("upper_value", math.inf)


def test_bencher_is_given_the_figures_of_cand() -> None:
    document = json.loads(write("bmf", SLOWER, PAGE))
    ((name, measures),) = document.items()
    assert name == SLOWER.cases[0].name
    assert measures["tokens_per_second"]["value"] == SLOWER.cases[0].metrics[0].cand.value
    assert "compile_seconds" not in measures


@pytest.mark.parametrize("comparison", [SLOWER, RICH, EMPTY])
def test_github_action_benchmark_reads_its_format(comparison: Comparison) -> None:
    entries = json.loads(write("github-action-benchmark", comparison, PAGE))
    jsonschema.validate(entries, CUSTOM_BENCHMARKS)
    names = [entry["name"] for entry in entries]
    assert len(set(names)) == len(names)


def test_github_action_benchmark_is_given_what_is_better_smaller() -> None:
    entries = json.loads(write("github-action-benchmark", SLOWER, PAGE))
    kinds = {entry["name"].rpartition(": ")[2] for entry in entries}
    assert "step_time_median_seconds" in kinds
    assert all(COMPARABLES[kind].better == "lower" for kind in kinds)


# --- OpenMetrics ----------------------------------------------------------------------------------


def families(comparison: Comparison) -> dict[str, Any]:
    text = write("openmetrics", comparison, PAGE)
    return {family.name: family for family in text_string_to_metric_families(text)}


@pytest.mark.parametrize("comparison", [SLOWER, RICH, EMPTY])
def test_the_parser_of_prometheus_reads_every_family(comparison: Comparison) -> None:
    found = families(comparison)
    assert found["trnbench_comparison"].type == "info"
    for name, family in found.items():
        assert family.documentation, name
        assert family.type in ("gauge", "info", "stateset")


def test_the_figures_of_both_sides_are_there_with_their_units() -> None:
    found = families(SLOWER)
    assert found["trnbench_step_time_median_seconds"].unit == "seconds"
    assert found["trnbench_peak_memory_bytes"].unit == "bytes"
    samples = found["trnbench_tokens_per_second"].samples
    shown = {(s.labels["side"], s.labels["estimate"]): s.value for s in samples}
    speed = SLOWER.cases[0].metrics[0]
    assert shown["cand", "value"] == speed.cand.value
    assert shown["base", "ci95_low"] == speed.base.low


def test_exactly_one_state_holds_of_each_gate_and_verdict() -> None:
    for comparison in (SLOWER, RICH):
        found = families(comparison)
        for name in ("trnbench_gate", "trnbench_verdict"):
            held: dict[tuple[str, ...], float] = {}
            for sample in found[name].samples:
                key = tuple(v for k, v in sorted(sample.labels.items()) if k != name)
                held[key] = held.get(key, 0) + sample.value
            assert set(held.values()) == {1.0}


def test_a_gate_that_is_written_twice_is_one_series() -> None:
    gate: GateOutcome = SLOWER.gates[0]
    twice = SLOWER.model_copy(update={"gates": (gate, gate)})
    assert len(families(twice)["trnbench_gate"].samples) == 4


@given(HOSTILE)
def test_no_text_breaks_the_exposition(text: str) -> None:
    assert "trnbench_verdict" in families(hostile(text))


def test_one_case_is_not_written_as_several() -> None:
    one = SLOWER.model_copy(update={"cases": SLOWER.cases[:1], "gates": ()})
    figures = len(one.cases[0].metrics)
    assert summary_of(one).startswith(f"{figures} figures of 1 case: ")
