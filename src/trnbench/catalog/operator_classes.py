"""Which kind of work an operator of torch's, or a device's kernel, does: by its name."""

import functools
import re
from dataclasses import dataclass

from trnbench.catalog.tables import read_table

OPTIMIZER = "optimizer and clipping"
OTHERS = "others"
"""What no row of the table knows."""


@dataclass(frozen=True, slots=True)
class OperatorClass:
    """One kind of work, and the names that are of it."""

    pattern: re.Pattern[str]
    """Of a whole name."""
    name: str
    what: str


@functools.cache
def operator_classes() -> tuple[OperatorClass, ...]:
    """Return every row of the table, in its order: the first that fits a name counts."""
    return tuple(
        OperatorClass(
            pattern=re.compile(row["pattern"], re.DOTALL), name=row["class"], what=row["what"]
        )
        for row in read_table("operator_classes.csv")
    )


@functools.cache
def class_of(name: str, within: str | None = None) -> str:
    """Return what kind of work is done under a name; `OTHERS` where no row fits.

    Args:
        name: of an operator or a kernel.
        within: `optimizer` for what the optimizer's step calls, which all counts as its own.
    """
    if within == "optimizer":
        return OPTIMIZER
    return next((row.name for row in operator_classes() if row.pattern.fullmatch(name)), OTHERS)
