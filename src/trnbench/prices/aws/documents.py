"""Picking values out of answers that may hold anything: what is not as it must be is told.

A price is money: nothing here guesses, rounds, or takes a default.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from trnbench.schema.price import MAX_USD_PER_HOUR


class OddDocumentError(Exception):
    """A document does not say what it must, in a form that is understood."""


def parse_json(text: Any) -> Mapping[str, Any]:
    """Read one JSON object.

    Raises:
        OddDocumentError: it is none, or says one thing twice.
    """
    if not isinstance(text, str):
        raise OddDocumentError("a product that is no text")
    try:
        found = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise OddDocumentError("a product that is no JSON document") from error
    return as_mapping(found, "a product")


def as_mapping(value: Any, what: str) -> Mapping[str, Any]:
    """Return a mapping.

    Raises:
        OddDocumentError: it is none.
    """
    if not isinstance(value, Mapping):
        raise OddDocumentError(f"{what} that is no mapping")
    return value


def mapping_at(holder: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """Return what lies below these keys, one in the other.

    Raises:
        OddDocumentError: nothing does, or no mapping.
    """
    for key in keys:
        holder = as_mapping(holder.get(key), key)
    return holder


def text_at(holder: Mapping[str, Any], key: str) -> str:
    """Return a text.

    Raises:
        OddDocumentError: there is none.
    """
    value = holder.get(key)
    if not isinstance(value, str) or not value:
        raise OddDocumentError(f"no {key}")
    return value


def count_at(holder: Mapping[str, Any], key: str, least: int = 1) -> int:
    """Return a whole number from `least` on.

    Raises:
        OddDocumentError: there is none.
    """
    value = holder.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= 10**9:
        raise OddDocumentError(f"no {key} {'above' if least else 'of at least'} zero")
    return value


def only_value(holder: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    """Return the one mapping in a mapping whose key is a code that nobody can know.

    Raises:
        OddDocumentError: there is none, or more than one.
    """
    if len(holder) != 1:
        raise OddDocumentError(f"{len(holder)} {what} where there must be one")
    (value,) = holder.values()
    return as_mapping(value, what)


def amount_at(holder: Mapping[str, Any], key: str, most: int = MAX_USD_PER_HOUR) -> Decimal:
    """Return an amount of money, exactly as it is written; it may be zero.

    Raises:
        OddDocumentError: it is not written in digits, or is more than `most`.
    """
    text = text_at(holder, key)
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,12})?", text, flags=re.ASCII):
        raise OddDocumentError(f"{key} that is no amount")
    amount = Decimal(text)
    if amount > most:
        raise OddDocumentError(f"{key} above {most:,}")
    return shortest(amount)


def shortest(amount: Decimal) -> Decimal:
    """Return the same amount without zeros at its end: 21.5000000000 is 21.5, 20.00 is 20."""
    return Decimal(f"{amount.normalize():f}")


def moment_at(holder: Mapping[str, Any], key: str) -> datetime:
    """Return a point in time: boto3's own, or ISO text.

    Raises:
        OddDocumentError: it is none, or does not say its zone.
    """
    value = holder.get(key)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise OddDocumentError(f"{key} that is no time") from error
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise OddDocumentError(f"no {key}")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise OddDocumentError(f"{key} that is no time") from error


def day_at(holder: Mapping[str, Any], key: str) -> date:
    """Return the day of a point in time, in UTC.

    Raises:
        OddDocumentError: as of `moment_at`.
    """
    return moment_at(holder, key).date()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found
