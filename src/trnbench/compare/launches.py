"""A launch: one result as a comparison sees it, with what of its records the result leaves out."""

from dataclasses import dataclass

from trnbench.analysis.step_time import losses_by_step
from trnbench.schema.measurement import Measurement
from trnbench.schema.plan import Plan
from trnbench.schema.result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One result of a side."""

    result: Result
    plan: Plan | None
    """None where only a result was kept."""
    digest: str
    """Of its records: two launches with the same one are copies of one launch."""
    is_verified: bool
    """Whether the result was derived from raw records now."""
    excess_losses: tuple[float | None, ...]
    """Each step's loss above that of a model that knows the stream, in nats; None where it was no
    number; empty where there are no records."""
    note: str | None = None
    """What a reader must know of how it was read."""

    @property
    def is_usable(self) -> bool:
        """Whether its figures may be used at all."""
        return self.result.standing in ("sound", "doubtful")

    @property
    def why_not(self) -> str | None:
        """Why it does not count; None if it does."""
        if self.is_usable:
            return None
        wrong = [check for check in self.result.checks if check.verdict == "invalid"]
        return f"{wrong[0].name}: {wrong[0].evidence}" if wrong else self.result.outcome.reason


def make_launch(
    result: Result,
    plan: Plan | None,
    measurement: Measurement | None,
    *,
    digest: str,
    note: str | None = None,
) -> Launch:
    """Return a launch from its result and, where they were kept, its plan and its records."""
    losses = [] if measurement is None else losses_by_step(measurement.blocks)
    return Launch(
        result=result,
        plan=plan,
        digest=digest,
        is_verified=measurement is not None,
        excess_losses=tuple(None if loss is None else loss - oracle for loss, oracle in losses),
        note=note,
    )
