"""Facts that are looked up by a text or a place: vendors' errors, electricity, operators."""

import functools
import re
from collections.abc import Iterable, Sequence
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
    kind: Literal["cause", "status"]
    """status: the text says that something failed and not why; a log may name the cause."""
    meaning: str
    fix: str
    examples: tuple[str, ...]
    """Texts that the pattern was written for, at least one for each of its alternatives."""
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


def diagnose(backend: str, texts: Iterable[str], log: str = "") -> Diagnosis | None:
    """Return the known fault that ended a worker; None where no text is known.

    What names a cause goes before what says only that something failed, and errors before warnings.

    Args:
        backend: whose device it was.
        texts: of the exception that ended it, in order of relevance.
        log: what else was printed: it names the cause of what the texts leave open. A warning in it
            counts only where there is no other text, or where libraries log errors as warnings.
    """
    said = [text for text in texts if text.strip()] or [log]
    causes, statuses = (
        [fault for fault in faults() if backend in fault.backends and fault.kind == kind]
        for kind in ("cause", "status")
    )
    errors = [without_warnings(text) for text in (*said, log)]
    failed = _first(causes, errors) or _first_of_all(statuses, errors[:-1])
    if failed is None:
        return _first(causes, said[:1]) or _first(statuses, said[:1])
    if failed.fault.kind == "status":
        of_libraries = _COLLECTIVES_ERROR.findall("\n".join([*said, log]))
        failed = _first(causes, of_libraries) or failed
    return failed


def _first_of_all(known: Iterable[Fault], texts: Sequence[str]) -> Diagnosis | None:
    """Return the most specific of the faults, in whichever text it is."""
    return next(filter(None, (_first([fault], texts) for fault in known)), None)


def _first(known: Iterable[Fault], texts: Iterable[str]) -> Diagnosis | None:
    for text in texts:
        for fault in known:
            found = fault.pattern.search(text)
            if found is not None:
                line_start = text.rfind("\n", 0, found.start()) + 1
                line = text[line_start:].partition("\n")[0].strip()[:500]
                code = CODE.search(text)
                return Diagnosis(fault, line, code[0] if code else None)
    return None


_WARNING = re.compile(
    r"^.{0,100}?(?:(?:^|[\s\[|])(?:WARN(?:ING)?|INFO|DEBUG|TRACE)(?=[\s\]|:])|Warning: ).*\n?"
    r"|^(?:\[[WI]|[WI])\d{4}\b.*\n?",
    re.MULTILINE,
)
"""A line of a log below the level of an error, as Neuron, NCCL, glog, torch and Python write it."""

_COLLECTIVES_ERROR = re.compile(r"^.*\b(?:NCCL|CCOM) WARN\b.*$", re.MULTILINE)
"""NCCL, and AWS's library after it, log each error as a warning. Source: NCCL documentation,
environment variables, NCCL_DEBUG."""


def without_warnings(text: str) -> str:
    """Return a text without the lines of a log that are below the level of an error."""
    return _WARNING.sub("", text)


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
