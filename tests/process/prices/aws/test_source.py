"""AWS as a source: who is asked for which option, and what is said beside the rate."""

from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.aws_service import price_service
from tests.process.prices.aws.samples import (
    NOW,
    Stubs,
    changed,
    reason,
    request,
    response,
    savings_rate,
    stubs,
    usd,
)
from trnbench.prices.aws.client import ReadOnlyClient
from trnbench.prices.aws.source import ASKED, AwsSource
from trnbench.prices.base import NoPrice
from trnbench.schema.price import Price
from trnbench.schema.rent import RENT_OPTIONS, RentOption


def source(given: Stubs) -> AwsSource:
    return AwsSource(connect=given.connect, now=lambda: NOW)


def offers(name: str = "capacity_block_offerings.trn2.48xlarge") -> Any:
    return response(name) | {
        "CapacityBlockOfferings": [
            {k: v for k, v in offer.items() if k != "EndDate"} | {"StartDate": NOW}
            for offer in response(name)["CapacityBlockOfferings"]
        ]
    }


def test_every_option_has_someone_to_ask() -> None:
    assert set(ASKED) == set(RENT_OPTIONS)


def test_a_live_rate_says_when_it_was_asked_for() -> None:
    with stubs() as given:
        given["pricing"].add_response("get_products", response("get_products.trn1.32xlarge"))
        answer = source(given).quote(request("trn1.32xlarge", "us-west-2"))
    assert isinstance(answer, Price)
    assert answer.retrieved_at == "2026-11-23T12:00:00+00:00"
    assert answer.note is None


def test_what_is_not_sold_on_demand_is_looked_for_in_blocks() -> None:
    with stubs() as given:
        given["pricing"].add_response(
            "get_products", response("get_products.trn2.48xlarge.on_demand_filter")
        )
        given["ec2"].add_response("describe_capacity_block_offerings", offers())
        answer = source(given).quote(request())
    assert isinstance(answer, Price)
    assert (answer.option, usd(answer)) == ("capacity_block", "35.7608")


def test_what_could_not_be_asked_is_not_taken_for_not_sold() -> None:
    with stubs() as given:
        given["pricing"].add_client_error("get_products", "AccessDeniedException")
        answer = source(given).quote(request())
        assert given.opened == [("pricing", "us-east-1")]
    assert "not allowed" in reason(answer, is_failure=True)


def test_what_is_sold_in_no_way_is_told_with_the_nearest_names() -> None:
    with stubs() as given:
        given["pricing"].add_response("get_products", {"PriceList": []})
        given["ec2"].add_response(
            "describe_capacity_block_offerings", {"CapacityBlockOfferings": []}
        )
        answer = source(given).quote(request("trn2.48xlarg"))
    assert "no capacity block of trn2.48xlarg" in reason(answer, is_failure=False)
    assert isinstance(answer, NoPrice)
    assert answer.hint.startswith("did you mean trn2.48xlarge")


@pytest.mark.parametrize(
    ("option", "service"),
    [
        ("on_demand", "pricing"),
        ("reserved_1y", "pricing"),
        ("reserved_3y", "pricing"),
        ("spot", "ec2"),
        ("capacity_block", "ec2"),
        ("savings_plan_1y", "savingsplans"),
        ("savings_plan_3y", "savingsplans"),
    ],
)
def test_a_named_option_is_asked_of_whom_it_concerns_and_of_nobody_else(
    option: RentOption, service: str
) -> None:
    empty: dict[str, Any]
    call, empty = {
        "pricing": ("get_products", {"PriceList": []}),
        "savingsplans": ("describe_savings_plans_offering_rates", {"searchResults": []}),
        "ec2": ("describe_spot_price_history", {"SpotPriceHistory": []}),
    }[service]
    if option == "capacity_block":
        call, empty = "describe_capacity_block_offerings", {"CapacityBlockOfferings": []}
    with stubs() as given:
        given[service].add_response(call, empty)
        answer = source(given).quote(request(option=option))
        assert [name for name, _ in given.opened] == [service]
    reason(answer, is_failure=False)


def test_a_savings_plan_is_found() -> None:
    with stubs() as given:
        given["savingsplans"].add_response(
            "describe_savings_plans_offering_rates", {"searchResults": [savings_rate()]}
        )
        answer = source(given).quote(request("trn1.32xlarge", "us-west-2", "savings_plan_1y"))
    assert usd(answer) == "13.229"


@pytest.mark.parametrize(
    ("instance", "region", "said"),
    [
        (None, "us-east-2", "is not known"),
        ("trn2.48xlarge", None, "needs a region"),
        ("gpu_8x_h100_sxm5", "us-east-2", "of lambda"),
        ("my-box", "us-east-2", "not an instance type and region"),
        ("trn2.48xlarge; rm", "us-east-2", "not an instance type and region"),
        ("trn2.48xlarge", "Ohio", "not an instance type and region"),
        ("trn2.48xlarge", "cn-north-1", "in yuan"),
    ],
)
def test_what_aws_cannot_know_is_not_asked(instance: Any, region: str | None, said: str) -> None:
    with stubs() as given:
        answer = source(given).quote(request(instance, region))
        assert given.opened == []
    assert said in reason(answer)
    assert isinstance(answer, NoPrice)
    assert "--usd-per-hour" in answer.hint


# --- what looks odd beside the table --------------------------------------------------------------


def listed(rate: str) -> Any:
    def change(product: Any) -> None:
        (term,) = product["terms"]["OnDemand"].values()
        (dimension,) = term["priceDimensions"].values()
        dimension.update(pricePerUnit={"USD": rate}, description="")

    sample = response("get_products.trn1.32xlarge")
    return sample | {"PriceList": [changed(each, change) for each in sample["PriceList"]]}


@pytest.mark.parametrize(("rate", "factor"), [("215.0", "10 times"), ("2.15", "0.1 times")])
def test_a_rate_far_from_the_tables_is_taken_and_told(rate: str, factor: str) -> None:
    with stubs() as given:
        given["pricing"].add_response("get_products", listed(rate))
        answer = source(given).quote(request("trn1.32xlarge", "us-west-2", "on_demand"))
    assert isinstance(answer, Price)
    assert f"{factor} the table's $21.5" in str(answer.note)


@pytest.mark.parametrize("rate", ["20", "43"])
def test_a_rate_that_moved_as_rates_do_is_not_remarked_upon(rate: str) -> None:
    with stubs() as given:
        given["pricing"].add_response("get_products", listed(rate))
        answer = source(given).quote(request("trn1.32xlarge", "us-west-2", "on_demand"))
    assert isinstance(answer, Price)
    assert answer.note is None


def test_a_spot_rate_of_the_on_demand_rate_is_remarked_upon() -> None:
    sample = response("spot_price_history.trn2.48xlarge")
    for row in sample["SpotPriceHistory"]:
        row.update(
            InstanceType="p5.48xlarge", AvailabilityZone="us-east-2a", SpotPrice="55.04",
            Timestamp=NOW,
        )  # fmt: skip
    with stubs() as given:
        given["ec2"].add_response("describe_spot_price_history", sample)
        answer = source(given).quote(request("p5.48xlarge", "us-east-2", "spot"))
    assert isinstance(answer, Price)
    assert "no less than the on-demand rate" in str(answer.note)


# --- over a real connection -----------------------------------------------------------------------


def local(url: str) -> AwsSource:
    def connect(service: str, region: str) -> ReadOnlyClient:
        client = boto3.client(
            service, region_name=region, endpoint_url=url, aws_access_key_id="EXAMPLE",
            aws_secret_access_key="EXAMPLE",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=30, read_timeout=30),
        )  # fmt: skip
        return ReadOnlyClient(service, region, client)

    return AwsSource(connect=connect, now=lambda: NOW)


def test_the_whole_way_over_http() -> None:
    with price_service((200, response("get_products.trn1.32xlarge"))) as served:
        answer = local(served.url).quote(request("trn1.32xlarge", "us-west-2"))
    assert usd(answer) == "21.5"
    assert {"Type": "TERM_MATCH", "Field": "marketoption", "Value": "OnDemand"} in (
        served.asked[0]["Filters"]
    )


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, {"__type": "AccessDeniedException", "message": "no"}, "not allowed to"),
        (400, {"__type": "ThrottlingException", "message": "slow"}, "throttles"),
        (200, b"<html>Log in to the hotel's network</html>", "does not understand"),
        (200, {"PriceList": "none"}, "does not understand"),
        (500, b"", "failed (500)"),
    ],
)
def test_what_comes_over_http_instead_is_told(status: int, body: Any, said: str) -> None:
    with price_service((status, body)) as served:
        answer = local(served.url).quote(request("trn1.32xlarge", "us-west-2"))
    assert said in reason(answer, is_failure=True)


def test_where_nobody_answers_that_is_told() -> None:
    answer = local("http://127.0.0.1:9").quote(request("trn1.32xlarge", "us-west-2"))
    assert "cannot be reached" in reason(answer, is_failure=True)
