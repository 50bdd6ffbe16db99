"""From an imported log to a result, by the statistics of measured ones. Pure.

A printed figure is used as it is written; what the log does not say is null with that reason. The
checks name every trap of the log that was met, and what was done about it.
"""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from trnbench import __version__
from trnbench.analysis.analyze import UNKNOWN_BACKEND, rederived
from trnbench.analysis.checks import find_validity
from trnbench.analysis.metrics import DERIVED, MEASURED, exactly, unknown
from trnbench.analysis.statistics import RULES
from trnbench.catalog.accelerators import accelerators
from trnbench.imports.base import MEANINGLESS, ImportedLog, Trap, refuse
from trnbench.imports.checks import checks_of
from trnbench.imports.times import LEAST_FOR_INTERVAL, Times
from trnbench.model.flops import CONVENTIONS, DEFAULT_CONVENTION, flops_per_token
from trnbench.schema.imported import (
    ImportedModel,
    ImportedSource,
    ImportedWorkload,
    ImportOrder,
)
from trnbench.schema.plan import PlannedDevice, PlannedModel
from trnbench.schema.result import (
    MetricValue,
    Result,
    ResultLaunch,
    ResultLearning,
    ResultOutcome,
    ResultTiming,
    ResultUtilization,
)
from trnbench.units import say_flops_per_second

NOT_NAMED = "neither the log nor `--on` says which machine it ran on"


def result_of(log: ImportedLog, order: ImportOrder, program: str, run_id: str) -> Result:
    """Return the result of a log.

    Raises:
        DataError: no step of it has a time, or the tokens of a step are not known.
    """
    traps = [*log.traps]
    kept = _kept(log, traps)
    segments = _segments(log, kept, traps)
    workload = _workload(log, order, kept)
    device, count = _device(log, order, traps)
    model = order.given.settle("model") or ImportedModel(
        name=order.given.settle("model_name", log.model) or "not named",
        reason=f"{MEANINGLESS}; `--model` names it",
        parameter_count=log.parameter_count,
    )
    times = Times.pooled(segments)
    metrics = _metrics(times, log, workload.tokens_per_step, count)
    checks = checks_of(log, order, traps, times)
    timing = _timing(log, kept, times)
    standing = find_validity(True, checks)
    utilization = _utilization(model, workload, device)
    result = Result(
        trnbench_version=__version__,
        origin="imported",
        source=_source(log, order, program, count),
        run_id=run_id,
        case_id=order.case_id,
        suite=f"imported from {program}",
        started_at=log.started_at or order.imported_at,
        standing=standing,
        outcome=ResultOutcome(status="finished", reason=f"read from a log of {program}"),
        model=model,
        workload=workload,
        device=device,
        environment=None,
        timing=timing,
        metrics=metrics,
        utilization=utilization,
        learning=_learning(log),
        price=None,
        price_reason="a log has no price: name one by --price-option or --usd-per-hour",
        checks=checks,
        launches=tuple(_launch(log, order, each, standing) for each in segments),
        measurement_bytes=0,
    )
    return rederived(result, utilization, None, result.price_reason)


def _timing(log: ImportedLog, kept: NDArray[np.bool_], times: Times) -> ResultTiming:
    samples = log.samples
    counts, steps = samples["steps"], int(samples["steps"][kept].sum())
    is_single = counts[0] == 1 and samples.first_step <= 1
    return ResultTiming(
        samples=int(kept.sum()),
        steps_per_sample=Counter(counts[kept].tolist()).most_common(1)[0][0],
        measured_steps=steps,
        warmup_steps=int(counts.sum()) - steps,
        first_step_seconds=float(samples["seconds"][0]) if is_single else None,
        total_seconds=float(np.dot(counts, samples["seconds"])),
        stopped_because=None,
        interval_method=times.method,
        rules=RULES,
        stalls=times.stalls,
        longest_stalls=None,
    )


def _learning(log: ImportedLog) -> ResultLearning:
    losses = log.samples["loss"]
    losses = losses[~np.isnan(losses)]
    return ResultLearning(
        initial_loss=float(losses[0]) if len(losses) else None,
        final_loss=float(losses[-1]) if len(losses) else None,
        final_excess_loss=None,
        entropy=None,
    )


# --- which steps count ----------------------------------------------------------------------------


def _kept(log: ImportedLog, traps: list[Trap]) -> NDArray[np.bool_]:
    """Return which samples count, and say of each other one why it does not."""
    samples = log.samples
    if not len(samples):
        raise refuse("has no step with a time", "name a log that has the time of its steps")
    if log.has_repeats and len(samples) > 1:
        samples.leave_out(np.arange(len(samples)) == 0, "first_step")
    counted = samples["left_out"] == 0
    clean = counted & (samples["includes"] == 0)
    if clean.sum() > 1 or (clean.any() and clean.sum() == counted.sum()):
        samples["left_out"][counted] = samples["includes"][counted]
        kept = clean
    else:
        kept = counted
    out = samples.traps("left_out")
    if not kept.any():
        raise refuse(
            f"has {len(samples)} timed steps, none of which shows how fast it trains: "
            + ", ".join(sorted(out)),
            "name a log of more steps",
        )
    for name, times in out.items():
        traps.append(Trap(name, f"{_printed(times)} left out", "sound"))
    for name, times in samples.traps("includes", kept).items():
        traps.append(Trap(name, f"{_printed(times)} with it inside, which cannot be left out"))
    if "first_step" not in out:
        traps.append(
            Trap("first_step", "compilation and start-up cannot be told apart from the rest")
        )
    seconds = samples["seconds"][kept]
    if not (np.isfinite(seconds) & (seconds > 0)).all():
        raise refuse("has a step of no time", "name a log whose steps have a time")
    return np.asarray(kept, dtype=np.bool_)


def _segments(log: ImportedLog, kept: NDArray[np.bool_], traps: list[Trap]) -> list[Times]:
    """Return the times of each part between starts of the job; short ones do not count."""
    samples = log.samples
    number = samples["segment"]
    masks = [kept & (number == each) for each in range(samples.segments)]
    masks = [mask for mask in masks if mask.any()]
    long = [mask for mask in masks if mask.sum() >= LEAST_FOR_INTERVAL]
    counting = long or [max(masks, key=lambda mask: int(mask.sum()))]
    if samples.segments > 1:
        which = "each counts as one launch" if len(counting) > 1 else "only the longest counts"
        short = samples.segments - len(counting)
        left = f", {short} of them too short to count" if short and len(counting) > 1 else ""
        traps.append(
            Trap("segments", f"{samples.segments} parts between starts{left}: {which}", "sound")
        )
        kept[:] = np.logical_or.reduce(counting)
    return [Times.of(samples["steps"][mask], samples["seconds"][mask], log) for mask in counting]


def _printed(times: int) -> str:
    return f"{times} printed time{'s' if times != 1 else ''}"


# --- what it trained, on what ---------------------------------------------------------------------


def _workload(log: ImportedLog, order: ImportOrder, kept: NDArray[np.bool_]) -> ImportedWorkload:
    given = order.given
    length = given.settle("sequence_length", log.sequence_length)
    sequences = given.settle("sequences_per_step", log.sequences_per_step)
    tokens = given.tokens_per_step or log.tokens_per_step
    of_steps, steps = log.samples["tokens"][kept], log.samples["steps"][kept]
    if tokens is None and (of_steps > 0).all():
        tokens = float(np.dot(of_steps, steps) / steps.sum())
    if tokens is None and log.sequences_per_step is not None and length is None:
        raise refuse(
            f"says {log.sequences_per_step} sequences a step, and not how long they are",
            "say it: --sequence-length N",
        )
    if tokens is None and sequences is not None and length is not None:
        tokens = sequences * length
    tokens = given.settle("tokens_per_step", tokens)
    if tokens is None:
        raise refuse("does not say how many tokens a step trains", "say it: --tokens-per-step N")
    if tokens <= 0:
        raise refuse("says that a step trains no tokens", "say how many: --tokens-per-step N")
    return ImportedWorkload(
        reason=MEANINGLESS,
        sequence_length=length,
        global_batch_size=sequences,
        micro_batch_size=given.settle("micro_batch_size", log.micro_batch_size),
        gradient_accumulation_steps=given.settle("accumulation", log.accumulation),
        precision=given.settle("precision"),
        tokens_per_step=max(round(tokens), 1),
    )


def _device(
    log: ImportedLog, order: ImportOrder, traps: list[Trap]
) -> tuple[PlannedDevice, int | None]:
    """Return the machine, and the devices that the job drove where that is known."""
    count = order.given.settle("device_count", log.device_count)
    given: PlannedDevice | None = order.given.settle("device")
    if given is not None and count is None:
        count = given.devices_used
    if given is None:
        traps.append(Trap("machine", NOT_NAMED, advice="name it: --on INSTANCE or --on CHIP:N"))
        return (
            PlannedDevice(
                backend=UNKNOWN_BACKEND,
                accelerator=None,
                instance=None,
                is_instance_recognised=False,
                devices_used=count or 1,
                chips_used=1,
                chips_billed=1,
                instances_billed=1,
                memory_bytes=None,
            ),
            count,
        )
    said = order.given.settle("device_name", log.device_name)
    chip = accelerators().get(given.accelerator or "")
    seen = log.device_count
    if count is not None and chip and count < given.devices_used:
        chips = -(-count // given.devices_per_chip)
        given = given.model_copy(update={"devices_used": count, "chips_used": chips})
    if seen is not None and seen != count:
        traps.append(Trap("machine", f"the log says {seen} devices, the user {count}"))
    elif said and chip and not _is_like(said, chip.name, chip.device_names):
        traps.append(Trap("machine", f"the log says {said}, `--on` says {chip.name}"))
    else:
        traps.append(Trap("machine", "as the user named it", "sound"))
    return given, given.devices_used


def _is_like(said: str, name: str, known: tuple[str, ...]) -> bool:
    words = said.lower().replace(" ", "").replace("-", "")
    names = (name.split("-")[0], *known)
    return any(each.lower().replace(" ", "").replace("-", "") in words for each in names)


def _utilization(
    model: PlannedModel | ImportedModel, workload: ImportedWorkload, device: PlannedDevice
) -> ResultUtilization:
    length = workload.sequence_length
    flops: dict[str, float] = {}
    reason = "which model it is is not known: `--model` names it"
    if isinstance(model, PlannedModel) and model.shape is not None and length is not None:
        flops = {name: flops_per_token(model.shape, length, name) for name in CONVENTIONS}
    elif isinstance(model, PlannedModel):
        reason = "the sequence length is not known: `--sequence-length` says it"
    chip = accelerators().get(device.accelerator or "")
    peak = chip and workload.precision and chip.peak_flops_per_second(workload.precision)
    missing = "the precision is not known: `--precision` says it" if chip else NOT_NAMED
    if workload.precision == "fp8":
        peak, missing = None, "which matmuls were in fp8 is not known"
    chips = device.chips_billed
    return ResultUtilization(
        convention=DEFAULT_CONVENTION,
        flops_per_token=flops,
        flops_reason=None if flops else reason,
        peak_flops_per_second=peak * chips if peak else None,
        peak_source=f"{chips} x {say_flops_per_second(peak)} of {chip.name}: {chip.source}"
        if peak and chip
        else None,
        peak_reason=None if peak else missing,
        used_share=device.used_share,
        recomputed_flops_per_token=None,
        ceiling_reason="no ceiling is in another program's log",
    )


def _source(
    log: ImportedLog, order: ImportOrder, program: str, count: int | None
) -> ImportedSource:
    return ImportedSource(
        program=program,
        format=order.format,
        file_name=order.file_name,
        sha256=order.sha256,
        time_basis=log.time_basis,
        synchronised=log.synchronised,
        scope=log.scope,
        device_name=order.given.settle("device_name", log.device_name),
        device_count=count,
        imported_at=order.imported_at,
        is_date_known=log.started_at is not None,
    )


# --- figures ------------------------------------------------------------------------------------


def _metrics(
    times: Times, log: ImportedLog, tokens: float, count: int | None
) -> dict[str, MetricValue]:
    def rate(of: float) -> MetricValue:
        mean = times.mean
        assert mean.value is not None
        return MetricValue(
            value=of / mean.value,
            low=None if mean.high is None else of / mean.high,
            high=None if mean.low is None else of / mean.low,
        )

    found = {
        "tokens_per_second": rate(tokens),
        "tokens_per_second_per_device": rate(tokens / count)
        if count
        else unknown("how many devices there were is not known"),
        "step_time_mean_seconds": times.mean,
        "step_time_median_seconds": times.median,
        "step_time_p95_seconds": times.p95,
        "tail_overhead": times.tail,
        "stall_share": times.stall_share,
        "peak_memory_bytes": exactly(log.memory_bytes)
        if log.memory_bytes
        else unknown(MEANINGLESS),
    }
    nothing = unknown(MEANINGLESS)
    return {name: found.get(name, nothing) for name in (*MEASURED, *DERIVED)}


def _launch(log: ImportedLog, order: ImportOrder, times: Times, standing: str) -> ResultLaunch:
    return ResultLaunch(
        started_at=log.started_at or order.imported_at,
        status="finished",
        standing=standing,  # type: ignore[arg-type]
        samples=times.samples,
        step_time_mean_seconds=times.mean.value,
        step_time_median_seconds=times.median.value,
        standard_error=times.error,
        total_seconds=times.total_seconds,
        stopped_because=None,
    )
