"""Facts that are looked up by a text or a place: vendors' errors, electricity, operators."""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from trnbench.catalog import read_rows
from trnbench.protocol.records import FailureReason

# --- what vendors' error texts mean ---------------------------------------------------------------

CODE = re.compile(r"NCC_[A-Z]+[0-9]+")
"""Any of neuronx-cc's codes. Source: AWS Neuron documentation, compiler/error-codes (2.32)."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that a part of the vendor's text identifies."""

    backends: frozenset[str]
    pattern: re.Pattern[str]
    reason: FailureReason
    meaning: str
    fix: str
    source: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A fault that was found in a text."""

    fault: Fault
    line: str
    """Of the vendor's text, in which the pattern was found."""
    code: str | None
    """The compiler's error code; None where the text has none."""


@functools.cache
def faults() -> tuple[Fault, ...]:
    """Return every known fault, the specific before the general."""
    return tuple(read_rows(Fault, "faults.csv", backends="backend"))


def diagnose(backend: str, texts: Iterable[str]) -> Diagnosis | None:
    """Return the first known fault in these texts, which come in order of relevance."""
    known = [fault for fault in faults() if backend in fault.backends]
    for text in texts:
        for fault in known:
            found = fault.pattern.search(text)
            if found is not None:
                line_start = text.rfind("\n", 0, found.start()) + 1
                line = text[line_start:].partition("\n")[0].strip()[:500]
                code = CODE.search(text)
                return Diagnosis(fault, line, code[0] if code else None)
    return None


# --- what a kilowatt-hour emits -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Grid:
    """The electricity of one provider's region."""

    provider: str
    region: str
    zone: str
    """As Electricity Maps calls it."""
    grams_co2e_per_kwh: float
    year: int
    basis: Literal["location", "market"]
    """location: what the grid's plants emit; market: what the bought certificates say."""
    source: str


@dataclass(frozen=True, slots=True)
class Facilities:
    """The data centres of one provider."""

    provider: str
    pue: float
    """Power usage effectiveness: power of a site over that of its machines, mean of all sites."""
    year: int
    source: str


@functools.cache
def grids() -> dict[tuple[str, str], Grid]:
    """Return the known grids by provider and region."""
    rows = read_rows(Grid, "grid.csv", zone="grid_zone")
    return {(row.provider, row.region): row for row in rows}


@functools.cache
def facilities() -> dict[str, Facilities]:
    """Return the data centres of each known provider by its name."""
    return {row.provider: row for row in read_rows(Facilities, "pue.csv")}


# --- what kind of work an operator does -----------------------------------------------------------

OPTIMIZER = "optimizer and clipping"
OTHERS = "others"
"""The class of names that no row matches."""


@dataclass(frozen=True, slots=True)
class OperatorClass:
    """One kind of work, and the names of its operators and kernels."""

    pattern: str
    """Matches a whole name, which may have several lines."""
    name: str
    what: str


@functools.cache
def operator_classes() -> tuple[OperatorClass, ...]:
    """Return the rows of the table in its order, of which the first that matches a name counts."""
    return tuple(read_rows(OperatorClass, "operator_classes.csv", name="class"))


@functools.cache
def class_of(name: str, within: str | None = None) -> str:
    """Return the class of an operator or a kernel by its name.

    All that the optimizer's step calls (`within="optimizer"`) is of the optimizer's class.
    """
    if within == "optimizer":
        return OPTIMIZER
    for row in operator_classes():
        if re.fullmatch(row.pattern, name, re.DOTALL):
            return row.name
    return OTHERS
