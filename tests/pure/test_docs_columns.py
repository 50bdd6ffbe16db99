"""The page of columns is the code's own list."""

from pathlib import Path

from trnbench.reports.columns import describe_columns

PAGE = Path(__file__).resolve().parents[2] / "docs" / "columns.md"


def test_the_page_holds_every_column_and_no_other() -> None:
    assert PAGE.read_text().endswith(f"\n\n{describe_columns()}"), (
        "put what `trnbench schema columns` prints into docs/columns.md"
    )
