"""Never a price that no row says: the bundled table's cited rates, and any table at all."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.each import check_each
from tests.pure.prices.tables import TODAY, ask, reason, row, usd
from trnbench.catalog.prices import PriceRow, Standing, price_rows
from trnbench.prices.base import NoPrice
from trnbench.schema.price import Price
from trnbench.schema.rent import RENT_OPTIONS, RentOption


def test_the_bundled_table_quotes_the_cited_rate() -> None:
    def check(instance: str, option: RentOption | None, region: str | None, expected: str) -> None:
        assert usd(ask(None, instance=instance, option=option, region=region)) == expected

    check_each(
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
        check,
    )


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
