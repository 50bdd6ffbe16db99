"""What pandas, as a reader of our CSV, makes of it."""

import io

import pandas

from tests.builders import make_result, three_results
from tests.pure.reports.comparisons import rich
from tests.pure.reports.test_formats import write
from trnbench.compare.metrics import COMPARABLES
from trnbench.reports import render
from trnbench.reports.columns import COLUMNS, COMPARISON_COLUMNS, row
from trnbench.reports.comparison import REPORT
from trnbench.reports.document import Page

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
