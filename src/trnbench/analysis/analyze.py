"""From a plan and its measurement to a result; and from a result to one at another price. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from trnbench import __version__
from trnbench.analysis.case import Case, gather, summarize_compilation
from trnbench.analysis.checks import CHECKS, find_validity
from trnbench.analysis.checks.device import check_possible
from trnbench.analysis.checks.training import entropy_of
from trnbench.analysis.metrics import DERIVED, MEASURED, Basis, unknown
from trnbench.analysis.ranks import summarize_ranks
from trnbench.analysis.statistics import RULES
from trnbench.model.flops import active_parameter_count
from trnbench.schema.measurement import Measurement
from trnbench.schema.plan import Plan, PlannedDevice, PlannedModel
from trnbench.schema.price import Price
from trnbench.schema.result import (
    CheckOutcome,
    MetricValue,
    Result,
    ResultLaunch,
    ResultLearning,
    ResultOutcome,
    ResultTiming,
    ResultUtilization,
    Stall,
    Validity,
)

POSSIBLE = "possible"
"""The name of the check that follows from the derived metrics."""

UNKNOWN_BACKEND = "unknown"
"""Of an imported result whose machine neither its log nor the user names."""

NOT_METERED = "the version that wrote this result metered no power"


def analyze(
    plan: Plan,
    measurement: Measurement,
    *,
    plan_sha256: str,
    run_id: str,
    measurement_bytes: int,
    is_going_on: bool = False,
) -> Result:
    """Derive everything that reports show of one case.

    Args:
        plan: the plan as it is kept beside the measurement.
        measurement: the case's records, however far they got.
        plan_sha256: of the plan's text; the measurement names the one that it was made by.
        run_id: the run that the case belongs to.
        measurement_bytes: length of the measurement's file; with another length the result is out
            of date.
        is_going_on: whether the run still writes records.

    Raises:
        DataError: the records cannot have been measured.
    """
    case = gather(plan, measurement, plan_sha256, is_going_on=is_going_on)
    measured = {name: compute(case) for name, compute in MEASURED.items()}
    utilization, timing = _utilization(case), _timing(case)
    basis = _basis(measured, timing, plan.device, utilization, plan.price, plan.price_reason)
    checks = (
        *(check(case).named(name) for name, check in CHECKS.items()),
        check_possible(basis).named(POSSIBLE),
    )
    standing, derived = _judge(basis, checks)
    return Result(
        trnbench_version=__version__,
        run_id=run_id,
        case_id=plan.case_id,
        suite=plan.suite,
        started_at=measurement.header.started_at,
        standing=standing,
        outcome=ResultOutcome(
            status=case.outcome.status, reason=case.outcome.reason, hint=case.outcome.hint
        ),
        model=_model(plan.model),
        workload=plan.workload,
        device=plan.device,
        environment=measurement.environment,
        timing=timing,
        compilation=summarize_compilation(plan, measurement.activities, case.outcome),
        metrics=measured | derived,
        utilization=utilization,
        learning=_learning(case),
        energy=case.energy,
        parallel=plan.parallel,
        ranks=summarize_ranks(case),
        price=plan.price,
        price_reason=plan.price_reason,
        checks=checks,
        launches=(_launch(case, standing),),
        measurement_bytes=measurement_bytes,
    )


def _judge(
    basis: Basis, checks: tuple[CheckOutcome, ...]
) -> tuple[Validity, dict[str, MetricValue]]:
    """Return the standing, and what follows from the throughput: no cost where it is invalid."""
    standing = find_validity(basis.tokens_per_second.value is not None, checks)
    if standing == "invalid":
        names = ", ".join(check.name for check in checks if check.verdict == "invalid")
        basis = replace(basis, void_reason=f"the result is invalid: {names}")
    return standing, {name: derive(basis) for name, derive in DERIVED.items()}


def _utilization(case: Case) -> ResultUtilization:
    model, predicted = case.plan.model, case.plan.prediction
    # Where its shape gives the formula, torch's counter is not needed.
    described = model.described if model.shape is None else None
    return ResultUtilization(
        convention=case.plan.flops_convention,
        flops_per_token=predicted.flops_per_token,
        flops_reason=None if described is None else described.flops_reason,
        flops_source=_flops_source(model),
        recomputed_flops_per_token=predicted.recomputed_flops_per_token or 0.0,
        peak_flops_per_second=case.peak.flops_per_second,
        peak_source=case.peak.source,
        peak_reason=case.peak.reason,
        fp8=case.peak.fp8,
        used_share=case.plan.device.used_share,
        ceiling_flops_per_second=case.ceiling.flops_per_second,
        ceiling_source=case.ceiling.source,
        ceiling_reason=case.ceiling.reason,
    )


def _flops_source(model: PlannedModel) -> str:
    if model.external is None:
        return "the shape"
    return "torch's counter" if model.shape is None else "its config, of a known family"


def _model(model: PlannedModel) -> PlannedModel:
    """Add the count of active weights, which older plans lack."""
    if model.active_parameter_count is not None or model.shape is None:
        return model
    return model.model_copy(update={"active_parameter_count": active_parameter_count(model.shape)})


def _timing(case: Case) -> ResultTiming:
    summary, parity = case.summary, case.measurement.parity
    times = summary.step_times
    return ResultTiming(
        samples=len(summary.samples),
        steps_per_sample=summary.steps_per_sample,
        measured_steps=summary.measured_steps,
        warmup_steps=summary.warmup_steps,
        first_step_seconds=summary.first_step_seconds,
        total_seconds=case.total_seconds,
        gate_seconds=parity.seconds if parity else None,
        stopped_because=_stopped_because(case),
        interval_method=times.mean.method if times else None,
        rules=RULES,
        stalls=times.stalls.count if times else None,
        longest_stalls=tuple(Stall(sample=at, seconds=took) for at, took in times.stalls.largest)
        if times
        else None,
    )


def _stopped_because(case: Case) -> str | None:
    stops = [d.why for d in case.measurement.decisions if d.what == "stop"]
    return stops[-1] if stops else None


def _launch(case: Case, standing: Validity) -> ResultLaunch:
    times = case.summary.step_times
    return ResultLaunch(
        started_at=case.measurement.header.started_at,
        status=case.outcome.status,
        standing=standing,
        samples=len(case.summary.samples),
        step_time_mean_seconds=times.mean.value if times else None,
        step_time_median_seconds=times.median.value if times else None,
        standard_error=times.standard_error if times else None,
        total_seconds=case.total_seconds,
        stopped_because=_stopped_because(case),
    )


def _learning(case: Case) -> ResultLearning:
    steps = case.steps
    final = [(loss, oracle) for loss, oracle in steps.last if loss is not None]
    mean_loss = mean_excess = None
    if final:
        mean_loss = sum(loss for loss, _ in final) / len(final)
        mean_excess = mean_loss - sum(oracle for _, oracle in final) / len(final)
    return ResultLearning(
        initial_loss=steps.first[0][0] if steps.first else None,
        final_loss=mean_loss,
        final_excess_loss=mean_excess,
        entropy=entropy_of(case.plan),
    )


def _basis(
    metrics: Mapping[str, MetricValue],
    timing: ResultTiming,
    device: PlannedDevice,
    utilization: ResultUtilization,
    price: Price | None,
    price_reason: str | None,
) -> Basis:
    return Basis(
        tokens_per_second=metrics["tokens_per_second"],
        total_seconds=timing.total_seconds,
        joules_per_token=metrics.get("joules_per_token") or unknown(NOT_METERED),
        instances_billed=device.instances_billed,
        chips_used=device.chips_used if device.accelerator else None,
        chips_billed=device.chips_billed if device.accelerator else None,
        utilization=utilization,
        price=price,
        price_reason=price_reason,
        machine_reason=None if device.backend != UNKNOWN_BACKEND else "the machine is not known",
    )


def recost(result: Result, price: Price | None, price_reason: str | None) -> Result:
    """Return the same result at another price, or at none and why."""
    return rederived(result, result.utilization, price, price_reason)


def recount(result: Result, convention: str) -> Result:
    """Return the same result with its MFU by another FLOPs convention.

    Raises:
        KeyError: the result has no count by that convention.
    """
    result.utilization.flops_per_token[convention]
    utilization = result.utilization.model_copy(update={"convention": convention})
    return rederived(result, utilization, result.price, result.price_reason)


def rederived(
    result: Result, utilization: ResultUtilization, price: Price | None, price_reason: str | None
) -> Result:
    """Compute again what follows from the throughput; everything measured stays."""
    basis = _basis(result.metrics, result.timing, result.device, utilization, price, price_reason)
    possible = check_possible(basis).named(POSSIBLE)
    checks = tuple(possible if c.name == POSSIBLE else c for c in result.checks)
    standing, derived = _judge(basis, checks)
    return result.model_copy(
        update={
            "standing": standing,
            "metrics": result.metrics | derived,
            "utilization": utilization,
            "price": price,
            "price_reason": price_reason,
            "checks": checks,
        }
    )
