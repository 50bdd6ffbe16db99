"""Strict types for AWS's answers: exact money, UTC, one value where there must be one.

A price is money: nothing here guesses, rounds, or takes a default.
"""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Self

import pydantic
from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from trnbench.schema.price import MAX_USD_PER_HOUR


class OddAnswerError(Exception):
    """An answer does not say what it must, in a form that is understood."""


class Answer(pydantic.BaseModel):
    """A part of an answer: its keys are AWS's, others are ignored, and no type is converted."""

    model_config = ConfigDict(frozen=True, strict=True, alias_generator=to_camel)

    @classmethod
    def read(cls, value: Any, what: str) -> Self:
        """Check a value; `what` names it in messages."""
        try:
            return cls.model_validate(value)
        except pydantic.ValidationError as error:
            raise OddAnswerError(_in_words(error, what)) from error


def _in_words(error: pydantic.ValidationError, what: str) -> str:
    fault = error.errors(include_url=False)[0]
    key = next((part for part in reversed(fault["loc"]) if isinstance(part, str)), what)
    match fault["type"]:
        case "value_error":
            return f"{key} {fault['ctx']['error']}"
        case "model_type" | "dict_type" | "list_type" as kind:
            return f"{key} that is not a {'list' if kind == 'list_type' else 'mapping'}"
        case "literal_error":
            return f"{key} that is not {fault['ctx']['expected']}"
        case "extra_forbidden":
            return f"{key} beside it"
        case "greater_than_equal":
            return f"no {key} of at least {fault['ctx']['ge']}"
    return f"no {key}"


def read_json(text: Any, what: str) -> Any:
    """Read a JSON document in which no key appears twice."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except (TypeError, ValueError, RecursionError) as error:
        raise OddAnswerError(f"{what} that is not a JSON document") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def shortest(amount: Decimal) -> Decimal:
    """Return the same amount without zeros at its end: 21.5000000000 is 21.5, 20.00 is 20."""
    return Decimal(f"{amount.normalize():f}")


def _exactly(value: Any) -> Decimal:
    if not isinstance(value, str) or not value:
        raise PydanticCustomError("missing", "no amount")
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,12})?", value, flags=re.ASCII):
        raise ValueError("that is not an amount")
    return shortest(Decimal(value))


def _at_most(most: int) -> BeforeValidator:
    def check(value: Any) -> Decimal:
        amount = _exactly(value)
        if amount > most:
            raise ValueError(f"above {most:,}")
        return amount

    return BeforeValidator(check)


def _in_utc(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if isinstance(moment, datetime) and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("that is not a time") from None
    raise PydanticCustomError("missing", "no time")


def _only_value(value: Any) -> Any:
    if not isinstance(value, dict):
        raise PydanticCustomError("dict_type", "no mapping")
    if len(value) != 1:
        raise ValueError(f"with {len(value)} values where there must be one")
    return next(iter(value.values()))


Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1, le=10**9)]
UsdPerHour = Annotated[Decimal, _at_most(MAX_USD_PER_HOUR)]
"""An amount exactly as it is written in digits; it may be zero."""
UsdFee = Annotated[Decimal, _at_most(500_000_000)]
Moment = Annotated[datetime, BeforeValidator(_in_utc)]
"""boto3's own, or ISO text; it must say its zone, and is in UTC here."""
Only = BeforeValidator(_only_value)
"""Of a mapping whose one key is a code that cannot be known ahead: its value."""
