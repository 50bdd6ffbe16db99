"""Spot rates: one for each availability zone, as of now.

A quote is not a promise of capacity. Zones of one region can differ by a factor of three.
Source: Amazon EC2 API reference, DescribeSpotPriceHistory (read 2026-11): asked with a start time
of now, it answers with each zone's last change before.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import ConfigDict
from pydantic.alias_generators import to_pascal

from trnbench.prices.aws.answers import Answer, Moment, OddAnswerError, Text, UsdPerHour
from trnbench.prices.aws.client import Connect, odd_answer
from trnbench.prices.base import NoPrice, PriceRequest, price_of
from trnbench.schema.price import Price

ACTION = "ec2:DescribeSpotPriceHistory"
PRODUCT = "Linux/UNIX"


class _Row(Answer):
    """A zone's rate, and since when it holds."""

    model_config = ConfigDict(alias_generator=to_pascal)

    instance_type: Text
    product_description: Text
    availability_zone: Text
    availability_zone_id: Any = None
    timestamp: Moment
    spot_price: UsdPerHour

    @property
    def zone(self) -> str:
        """The zone's id, which is the same for all accounts; where it is missing, its letter."""
        zone_id = self.availability_zone_id
        return zone_id if isinstance(zone_id, str) and zone_id else self.availability_zone


def ask_spot(connect: Connect, request: PriceRequest, now: datetime) -> Price | NoPrice:
    """Ask for the rate of the request's zone, or of its region if all zones agree."""
    rows = connect("ec2", str(request.region)).pages(
        "DescribeSpotPriceHistory",
        "SpotPriceHistory",
        InstanceTypes=[request.instance],
        ProductDescriptions=[PRODUCT],
        StartTime=now,
        MaxResults=1000,
    )
    return read_spot(rows, request, now)


def read_spot(rows: Sequence[Any], request: PriceRequest, now: datetime) -> Price | NoPrice:
    """Find the one rate in an answer, or say why there is none."""
    latest: dict[str, _Row] = {}
    try:
        for each in rows:
            row = _Row.read(each, "a row")
            if not _is_wanted(row, request, now):
                continue
            known = latest.setdefault(row.zone, row)
            if known.timestamp == row.timestamp and known.spot_price != row.spot_price:
                raise OddAnswerError(f"two rates of {row.zone} at once")
            if known.timestamp < row.timestamp:
                latest[row.zone] = row
    except OddAnswerError as odd:
        return odd_answer(ACTION, str(odd))
    return _choose(list(latest.values()), request)


def _is_wanted(row: _Row, request: PriceRequest, now: datetime) -> bool:
    """Whether a row is about what was asked."""
    if not row.availability_zone.startswith(str(request.region)):
        raise OddAnswerError(f"a zone of another region, {row.availability_zone}")
    if (row.instance_type, row.product_description) != (request.instance, PRODUCT):
        return False
    if request.zone not in (None, row.availability_zone, row.availability_zone_id):
        return False
    if row.timestamp > now + timedelta(hours=1):
        raise OddAnswerError("a rate that begins later; is this machine's clock right?")
    if row.spot_price == 0:
        raise OddAnswerError("a spot rate of $0")
    return True


def _choose(rows: Sequence[_Row], request: PriceRequest) -> Price | NoPrice:
    """Return the rate if there is one alone; zones that differ are for the user to choose from."""
    if not rows:
        return NoPrice(
            f"AWS quotes no spot rate of {request.instance} in {request.zone or request.region}",
            "name another zone or region, another `price.option`, or give `--usd-per-hour`",
        )
    by_rate = sorted(rows, key=lambda row: row.spot_price)
    if by_rate[0].spot_price != by_rate[-1].spot_price:
        said = ", ".join(f"{row.zone} ${row.spot_price}" for row in by_rate)
        return NoPrice(
            f"{request.instance} spot costs differently by zone: {said}",
            "name one by `price.zone`, or give `--usd-per-hour`",
            is_open=True,
        )
    newest = max(rows, key=lambda row: row.timestamp)
    return price_of(
        request,
        newest.spot_price,
        option="spot",
        zone=newest.zone if len(rows) == 1 else None,
        source=f"EC2 spot price history, unchanged since {newest.timestamp:%Y-%m-%d %H:%M} UTC",
        note="a spot quote is no promise of capacity, and the instance can be taken back",
    )
