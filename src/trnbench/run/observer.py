"""What a run tells whoever watches it; the command line draws it, tests record it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trnbench.schema.plan import Plan
from trnbench.schema.result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a case stands."""

    phase: str
    steps: int
    samples: int
    tokens_per_second: float | None
    relative_half_width: float | None
    """Of the interval at the last look."""
    elapsed_seconds: float
    usd_spent: float | None


class Observer(Protocol):
    """Someone who watches; nothing that it does may reach the timed blocks."""

    def run_begins(self, folder: Path, plans: Sequence[Plan]) -> None:
        """The folder is there and the first case is next."""

    def case_begins(self, number: int, plan: Plan, launch: int) -> None:
        """A case is about to be launched; `number` and `launch` count from 1."""

    def case_moves(self, plan: Plan, progress: Progress) -> None:
        """Something has changed, or a second has passed."""

    def case_ends(self, number: int, result: Result, *, was_measured_before: bool) -> None:
        """A case is over and its result is on disk."""
