"""The one base of every model that crosses a file: frozen, strict, no stray keys, no NaN."""

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer


class Strict(BaseModel):
    """A value that cannot change, with no key that nobody reads."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


def _exact(value: Any) -> Any:
    """Read a rate as it was written: 35.7608 must not become 35.76079999999999..."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return Decimal(str(value))
        except ArithmeticError:
            return value
    return value


Usd = Annotated[
    Decimal,
    BeforeValidator(_exact, json_schema_input_type=float),
    PlainSerializer(str, return_type=str, when_used="json"),
]
"""An exact amount of US dollars: read from a number or text, written as text."""
