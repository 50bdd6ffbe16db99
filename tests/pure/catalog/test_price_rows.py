"""The bundled price table: every row is positive, dated, sourced, and stands as it may."""

from collections import Counter
from datetime import date
from decimal import Decimal

import pytest

from trnbench.catalog import read_table
from trnbench.catalog.instances import instances
from trnbench.catalog.prices import PriceRow, parse_row, price_rows, price_rows_by_instance

READ_ON = date(2026, 11, 23)
"""The day on which the table was put together."""


def rate(instance: str, region: str, option: str, day: date) -> Decimal:
    (row,) = (
        row
        for row in price_rows_by_instance()[instance]
        if (row.region, row.option, row.date, row.zone) == (region, option, day, None)
    )
    return row.usd_per_hour


@pytest.mark.parametrize(
    ("instance", "region", "option", "day", "usd"),
    [
        ("trn2.48xlarge", "us-east-2", "capacity_block", date(2026, 7, 22), "35.7608"),
        ("trn2.3xlarge", "sa-east-1", "capacity_block", date(2026, 7, 22), "2.235"),
        ("trn1.32xlarge", "us-east-1", "on_demand", date(2026, 7, 20), "21.5"),
        ("trn1.32xlarge", "us-east-2", "capacity_block", date(2026, 7, 22), "9.532"),
        ("trn1.32xlarge", "us-east-1", "reserved_1y", date(2026, 1, 21), "13.22895"),
        ("p5.48xlarge", "us-east-1", "on_demand", date(2026, 7, 20), "55.04"),
        ("p5en.48xlarge", "all-commercial", "capacity_block", date(2026, 10, 7), "63.16"),
    ],
)
def test_a_rate_is_the_cited_one(
    instance: str, region: str, option: str, day: date, usd: str
) -> None:
    assert rate(instance, region, option, day) == Decimal(usd)


def test_the_table_has_the_columns_that_are_read() -> None:
    assert list(read_table("prices.csv")[0]) == [
        "provider", "instance_type", "region", "zone", "option", "usd_per_hour", "date", "standing",
        "source",
    ]  # fmt: skip


def test_no_rate_stands_twice() -> None:
    places = Counter(
        (row.instance_type, row.region, row.zone, row.option, row.date) for row in price_rows()
    )
    assert [place for place, count in places.items() if count > 1] == []
    assert len(places) > 900


def test_every_row_is_of_a_known_instance_dated_and_sourced() -> None:
    for row in price_rows():
        assert row.instance_type in instances(), row
        assert row.provider == instances()[row.instance_type].provider, row
        assert date(2020, 1, 1) < row.date <= READ_ON, row
        assert len(row.source) > 10, row
        assert row.region, row


def test_only_list_prices_and_blocks_of_a_named_region_are_taken_unasked() -> None:
    for row in price_rows():
        if row.standing == "default":
            assert row.option in ("on_demand", "capacity_block"), row
            assert row.region != "unspecified", row
            assert "undated" not in row.source, row
            assert "third-party" not in row.source, row


def test_a_rate_without_a_region_is_only_shown() -> None:
    unplaced = [row for row in price_rows() if row.region == "unspecified"]
    assert unplaced
    assert {row.standing for row in unplaced} == {"listed"}


def test_trainium_two_has_no_on_demand_rate_to_be_taken_for_one() -> None:
    rows = price_rows_by_instance()["trn2.48xlarge"]
    assert {row.option for row in rows} == {"capacity_block", "spot"}


def test_a_rate_is_of_the_whole_instance_and_not_of_one_chip() -> None:
    for row in price_rows():
        chips = instances()[row.instance_type].chips
        if chips:
            assert Decimal("0.04") < row.usd_per_hour / chips < 30, row


def test_a_zone_belongs_to_its_row_only_where_prices_differ_by_zone() -> None:
    assert {row.option for row in price_rows() if row.zone} == {"spot"}


def test_rows_are_grouped_by_instance_without_loss() -> None:
    grouped = price_rows_by_instance()
    assert sum(map(len, grouped.values())) == len(price_rows())
    assert all(row.instance_type == name for name, rows in grouped.items() for row in rows)


ROW = {
    "provider": "aws",
    "instance_type": "trn2.48xlarge",
    "region": "us-east-2",
    "zone": "",
    "option": "capacity_block",
    "usd_per_hour": "35.7608",
    "date": "2026-07-22",
    "standing": "default",
    "source": "the pricing page",
}


def test_a_row_of_text_becomes_a_row() -> None:
    assert parse_row(ROW, 2) == PriceRow(
        provider="aws",
        instance_type="trn2.48xlarge",
        region="us-east-2",
        zone=None,
        option="capacity_block",
        usd_per_hour=Decimal("35.7608"),
        date=date(2026, 7, 22),
        standing="default",
        source="the pricing page",
    )


@pytest.mark.parametrize("cell", ["0.0001", "100000"])
def test_the_cheapest_and_the_dearest_rate_are_rates(cell: str) -> None:
    row = parse_row({**ROW, "usd_per_hour": cell}, 2)
    assert row.usd_per_hour == Decimal(cell)


@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [
        ("instance_type", "", "instance_type is empty"),
        ("option", "sometimes", "option 'sometimes' is not one of"),
        ("option", "user", "option 'user' is not one of"),
        ("standing", "great", "standing 'great' is not one of"),
        ("date", "", "date '' is not a day as 2026-11-23"),
        ("date", "2026-02-30", "date '2026-02-30' is not a day"),
        ("usd_per_hour", "", "usd_per_hour '' is not a number"),
        ("usd_per_hour", "$35", "usd_per_hour '$35' is not a number"),
        ("usd_per_hour", "35,76", "usd_per_hour '35,76' is not a number"),
        ("usd_per_hour", "0", "usd_per_hour '0' is not a price"),
        ("usd_per_hour", "0.0000000000", "is not a price"),
        ("usd_per_hour", "-1", "usd_per_hour '-1' is not a price"),
        ("usd_per_hour", "100001", "usd_per_hour '100001' is not a price"),
        ("usd_per_hour", "NaN", "usd_per_hour 'NaN' is not a price"),
        ("usd_per_hour", "sNaN", "usd_per_hour 'sNaN' is not a price"),
        ("usd_per_hour", "Infinity", "usd_per_hour 'Infinity' is not a price"),
    ],
)
def test_a_bad_cell_is_named_with_its_line(column: str, cell: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"^line 4: ") as caught:
        parse_row({**ROW, column: cell}, 4)
    assert words in str(caught.value)
