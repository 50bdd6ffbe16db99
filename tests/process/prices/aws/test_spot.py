"""Spot rates by zone: which one is taken, and what must not become one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

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
from trnbench.prices.aws.spot import ask_spot, read_spot
from trnbench.schema.price import Price


def row(rate: str, zone: str = "us-east-2c", zone_id: str | None = "use2-az3", **more: Any) -> Any:
    (sample,) = response("spot_price_history.trn2.48xlarge")["SpotPriceHistory"]
    ids = {"AvailabilityZoneId": zone_id} if zone_id else {}
    del sample["AvailabilityZoneId"]
    return {**sample, "SpotPrice": rate, "AvailabilityZone": zone, **ids, **more}


def test_the_present_rate_of_the_only_zone_is_asked_for_and_dated_by_its_change() -> None:
    sample = response("spot_price_history.trn2.48xlarge")
    now = datetime(2026, 5, 18, tzinfo=UTC)
    with stubs() as given:
        for each in sample["SpotPriceHistory"]:
            each["Timestamp"] = datetime.fromisoformat(each["Timestamp"])
        asked = {**SAMPLES["spot_price_history.trn2.48xlarge"]["request"], "StartTime": now}
        given["ec2"].add_response("describe_spot_price_history", sample, asked)
        answer = ask_spot(given.connect, request(), now)
    assert answer == Price(
        usd_per_hour="20.7554",  # type: ignore[arg-type]
        instance="trn2.48xlarge",
        option="spot",
        region="us-east-2",
        zone="use2-az3",
        date=TODAY,
        source="EC2 spot price history, unchanged since 2026-05-17 21:32 UTC",
        note="a spot quote is no promise of capacity, and the instance can be taken back",
    )
    assert given.opened == [("ec2", "us-east-2")]


def test_zones_that_differ_are_listed_and_none_is_taken() -> None:
    rows = [row("4.17", "us-east-2a", "use2-az1"), row("2.46"), row("6.08", "us-east-2b", None)]
    said = reason(read_spot(rows, request(), NOW), is_failure=False)
    assert said == (
        "trn2.48xlarge spot costs differently by zone: use2-az3 $2.46, use2-az1 $4.17, "
        "us-east-2b $6.08"
    )


@pytest.mark.parametrize("zone", ["us-east-2a", "use2-az1"])
def test_a_zone_chooses_by_its_letter_and_by_its_id(zone: str) -> None:
    answer = read_spot(
        [row("4.17", "us-east-2a", "use2-az1"), row("2.46")], request(zone=zone), NOW
    )
    assert usd(answer) == "4.17"
    assert isinstance(answer, Price)
    assert answer.zone == "use2-az1"


def test_zones_that_agree_give_the_regions_rate() -> None:
    answer = read_spot([row("2.46", "us-east-2a", "use2-az1"), row("2.460000")], request(), NOW)
    assert usd(answer) == "2.46"
    assert isinstance(answer, Price)
    assert answer.zone is None


def test_of_one_zone_the_last_change_counts() -> None:
    older = "2026-05-16T21:32:08+00:00"
    rows = [row("9", Timestamp=older), row("2.46"), row("8", Timestamp=older)]
    assert usd(read_spot(rows, request(), NOW)) == "2.46"


def test_other_products_and_types_are_left_out() -> None:
    rows = [
        row("1", ProductDescription="Windows"),
        row("1", InstanceType="trn1.32xlarge"),
        row("2.46"),
    ]
    assert usd(read_spot(rows, request(), NOW)) == "2.46"


@pytest.mark.parametrize("zone", [None, "us-east-2z"])
def test_no_row_is_no_quote_there(zone: str | None) -> None:
    said = reason(read_spot([row("2")] if zone else [], request(zone=zone), NOW), is_failure=False)
    assert said == f"AWS quotes no spot rate of trn2.48xlarge in {zone or 'us-east-2'}"


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (row("0.000000"), "a spot rate of $0"),
        (row("-1"), "SpotPrice that is not an amount"),
        (row("1e1"), "SpotPrice that is not an amount"),
        (row("1,5"), "SpotPrice that is not an amount"),
        (row("1000000"), "SpotPrice above"),
        (row("2", zone="eu-west-1a"), "a zone of another region, eu-west-1a"),
        (row("2", Timestamp=NOW + timedelta(days=1)), "begins later"),
        (row("2", Timestamp="yesterday"), "not a time"),
        (row("2", Timestamp=None), "no Timestamp"),
        (row("3"), "two rates of use2-az3 at once"),
        ("a row", "a row that is not a mapping"),
        ({}, "no InstanceType"),
    ],
)
def test_a_form_that_is_not_understood_gives_no_price(bad: Any, said: str) -> None:
    assert said in reason(read_spot([row("2.46"), bad], request(), NOW), is_failure=True)
