"""Rates that are commitments: Savings Plans, and Capacity Blocks whose fee becomes a rate.

A plan of one family and region, or one paid up front, costs less than the Compute plan with nothing
up front that is asked for here; it is the user's to name by `--usd-per-hour`. Offers of blocks are
looked at and none is taken: `client.OPERATIONS` has no call that buys.
Sources: Savings Plans API reference, DescribeSavingsPlansOfferingRates; Amazon EC2 API reference,
DescribeCapacityBlockOfferings; EC2 user guide, "Capacity Blocks pricing and billing" (all read
2026-11): the fee covers the hardware, Linux adds nothing, and instances are ended half an hour
before the block is, which is paid for all the same.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_pascal

from trnbench.prices.aws.answers import (
    Answer,
    Count,
    Moment,
    OddAnswerError,
    Text,
    UsdFee,
    UsdPerHour,
    shortest,
)
from trnbench.prices.aws.client import Connect, odd_answer
from trnbench.prices.base import NoPrice, PriceRequest, price_of
from trnbench.schema.price import MAX_USD_PER_HOUR, Price
from trnbench.schema.rent import RentOption

PLAN_ACTION = "savingsplans:DescribeSavingsPlansOfferingRates"
PLAN_SECONDS: Mapping[RentOption, int] = {
    "savings_plan_1y": 31_536_000,
    "savings_plan_3y": 94_608_000,
}
PLAN, PAYMENT = "Compute", "No Upfront"

BLOCK_ACTION = "ec2:DescribeCapacityBlockOfferings"
HALF_A_CENT = Decimal("0.005")
"""Fees are in whole cents: that is how far one may be from its rate times its hours."""

BLOCK_HOURS = 24
"""The shortest block; longer ones were never seen at another rate."""


# --- Savings Plans --------------------------------------------------------------------------------


class _Property(Answer):
    name: Text
    value: Any = None


class _Offering(Answer):
    plan_type: Text
    payment_option: Text
    duration_seconds: Count
    currency: Literal["USD"]


class _Rate(Answer):
    savings_plan_offering: _Offering
    rate: UsdPerHour
    unit: Literal["Hrs"]
    usage_type: Text
    operation: Text
    properties: list[_Property] | None = None


def ask_savings_plan(connect: Connect, request: PriceRequest, _now: datetime) -> Price | NoPrice:
    """Ask for the rate of the request's plan."""
    rates = connect("savingsplans", "us-east-1").pages(
        "DescribeSavingsPlansOfferingRates",
        "searchResults",
        "nextToken",
        savingsPlanTypes=[PLAN],
        savingsPlanPaymentOptions=[PAYMENT],
        products=["EC2"],
        serviceCodes=["AmazonEC2"],
        filters=[{"name": name, "values": [value]} for name, value in _wanted(request).items()],
        maxResults=1000,
    )
    return read_savings_plan(rates, request)


def _wanted(request: PriceRequest) -> dict[str, str | None]:
    return {
        "region": request.region,
        "instanceType": request.instance,
        "productDescription": "Linux/UNIX",
        "tenancy": "shared",
    }


def read_savings_plan(rates: Sequence[Any], request: PriceRequest) -> Price | NoPrice:
    """Find the one rate in an answer, or say why there is none."""
    option = request.option or "savings_plan_1y"
    try:
        read = [_Rate.read(rate, "a rate") for rate in rates]
        found = {each.rate for each in read if _is_wanted(each, request, PLAN_SECONDS[option])}
    except OddAnswerError as odd:
        return odd_answer(PLAN_ACTION, str(odd))
    if Decimal(0) in found:
        return odd_answer(PLAN_ACTION, "a rate of $0")
    if len(found) > 1:
        said = ", ".join(f"${rate}" for rate in sorted(found))
        return odd_answer(PLAN_ACTION, f"{len(found)} rates where one must be left: {said}")
    if not found:
        return NoPrice(
            f"AWS lists no {option} rate of {request.instance} in {request.region}",
            "name another `price.option`, or give `--usd-per-hour`",
        )
    return price_of(
        request,
        found.pop(),
        option=option,
        source=f"AWS Savings Plans rates: {PLAN} plan, {PAYMENT.lower()}",
        note="a commitment: hours that are not used are paid for too",
    )


def _is_wanted(rate: _Rate, request: PriceRequest, seconds: int) -> bool:
    """Check a rate against all that was asked: a loose answer must not become a price."""
    offering = rate.savings_plan_offering
    properties: dict[str, str] = {}
    for each in rate.properties or ():
        if properties.setdefault(each.name, str(each.value)) != str(each.value):
            raise OddAnswerError(f"two values of {each.name}")
    prefix, _, kind = rate.usage_type.rpartition(":")
    return (
        (offering.plan_type, offering.payment_option) == (PLAN, PAYMENT)
        and offering.duration_seconds == seconds
        and kind == request.instance
        and f"-{prefix}".endswith("-BoxUsage")
        and rate.operation == "RunInstances"  # RunInstances:0002 is another operating system
        and all(properties.get(name, value) == value for name, value in _wanted(request).items())
    )


# --- Capacity Blocks ------------------------------------------------------------------------------


class _Block(Answer):
    model_config = ConfigDict(alias_generator=to_pascal)

    instance_type: Text
    instance_count: Count
    availability_zone: Text
    currency_code: Literal["USD"]
    tenancy: Literal["default"]
    upfront_fee: UsdFee
    capacity_block_duration_hours: Count
    capacity_block_duration_minutes: Annotated[int, Field(ge=0, le=10**9)] | None = None
    start_date: Moment
    end_date: Moment | None = None

    def minutes(self) -> int:
        """Return its length in minutes, for its first day may be short.

        The API's reference has the minutes beside the hours: six hours and 35 minutes. A number
        that cannot be minutes of an hour is the whole length instead; the dates must agree with
        either.
        """
        whole = self.capacity_block_duration_hours * 60
        more = self.capacity_block_duration_minutes
        minutes, tolerance = whole, timedelta(hours=1)
        if more is not None:
            minutes, tolerance = (whole + more if more < 60 else more), timedelta(minutes=1)
        if not whole - 24 * 60 < minutes < whole + 60:
            raise OddAnswerError("an offer whose hours and minutes differ")
        if self.end_date is not None:
            lasts = self.end_date - self.start_date
            if abs(lasts - timedelta(minutes=minutes)) > tolerance:
                raise OddAnswerError("an offer whose dates and hours differ")
            if more is None and lasts > timedelta(minutes=whole):
                minutes = round(lasts / timedelta(minutes=1))  # the hours are whole ones, cut off
        return minutes

    def hours(self) -> Decimal:
        """Return the instance hours that its fee pays for."""
        with localcontext(prec=28):
            return shortest(Decimal(self.instance_count * self.minutes()) / 60)

    def rates(self, rate: Decimal) -> tuple[Decimal, Decimal]:
        """Return the lowest and the highest rate that its fee, in whole cents, may be of."""
        exponent = int(self.upfront_fee.normalize().as_tuple().exponent)
        rounding = HALF_A_CENT if exponent >= -2 else Decimal(0)
        with localcontext(prec=28):
            return rate - rounding / self.hours(), rate + rounding / self.hours()

    def usd_per_hour(self, today: date) -> Decimal:
        """Return the fee as a rate over the time that is paid for."""
        if self.upfront_fee == 0:
            raise OddAnswerError("a fee of $0")
        if self.start_date.date() < today - timedelta(days=1):
            raise OddAnswerError("an offer in the past; is this machine's clock right?")
        with localcontext(prec=28):
            rate = shortest((self.upfront_fee / self.hours()).quantize(Decimal("1e-10")))
        if not 0 < rate <= MAX_USD_PER_HOUR:
            raise OddAnswerError(f"a fee that comes to ${rate} an hour")
        return rate


def ask_capacity_block(connect: Connect, request: PriceRequest, _now: datetime) -> Price | NoPrice:
    """Ask what one instance costs in the shortest block that is on offer."""
    offers = connect("ec2", str(request.region)).pages(
        "DescribeCapacityBlockOfferings",
        "CapacityBlockOfferings",
        InstanceType=request.instance,
        InstanceCount=1,
        CapacityDurationHours=BLOCK_HOURS,
    )
    return read_offers(offers, request)


def read_offers(offers: Sequence[Any], request: PriceRequest) -> Price | NoPrice:
    """Find the one rate in an answer, or say why there is none."""
    found: list[tuple[Decimal, _Block]] = []
    try:
        for each in offers:
            offer = _Block.read(each, "an offer")
            if offer.instance_type != request.instance:
                raise OddAnswerError("an offer of another instance type")
            if request.zone in (None, offer.availability_zone):
                found.append((offer.usd_per_hour(request.today), offer))
    except OddAnswerError as odd:
        return odd_answer(BLOCK_ACTION, str(odd))
    if not found:
        return NoPrice(
            f"no capacity block of {request.instance} is on offer in "
            f"{request.zone or request.region} now",
            "ask later, name another region, or use the bundled table (`price.source: table`)",
        )
    lowest, highest = zip(*(offer.rates(rate) for rate, offer in found), strict=True)
    if max(lowest) > min(highest):  # no one rate comes to all of the fees
        said = ", ".join(
            f"{offer.availability_zone} from {offer.start_date.date()} ${rate}"
            for rate, offer in sorted(found, key=lambda each: each[0])
        )
        return NoPrice(
            f"capacity blocks of {request.instance} are on offer at different rates: {said}",
            "name a zone by `price.zone`, or give the one you take by `--usd-per-hour`",
            is_open=True,
        )
    rate, first = min(found, key=lambda each: each[1].start_date)
    zones = {offer.availability_zone for _, offer in found}
    return price_of(
        request,
        rate,
        option="capacity_block",
        zone=first.availability_zone if len(zones) == 1 else None,
        source=f"EC2 Capacity Block offer from {first.start_date.date()}: ${first.upfront_fee} for "
        f"{first.hours():f} instance hours",
        note="paid in full in advance, idle hours and the block's last half hour included",
    )
