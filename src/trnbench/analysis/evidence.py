"""All that is known of one case, gathered once for the metrics and the checks."""

from dataclasses import dataclass

from trnbench.analysis.energy import find_energy
from trnbench.analysis.peak import Peak, find_ceiling, find_peak
from trnbench.analysis.plausible import require_plausible
from trnbench.analysis.steps import StepDigest, digest_of
from trnbench.analysis.summary import Summary, summarize
from trnbench.schema.measurement import Measurement
from trnbench.schema.plan import Plan
from trnbench.schema.records import Outcome
from trnbench.schema.result import ResultEnergy


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
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


def gather(plan: Plan, measurement: Measurement, plan_sha256: str) -> Evidence:
    """Bring together what the metrics and the checks ask for.

    Raises:
        DataError: the records cannot have been measured.
    """
    kept = measurement.steps
    steps = kept if isinstance(kept, StepDigest) else digest_of(measurement.blocks)
    require_plausible(measurement, steps.fault)
    return Evidence(
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
