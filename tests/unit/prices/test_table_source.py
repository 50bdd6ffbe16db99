"""A price from a table: which row is taken, and every reason why there is none."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trnbench.catalog.prices import PriceRow, Standing, price_rows
from trnbench.prices.base import NoPrice, PriceRequest
from trnbench.prices.table import TableSource
from trnbench.schema.price import RENT_OPTIONS, Price, RentOption

TODAY = date(2026, 11, 23)


def row(
    usd: str,
    option: RentOption = "on_demand",
    *,
    region: str = "us-east-1",
    zone: str | None = None,
    days_old: int = 100,
    standing: Standing = "default",
    instance: str = "p5.48xlarge",
) -> PriceRow:
    return PriceRow(
        provider="aws",
        instance_type=instance,
        region=region,
        zone=zone,
        option=option,
        usd_per_hour=Decimal(usd),
        date=TODAY - timedelta(days=days_old),
        standing=standing,
        source=f"page of {usd}",
    )


def table(rows: Sequence[PriceRow]) -> TableSource:
    grouped: dict[str, list[PriceRow]] = defaultdict(list)
    for each in rows:
        grouped[each.instance_type].append(each)
    return TableSource(lambda: grouped, name="the table")


def ask(
    rows: Sequence[PriceRow] | None,
    *,
    instance: str | None = "p5.48xlarge",
    option: RentOption | None = None,
    region: str | None = None,
    here: bool = False,
    today: date = TODAY,
) -> Price | NoPrice:
    """Ask a made-up table, or the bundled one where `rows` is None."""
    source = TableSource() if rows is None else table(rows)
    request = PriceRequest(
        instance=instance, option=option, region=region, is_this_machine=here, today=today
    )
    return source.quote(request)


def price(answer: Price | NoPrice) -> Price:
    assert isinstance(answer, Price), answer
    return answer


def usd(answer: Price | NoPrice) -> str:
    return str(price(answer).usd_per_hour)


def reason(answer: Price | NoPrice) -> str:
    assert isinstance(answer, NoPrice), answer
    assert "--usd-per-hour" in answer.hint
    return answer.reason


def test_a_price_says_of_what_where_when_how_and_by_whom() -> None:
    assert ask([row("55.04")]) == Price(
        usd_per_hour=Decimal("55.04"),
        instance="p5.48xlarge",
        option="on_demand",
        region="us-east-1",
        date=TODAY - timedelta(days=100),
        source="page of 55.04",
    )


# --- option --------------------------------------------------------------------------------------


def test_on_demand_is_taken_where_it_is_sold() -> None:
    assert usd(ask([row("31", "capacity_block"), row("55", "on_demand")])) == "55"


def test_a_capacity_block_is_taken_where_nothing_is_sold_on_demand() -> None:
    rows = [row("35", "capacity_block"), row("15", "spot", standing="on_request")]
    assert price(ask(rows)).option == "capacity_block"


def test_a_capacity_block_is_taken_where_the_on_demand_rate_is_only_on_request() -> None:
    rows = [row("55", standing="on_request"), row("35", "capacity_block")]
    assert price(ask(rows)).option == "capacity_block"


@pytest.mark.parametrize("option", RENT_OPTIONS)
def test_an_option_that_is_named_is_taken(option: RentOption) -> None:
    rows = [
        row(str(10 + i), each, standing="on_request" if i else "default")
        for i, each in enumerate(RENT_OPTIONS)
    ]
    assert price(ask(rows, option=option)).option == option


def test_an_option_that_is_not_sold_is_told_with_those_that_are() -> None:
    rows = [row("55"), row("30", "reserved_1y", standing="on_request"), row("1", "spot")]
    answer = ask(rows, option="capacity_block")
    assert reason(answer) == "the table has no capacity_block rate of p5.48xlarge"
    assert isinstance(answer, NoPrice)
    assert "it has: on_demand, reserved_1y, spot" in answer.hint


def test_what_is_only_on_request_is_not_taken_unasked() -> None:
    rows = [
        row("15", "spot", standing="on_request"),
        row("30", "reserved_1y", standing="on_request"),
        row("55", "on_demand", standing="on_request"),
    ]
    answer = ask(rows)
    assert reason(answer) == "the table has no on_demand or capacity_block rate of p5.48xlarge"
    assert usd(ask(rows, option="on_demand")) == "55"


@pytest.mark.parametrize("option", [None, "on_demand"])
def test_a_listed_rate_is_never_taken(option: RentOption | None) -> None:
    assert "no on_demand" in reason(ask([row("55", standing="listed")], option=option))
    rows = [row("55", days_old=90), row("99", standing="listed", days_old=1)]
    assert usd(ask(rows, option=option)) == "55"


def test_where_every_rate_is_doubted_it_is_told_that_none_may_be_used() -> None:
    answer = ask([row("55", standing="listed")])
    assert isinstance(answer, NoPrice)
    assert "none that may be used" in answer.hint


# --- date ----------------------------------------------------------------------------------------


def test_the_newest_rate_is_taken() -> None:
    rows = [row("60", days_old=50), row("84", days_old=500), row("63", days_old=10)]
    assert usd(ask(rows)) == "63"


def test_a_rate_that_begins_later_is_not_taken_yet() -> None:
    rows = [row("47", days_old=-1), row("55", days_old=10)]
    assert usd(ask(rows)) == "55"
    assert usd(ask(rows, today=TODAY + timedelta(days=1))) == "47"


def test_a_rate_counts_from_its_very_day() -> None:
    assert usd(ask([row("47", days_old=0), row("55", days_old=10)])) == "47"


def test_a_table_of_later_rates_has_none_today() -> None:
    assert "no on_demand" in reason(ask([row("47", days_old=-1)]))


# --- region --------------------------------------------------------------------------------------


def test_regions_of_one_rate_need_no_name() -> None:
    answer = price(ask([row("55", region="us-east-1"), row("55", region="us-east-2")]))
    assert str(answer.usd_per_hour) == "55"
    assert answer.note == "the same in us-east-1" or answer.note == "the same in us-east-2"


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


# --- instance ------------------------------------------------------------------------------------


def test_a_machine_without_a_name_has_no_price() -> None:
    assert reason(ask([row("55")], instance=None)) == "nobody knows what this machine costs"


def test_an_unknown_instance_is_told_with_its_nearest() -> None:
    answer = ask([row("55")], instance="p5.48xlrge")
    assert reason(answer) == "p5.48xlrge is not in the table"
    assert isinstance(answer, NoPrice)
    assert answer.hint.startswith("did you mean p5.48xlarge")


def test_an_instance_like_no_other_is_offered_none() -> None:
    answer = ask([row("55")], instance="zzzzzz")
    assert isinstance(answer, NoPrice)
    assert "did you mean" not in answer.hint


def test_a_known_instance_without_a_rate_is_not_called_unknown() -> None:
    assert reason(ask([row("55")], instance="trn2.48xlarge")) == (
        "the table has no rate of trn2.48xlarge"
    )


def test_a_recognised_machine_that_hides_its_region_has_no_price() -> None:
    rows = [row("55", region="us-east-1")]
    answer = ask(rows, here=True)
    assert reason(answer) == "this p5.48xlarge does not say which region it is in"
    assert usd(ask(rows, here=True, region="us-east-1")) == "55"


def test_a_recognised_machine_gets_no_other_regions_rate() -> None:
    assert "in eu-west-2" in reason(ask([row("55")], here=True, region="eu-west-2"))


# --- the bundled table ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instance", "option", "region", "expected"),
    [
        ("trn2.48xlarge", None, None, "35.7608"),
        ("trn2.48xlarge", None, "us-east-2", "35.7608"),
        ("trn2.3xlarge", None, None, "2.235"),
        ("trn1.32xlarge", None, None, "21.5"),
        ("trn1.32xlarge", "capacity_block", None, "9.532"),
        ("trn1.32xlarge", "reserved_1y", "us-west-2", "13.22895"),
        ("p5.48xlarge", None, "us-east-1", "55.04"),
        ("p5en.48xlarge", "capacity_block", "us-east-1", "63.16"),
        ("gpu_8x_h100_sxm5", "on_demand", None, "31.92"),
    ],
)
def test_the_bundled_table_quotes_the_cited_rate(
    instance: str, option: RentOption | None, region: str | None, expected: str
) -> None:
    assert usd(ask(None, instance=instance, option=option, region=region)) == expected


@pytest.mark.parametrize(
    ("instance", "option", "region", "words"),
    [
        ("trn2.48xlarge", "on_demand", None, "no on_demand rate of trn2.48xlarge"),
        (
            "trn2.48xlarge",
            None,
            "us-east-1",
            "no capacity_block rate of trn2.48xlarge in us-east-1",
        ),
        ("trn1.32xlarge", "reserved_3y", None, "no reserved_3y rate"),
        ("p5.48xlarge", None, None, "costs differently by region"),
        ("trn1.32xlarge", "spot", "us-east-1", "costs differently by zone"),
        ("gpu_8x_h100_sxm5", None, None, "no on_demand or capacity_block rate"),
    ],
)
def test_the_bundled_table_says_why_it_quotes_none(
    instance: str, option: RentOption | None, region: str | None, words: str
) -> None:
    assert words in reason(ask(None, instance=instance, option=option, region=region))


# --- properties ----------------------------------------------------------------------------------


regions = st.sampled_from(
    ["us-east-1", "eu-west-2", "us-gov-east-1", "all", "all-commercial", "all-govcloud"]
)
standings: st.SearchStrategy[Standing] = st.sampled_from(["default", "on_request", "listed"])
rows_of_any_kind = st.lists(
    st.builds(
        row,
        st.decimals(1, 99, places=1).map(str),
        st.sampled_from(RENT_OPTIONS),
        region=regions,
        zone=st.none() | st.sampled_from(["z1", "z2"]),
        days_old=st.integers(-5, 20),
        standing=standings,
    ),
    max_size=12,
)


@given(
    rows_of_any_kind,
    st.none() | st.sampled_from(RENT_OPTIONS),
    st.none() | regions,
    st.booleans(),
)
def test_a_quote_is_always_a_row_of_the_table_that_may_be_used(
    rows: list[PriceRow], option: RentOption | None, region: str | None, here: bool
) -> None:
    answer = ask(rows, option=option, region=region, here=here)
    if isinstance(answer, NoPrice):
        assert answer.reason
        assert answer.hint
        return
    (*_, found) = [
        each
        for each in rows
        if (each.usd_per_hour, each.option, each.date, each.source)
        == (answer.usd_per_hour, answer.option, answer.date, answer.source)
        and each.standing != "listed"
        and each.region in {answer.region, "all", "all-commercial", "all-govcloud"}
    ]
    assert found.date <= TODAY
    assert option in (None, found.option)
    assert region in (None, answer.region)
    if option is None:
        assert found.option in ("on_demand", "capacity_block")


@given(
    st.sampled_from(sorted({each.instance_type for each in price_rows()})),
    st.none() | st.sampled_from(RENT_OPTIONS),
    st.none() | st.sampled_from(sorted({each.region for each in price_rows()})),
    st.dates(date(2022, 1, 1), TODAY),
)
def test_the_bundled_table_never_quotes_what_no_row_says(
    instance: str, option: RentOption | None, region: str | None, today: date
) -> None:
    answer = ask(None, instance=instance, option=option, region=region, today=today)
    if isinstance(answer, Price):
        said = {
            (each.usd_per_hour, each.option, each.date, each.source)
            for each in price_rows()
            if each.instance_type == instance
            and each.standing != "listed"
            and each.date <= today
            and (region is None or each.region in (region, "all", "all-commercial", "all-govcloud"))
        }
        assert (answer.usd_per_hour, answer.option, answer.date, answer.source) in said
