"""Savings Plans: the rate of a Compute plan with nothing up front, for one year or three.

Source: Savings Plans API reference, DescribeSavingsPlansOfferingRates (read 2026-11). A plan of one
family and region, or one paid up front, costs less; it is the user's to name by `--usd-per-hour`.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from trnbench.prices.aws.client import AskError, Connect, odd_answer
from trnbench.prices.aws.documents import (
    OddDocumentError,
    amount_at,
    as_mapping,
    count_at,
    mapping_at,
    text_at,
)
from trnbench.prices.base import NoPrice, PriceRequest
from trnbench.schema.price import Price
from trnbench.schema.rent import RentOption

ACTION = "savingsplans:DescribeSavingsPlansOfferingRates"
SECONDS: Mapping[RentOption, int] = {"savings_plan_1y": 31_536_000, "savings_plan_3y": 94_608_000}
PLAN, PAYMENT = "Compute", "No Upfront"


def ask_savings_plan(connect: Connect, request: PriceRequest) -> Price | NoPrice:
    """Ask for the rate of the request's plan."""
    wanted = {
        "region": request.region,
        "instanceType": request.instance,
        "productDescription": "Linux/UNIX",
        "tenancy": "shared",
    }
    try:
        rates = connect("savingsplans", "us-east-1").pages(
            "DescribeSavingsPlansOfferingRates",
            "searchResults",
            "nextToken",
            savingsPlanTypes=[PLAN],
            savingsPlanPaymentOptions=[PAYMENT],
            products=["EC2"],
            serviceCodes=["AmazonEC2"],
            filters=[{"name": name, "values": [value]} for name, value in wanted.items()],
            maxResults=1000,
        )
    except AskError as error:
        return error.answer
    return read_savings_plan(rates, request)


def read_savings_plan(rates: Sequence[Any], request: PriceRequest) -> Price | NoPrice:
    """Find the one rate in an answer, or say why there is none.

    Args:
        rates: `searchResults`.
        request: with an instance, a region, and the plan's length as its option.
    """
    option = request.option or "savings_plan_1y"
    found: set[Decimal] = set()
    try:
        for rate in rates:
            rate = as_mapping(rate, "a rate")
            if _is_wanted(rate, request, SECONDS[option]):
                found.add(amount_at(rate, "rate"))
    except OddDocumentError as odd:
        return odd_answer(ACTION, str(odd))
    if Decimal(0) in found:
        return odd_answer(ACTION, "a rate of $0")
    if len(found) > 1:
        said = ", ".join(f"${rate}" for rate in sorted(found))
        return odd_answer(ACTION, f"{len(found)} rates where one must be left: {said}")
    if not found:
        return NoPrice(
            f"AWS lists no {option} rate of {request.instance} in {request.region}",
            "name another `price.option`, or give `--usd-per-hour`",
        )
    return Price(
        usd_per_hour=found.pop(),
        instance=request.instance,
        option=option,
        region=request.region,
        date=request.today,
        source=f"AWS Savings Plans rates: {PLAN} plan, {PAYMENT.lower()}",
        note="a commitment: hours that are not used are paid for too",
    )


def _is_wanted(rate: Mapping[str, Any], request: PriceRequest, seconds: int) -> bool:
    """Hold a rate against all that was asked once more.

    Raises:
        OddDocumentError: it does not say what it is, or is in another unit or currency.
    """
    offering = mapping_at(rate, "savingsPlanOffering")
    if (text_at(offering, "planType"), text_at(offering, "paymentOption")) != (PLAN, PAYMENT):
        return False
    if count_at(offering, "durationSeconds") != seconds:
        return False
    prefix, _, kind = text_at(rate, "usageType").rpartition(":")
    if kind != request.instance or not f"-{prefix}".endswith("-BoxUsage"):
        return False
    if text_at(rate, "operation") != "RunInstances":
        return False  # RunInstances:0002 and its like are other operating systems
    told = _properties(rate)
    if told.get("region", request.region) != request.region:
        return False
    if told.get("tenancy", "shared") != "shared":
        return False
    if told.get("productDescription", "Linux/UNIX") != "Linux/UNIX":
        return False
    if text_at(offering, "currency") != "USD":
        raise OddDocumentError("a rate that is not in US dollars")
    if text_at(rate, "unit") != "Hrs":
        raise OddDocumentError("a rate that is not by the hour")
    return True


def _properties(rate: Mapping[str, Any]) -> dict[str, str]:
    """Return a rate's own properties by name.

    Raises:
        OddDocumentError: they are not names with texts.
    """
    listed = rate.get("properties") or []
    if not isinstance(listed, list):
        raise OddDocumentError("properties that are no list")
    found: dict[str, str] = {}
    for each in listed:
        each = as_mapping(each, "a property")
        name, value = text_at(each, "name"), str(each.get("value"))
        if found.setdefault(name, value) != value:
            raise OddDocumentError(f"two values of {name}")
    return found
