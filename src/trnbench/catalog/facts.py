"""Facts that are looked up by a text or a place: vendors' errors, electricity, operators."""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from trnbench.catalog import read_rows, read_table
from trnbench.wire import FailureReason

# --- what vendors' error texts mean ---------------------------------------------------------------

CODE = re.compile(r"NCC_[A-Z]+[0-9]+")
"""Any of neuronx-cc's codes. Source: AWS Neuron documentation, compiler/error-codes (2.32)."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, recognised by a part of the vendor's text."""

    backends: frozenset[str]
    pattern: re.Pattern[str]
    reason: FailureReason
    meaning: str
    fix: str
    source: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A fault that was recognised in a text."""

    fault: Fault
    line: str
    """The vendor's own line."""
    code: str | None
    """The vendor's own code, if the line or what stands around it has one."""


@functools.cache
def faults() -> tuple[Fault, ...]:
    """Return every known fault, the telling ones before the general."""
    return tuple(
        Fault(
            backends=frozenset(row["backend"].split("|")),
            pattern=re.compile(row["pattern"]),
            reason=row["reason"],  # type: ignore[arg-type]  # held by a test
            meaning=row["meaning"],
            fix=row["fix"],
            source=row["source"],
        )
        for row in read_table("faults.csv")
    )


def diagnose(backend: str, texts: Iterable[str]) -> Diagnosis | None:
    """Recognise the first known fault in these texts, which come most telling first."""
    known = [fault for fault in faults() if backend in fault.backends]
    for text in texts:
        for fault in known:
            found = fault.pattern.search(text)
            if found is None:
                continue
            code = CODE.search(text)
            return Diagnosis(fault, _line_around(text, found.start()), code[0] if code else None)
    return None


def _line_around(text: str, place: int) -> str:
    begin = text.rfind("\n", 0, place) + 1
    return text[begin:].partition("\n")[0].strip()[:500]


# --- what a kilowatt-hour emits -------------------------------------------------------------------

# Emissions are location-based: what the plants of the region's grid emit, whatever certificates
# were bought. What no row says is not known.


@dataclass(frozen=True, slots=True)
class Grid:
    """One region's electricity."""

    provider: str
    """Whose region it is: others have regions of the same name elsewhere."""
    region: str
    zone: str
    """By Electricity Maps' name."""
    grams_co2e_per_kwh: float
    year: int
    basis: Literal["location", "market"]
    """location: of the plants; market: of the contracts. They are different numbers."""
    source: str


@dataclass(frozen=True, slots=True)
class Rooms:
    """A provider's buildings."""

    provider: str
    pue: float
    """Power of the room over that of its machines: an average over all its sites."""
    year: int
    source: str


@functools.cache
def grids() -> dict[tuple[str, str], Grid]:
    """Return every known region's electricity by provider and region."""
    rows = read_rows(Grid, "grid.csv", zone="grid_zone")
    return {(row.provider, row.region): row for row in rows}


@functools.cache
def rooms() -> dict[str, Rooms]:
    """Return every known provider's buildings by its name."""
    return {row.provider: row for row in read_rows(Rooms, "pue.csv")}


# --- which work an operator does, by its name -----------------------------------------------------

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
