"""Capacity blocks: a fee becomes a rate over the time that is paid for."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.process.prices.aws.samples import (
    NOW,
    SAMPLES,
    TODAY,
    reason,
    request,
    response,
    stubs,
    usd,
)
from trnbench.prices.aws.commitments import ask_capacity_block, read_offers
from trnbench.schema.price import Price

ONE_DAY = "capacity_block_offerings.trn2.48xlarge"
FOUR_FOR_A_WEEK = "capacity_block_offerings.trn2.48xlarge.7d_x4"


def offers(name: str = ONE_DAY) -> list[Any]:
    found: list[Any] = response(name)["CapacityBlockOfferings"]
    return found


def offer(**changes: Any) -> Any:
    return {**offers()[0], **changes}


def test_the_shortest_block_of_one_instance_is_asked_for() -> None:
    sample = response(ONE_DAY)
    for each in sample["CapacityBlockOfferings"]:
        for key in ("StartDate", "EndDate"):
            each[key] = datetime.fromisoformat(each[key])
    with stubs() as given_:
        given_["ec2"].add_response(
            "describe_capacity_block_offerings", sample, SAMPLES[ONE_DAY]["request"]
        )
        answer = ask_capacity_block(given_.connect, request(), NOW)
    assert answer == Price(
        usd_per_hour="35.7608",  # type: ignore[arg-type]
        instance="trn2.48xlarge",
        option="capacity_block",
        region="us-east-2",
        zone="us-east-2c",
        date=TODAY,
        source="EC2 Capacity Block offer from 2026-11-25: $858.2592 for 24 instance hours",
        note="paid in full in advance, idle hours and the block's last half hour included",
    )


def test_a_week_of_four_has_the_same_rate() -> None:
    assert usd(read_offers(offers(FOUR_FOR_A_WEEK), request())) == "35.7608"


def test_nothing_on_offer_is_no_error() -> None:
    sample = response("capacity_block_offerings.none")
    with stubs() as given_:
        given_["ec2"].add_response("describe_capacity_block_offerings", sample)
        answer = ask_capacity_block(given_.connect, request(), NOW)
    assert reason(answer, is_failure=False) == (
        "no capacity block of trn2.48xlarge is on offer in us-east-2 now"
    )


def test_a_short_first_day_is_paid_by_its_minutes() -> None:
    short = offer(
        CapacityBlockDurationMinutes=1110,
        UpfrontFee="661.5748",
        EndDate="2026-11-26T06:00:00+00:00",
    )
    assert usd(read_offers([short], request())) == "35.7608"


@pytest.mark.parametrize(
    ("hours", "minutes", "start"),
    [  # The API reference's own two examples; both end at 11:30.
        (6, 35, "04:55"),
        (2, 35, "08:55"),
        (24, 0, None),
    ],
)
def test_minutes_beside_the_hours_are_added_to_them(
    hours: int, minutes: int, start: str | None
) -> None:
    length = Decimal(60 * hours + minutes) / 60
    block = offer(
        CapacityBlockDurationHours=hours,
        CapacityBlockDurationMinutes=minutes,
        UpfrontFee=f"{length * 10:.10f}",
        **(
            {
                "StartDate": f"2026-11-26T{start}:00+00:00",
                "EndDate": "2026-11-26T11:30:00+00:00",
            }
            if start
            else {}
        ),
    )
    assert float(usd(read_offers([block], request()))) == pytest.approx(10, abs=1e-9)


def test_minutes_are_the_whole_where_an_hour_has_not_so_many() -> None:
    whole = offer(CapacityBlockDurationMinutes=1440)
    beside = offer(CapacityBlockDurationMinutes=0)
    assert usd(read_offers([whole, beside], request())) == "35.7608"


def test_without_minutes_the_hours_count() -> None:
    plain = offer()
    del plain["CapacityBlockDurationMinutes"]
    assert usd(read_offers([plain], request())) == "35.7608"


def test_offers_of_odd_lengths_whose_fees_are_whole_cents_are_of_one_rate() -> None:
    # 35.7608 an hour: a day, and 8 hours 37 minutes, each rounded to a cent.
    day = offer(UpfrontFee="858.26")
    short = offer(
        CapacityBlockDurationHours=8,
        CapacityBlockDurationMinutes=517,
        UpfrontFee="308.14",
        StartDate="2026-11-26T02:53:00+00:00",
        EndDate="2026-11-26T11:30:00+00:00",
    )
    taken = float(usd(read_offers([day, short], request())))
    assert taken == pytest.approx(35.7608, abs=0.005 / 24)
    dearer = {**short, "UpfrontFee": "308.16"}
    assert "different rates" in reason(read_offers([day, dearer], request()), is_failure=False)


def test_without_minutes_an_offer_s_own_start_and_end_say_how_long_it_is() -> None:
    block = offer(
        CapacityBlockDurationHours=8,
        UpfrontFee="308.14",
        StartDate="2026-11-26T02:53:00+00:00",
        EndDate="2026-11-26T11:30:00+00:00",
    )
    del block["CapacityBlockDurationMinutes"]
    assert float(usd(read_offers([block], request()))) == pytest.approx(35.7608, abs=0.001)


def test_offers_at_different_rates_are_listed_and_none_is_taken() -> None:
    dearer = offer(UpfrontFee="960", AvailabilityZone="us-east-2a")
    said = reason(read_offers([*offers(), dearer], request()), is_failure=False)
    assert "us-east-2c from 2026-11-25 $35.7608" in said
    assert "us-east-2a from 2026-11-25 $40" in said
    assert usd(read_offers([*offers(), dearer], request(zone="us-east-2a"))) == "40"


def test_zones_with_one_rate_name_none() -> None:
    answer = read_offers([offer(), offer(AvailabilityZone="us-east-2a")], request())
    assert isinstance(answer, Price)
    assert answer.zone is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"CurrencyCode": "EUR"}, "CurrencyCode that is not 'USD'"),
        ({"CurrencyCode": None}, "CurrencyCode that is not 'USD'"),
        ({"Tenancy": "dedicated"}, "Tenancy that is not 'default'"),
        ({"UpfrontFee": "0"}, "a fee of $0"),
        ({"UpfrontFee": "-858.2592"}, "not an amount"),
        ({"UpfrontFee": 858.2592}, "no UpfrontFee"),
        ({"UpfrontFee": "99999999"}, "comes to $4166666"),
        ({"UpfrontFee": "999999999"}, "UpfrontFee above"),
        ({"UpfrontFee": "0.000000000001"}, "comes to $0"),
        ({"InstanceCount": 0}, "no InstanceCount"),
        ({"InstanceCount": True}, "no InstanceCount"),
        ({"InstanceType": "p5.48xlarge"}, "another instance type"),
        ({"CapacityBlockDurationHours": 0}, "no CapacityBlockDurationHours"),
        ({"CapacityBlockDurationHours": 168}, "hours and minutes differ"),
        ({"CapacityBlockDurationMinutes": 24}, "dates and hours differ"),
        ({"CapacityBlockDurationMinutes": -1}, "no CapacityBlockDurationMinutes of at least 0"),
        ({"EndDate": "2026-11-26T11:40:00+00:00"}, "dates and hours differ"),
        ({"EndDate": "2026-11-27T11:30:00+00:00"}, "dates and hours differ"),
        (
            {"StartDate": "2025-11-25T11:30:00+00:00", "EndDate": "2025-11-26T11:30:00+00:00"},
            "in the past",
        ),
        ({"StartDate": None}, "no StartDate"),
        ({"AvailabilityZone": ""}, "no AvailabilityZone"),
    ],
)
def test_parts_that_do_not_fit_together_give_no_price(changes: dict[str, Any], said: str) -> None:
    assert said in reason(read_offers([offer(**changes)], request()), is_failure=True)
    assert said in reason(read_offers([*offers(), offer(**changes)], request()), is_failure=True)


@given(
    st.integers(1, 64),
    st.sampled_from([24, 48, 168, 336]),
    st.decimals("0.01", "500", places=4),
)
def test_the_rate_is_the_fee_over_count_and_hours(count: int, hours: int, rate: Any) -> None:
    block = offer(
        InstanceCount=count,
        CapacityBlockDurationHours=hours,
        CapacityBlockDurationMinutes=hours * 60,
        UpfrontFee=f"{rate * count * hours:f}",
        EndDate=None,
    )
    answer = read_offers([block], request())
    assert isinstance(answer, Price)
    assert answer.usd_per_hour == rate
