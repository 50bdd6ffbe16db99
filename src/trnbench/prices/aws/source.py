"""AWS as a source of prices: each way of renting asked of the service that knows it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from trnbench.catalog.instances import hint_at_instances, instances
from trnbench.catalog.prices import price_rows_by_instance
from trnbench.prices.aws.client import AskError, Connect, connect
from trnbench.prices.aws.commitments import ask_capacity_block, ask_savings_plan
from trnbench.prices.aws.price_list import ask_price_list
from trnbench.prices.aws.spot import ask_spot
from trnbench.prices.base import (
    NoPrice,
    PriceRequest,
    add_note,
    unknown_instance,
    utc_now,
)
from trnbench.prices.table import OPTION_ORDER, OWN_RATE
from trnbench.schema.price import Price
from trnbench.schema.rent import RentOption

Ask = Callable[[Connect, PriceRequest, datetime], Price | NoPrice]

ASKED: Mapping[RentOption, Ask] = {
    "on_demand": ask_price_list,
    "reserved_1y": ask_price_list,
    "reserved_3y": ask_price_list,
    "spot": ask_spot,
    "capacity_block": ask_capacity_block,
    "savings_plan_1y": ask_savings_plan,
    "savings_plan_3y": ask_savings_plan,
}
"""Which function asks for the rate of an option."""

ODD_FACTOR = 3
"""A list price that moved by more than this factor from the table's gets a note."""

_INSTANCE = re.compile(r"[a-z0-9-]{2,30}\.[a-z0-9-]{2,30}")
_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d+")


@dataclass(frozen=True, slots=True)
class AwsSource:
    """Asks AWS now. Without an option on-demand is asked for, then capacity blocks."""

    connect: Connect = connect
    now: Callable[[], datetime] = utc_now

    def quote(self, request: PriceRequest) -> Price | NoPrice:
        """Return the rate of one option, dated by the moment it was asked for."""
        refusal = _refusal(request)
        if refusal is not None:
            return refusal
        first, *others = [request.option] if request.option else OPTION_ORDER
        answer = self._ask(request, first)
        for option in others:
            if isinstance(answer, Price) or answer.is_failure:
                break  # a source that could not be asked does not say that none is sold
            answer = self._ask(request, option)
        if isinstance(answer, Price) or request.instance in instances():
            return answer
        return replace(answer, hint=hint_at_instances(str(request.instance), answer.hint))

    def _ask(self, request: PriceRequest, option: RentOption) -> Price | NoPrice:
        now = self.now()
        try:
            answer = ASKED[option](self.connect, replace(request, option=option), now)
        except AskError as error:
            return error.answer
        if isinstance(answer, NoPrice):
            return answer
        note = _compare_with_table(answer)
        answer = add_note(answer, note) if note else answer
        return answer.model_copy(update={"retrieved_at": now.isoformat(timespec="seconds")})


def _refusal(request: PriceRequest) -> NoPrice | None:
    """Return why AWS is not asked at all, if it is not."""
    name, region = request.instance, request.region
    if name is None:
        return unknown_instance(request, OWN_RATE)
    known = instances().get(name)
    if known is not None and known.provider != "aws":
        return NoPrice(
            f"{name} is of {known.provider}, and live rates come from AWS alone",
            f"use the bundled table (`price.source: table`); {OWN_RATE}",
        )
    if region is None:
        return NoPrice(
            f"a live rate of {name} needs a region", f"name one by `price.region`; {OWN_RATE}"
        )
    if not _INSTANCE.fullmatch(name) or not _REGION.fullmatch(region):
        return NoPrice(
            f"{name} in {region} is not an instance type and region of AWS",
            f"write e.g. `price: {{instance: trn2.48xlarge, region: us-east-2}}`; {OWN_RATE}",
        )
    if region.startswith("cn-"):
        return NoPrice(
            f"rates in {region} are in yuan, and trnbench calculates in US dollars", OWN_RATE
        )
    return None


def _compare_with_table(price: Price) -> str | None:
    """Return a note on a rate that is odd compared with the table's of the same region."""
    rows = [
        row
        for row in price_rows_by_instance().get(str(price.instance), ())
        if row.region == price.region and row.standing != "listed"
    ]
    newest = {row.option: row for row in sorted(rows, key=lambda row: row.date)}
    list_price = newest.get("on_demand")
    if price.option == "spot" and list_price and price.usd_per_hour >= list_price.usd_per_hour:
        return "it is no less than the on-demand rate, which often means that there is no capacity"
    same = next((row for option, row in newest.items() if option == price.option), None)
    if same is None or price.option == "spot":
        return None
    factor = price.usd_per_hour / same.usd_per_hour
    if 1 / ODD_FACTOR <= factor <= ODD_FACTOR:
        return None
    said = f"{float(factor):.2g} times the table's ${same.usd_per_hour} of {same.date}"
    return f"{said}: compare it with AWS's own page"
