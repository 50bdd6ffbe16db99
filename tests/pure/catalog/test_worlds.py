"""Numbers of ranks that runtimes support."""

from trnbench.catalog import read_table
from trnbench.catalog.accelerators import accelerators
from trnbench.catalog.worlds import worlds_of


def test_each_row_is_of_a_known_chip_and_says_where_it_was_read() -> None:
    rows = read_table("worlds.csv")
    assert rows
    for row in rows:
        chip = accelerators()[row["accelerator"]]
        assert int(row["devices_per_chip"]) in (chip.devices_per_chip, chip.cores_per_chip)
        assert row["source"]


def test_worlds_grow_from_one() -> None:
    for row in read_table("worlds.csv"):
        worlds = worlds_of(row["accelerator"], int(row["devices_per_chip"]))
        assert worlds is not None
        assert worlds[0] == 1
        assert list(worlds) == sorted(set(worlds))


def test_a_chip_without_a_list_takes_any_number() -> None:
    assert worlds_of("h100-sxm", 1) is None
    assert worlds_of("trainium2", 8) is None
