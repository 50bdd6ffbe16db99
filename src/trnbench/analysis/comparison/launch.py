"""A launch: one result as a comparison sees it, with what of its records the result leaves out."""

from dataclasses import dataclass

from trnbench.analysis.summary import losses_by_step
from trnbench.schema.measurement import Measurement
from trnbench.schema.plan import Plan
from trnbench.schema.result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiling:
    """What a launch spent on compiling."""

    seconds: float | None
    """Of all its programs; None with the reason."""
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One result of a side."""

    result: Result
    plan: Plan | None
    """None where only a result was kept."""
    digest: str
    """Of its records: two launches with the same one are the same launch, told twice."""
    is_verified: bool
    """Whether the result was derived from raw records now."""
    excess_losses: tuple[float | None, ...]
    """Each step's loss above that of a model that knows the stream, in nats; None where it was no
    number; empty where there are no records."""
    compiling: Compiling
    note: str | None = None
    """What a reader must know of how it was read."""

    @property
    def is_usable(self) -> bool:
        """Whether its figures may be used at all."""
        return self.result.standing in ("sound", "doubtful")


def make_launch(
    result: Result,
    plan: Plan | None,
    measurement: Measurement | None,
    *,
    digest: str,
    note: str | None = None,
) -> Launch:
    """Return a launch from its result and, where they were kept, its plan and its records."""
    excess: tuple[float | None, ...] = ()
    if measurement is not None:
        losses = losses_by_step(measurement.blocks)
        excess = tuple(None if loss is None else loss - oracle for loss, oracle in losses)
    return Launch(
        result=result,
        plan=plan,
        digest=digest,
        is_verified=measurement is not None,
        excess_losses=excess,
        compiling=_compiling(measurement),
        note=note,
    )


def _compiling(measurement: Measurement | None) -> Compiling:
    """Add up the compilations of a launch that found none of its programs compiled.

    One that found some has spent another time than it would with an empty cache, so it has no
    figure: the two are never held against each other.
    """
    if measurement is None:
        return Compiling(seconds=None, reason="its raw records were not kept")
    if not measurement.activities:
        return Compiling(seconds=None, reason="the worker did not tell what was compiled")
    told = measurement.activities[-1]
    if told.cache_hits:
        made = told.compilations or 0
        return Compiling(
            seconds=None,
            reason=f"{told.cache_hits} of its {told.cache_hits + made} programs were found "
            "compiled, and cold and cached are not compared",
        )
    if told.compile_seconds:
        return Compiling(seconds=sum(told.compile_seconds))
    if told.compilations:
        return Compiling(seconds=None, reason="this device's software does not tell how long")
    if told.compilations is None:
        return Compiling(seconds=None, reason="this device's software does not tell")
    return Compiling(seconds=None, reason="nothing was compiled")
