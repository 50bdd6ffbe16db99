"""A finding: one thing that was looked at, how it stands, and what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "problem", "warning", "absent"]
"""`problem`: training fails or is not on what was paid for; `warning`: a figure may be worse than
it could be, or something else than training fails; `absent`: not here, and that is fine."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    evidence: str
    """What was seen."""
    fix: str | None = None
    """What to do about it."""


def join_words(words: Sequence[str]) -> str:
    """Return `a, b and c`."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)
