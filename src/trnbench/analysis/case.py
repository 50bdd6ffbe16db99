"""All that is known of one case, gathered once for the metrics and the checks."""

from collections.abc import Sequence
from dataclasses import dataclass

from trnbench.analysis.energy import find_energy
from trnbench.analysis.peak_flops import Peak, find_ceiling, find_peak
from trnbench.analysis.records import StepDigest, digest_of, validate_records
from trnbench.analysis.step_time import Summary, summarize
from trnbench.protocol.records import Activity
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
    """Whether the plan is the one that the measurement was begun with."""
    measurement: Measurement
    outcome: Outcome
    summary: Summary
    steps: StepDigest
    """What single steps came to."""
    peak: Peak
    ceiling: Peak
    """What products alone came to, in the same run."""
    energy: ResultEnergy
    total_seconds: float
    """From the worker's start to its last record: what was paid for."""


CUT_OFF = "the run was cut off: its last record says nothing of an end"


def gather(plan: Plan, measurement: Measurement, plan_sha256: str) -> Case:
    """Bring together what the metrics and the checks ask for.

    Raises:
        DataError: the records cannot have been measured.
    """
    kept = measurement.steps
    steps = kept if isinstance(kept, StepDigest) else digest_of(measurement.blocks)
    validate_records(measurement, steps.fault)
    return Case(
        plan=plan,
        is_plan_unchanged=measurement.header.plan_sha256 == plan_sha256,
        measurement=measurement,
        outcome=measurement.outcome or _cut_off(measurement),
        summary=summarize(measurement.blocks),
        steps=steps,
        peak=find_peak(plan, measurement.ceilings),
        ceiling=find_ceiling(plan, measurement.ceilings),
        energy=find_energy(plan, measurement),
        total_seconds=_last_seconds(measurement),
    )


def _cut_off(measurement: Measurement) -> Outcome:
    return Outcome(
        at_seconds=_last_seconds(measurement),
        status="cut_off",
        reason=CUT_OFF,
        hint="run the same command with the same `-o` folder to measure it again",
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
    """Return how the case's programs came about, by the last word on them."""
    last = activities[-1] if activities else None
    seconds = tuple(last.compile_seconds) if last else ()
    return ResultCompilation(
        execution=plan.order.execution,
        cache="failed" if outcome.status == "compile_failure" else _cache_of(last),
        graphs=last.graphs if last else None,
        programs=last.compilations if last else None,
        cache_hits=last.cache_hits if last else None,
        seconds_per_program=seconds,
    )


def _cache_of(activity: Activity | None) -> CompileCache:
    """Say where the programs came from; a device that counts neither way is unknown.

    A device without a counter of hits (the Neuron backend: its programs are counted as files) that
    captured graphs and made no program has found them all.
    """
    if activity is None or activity.compilations is None:
        return "unknown"
    made, found, graphs = activity.compilations, activity.cache_hits, activity.graphs
    if made:
        return "mixed" if found else "cold"
    if found or graphs:
        return "cached"
    return "none"


def judged(name: str, verdict: Verdict, evidence: str, advice: str | None = None) -> CheckOutcome:
    """Return what a check saw, what follows from it, and what to do about it."""
    return CheckOutcome(name=name, verdict=verdict, evidence=evidence, advice=advice)
