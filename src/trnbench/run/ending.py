"""How a run ended: what is kept of each case while thousands are measured, and what to raise."""

from dataclasses import dataclass
from pathlib import Path

from trnbench.errors import DataError, RunError
from trnbench.run.index import RunIndex
from trnbench.run.results import load_indexed
from trnbench.run.stopping import LEAST_SECONDS
from trnbench.schema.result import Result, Validity

FULL_HINT = "free some disk, or mend the folder, and run the same command with the same `-o`"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedCase:
    """What a session keeps of a case that is over; its result is on disk."""

    case_id: str
    status: str
    """Of its outcome."""
    standing: Validity
    problem: str
    """Why its figure must not be used, if so."""
    hint: str | None

    @classmethod
    def of(cls, result: Result) -> "EndedCase":
        """Take from a result what is told of it when the run is over."""
        invalid = next((c for c in result.checks if c.verdict == "invalid"), None)
        outcome = result.outcome
        return cls(
            case_id=result.case_id,
            status=outcome.status,
            standing=result.standing,
            problem=f"{invalid.name}: {invalid.evidence}" if invalid else outcome.reason,
            hint=invalid.advice if invalid else outcome.hint,
        )

    @property
    def has_failed(self) -> bool:
        """Whether it did not finish, or its figure must not be used."""
        return self.status != "finished" or self.standing in ("failed", "invalid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended."""

    cases: list[EndedCase]
    """Those that were reached, in the order of the plans."""
    signal: int | None
    """What stopped it, if a signal did."""
    storage_full: str | None
    """Why something could not be written, or not be read again, if so."""
    unpaid: int = 0
    """Cases with launches that the dollars of all cases did not pay for."""

    @property
    def failed(self) -> list[EndedCase]:
        """Cases that did not finish, or whose figure must not be used."""
        return [case for case in self.cases if case.has_failed]

    def load_results(self, folder: Path) -> list[Result]:
        """Read the results of the cases that were reached from the run's folder, in order.

        Where the disk failed, those that can still be read.

        Raises:
            DataError: one cannot be read, on a disk that did not fail.
        """
        results, index = [], RunIndex(folder)
        for case in self.cases:
            try:
                results.append(load_indexed(folder / case.case_id, index))
            except DataError:
                if self.storage_full is None:
                    raise
        index.keep()
        return results


def raise_for(ending: Ending, folder: Path) -> None:
    """Raise what went wrong in a run, after its results have been shown.

    Raises:
        RunError: the disk was full, or a case failed; the others are kept.
    """
    if ending.storage_full is not None:
        kept = "what was measured before is kept" if folder.exists() else "the folder is gone"
        raise RunError(f"{folder}: {ending.storage_full}; {kept}", hint=FULL_HINT)
    if ending.unpaid:
        cases = "1 case was" if ending.unpaid == 1 else f"{ending.unpaid:,} cases were"
        raise RunError(
            f"--max-usd: {cases} not measured, or not with all launches: less was left than "
            f"{LEAST_SECONDS:g} s of the machine cost",
            hint="run the same command with the same `-o` folder to measure the rest; what was "
            "measured is kept",
        )
    if failed := ending.failed:
        worst = failed[0]
        more = f" (and {len(failed) - 1:,} more)" if len(failed) > 1 else ""
        raise RunError(
            f"case {worst.case_id}{more} has no usable result: {worst.problem}",
            hint=worst.hint or "see its result.json",
        )
