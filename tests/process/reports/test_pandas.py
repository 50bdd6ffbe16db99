"""What pandas makes of our rows, and of our CSV as its reader."""

import io

import pandas
import pytest

from tests.builders import make_result, three_results
from tests.pure.reports.comparisons import rich
from tests.pure.reports.samples import SAMPLES, report_of
from tests.pure.reports.test_formats import write
from trnbench.compare.metrics import COMPARABLES
from trnbench.reports import REPORTS, render
from trnbench.reports.columns import COLUMNS, COMPARISON_COLUMNS, row
from trnbench.reports.comparison import REPORT
from trnbench.reports.document import Page, rows_at
from trnbench.reports.frame import frame_of

PAGE = Page(width=200)


def test_pandas_reads_the_csv_with_numbers_as_numbers() -> None:
    sample = make_result()
    frame = pandas.read_csv(io.StringIO(write("csv", [sample, sample], PAGE)))
    assert list(frame.columns) == [column.name for column in COLUMNS]
    for name, cell in row(sample).items():
        if isinstance(cell, int | float):
            assert frame[name].dtype.kind in "if", name
            assert frame[name][0] == cell, name
    assert frame["mfu_reason"].isna().all()


def test_pandas_reads_numbers_beside_cells_that_are_empty() -> None:
    results = three_results()
    frame = pandas.read_csv(io.StringIO(write("csv", results, PAGE)))
    for place, result in enumerate(results):
        for name, cell in row(result).items():
            if cell is None:
                assert pandas.isna(frame[name][place]), name
            elif not isinstance(cell, str):
                assert frame[name].dtype.kind in "if", name
                assert frame[name][place] == cell, name


def test_pandas_reads_the_csv_of_a_comparison_with_numbers_as_numbers() -> None:
    text = render(REPORT, rich(), "csv", PAGE)
    frame = pandas.read_csv(io.StringIO(text))
    assert list(frame.columns) == [column.name for column in COMPARISON_COLUMNS]
    assert len(frame) == 2 * len(COMPARABLES)
    for name in ("base", "ratio", "ratio_ci95_low", "least_change", "p_adjusted", "base_launches"):
        assert frame[name].dtype.kind in "if", name


def test_a_frame_keeps_whole_numbers_whole_beside_unknown_ones_and_every_text_as_it_is() -> None:
    text = "=1+1 <script>\u202e\N{ROCKET}\u05d0\nb"
    rows = rows_at(
        [{"a": 1, "b": text, "c": True}, {"a": None, "b": None, "c": None}, {"b": "a\ud800b"}],
        "a:int", "b", "c:flag", "d=a:float", "e=b:day",
    )  # fmt: skip
    frame = frame_of(rows)
    assert frame["a"].dtype == "Int64"
    assert frame["a"][0] == 1
    assert list(frame["b"].fillna("?")) == [text, "?", "a\ufffdb"]
    assert frame["c"][0]
    assert frame.isna().sum().to_dict() == {"a": 2, "b": 1, "c": 2, "d": 2, "e": 3}


@pytest.mark.parametrize("key", REPORTS)
def test_every_report_s_rows_are_a_frame(key: str) -> None:
    rows = report_of(key).rows(SAMPLES[key])
    frame = frame_of(rows)
    assert list(frame.columns) == list(rows.names)
    assert frame.notna().to_numpy().tolist() == [[x is not None for x in row] for row in rows.rows]
