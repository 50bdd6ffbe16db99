"""From the results of a case's launches to one result, in which each launch is one value.

Source: docs/metrics.md, "Launches".
"""

from collections.abc import Sequence
from statistics import fmean, geometric_mean

from trnbench.analysis.analyze import rederived
from trnbench.analysis.checks.measurement import check_launches
from trnbench.analysis.statistics import (
    LEAST_LAUNCHES,
    between_launches,
    interval_of,
    within_launches,
)
from trnbench.schema.plan import Plan
from trnbench.schema.result import (
    CheckOutcome,
    MetricValue,
    Result,
    ResultEnergy,
    ResultRanks,
    ResultSpread,
    ResultTiming,
    Verdict,
)

LAUNCHES = "launches"
"""The name of the check of a case's launches."""

BETWEEN = "between-launch t"
FEW = "within-launch, prior-widened"

ESTIMATED = (
    "tokens_per_second", "tokens_per_second_per_device", "step_time_mean_seconds",
    "step_time_median_seconds", "joules_per_token", "joules_per_token_tdp_bound",
)  # fmt: skip
"""Metrics with an interval: their geometric mean; of others, but for those below, the mean."""

FROM_FIRST = ("compile_seconds",)
"""Later launches find what the first one compiled."""

WORST_FIRST: tuple[Verdict, ...] = ("invalid", "doubtful", "sound", "not_judged")


def pool(plan: Plan, results: Sequence[Result]) -> Result:
    """Return the result of a case from those of its launches, in order of time."""
    if len(results) == 1:
        (only,) = results
        checks = (*only.checks, check_launches(plan, only.launches, None).named(LAUNCHES))
        only = only.model_copy(update={"checks": checks})
        return rederived(only, only.utilization, only.price, only.price_reason)
    counting = [result for result in results if result.standing in ("sound", "doubtful")]
    figures = counting or [r for r in results if r.metrics["tokens_per_second"].value is not None]
    first = (figures or results)[0]
    spread = _spread(counting)
    unfinished = next((r for r in results if r.outcome.status != "finished"), None)
    launches = tuple(launch for result in results for launch in result.launches)
    checks = (*_checks(results), check_launches(plan, launches, spread).named(LAUNCHES))
    pooled = first.model_copy(
        update={
            "started_at": results[0].started_at,
            "outcome": (unfinished or results[-1]).outcome,
            "timing": _timing(results, figures),
            "metrics": {**first.metrics, **_metrics(figures or results)},
            "launches": launches,
            "spread": spread,
            "energy": _energy(figures or results),
            "ranks": _ranks(figures or results),
            "checks": checks,
            "measurement_bytes": sum(result.measurement_bytes for result in results),
        }
    )
    return rederived(pooled, first.utilization, first.price, first.price_reason)


def _spread(counting: Sequence[Result]) -> ResultSpread | None:
    launches = [launch for result in counting for launch in result.launches]
    means = [x.step_time_mean_seconds for x in launches if x.step_time_mean_seconds is not None]
    errors = [x.standard_error for x in launches if x.standard_error is not None]
    within = within_launches(errors)
    if len(means) < 2 or within is None:
        return None
    between = between_launches(means)
    return ResultSpread(
        launches=len(means),
        between_launches=between.value,
        between_launches_low=between.low,
        between_launches_high=between.high,
        within_launches=within,
    )


def _metrics(results: Sequence[Result]) -> dict[str, MetricValue]:
    pooled = {
        name: _pooled(name, [result.metrics[name] for result in results])
        for name in results[0].metrics
    }
    mean, median = (pooled[f"step_time_{which}_seconds"].value for which in ("mean", "median"))
    if mean is not None and median is not None:
        pooled["tail_overhead"] = MetricValue(value=mean / median - 1)
    return pooled


def _pooled(name: str, values: Sequence[MetricValue]) -> MetricValue:
    """Pool one metric; what is derived from the throughput is derived again afterwards."""
    if name in FROM_FIRST:
        return values[0]
    lacking = next((value for value in values if value.value is None), None)
    if lacking is not None:
        return lacking
    known = [value.value for value in values if value.value is not None]
    if name == "peak_memory_bytes":
        return MetricValue(value=max(known))
    if name not in ESTIMATED:
        return MetricValue(value=fmean(known))
    found = interval_of(known, [value.relative_error for value in values])
    if found is None:
        return MetricValue(value=geometric_mean(known))
    value, low, high = found
    return MetricValue(value=value, low=low, high=high)


def _timing(results: Sequence[Result], figures: Sequence[Result]) -> ResultTiming:
    timings = [result.timing for result in figures or results]
    stops = dict.fromkeys(t.stopped_because for t in timings if t.stopped_because is not None)
    stalls = [timing.stalls for timing in timings if timing.stalls is not None]
    longest = [stall for timing in timings for stall in timing.longest_stalls or ()]
    gates = [r.timing.gate_seconds for r in results if r.timing.gate_seconds is not None]
    method = None
    if figures:
        method = BETWEEN if len(figures) >= LEAST_LAUNCHES else FEW
    return results[0].timing.model_copy(
        update={
            "samples": sum(timing.samples for timing in timings),
            "measured_steps": sum(timing.measured_steps for timing in timings),
            "warmup_steps": sum(timing.warmup_steps for timing in timings),
            "total_seconds": sum(result.timing.total_seconds for result in results),
            "gate_seconds": sum(gates) if gates else None,
            "stopped_because": "; ".join(stops) or None,
            "interval_method": method,
            "stalls": sum(stalls) if stalls else None,
            "longest_stalls": tuple(sorted(longest, key=lambda s: -s.seconds)[:3])
            if stalls
            else None,
        }
    )


def _energy(results: Sequence[Result]) -> ResultEnergy | None:
    """Return the mean power of all launches, or the energy of the first that does not know it."""
    watts = []
    for result in results:
        energy = result.energy
        if energy is None or not energy.is_valid or energy.mean_power_watts is None:
            return energy
        watts.append(energy.mean_power_watts)
    first = results[0].energy
    return first and first.model_copy(update={"mean_power_watts": fmean(watts)})


def _ranks(results: Sequence[Result]) -> ResultRanks | None:
    """Return the ranks of the launch in which they are furthest apart, with the fullest of all."""
    ranks = [result.ranks for result in results if result.ranks is not None]
    if not ranks:
        return None
    apart = max(ranks, key=lambda each: each.time_spread or 0.0)
    memory = [
        (result.metrics["peak_memory_bytes"].value or 0.0, result.ranks)
        for result in results
        if result.ranks is not None
    ]
    _, full = max(memory, key=lambda each: each[0])
    told = next((each for each in (apart, *ranks) if each.communication is not None), apart)
    return apart.model_copy(
        update={
            "fullest_rank": full.fullest_rank,
            "least_memory_bytes": full.least_memory_bytes,
            "communication": told.communication,
            "communication_reason": told.communication_reason,
        }
    )


def _checks(results: Sequence[Result]) -> list[CheckOutcome]:
    """Let the worst launch decide each check, and say in how many it was so."""
    by_name = [{check.name: check for check in result.checks} for result in results]
    names = [name for name in by_name[0] if name != LAUNCHES]
    return [_worst([checks[name] for checks in by_name]) for name in names]


def _worst(checks: Sequence[CheckOutcome]) -> CheckOutcome:
    verdicts = [check.verdict for check in checks]
    worst = next(verdict for verdict in WORST_FIRST if verdict in verdicts)
    chosen = checks[verdicts.index(worst)]
    if len(checks) == 1 or worst not in ("invalid", "doubtful"):
        return chosen
    count = f"{verdicts.count(worst)} of {len(checks)} launches"
    return chosen.model_copy(update={"evidence": f"{count}: {chosen.evidence}"})
