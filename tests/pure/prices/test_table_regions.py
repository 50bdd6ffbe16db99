"""Where a rate holds: one region, its zones, or many regions at once."""

from datetime import timedelta

import pytest

from tests.pure.prices.tables import ask, price, reason, row, usd
from trnbench.prices.base import NoPrice


def test_regions_of_one_rate_need_no_name() -> None:
    answer = price(ask([row("55", region="us-east-1"), row("55", region="us-east-2")]))
    assert str(answer.usd_per_hour) == "55"
    assert (answer.region, answer.note) == ("us-east-1", "the same in us-east-2")


def test_regions_of_different_rates_need_a_name() -> None:
    rows = [row("68.8", region="us-west-1"), row("55.04", region="us-east-1")]
    answer = ask(rows)
    assert reason(answer) == (
        "p5.48xlarge on_demand costs differently by region: us-east-1 $55.04, us-west-1 $68.8"
    )
    assert isinstance(answer, NoPrice)
    assert answer.hint.startswith("name one with `price.region`")
    assert usd(ask(rows, region="us-west-1")) == "68.8"


def test_only_the_newest_rates_of_regions_are_compared() -> None:
    rows = [
        row("84", region="us-east-1", days_old=500),
        row("63", region="us-east-1", days_old=20),
        row("63", region="us-east-2", days_old=300),
    ]
    assert usd(ask(rows)) == "63"


def test_a_local_zone_has_rates_of_its_own_and_not_its_region_s() -> None:
    rows = [row("55", region="us-east-1"), row("70", region="us-east-1-dfw-2a")]
    found = price(ask(rows, region="us-east-1", zone="us-east-1-dfw-2a"))
    assert (str(found.usd_per_hour), found.region) == ("70", "us-east-1-dfw-2a")
    assert usd(ask(rows, region="us-east-1", zone="us-east-1a")) == "55"
    answer = ask(rows[:1], region="us-east-1", zone="us-east-1-dfw-2a")
    assert reason(answer) == "the table has no on_demand rate of p5.48xlarge in us-east-1-dfw-2a"


def test_a_region_without_a_rate_gets_no_neighbours() -> None:
    rows = [row("55", region="us-east-1"), row("55", region="us-east-2")]
    answer = ask(rows, region="eu-west-2")
    assert reason(answer) == "the table has no on_demand rate of p5.48xlarge in eu-west-2"
    assert isinstance(answer, NoPrice)
    assert "it has rates in us-east-1, us-east-2" in answer.hint


def test_an_option_that_is_not_sold_in_the_region_is_not_replaced_by_another() -> None:
    rows = [row("55", region="us-east-1"), row("30", "capacity_block", region="eu-west-2")]
    assert "no on_demand rate" in reason(ask(rows, region="eu-west-2"))
    assert usd(ask(rows, region="eu-west-2", option="capacity_block")) == "30"


def test_zones_of_different_rates_are_told_and_not_chosen_from() -> None:
    rows = [
        row(rate, "spot", zone=zone, standing="on_request")
        for rate, zone in (("6.0767", "use1-az4"), ("4.1728", "use1-az5"), ("2.4584", "use1-az6"))
    ]
    answer = ask(rows, option="spot", region="us-east-1")
    assert reason(answer) == (
        "p5.48xlarge spot costs differently by zone: "
        "use1-az6 $2.4584, use1-az5 $4.1728, use1-az4 $6.0767"
    )
    assert isinstance(answer, NoPrice)
    assert "price.region" not in answer.hint


# --- rates for many regions ----------------------------------------------------------------------


EVERYWHERE = row("63.16", "capacity_block", region="all-commercial", days_old=40)
OLDER_EAST = row("41.6", "capacity_block", region="us-east-1", days_old=300)
OLDER_EU = row("49.9", "capacity_block", region="eu-north-1", days_old=120)


def test_a_newer_rate_for_all_regions_replaces_a_regions_older_one() -> None:
    answer = price(ask([EVERYWHERE, OLDER_EAST, OLDER_EU], region="us-east-1"))
    assert str(answer.usd_per_hour) == "63.16"
    assert answer.region == "us-east-1"
    assert answer.note == "rate stated for all-commercial"


def test_a_newer_rate_for_all_regions_needs_no_region() -> None:
    answer = price(ask([OLDER_EAST, EVERYWHERE, OLDER_EU]))
    assert str(answer.usd_per_hour) == "63.16"
    assert answer.region == "all-commercial"


def test_a_rate_for_all_regions_is_no_rate_of_a_region_that_does_not_sell_it() -> None:
    assert "no capacity_block rate" in reason(
        ask([EVERYWHERE, OLDER_EAST], region="eu-west-3", option="capacity_block")
    )


def test_a_rate_for_all_regions_is_not_taken_before_its_day() -> None:
    answer = ask(
        [EVERYWHERE, OLDER_EAST], region="us-east-1", today=EVERYWHERE.date - timedelta(days=1)
    )
    assert usd(answer) == "41.6"


@pytest.mark.parametrize("days_old", [40, 10])
def test_a_regions_own_rate_wins_over_one_for_all_that_is_not_newer(days_old: int) -> None:
    own = row("70", "capacity_block", region="us-east-1", days_old=days_old)
    for rows in ([own, EVERYWHERE], [EVERYWHERE, own]):
        assert usd(ask(rows, region="us-east-1")) == "70"
        assert "costs differently by region" in reason(ask(rows))


def test_government_regions_keep_to_themselves() -> None:
    rows = [
        EVERYWHERE,
        OLDER_EAST,
        row("118.4", "capacity_block", region="all-govcloud", days_old=40),
        row("90", "capacity_block", region="us-gov-east-1", days_old=300),
    ]
    assert usd(ask(rows, region="us-gov-east-1")) == "118.4"
    assert usd(ask(rows, region="us-east-1")) == "63.16"
    assert usd(ask(rows)) == "63.16"


def test_a_rate_for_the_whole_provider_holds_in_any_region() -> None:
    rows = [row("31.92", region="all")]
    assert price(ask(rows, region="us-south-1")).region == "us-south-1"
    assert price(ask(rows)).region == "all"
