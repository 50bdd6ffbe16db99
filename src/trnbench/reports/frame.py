"""Rows as a DataFrame of pandas, each column of its own type. The only home of pandas."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from trnbench.reports.document import Kind, Rows, Value
from trnbench.reports.extras import require

if TYPE_CHECKING:
    from pandas import DataFrame

_HALF = re.compile("[\ud800-\udfff]")
"""Half a character, which UTF-8 cannot hold."""


def frame_of(found: Rows) -> "DataFrame":
    """Return rows as a frame; what is not known is missing, in whole numbers and texts too.

    Raises:
        UnavailableError: pandas is not installed.
    """
    pandas = require("pandas")
    columns = zip(*found.rows, strict=True) if found.rows else [()] * len(found.names)
    typed = {
        name: _SERIES[kind](pandas, cells)
        for name, kind, cells in zip(found.names, found.kinds, columns, strict=True)
    }
    return pandas.DataFrame(typed, columns=list(found.names))


def _whole(pandas: Any, cells: Sequence[Value]) -> Any:
    rounded = [round(cell) if isinstance(cell, float) else cell for cell in cells]
    return pandas.Series(rounded, dtype="Int64")


def _texts(pandas: Any, cells: Sequence[Value]) -> Any:
    texts = [_HALF.sub("\ufffd", cell) if isinstance(cell, str) else cell for cell in cells]
    return pandas.Series(texts, dtype="string")


def _flags(pandas: Any, cells: Sequence[Value]) -> Any:
    return pandas.Series([None if cell is None else bool(cell) for cell in cells], dtype="boolean")


def _moments(type_: str) -> Callable[[Any, Sequence[Value]], Any]:
    """Return a reader of days or times; a text that is neither is not known."""

    def read(pandas: Any, cells: Sequence[Value]) -> Any:
        texts = pandas.Series(cells, dtype="object")
        found = pandas.to_datetime(
            texts, format="ISO8601", utc=type_.endswith("UTC]"), errors="coerce"
        )
        return found.astype(type_)

    return read


_SERIES: Mapping[Kind, Callable[[Any, Sequence[Value]], Any]] = {
    "text": _texts,
    "int": _whole,
    "float": lambda pandas, cells: pandas.Series(cells, dtype="float64"),
    "flag": _flags,
    "day": _moments("datetime64[ms]"),
    "time": _moments("datetime64[us, UTC]"),
}
