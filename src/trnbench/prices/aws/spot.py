"""Spot rates: one for each availability zone, as of now.

A quote is not a promise of capacity. Zones of one region can differ by a factor of three.
Source: Amazon EC2 API reference, DescribeSpotPriceHistory (read 2026-11): asked with a start time
of now, it answers with each zone's last change before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from trnbench.prices.aws.client import AskError, Connect, odd_answer
from trnbench.prices.aws.documents import (
    OddDocumentError,
    amount_at,
    as_mapping,
    moment_at,
    text_at,
)
from trnbench.prices.base import NoPrice, PriceRequest
from trnbench.schema.price import Price

ACTION = "ec2:DescribeSpotPriceHistory"
PRODUCT = "Linux/UNIX"


@dataclass(frozen=True, slots=True)
class _Quote:
    """A zone's rate, and since when it holds."""

    usd_per_hour: Decimal
    zone: str
    since: datetime


def ask_spot(connect: Connect, request: PriceRequest, now: datetime) -> Price | NoPrice:
    """Ask for the rate of the request's zone, or of its region if all zones agree."""
    try:
        rows = connect("ec2", str(request.region)).pages(
            "DescribeSpotPriceHistory",
            "SpotPriceHistory",
            InstanceTypes=[request.instance],
            ProductDescriptions=[PRODUCT],
            StartTime=now,
            MaxResults=1000,
        )
    except AskError as error:
        return error.answer
    return read_spot(rows, request, now)


def read_spot(rows: Sequence[Any], request: PriceRequest, now: datetime) -> Price | NoPrice:
    """Find the one rate in an answer, or say why there is none.

    Args:
        rows: `SpotPriceHistory`.
        request: with an instance and a region; a zone chooses by its letter or its id.
        now: when it was asked.
    """
    latest: dict[str, _Quote] = {}
    try:
        for row in rows:
            quote = _read_row(as_mapping(row, "a row"), request, now)
            if quote is None:
                continue
            known = latest.setdefault(quote.zone, quote)
            if known.since == quote.since and known.usd_per_hour != quote.usd_per_hour:
                raise OddDocumentError(f"two rates of {quote.zone} at once")
            if known.since < quote.since:
                latest[quote.zone] = quote
    except OddDocumentError as odd:
        return odd_answer(ACTION, str(odd))
    return _choose(list(latest.values()), request)


def _read_row(row: Mapping[str, Any], request: PriceRequest, now: datetime) -> _Quote | None:
    """Return what a row says, if it is about what was asked.

    Raises:
        OddDocumentError: it does not say what it must.
    """
    about = text_at(row, "InstanceType"), text_at(row, "ProductDescription")
    zone, zone_id = text_at(row, "AvailabilityZone"), row.get("AvailabilityZoneId")
    if not zone.startswith(str(request.region)):
        raise OddDocumentError(f"a zone of another region, {zone}")
    if about != (request.instance, PRODUCT) or request.zone not in (None, zone, zone_id):
        return None
    since, rate = moment_at(row, "Timestamp"), amount_at(row, "SpotPrice")
    if since > now + timedelta(hours=1):
        raise OddDocumentError("a rate that begins later; is this machine's clock right?")
    if rate == 0:
        raise OddDocumentError("a spot rate of $0")
    # Letters are each account's own; the id is the same for all.
    said = zone_id if isinstance(zone_id, str) and zone_id else zone
    return _Quote(rate, said, since)


def _choose(quotes: Sequence[_Quote], request: PriceRequest) -> Price | NoPrice:
    """Return the rate if there is one alone; zones that differ are for the user to choose from."""
    where = request.zone or request.region
    if not quotes:
        return NoPrice(
            f"AWS quotes no spot rate of {request.instance} in {where}",
            "name another zone or region, another `price.option`, or give `--usd-per-hour`",
        )
    by_rate = sorted(quotes, key=lambda quote: quote.usd_per_hour)
    if by_rate[0].usd_per_hour != by_rate[-1].usd_per_hour:
        said = ", ".join(f"{quote.zone} ${quote.usd_per_hour}" for quote in by_rate)
        return NoPrice(
            f"{request.instance} spot costs differently by zone: {said}",
            "name one by `price.zone`, or give `--usd-per-hour`",
            is_open=True,
        )
    newest = max(quotes, key=lambda quote: quote.since)
    return Price(
        usd_per_hour=newest.usd_per_hour,
        instance=request.instance,
        option="spot",
        region=request.region,
        zone=newest.zone if len(quotes) == 1 else None,
        date=request.today,
        source=f"EC2 spot price history, unchanged since {newest.since:%Y-%m-%d %H:%M} UTC",
        note="a spot quote is no promise of capacity, and the instance can be taken back",
    )
