"""What every format promises: readable by its readers, and not steered by what it shows."""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.builders import make_plan, make_result, three_results
from trnbench.reports import plans, render, text_formats
from trnbench.reports.columns import COLUMNS, row
from trnbench.reports.document import Page
from trnbench.reports.results import REPORT
from trnbench.schema.result import MetricValue, Result, Validity

PAGE = Page(width=200)
SAMPLE = make_result()

HOSTILE = st.text(
    st.sampled_from(
        [*"=+-@|`*_[]<>&$~\\ \t\r\nab", "\x1b", "\x07", "\u202e", "\u2028", "\uff1d", "\uff20"]
    ),
    min_size=1,
    max_size=20,
)


def write(name: str, results: Sequence[Result], page: Page) -> str:
    return render(REPORT, results, name, page)


def hostile(text: str) -> Result:
    """Return a result whose every free text is this one."""
    model = SAMPLE.model.model_copy(update={"name": text})
    outcome = SAMPLE.outcome.model_copy(update={"status": "died", "reason": text, "hint": text})
    checks = tuple(
        check.model_copy(update={"verdict": "doubtful", "evidence": text, "advice": text})
        for check in SAMPLE.checks
    )
    assert SAMPLE.environment is not None
    environment = replace(SAMPLE.environment, device_name=text)
    return SAMPLE.model_copy(
        update={
            "suite": text, "model": model, "outcome": outcome, "checks": checks,
            "environment": environment, "run_id": text, "price": None, "price_reason": text,
            "standing": "doubtful",
        }
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted(text_formats()))
def test_each_standing_is_a_word_of_its_own_in_every_format(name: str) -> None:
    standings: tuple[Validity, ...] = ("sound", "doubtful", "invalid", "failed")
    texts = {
        standing: write(name, [SAMPLE.model_copy(update={"standing": standing})], PAGE)
        for standing in standings
    }
    assert len(set(texts.values())) == 4
    for standing, text in texts.items():
        assert re.search(rf"\b{standing}\b", text), text
        others = {other for other in standings if other != standing and name != "json"}
        assert not [other for other in others if re.search(rf"\b{other}\b", text)]


def test_column_names_are_stable_words_and_stand_once() -> None:
    names = [column.name for column in COLUMNS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)
    assert all(column.meaning for column in COLUMNS)


def test_json_has_the_columns_the_checks_and_every_reason() -> None:
    poor = make_result(price=None, price_reason="no rate is known")
    (result,) = json.loads(write("json", [poor], PAGE))["results"]
    assert {column.name for column in COLUMNS} < set(result)
    assert len(result["checks"]) == len(SAMPLE.checks)
    assert {name: result[name] for name in row(poor)} == row(poor)


def test_json_writes_null_and_never_a_number_that_is_none() -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = write("json", three_results(), PAGE)
    failed = json.loads(text, parse_constant=refuse)["results"][2]
    assert failed["tokens_per_second"] is None
    assert failed["reasons"]["tokens_per_second"] == "the worker came to out_of_memory"
    endless = SAMPLE.learning.model_copy(update={"final_loss": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write("json", [SAMPLE.model_copy(update={"learning": endless})], PAGE)


def test_a_job_of_many_devices_says_how_many() -> None:
    assert SAMPLE.environment is not None
    environment = replace(
        SAMPLE.environment, device_name="NVIDIA H200", device_count=8, threads=None
    )
    of_eight = SAMPLE.model_copy(update={"environment": environment})
    assert "| 8 x NVIDIA H200 |" in write("markdown", [of_eight], PAGE)


def test_plans_are_one_json_document_with_every_number() -> None:
    plan = make_plan()
    (document,) = json.loads(render(plans.REPORT, [plan], "json", PAGE))["plans"]
    assert document == plan.model_dump(mode="json")
    assert document["prediction"]["flops_per_token"]["matmul-causal-v1"] == 3_981_312


def test_a_metric_of_another_version_is_empty_and_not_an_error() -> None:
    metrics = {k: v for k, v in SAMPLE.metrics.items() if k != "stall_share"}
    old = SAMPLE.model_copy(update={"metrics": metrics})
    assert row(old)["stall_share"] is None


@pytest.mark.parametrize("name", sorted(text_formats()))
def test_no_results_is_a_report_too(name: str) -> None:
    text = write(name, [], PAGE)
    assert text.endswith("\n")
    assert "Traceback" not in text


def unbounded() -> Result:
    """Return a result whose step times were too wild for one of their bounds."""
    metrics = {
        **SAMPLE.metrics,
        "tokens_per_second": MetricValue(value=20_480.0, low=2000.0, high=None),
        "step_time_mean_seconds": MetricValue(value=0.05, low=None, high=0.5),
        "usd_per_million_tokens": MetricValue(value=0.048832, low=None, high=0.5),
    }
    return SAMPLE.model_copy(update={"metrics": metrics})


@pytest.mark.parametrize("name", ["terminal", "markdown"])
def test_a_figure_without_a_bound_keeps_its_unit_and_says_so(name: str) -> None:
    text = write(name, [unbounded()], PAGE).replace("\\", "")
    assert " 20,480 [no interval] " in text
    assert " 50 ms [no interval] " in text
    assert " $0.04883 [no interval] " in text


@pytest.mark.parametrize("name", ["csv", "json"])
def test_a_figure_without_a_bound_has_an_unknown_bound(name: str) -> None:
    text = write(name, [unbounded()], PAGE)
    if name == "csv":
        (cells,) = csv.DictReader(io.StringIO(text))
        assert cells["tokens_per_second_ci95_high"] == ""
        assert cells["tokens_per_second_ci95_low"] == "2000.0"
    else:
        (found,) = json.loads(text)["results"]
        assert found["tokens_per_second_ci95_high"] is None
        assert found["tokens_per_second_ci95_low"] == 2000.0


@given(HOSTILE)
def test_no_cell_of_the_csv_starts_a_formula(text: str) -> None:
    result = hostile(text)
    values = row(result)
    (cells,) = csv.DictReader(io.StringIO(write("csv", [result], PAGE)))
    for name, cell in cells.items():
        if isinstance(values[name], str):
            assert not cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d", "\uff20")), name


@given(HOSTILE)
def test_no_text_steers_what_shows_the_json_and_none_is_lost(text: str) -> None:
    written = write("json", [hostile(text)], PAGE)
    steering = {c for c in written if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert steering == {"\n"}
    (found,) = json.loads(written)["results"]
    assert found["suite"] == found["device_name"] == text


def test_half_a_character_can_be_written_in_every_format() -> None:
    for name in text_formats():
        assert write(name, [hostile("a\ud800b")], PAGE).encode(), name


@given(HOSTILE)
def test_no_text_breaks_the_markdown_table(text: str) -> None:
    lines = write("markdown", [hostile(text)], PAGE).split("\n")
    for line in lines[:3]:
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 10
    assert "<" not in "".join(lines)
    assert all(line.startswith("- ") for line in lines[4:-1])


@given(HOSTILE, st.integers(20, 220))
def test_no_text_steers_the_terminal(text: str, width: int) -> None:
    written = write("terminal", [hostile(text)], Page(width=width))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202a-\u202e]", written)


@given(st.integers(24, 260))
def test_no_line_is_wider_than_a_page_that_can_hold_it(width: int) -> None:
    written = write("terminal", [SAMPLE, SAMPLE], Page(width=width))
    longest = max(len(line) for line in written.splitlines())
    assert longest <= max(width, 60)


@given(st.integers(60, 260))
def test_characters_of_two_columns_are_counted_as_two(width: int) -> None:
    device = SAMPLE.device.model_copy(update={"name": "計算機" * 20})
    suite = SAMPLE.model_copy(update={"device": device, "price": None, "price_reason": "無" * 99})
    written = write("terminal", [suite], Page(width=width))
    assert max(cell_len(line) for line in written.splitlines()) <= width


def test_colour_is_put_on_a_terminal_alone() -> None:
    assert "\x1b[" in write("terminal", [SAMPLE], Page(width=200, is_coloured=True))
    assert "\x1b[" not in write("terminal", [SAMPLE], Page(width=200))


@given(HOSTILE)
def test_no_text_is_a_command_in_the_latex(text: str) -> None:
    written = write("latex", [hostile(text)], PAGE)
    body = re.sub(r"\\([&%$#_{}\\]|[a-zA-Z]+\*?)", "", written.split("\n", 1)[1])
    body = body.replace(r"\$", "")
    assert not set("\\%$#_~^<>|`") & set(body)
    assert not re.search(r"(\\item|\\\\) *\n?\[", written)
    rows = [line for line in written.splitlines() if line.endswith(" \\\\")]
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [8, 8]


def test_emoji_and_other_scripts_survive_in_every_format() -> None:
    name = "\N{WOMAN}\u200d\N{PERSONAL COMPUTER} \u05d0\u05d1 \u06a9\u200c\u062e"
    for form in text_formats():
        assert name in write(form, [hostile(name)], PAGE), form
