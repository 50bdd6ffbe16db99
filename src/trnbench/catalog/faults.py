"""What vendors' error texts mean and what helps, each with where the text was read."""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass

from trnbench.catalog.tables import read_table
from trnbench.wire import FailureReason

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
