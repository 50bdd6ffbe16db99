"""Reading a table: text in, an empty cell is unknown and never zero."""

import pytest

from trnbench.catalog import number, read_table, read_text


@pytest.mark.parametrize(
    ("cell", "value"), [("", None), ("0", 0.0), ("47.5", 47.5), ("1e3", 1000.0)]
)
def test_an_empty_cell_is_unknown(cell: str, value: float | None) -> None:
    assert number(cell) == value


def test_a_cell_that_is_no_number_is_a_bug_in_the_table() -> None:
    with pytest.raises(ValueError, match="about 70"):
        number("about 70")


@pytest.mark.parametrize("name", ["accelerators.csv", "instances.csv", "prices.csv"])
def test_every_row_of_a_table_has_all_columns_and_no_more(name: str) -> None:
    rows = read_table(name)
    assert rows
    for row in rows:
        assert None not in row, row
        assert None not in row.values(), row
        assert all(cell == cell.strip() for cell in row.values()), row


def test_no_table_holds_a_path_of_the_machine_that_wrote_it() -> None:
    for name in ("accelerators.csv", "instances.csv", "prices.csv", "models.yaml"):
        text = read_text(name)
        assert "/home/" not in text
        assert "/tmp/" not in text
