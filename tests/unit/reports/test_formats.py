"""What every format promises: readable by its readers, and not steered by what it shows."""

import csv
import io
import json
import re
from pathlib import Path

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import make_result
from trnbench.cli.report import Format
from trnbench.reports import REPORTS, as_csv
from trnbench.reports.base import Page
from trnbench.reports.columns import COLUMNS, row
from trnbench.schema.result import MetricValue, Result

PAGE = Page(width=200)
SAMPLE = make_result()

HOSTILE = st.text(
    st.sampled_from(
        [*"=+-@|`*_[]<>&$~\\ \t\r\nab", "\x1b", "\x07", "\u202e", "\u2028", "\uff1d", "\uff20"]
    ),
    min_size=1,
    max_size=20,
)


def hostile(text: str) -> Result:
    """Return a result whose every free text is this one."""
    model = SAMPLE.model.model_copy(update={"name": text})
    outcome = SAMPLE.outcome.model_copy(update={"status": "died", "reason": text, "hint": text})
    checks = tuple(
        check.model_copy(update={"verdict": "doubtful", "evidence": text, "advice": text})
        for check in SAMPLE.checks
    )
    device = SAMPLE.device.model_copy(update={"name": text})
    return SAMPLE.model_copy(
        update={
            "suite": text, "model": model, "outcome": outcome, "checks": checks, "device": device,
            "run_id": text, "price": None, "price_reason": text, "standing": "doubtful",
        }
    )  # fmt: skip


def test_the_registry_is_the_folder_and_the_option() -> None:
    folder = Path(as_csv.__file__).parent
    written = {path.stem.removeprefix("as_") for path in folder.glob("as_*.py")}
    assert set(REPORTS) == written == {item.value for item in Format}


def test_column_names_are_stable_words_and_stand_once() -> None:
    names = [column.name for column in COLUMNS]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", name) for name in names)
    assert all(column.meaning for column in COLUMNS)


def test_pandas_reads_the_csv_with_numbers_as_numbers() -> None:
    frame = pandas.read_csv(io.StringIO(REPORTS["csv"]([SAMPLE, SAMPLE], PAGE)))
    assert list(frame.columns) == [column.name for column in COLUMNS]
    for name, cell in row(SAMPLE).items():
        if isinstance(cell, int | float):
            assert frame[name].dtype.kind in "if", name
            assert frame[name][0] == cell, name
    assert frame["mfu_reason"].isna().all()


def test_json_has_the_columns_the_checks_and_every_reason() -> None:
    poor = make_result(price=None, price_reason="nobody knows")
    (result,) = json.loads(REPORTS["json"]([poor], PAGE))["results"]
    assert {column.name for column in COLUMNS} < set(result)
    assert len(result["checks"]) == len(SAMPLE.checks)
    assert result["tokens_per_second"] == SAMPLE.metrics["tokens_per_second"].value


def test_a_metric_of_another_version_is_empty_and_not_an_error() -> None:
    metrics = {k: v for k, v in SAMPLE.metrics.items() if k != "stall_share"}
    old = SAMPLE.model_copy(update={"metrics": metrics})
    assert row(old)["stall_share"] is None


@pytest.mark.parametrize("name", sorted(REPORTS))
def test_no_results_is_a_report_too(name: str) -> None:
    text = REPORTS[name]([], PAGE)
    assert text.endswith("\n")
    assert "Traceback" not in text


@pytest.mark.parametrize("name", sorted(REPORTS))
def test_a_figure_without_an_upper_bound_is_shown_without_an_interval(name: str) -> None:
    wild = MetricValue(value=4330.0, low=2000.0, high=None)
    result = SAMPLE.model_copy(update={"metrics": {**SAMPLE.metrics, "tokens_per_second": wild}})
    text = REPORTS[name]([result], PAGE)
    assert "4330" in text
    if name in ("terminal", "markdown"):
        assert "no interval" in text


@given(HOSTILE)
def test_no_cell_of_the_csv_starts_a_formula(text: str) -> None:
    written = REPORTS["csv"]([hostile(text)], PAGE)
    (cells,) = csv.DictReader(io.StringIO(written))
    for name, cell in cells.items():
        if isinstance(row(hostile(text))[name], str):
            assert not cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d", "\uff20")), name


@given(HOSTILE)
def test_no_text_breaks_the_markdown_table(text: str) -> None:
    lines = REPORTS["markdown"]([hostile(text)], PAGE).split("\n")
    for line in lines[:3]:
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 10
    assert "<" not in "".join(lines)
    assert all(line.startswith("- ") for line in lines[4:-1])


@given(HOSTILE, st.integers(20, 220))
def test_no_text_steers_the_terminal(text: str, width: int) -> None:
    written = REPORTS["terminal"]([hostile(text)], Page(width=width))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202a-\u202e]", written)


@given(st.integers(24, 260))
def test_no_line_is_wider_than_a_page_that_can_hold_it(width: int) -> None:
    written = REPORTS["terminal"]([SAMPLE, SAMPLE], Page(width=width))
    longest = max(len(line) for line in written.splitlines())
    assert longest <= max(width, 60)


def test_colour_is_put_on_a_terminal_alone() -> None:
    assert "\x1b[" in REPORTS["terminal"]([SAMPLE], Page(width=200, is_coloured=True))
    assert "\x1b[" not in REPORTS["terminal"]([SAMPLE], Page(width=200))
