"""Every metric, in the order of reports: one function and one line in a registry at the end.

`MEASURED` come from a case's records. `DERIVED` come from the throughput, a peak and a price, so
that a stored result can be re-costed without its records. Intervals are those of the throughput.

Source: docs/metrics.md, "Step time", "Statistics", "MFU", "Energy" and "Cost".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trnbench.analysis.billing import billed_seconds
from trnbench.analysis.case import Case
from trnbench.analysis.energy import JOULES_PER_KWH, find_site
from trnbench.analysis.statistics import Interval
from trnbench.analysis.step_time import StepTimes
from trnbench.catalog.backends import backend_of
from trnbench.model.flops import FULL_CONVENTION, mixed_rate
from trnbench.schema.price import Price
from trnbench.schema.result import MetricValue, ResultUtilization
from trnbench.units import SECONDS_PER_HOUR, say_flops_per_second

NO_CHIP = "no accelerator chip is known to be in this machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What the derived metrics rest on; a stored result has all of it."""

    tokens_per_second: MetricValue
    total_seconds: float
    instances_billed: int
    chips_used: int | None
    """None where no accelerator is known, as is the next one."""
    chips_billed: int | None
    joules_per_token: MetricValue
    utilization: ResultUtilization
    price: Price | None
    price_reason: str | None
    machine_reason: str | None = None
    """Why it is not known how many instances there were."""
    void_reason: str | None = None
    """Why no cost may follow from the throughput: the result is invalid."""


def of_interval(interval: Interval) -> MetricValue:
    """A low end at or below zero, as noisy samples can have, is left out."""
    low = interval.low if interval.low > 0 else None
    return MetricValue(value=interval.value, low=low, high=interval.high)


def exactly(value: float) -> MetricValue:
    """Return a figure without an interval."""
    return MetricValue(value=value)


def unknown(reason: str) -> MetricValue:
    """Return no figure, and why."""
    return MetricValue(value=None, reason=reason)


def scaled(metric: MetricValue, factor: float) -> MetricValue:
    """Multiply a figure and its interval by an exact positive factor; an unknown stays unknown."""
    if metric.value is None:
        return metric
    return MetricValue(
        value=metric.value * factor,
        low=None if metric.low is None else metric.low * factor,
        high=None if metric.high is None else metric.high * factor,
    )


def reciprocal(metric: MetricValue, numerator: float) -> MetricValue:
    """Return numerator / metric; the interval's ends change places."""
    if metric.value is None:
        return metric
    return MetricValue(
        value=numerator / metric.value,
        low=None if metric.high is None else numerator / metric.high,
        high=None if metric.low is None else numerator / metric.low,
    )


def tokens_per_second(case: Case) -> MetricValue:
    """Tokens of a step over the arithmetic mean of the step's time: what a rented hour yields."""
    return reciprocal(step_time_mean_seconds(case), case.plan.workload.tokens_per_step)


def tokens_per_second_per_device(case: Case) -> MetricValue:
    """The same, divided by the devices that the job drove."""
    tokens = case.plan.workload.tokens_per_step / case.plan.parallel.world_size
    return reciprocal(step_time_mean_seconds(case), tokens)


def step_time_mean_seconds(case: Case) -> MetricValue:
    """Arithmetic mean over the steady samples, stalls included, because they are paid for."""
    return _of_times(case, lambda times: of_interval(times.mean))


def step_time_median_seconds(case: Case) -> MetricValue:
    """The typical step."""
    return _of_times(case, lambda times: of_interval(times.median))


def step_time_p95_seconds(case: Case) -> MetricValue:
    """One step in twenty takes longer; no interval is claimed for it."""
    return _of_times(case, lambda times: exactly(times.p95_seconds))


def tail_overhead(case: Case) -> MetricValue:
    """Mean over median, less one: what the slow steps add to the bill."""
    return _of_times(case, lambda times: exactly(times.mean.value / times.median.value - 1))


def stall_share(case: Case) -> MetricValue:
    """Time lost to stalls as a part of all time."""
    return _of_times(case, lambda times: exactly(times.stalls.share))


def _of_times(case: Case, read: Callable[[StepTimes], MetricValue]) -> MetricValue:
    if case.summary.step_times is not None:
        return read(case.summary.step_times)
    if case.outcome.status != "finished":
        return unknown(case.outcome.reason)
    return unknown(f"{len(case.summary.samples)} timed samples are too few for an interval")


def compile_seconds(case: Case) -> MetricValue:
    """Seconds of all compilations that the compiler reported, summed; they may have overlapped."""
    activities = case.measurement.activities
    if not activities:
        return unknown("the case ended before its compilations were reported")
    last = activities[-1]
    if last.compile_seconds:
        return exactly(sum(last.compile_seconds))
    if last.compilations == 0:
        return exactly(0.0)
    return unknown("this device's compiler does not report how long it took")


def peak_memory_bytes(case: Case) -> MetricValue:
    """The device's peak counter; for a CPU the process's resident set, as the parent last saw it.

    The parent's readings count only where the case ended before the worker's.
    """
    memory = case.measurement.memory
    if memory is not None and memory.peak_bytes is not None:
        return exactly(memory.peak_bytes)
    if memory is not None:
        return unknown(memory.counted)
    seen = [watch.worker_rss_bytes for watch in case.measurement.watches]
    if seen and backend_of(case.plan.order.backend).is_host:
        return exactly(max(seen))
    return unknown("the case ended before its memory was read")


def mean_power_watts(case: Case) -> MetricValue:
    """Mean power while the case measured, of what `energy_scope` names."""
    watts = case.energy.mean_power_watts
    if watts is None or not case.energy.is_valid:
        return unknown(case.energy.reason or "no power is known")
    return exactly(watts)


def joules_per_token(case: Case) -> MetricValue:
    """Mean power over tokens per second."""
    watts = mean_power_watts(case)
    if watts.value is None:
        return watts
    return reciprocal(tokens_per_second(case), watts.value)


def joules_per_token_tdp_bound(case: Case) -> MetricValue:
    """Not measured: an upper bound, as if every billed chip drew its thermal rating."""
    watts = case.energy.tdp_bound_watts
    if watts is None:
        return unknown("no thermal rating of the chips is published")
    return reciprocal(tokens_per_second(case), watts)


def grams_co2e_per_million_tokens(basis: Basis) -> MetricValue:
    """By the metered energy, the site's PUE and the region's grid."""
    if basis.joules_per_token.value is None:
        return basis.joules_per_token
    site = find_site(basis.price)
    if site.pue is None or site.grams_co2e_per_kwh is None:
        return unknown(site.reason or "neither room nor grid is known")
    factor = 1e6 / JOULES_PER_KWH * site.pue * site.grams_co2e_per_kwh
    return scaled(basis.joules_per_token, factor)


def expert_imbalance(case: Case) -> MetricValue:
    """Rows of the fullest expert over the mean, mean over blocks and measured steps: 1 is even."""
    model, steps = case.plan.model, case.steps
    if model.shape is None:
        return unknown("its sizes are not known, nor whether it has experts")
    if model.shape.experts is None:
        return unknown("the model has no experts")
    if steps.imbalances:
        return exactly(steps.imbalance_sum / steps.imbalances)
    if not case.measured_blocks:
        return unknown("no step was measured")
    if model.external is not None:
        return unknown(f"{model.external.target} does not report how its experts were used")
    return unknown("its records do not say how the experts were used")


def mfu(basis: Basis) -> MetricValue:
    """By the convention that the result names."""
    return _utilization(basis, basis.utilization.convention)


def mfu_full(basis: Basis) -> MetricValue:
    """By `matmul-full-v1`, which counts masked attention too: what torchtitan would print."""
    return _utilization(basis, FULL_CONVENTION)


def mfu_used_devices(basis: Basis) -> MetricValue:
    """Of the devices that the job drove, whatever was paid for."""
    return _utilization(basis, basis.utilization.convention, basis.utilization.used_share)


def hfu(basis: Basis) -> MetricValue:
    """With recomputation and experts' empty places: what the hardware did, analytically."""
    return _utilization(basis, basis.utilization.convention, recomputed=True)


def mfu_bf16_equivalent(basis: Basis) -> MetricValue:
    """Of work that is partly fp8, by the peak of the rest; it may exceed 1."""
    used = basis.utilization
    if used.fp8 is None:
        return unknown("no matmul is done in fp8")
    flops = used.flops_per_token.get(used.convention)
    if flops is None:
        return unknown(used.flops_reason or "the operations are not known")
    return scaled(basis.tokens_per_second, flops / used.fp8.other_flops_per_second)


def ceiling_utilization(basis: Basis) -> MetricValue:
    """Of the rate of matmuls alone in the same run, on the devices driven."""
    used = basis.utilization
    if used.ceiling_flops_per_second is None:
        return unknown(used.ceiling_reason or "the ceiling is not known")
    flops = used.flops_per_token.get(used.convention)
    if flops is None:
        return unknown(used.flops_reason or f"no operations by {used.convention}")
    value = scaled(basis.tokens_per_second, flops / used.ceiling_flops_per_second)
    if value.value is not None and value.value > 1:
        said = say_flops_per_second(used.ceiling_flops_per_second)
        return unknown(
            f"{value.value:.0%} of {said}: something disturbed the matmuls while they were timed"
        )
    return value


def _utilization(
    basis: Basis, convention: str, share: float = 1.0, *, recomputed: bool = False
) -> MetricValue:
    """Divide the rate of operations by this share of the billed chips' peak."""
    used = basis.utilization
    peak = used.peak_flops_per_second
    if peak is None:
        return unknown(used.peak_reason or "the peak is not known")
    flops = used.flops_per_token.get(convention)
    if flops is None:
        counted = ", ".join(used.flops_per_token) or "nothing"
        return unknown(used.flops_reason or f"no operations by {convention}, but by {counted}")
    if (mix := used.fp8) is not None:
        # How much of the work is fp8 depends on what a convention counts beside it.
        rates = mix.flops_per_second, mix.other_flops_per_second
        peak = mixed_rate(flops, mix.flops_per_token, *rates)
    peak *= share
    if recomputed:
        if used.recomputed_flops_per_token is None:
            return unknown("what was computed again is not known")
        flops += used.recomputed_flops_per_token
    value = scaled(basis.tokens_per_second, flops / peak)
    if value.value is not None and value.value > 1:
        return unknown(
            f"{value.value:.0%} of {say_flops_per_second(peak)} cannot be: the measurement or the "
            "peak is wrong"
        )
    return value


def tokens_per_second_per_chip(basis: Basis) -> MetricValue:
    """Divided by the chips that the job drove, wholly or in part."""
    if basis.chips_used is None:
        return unknown(NO_CHIP)
    return scaled(basis.tokens_per_second, 1 / basis.chips_used)


def tokens_per_second_per_instance(basis: Basis) -> MetricValue:
    """Divided by the instances that are billed."""
    if basis.machine_reason is not None:
        return unknown(basis.machine_reason)
    return scaled(basis.tokens_per_second, 1 / basis.instances_billed)


def usd_per_million_tokens(basis: Basis) -> MetricValue:
    """At this throughput, on all instances that are billed."""
    return _bought(basis, lambda usd: reciprocal(basis.tokens_per_second, usd * 1e6))


def tokens_per_usd(basis: Basis) -> MetricValue:
    """The inverse, for one dollar."""
    return _bought(basis, lambda usd: scaled(basis.tokens_per_second, 1 / usd))


def usd_per_chip_hour(basis: Basis) -> MetricValue:
    """For one of the billed chips."""

    def of_chip(usd_per_second: float) -> MetricValue:
        if basis.chips_billed is None:
            return unknown(NO_CHIP)
        return exactly(usd_per_second * SECONDS_PER_HOUR / basis.chips_billed)

    return _priced(basis, of_chip)


def usd_per_model_exaflop(basis: Basis) -> MetricValue:
    """For 10^18 operations that the model needed, by the convention that the result names."""
    flops = basis.utilization.flops_per_token.get(basis.utilization.convention)
    if flops is None:
        return unknown(f"no count of operations by {basis.utilization.convention}")
    return scaled(usd_per_million_tokens(basis), 1e12 / flops)


def usd_per_peak_petaflop_hour(basis: Basis) -> MetricValue:
    """For an hour of 10^15 operations a second at the peak: the list price of the hardware."""

    def of_peak(usd_per_second: float) -> MetricValue:
        peak = basis.utilization.peak_flops_per_second
        if peak is None:
            return unknown(basis.utilization.peak_reason or "the peak is not known")
        return exactly(usd_per_second * SECONDS_PER_HOUR / (peak / 1e15))

    return _priced(basis, of_peak)


def case_usd(basis: Basis) -> MetricValue:
    """What measuring this case cost, start-up included, by the second."""
    return _priced(basis, lambda usd: exactly(basis.total_seconds * usd))


def case_billed_usd(basis: Basis) -> MetricValue:
    """The bill, had the machines been rented for this case alone."""
    seconds = basis.total_seconds
    if basis.price is not None:
        seconds = billed_seconds(basis.price.option, seconds)
    return _priced(basis, lambda usd: exactly(seconds * usd))


def _bought(basis: Basis, figure: Callable[[float], MetricValue]) -> MetricValue:
    """Return what dollars buy by this throughput: nothing where it must not be used."""
    return _priced(basis, figure) if basis.void_reason is None else unknown(basis.void_reason)


def _priced(basis: Basis, figure: Callable[[float], MetricValue]) -> MetricValue:
    """Return what follows from the dollars that all billed instances cost in a second."""
    if basis.price is None:
        return unknown(basis.price_reason or "no price is known")
    return figure(float(basis.price.usd_per_hour) * basis.instances_billed / SECONDS_PER_HOUR)


MEASURED: Mapping[str, Callable[[Case], MetricValue]] = {
    metric.__name__: metric
    for metric in (
        tokens_per_second, tokens_per_second_per_device, step_time_mean_seconds,
        step_time_median_seconds, step_time_p95_seconds, tail_overhead, stall_share,
        compile_seconds, peak_memory_bytes, mean_power_watts, joules_per_token,
        joules_per_token_tdp_bound, expert_imbalance,
    )
}  # fmt: skip

DERIVED: Mapping[str, Callable[[Basis], MetricValue]] = {
    metric.__name__: metric
    for metric in (
        tokens_per_second_per_chip, tokens_per_second_per_instance, mfu, mfu_full,
        mfu_used_devices, mfu_bf16_equivalent, hfu, ceiling_utilization, usd_per_million_tokens,
        tokens_per_usd, usd_per_chip_hour, usd_per_model_exaflop, usd_per_peak_petaflop_hour,
        grams_co2e_per_million_tokens, case_usd, case_billed_usd,
    )
}  # fmt: skip

METRICS = (*MEASURED, *DERIVED)
