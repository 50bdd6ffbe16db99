"""The page of columns is the code's own list."""

from pathlib import Path

from trnbench.reports.columns import COLUMNS, COMPARISON_COLUMNS, describe_columns, described
from trnbench.schema.result import Result

PAGE = Path(__file__).resolve().parents[2] / "docs" / "columns.md"


def test_the_page_holds_every_column_and_no_other() -> None:
    assert PAGE.read_text().endswith(f"\n\n{describe_columns()}"), (
        "put what `trnbench schema columns` prints into docs/columns.md"
    )


def test_a_meaning_stands_in_one_place() -> None:
    for column in (*COLUMNS, *COMPARISON_COLUMNS):
        assert column.meaning, f"{column.name}: neither the schema nor the column says what it is"
    assert described(Result, "price.note") == "what a reader must know beside it"
    assert described(Result, "device_name") == "what the device calls itself"
    assert described(Result, "suite") == described(Result, "workload.step.recompute") == ""
