"""Workbooks and Parquet files, as the libraries of their readers see them."""

import io
from datetime import date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pandas
import pytest

from tests.command import run_to_end
from tests.pure.reports.samples import SAMPLES, report_of
from tests.pure.reports.test_formats import hostile
from trnbench.reports import REPORTS, as_xlsx, written
from trnbench.reports.document import Page, Value, one_line, rows_at
from trnbench.reports.frame import frame_of

ROOT = Path(__file__).resolve().parents[3]
EVIL = [
    '=HYPERLINK("http://x","y")', "=1+1", "@SUM(A1)", "http://example.com",
    "<script>alert(1)</script>", "\u05d0\u05d1\u05d2", "\N{WOMAN}\u200d\N{PERSONAL COMPUTER}", "12",
]  # fmt: skip


def sheet_of(key: str, of: Any) -> Any:
    content = written(report_of(key), of, "xlsx", Page())
    assert isinstance(content, bytes)
    return openpyxl.load_workbook(io.BytesIO(content)).active


def told(cell: Value, kind: str) -> Any:
    """Return what a reader of the workbook must find for a cell."""
    if cell is None:
        return None
    match kind:
        case "int":
            return round(float(cell)) if isinstance(cell, float) else cell
        case "flag":
            return bool(cell)
        case "day":
            return datetime.combine(date.fromisoformat(str(cell)), datetime.min.time())
        case "time":
            moment = datetime.fromisoformat(str(cell)).replace(tzinfo=None)
            return moment.replace(microsecond=round(moment.microsecond, -3))
        case "text":
            return one_line(str(cell)) or None
    return pytest.approx(cell, rel=1e-15)  # a number of Excel's has 15 digits


@pytest.mark.parametrize("key", REPORTS)
def test_every_report_is_a_workbook_of_its_rows(key: str) -> None:
    rows, sheet = report_of(key).rows(SAMPLES[key]), sheet_of(key, SAMPLES[key])
    names, *lines = sheet.iter_rows(values_only=True)
    assert list(names) == list(rows.names)
    assert [[None if cell == "" else cell for cell in line] for line in lines] == [
        [told(cell, kind) for cell, kind in zip(row, rows.kinds, strict=True)] for row in rows.rows
    ]


@pytest.mark.parametrize("text", EVIL)
def test_no_text_of_a_workbook_is_a_formula_or_a_link(text: str) -> None:
    sheet = sheet_of("results", [hostile(text)])
    found = {cell.value: cell for cell in sheet[2]}
    assert found[text].data_type == "s"
    assert not any(cell.data_type == "f" or cell.hyperlink for row in sheet for cell in row)


def test_what_a_cell_has_no_room_for_is_cut_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    sheet = sheet_of("results", [hostile("a" * 40_000)])
    cut = next(cell.value for cell in sheet[2] if str(cell.value).startswith("aaaa"))
    assert len(cut) == as_xlsx.MOST_CHARACTERS
    assert cut.endswith(as_xlsx.CUT)
    monkeypatch.setattr(as_xlsx, "MOST_ROWS", 1)
    with pytest.raises(Exception, match="has no room for 2 rows"):
        sheet_of("results", [hostile("a"), hostile("b")])


@pytest.mark.parametrize("key", REPORTS)
def test_every_report_is_a_parquet_file_that_reads_back_the_same(key: str) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not here; `make test-consumers` has it")
    content = written(report_of(key), SAMPLES[key], "parquet", Page())
    assert isinstance(content, bytes)
    frame = frame_of(report_of(key).rows(SAMPLES[key]))
    pandas.testing.assert_frame_equal(
        pandas.read_parquet(io.BytesIO(content)), frame, check_dtype=False, check_exact=True
    )


def test_a_parquet_file_keeps_every_text_and_types_of_columns_without_a_value() -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="`make test-consumers` has pyarrow")
    from pyarrow import parquet

    results = [hostile(text) for text in EVIL]
    content = written(report_of("results"), results, "parquet", Page())
    assert isinstance(content, bytes)
    table = parquet.read_table(io.BytesIO(content))
    assert table["suite"].to_pylist() == EVIL
    types = {name: table.schema.field(name).type for name in ("stalls", "price_date", "lora_rank")}
    assert types["stalls"] == types["lora_rank"] == pyarrow.int64()
    assert str(types["price_date"]).startswith("timestamp")
    assert frame_of(rows_at([], "a:int"))["a"].dtype == "Int64"


def test_a_workbook_goes_through_a_pipe_and_into_a_file(tmp_path: Path) -> None:
    results = ROOT / "tests" / "golden" / "schema" / "v1"
    done = run_to_end(["report", results, "-o", tmp_path / "r.xlsx"])
    assert (done.code, done.out) == (0, "")
    names = next(openpyxl.load_workbook(tmp_path / "r.xlsx").active.iter_rows(values_only=True))
    assert names[0] == "run_id"
