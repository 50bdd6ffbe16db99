"""What is known of one case, gathered once for the metrics and the checks."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from trnbench.analysis.energy import find_energy
from trnbench.analysis.peak_flops import Peak, find_ceiling, find_peak
from trnbench.analysis.records import StepDigest, digest_of, validate_records
from trnbench.analysis.step_time import Summary, summarize
from trnbench.protocol.records import Activity, Block
from trnbench.schema.measurement import Measurement, Outcome
from trnbench.schema.plan import Plan
from trnbench.schema.result import (
    CheckOutcome,
    CompileCache,
    ResultCompilation,
    ResultEnergy,
    Verdict,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A case's plan, its records, and what they come to."""

    plan: Plan
    is_plan_unchanged: bool
    """Whether it is the plan that the measurement names."""
    measurement: Measurement
    outcome: Outcome
    summary: Summary
    steps: StepDigest
    peak: Peak
    ceiling: Peak
    """Of matmuls alone, measured in the same run."""
    energy: ResultEnergy
    total_seconds: float
    """From the worker's start to its last record: what was paid for."""

    @property
    def measured_blocks(self) -> list[Block]:
        """The timed blocks that measure."""
        return [block for block in self.measurement.blocks if block.purpose == "measure"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check saw, what follows from it, and what to do about it."""

    verdict: Verdict
    evidence: str
    advice: str | None = None

    def named(self, name: str) -> CheckOutcome:
        """Return it as the outcome of the check of this name."""
        return CheckOutcome(
            name=name, verdict=self.verdict, evidence=self.evidence, advice=self.advice
        )


sound = partial(Finding, "sound")
doubtful = partial(Finding, "doubtful")
invalid = partial(Finding, "invalid")
not_judged = partial(Finding, "not_judged")


def gather(
    plan: Plan, measurement: Measurement, plan_sha256: str, *, is_going_on: bool = False
) -> Case:
    """Check the records and summarize them; DataError if they cannot have been measured.

    Records without an end were cut off, unless their run `is_going_on`.
    """
    kept = measurement.steps
    steps = kept if isinstance(kept, StepDigest) else digest_of(measurement.blocks)
    validate_records(measurement, steps.fault)
    last_seconds = _last_seconds(measurement)
    cut_off = Outcome(
        at_seconds=last_seconds,
        status="cut_off",
        reason="the run is still going on: these are its records so far"
        if is_going_on
        else "the run did not finish: its records have no end",
        hint="wait until it has ended, and make the report again"
        if is_going_on
        else "run the same command with the same `-o` folder to measure it again",
    )
    return Case(
        plan=plan,
        is_plan_unchanged=measurement.header.plan_sha256 == plan_sha256,
        measurement=measurement,
        outcome=measurement.outcome or cut_off,
        summary=summarize(measurement.blocks),
        steps=steps,
        peak=find_peak(plan, measurement.ceilings),
        ceiling=find_ceiling(plan, measurement.ceilings),
        energy=find_energy(plan, measurement),
        total_seconds=last_seconds,
    )


def _last_seconds(measurement: Measurement) -> float:
    ends = [block.at_seconds for block in measurement.blocks[-1:]]
    ends += [phase.at_seconds for phase in measurement.phases[-1:]]
    if measurement.outcome is not None:
        ends.append(measurement.outcome.at_seconds)
    return max(ends, default=0.0)


def summarize_compilation(
    plan: Plan, activities: Sequence[Activity], outcome: Outcome
) -> ResultCompilation:
    """Return where the case's compiled programs came from, by the last activity record."""
    last = activities[-1] if activities else None
    return ResultCompilation(
        execution=plan.order.execution,
        cache="failed" if outcome.status == "compile_failure" else _cache_of(last),
        graphs=last.graphs if last else None,
        programs=last.compilations if last else None,
        cache_hits=last.cache_hits if last else None,
        seconds_per_program=tuple(last.compile_seconds) if last else (),
    )


def _cache_of(activity: Activity | None) -> CompileCache:
    """A device that counts no hits (Neuron) and compiled none of its graphs found them all."""
    if activity is None or activity.compilations is None:
        return "unknown"
    made, found, graphs = activity.compilations, activity.cache_hits, activity.graphs
    if made:
        return "mixed" if found else "cold"
    if found or graphs:
        return "cached"
    return "none"
