"""Savings Plans: the one rate of the plan that is meant."""

from typing import Any

import pytest

from tests.process.prices.aws.samples import NOW, TODAY, reason, request, savings_rate, stubs, usd
from trnbench.prices.aws.commitments import ask_savings_plan, read_savings_plan
from trnbench.schema.price import Price

ONE_YEAR = request("trn1.32xlarge", "us-west-2", "savings_plan_1y")
THREE_YEARS = request("trn1.32xlarge", "us-west-2", "savings_plan_3y")
LONGER = savings_rate(durationSeconds=94_608_000, rate="9.1000")


def test_one_plan_in_one_region_is_asked_for() -> None:
    with stubs() as given:
        given["savingsplans"].add_response(
            "describe_savings_plans_offering_rates",
            {"searchResults": [savings_rate(), LONGER], "nextToken": ""},
            {
                "savingsPlanTypes": ["Compute"], "savingsPlanPaymentOptions": ["No Upfront"],
                "products": ["EC2"], "serviceCodes": ["AmazonEC2"], "maxResults": 1000,
                "filters": [
                    {"name": "region", "values": ["us-west-2"]},
                    {"name": "instanceType", "values": ["trn1.32xlarge"]},
                    {"name": "productDescription", "values": ["Linux/UNIX"]},
                    {"name": "tenancy", "values": ["shared"]},
                ],
            },
        )  # fmt: skip
        answer = ask_savings_plan(given.connect, ONE_YEAR, NOW)
    assert answer == Price(
        usd_per_hour="13.229",  # type: ignore[arg-type]
        instance="trn1.32xlarge",
        option="savings_plan_1y",
        region="us-west-2",
        date=TODAY,
        source="AWS Savings Plans rates: Compute plan, no upfront",
        note="a commitment: hours that are not used are paid for too",
    )


def test_the_length_of_the_plan_chooses() -> None:
    assert usd(read_savings_plan([savings_rate(), LONGER], THREE_YEARS)) == "9.1"
    assert "no savings_plan_3y rate" in reason(read_savings_plan([savings_rate()], THREE_YEARS))


@pytest.mark.parametrize(
    "changes",
    [
        {"planType": "EC2Instance"},
        {"paymentOption": "All Upfront"},
        {"usageType": "USW2-UnusedBox:trn1.32xlarge"},
        {"usageType": "USW2-DedicatedUsage:trn1.32xlarge"},
        {"usageType": "USW2-BoxUsage:trn1.2xlarge"},
        {"operation": "RunInstances:0002"},
        {"properties": [{"name": "region", "value": "eu-west-1"}]},
        {"properties": [{"name": "tenancy", "value": "dedicated"}]},
        {"properties": [{"name": "productDescription", "value": "Windows"}]},
    ],
)
def test_another_plan_or_product_is_left_out(changes: dict[str, Any]) -> None:
    other = savings_rate(rate="1.0", **changes)
    assert usd(read_savings_plan([other, savings_rate()], ONE_YEAR)) == "13.229"


def test_the_usage_type_of_the_first_region_has_no_prefix() -> None:
    plain = savings_rate(usageType="BoxUsage:trn1.32xlarge", properties=None)
    assert usd(read_savings_plan([plain], ONE_YEAR)) == "13.229"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rate": "0"}, "a rate of $0"),
        ({"rate": "9"}, "2 rates where one must be left: $9, $13.229"),
        ({"rate": None}, "no rate"),
        ({"unit": "Request"}, "unit that is not 'Hrs'"),
        ({"currency": "EUR"}, "currency that is not 'USD'"),
        ({"durationSeconds": "31536000"}, "no durationSeconds"),
        ({"savingsPlanOffering": None}, "savingsPlanOffering that is not a mapping"),
        ({"properties": {"a": 1}}, "properties that is not a list"),
        ({"properties": ["x"]}, "properties that is not a mapping"),
        (
            {"properties": [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]},
            "two values of a",
        ),
    ],
)
def test_a_form_that_is_not_understood_gives_no_price(changes: dict[str, Any], said: str) -> None:
    answer = read_savings_plan([savings_rate(), savings_rate(**changes)], ONE_YEAR)
    assert said in reason(answer, is_failure=True)
