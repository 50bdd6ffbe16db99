"""Capacity Blocks: offers of a fixed window at one fee, which becomes a rate over the paid time.

This program looks at offers and can take none: `client.OPERATIONS` has no call that buys.
Source: Amazon EC2 API reference, DescribeCapacityBlockOfferings; EC2 user guide, "Capacity Blocks
pricing and billing" (both read 2026-11): the fee covers the hardware, Linux adds nothing, and
instances are ended half an hour before the block is, which is paid for all the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, localcontext
from typing import Any

from trnbench.prices.aws.client import AskError, Connect, odd_answer
from trnbench.prices.aws.documents import (
    OddDocumentError,
    amount_at,
    as_mapping,
    count_at,
    day_at,
    moment_at,
    shortest,
    text_at,
)
from trnbench.prices.base import NoPrice, PriceRequest
from trnbench.schema.price import MAX_USD_PER_HOUR, Price

ACTION = "ec2:DescribeCapacityBlockOfferings"
BLOCK_HOURS = 24
"""The shortest block; longer ones were never seen at another rate."""

MAX_FEE_USD = 500_000_000


@dataclass(frozen=True, slots=True)
class _Offer:
    """What one offer comes to."""

    usd_per_hour: Decimal
    zone: str
    starts: date
    fee: Decimal
    hours: Decimal


def ask_capacity_block(connect: Connect, request: PriceRequest) -> Price | NoPrice:
    """Ask what one instance costs in the shortest block that is on offer."""
    try:
        offers = connect("ec2", str(request.region)).pages(
            "DescribeCapacityBlockOfferings",
            "CapacityBlockOfferings",
            InstanceType=request.instance,
            InstanceCount=1,
            CapacityDurationHours=BLOCK_HOURS,
        )
    except AskError as error:
        return error.answer
    return read_offers(offers, request)


def read_offers(offers: Sequence[Any], request: PriceRequest) -> Price | NoPrice:
    """Find the one rate in an answer, or say why there is none.

    Args:
        offers: `CapacityBlockOfferings`.
        request: with an instance and a region; a zone chooses.
    """
    found: list[_Offer] = []
    try:
        for offer in offers:
            offer = as_mapping(offer, "an offer")
            if offer.get("InstanceType") != request.instance:
                raise OddDocumentError("an offer of another instance type")
            if request.zone in (None, offer.get("AvailabilityZone")):
                found.append(_read_offer(offer, request.today))
    except OddDocumentError as odd:
        return odd_answer(ACTION, str(odd))
    where = request.zone or request.region
    if not found:
        return NoPrice(
            f"no capacity block of {request.instance} is on offer in {where} now",
            "ask later, name another region, or use the bundled table (`price.source: table`)",
        )
    if len({offer.usd_per_hour for offer in found}) > 1:
        said = ", ".join(
            f"{offer.zone} from {offer.starts} ${offer.usd_per_hour}"
            for offer in sorted(found, key=lambda offer: offer.usd_per_hour)
        )
        return NoPrice(
            f"capacity blocks of {request.instance} are on offer at different rates: {said}",
            "name a zone by `price.zone`, or give the one you take by `--usd-per-hour`",
            is_open=True,
        )
    first = min(found, key=lambda offer: offer.starts)
    zones = {offer.zone for offer in found}
    return Price(
        usd_per_hour=first.usd_per_hour,
        instance=request.instance,
        option="capacity_block",
        region=request.region,
        zone=first.zone if len(zones) == 1 else None,
        date=request.today,
        source=f"EC2 Capacity Block offer from {first.starts}: ${first.fee} for "
        f"{first.hours:f} instance hours",
        note="paid whole and ahead, idle hours and the block's last half hour too",
    )


def _read_offer(offer: Mapping[str, Any], today: date) -> _Offer:
    """Turn an offer's fee into a rate over the time that is paid for.

    Raises:
        OddDocumentError: its parts do not fit together.
    """
    if text_at(offer, "CurrencyCode") != "USD":
        raise OddDocumentError("an offer that is not in US dollars")
    if text_at(offer, "Tenancy") != "default":
        raise OddDocumentError("an offer of dedicated tenancy")
    fee = amount_at(offer, "UpfrontFee", most=MAX_FEE_USD)
    if fee == 0:
        raise OddDocumentError("a fee of $0")
    minutes, starts = _paid_minutes(offer), day_at(offer, "StartDate")
    if starts < today - timedelta(days=1):
        raise OddDocumentError("an offer in the past; is this machine's clock right?")
    with localcontext() as exact:
        exact.prec = 28
        hours = Decimal(count_at(offer, "InstanceCount") * minutes) / 60
        rate = shortest((fee / hours).quantize(Decimal("1e-10")))
    if not 0 < rate <= MAX_USD_PER_HOUR:
        raise OddDocumentError(f"a fee that comes to ${rate} an hour")
    return _Offer(rate, text_at(offer, "AvailabilityZone"), starts, fee, shortest(hours))


def _paid_minutes(offer: Mapping[str, Any]) -> int:
    """Return the length of a block in minutes, for its first day may be short.

    The API's reference has the minutes beside the hours: six hours and 35 minutes. A number that
    cannot be minutes of an hour is the whole length instead; the dates must agree with either.

    Raises:
        OddDocumentError: its hours, minutes and dates contradict each other.
    """
    whole = count_at(offer, "CapacityBlockDurationHours") * 60
    minutes, tolerance = whole, timedelta(hours=1)
    if offer.get("CapacityBlockDurationMinutes") is not None:
        told = count_at(offer, "CapacityBlockDurationMinutes", least=0)
        minutes, tolerance = (whole + told if told < 60 else told), timedelta(minutes=1)
    if not whole - 24 * 60 < minutes < whole + 60:
        raise OddDocumentError("an offer whose hours and minutes differ")
    if offer.get("EndDate") is not None:
        lasts = moment_at(offer, "EndDate") - moment_at(offer, "StartDate")
        if abs(lasts - timedelta(minutes=minutes)) > tolerance:
            raise OddDocumentError("an offer whose dates and hours differ")
    return minutes
