"""What arithmetic says of a plan before anything is run: FLOPs, memory, time, dollars.

Source: docs/metrics.md, "Step time".
"""

from typing import NamedTuple

from trnbench.errors import ConfigError
from trnbench.estimate.machine import driven, machine_of
from trnbench.estimate.step import estimate_step
from trnbench.estimate.terms import Setup
from trnbench.model.flops import CONVENTIONS, flops_per_token, recomputed_flops_per_token
from trnbench.model.memory import (
    COMFORTABLE_SHARE,
    STATE_BYTES_PER_PARAMETER,
    MemoryPrediction,
    predict_memory,
)
from trnbench.plan.device import Target
from trnbench.plan.external import counted_flops
from trnbench.protocol.model import ModelShape
from trnbench.protocol.parallel import Layout
from trnbench.schema.plan import (
    MeasureConfig,
    MemoryVerdict,
    PlannedDevice,
    PlannedModel,
    PlannedParallel,
    PlannedWorkload,
    Prediction,
)
from trnbench.schema.price import Price
from trnbench.units import SECONDS_PER_HOUR, say_seconds


class StepTime(NamedTuple):
    """Seconds of a step with their 80 % range, None where nothing is known, and why."""

    seconds: float | None
    low: float | None
    high: float | None
    reason: str


def predict(
    model: PlannedModel,
    workload: PlannedWorkload,
    parallel: PlannedParallel,
    device: PlannedDevice,
    measure: MeasureConfig,
    target: Target,
    price: Price | None,
) -> Prediction:
    """Predict what can be predicted, and say of the rest why not."""
    max_seconds = measure.max_minutes * 60
    max_usd = None
    if price is not None:
        hours = max_seconds / SECONDS_PER_HOUR
        max_usd = float(price.usd_per_hour) * device.instances_billed * hours
        max_usd = max_usd if measure.max_usd is None else min(max_usd, measure.max_usd)
    shape, length, step = model.shape, workload.sequence_length, workload.step
    if shape is None:  # what its number of weights alone says
        wasted = model.described.wasted_flops_per_token if model.described else 0.0
        bytes_per_weight = sum(STATE_BYTES_PER_PARAMETER[workload.precision])
        return Prediction(
            flops_per_token=counted_flops(model, length),
            recomputed_flops_per_token=wasted if step.recompute == "none" else None,
            memory_bytes=None,
            memory_states_bytes=bytes_per_weight
            * model.parameter_count
            / parallel.layout.state_shards,
            memory_activations_bytes=None,
            memory_verdict="unknown",
            step_seconds=None,
            step_seconds_reason="the sizes of an external model of no known family are not known",
            max_seconds=max_seconds,
            max_usd=max_usd,
        )
    flops = {name: flops_per_token(shape, length, name, step) for name in CONVENTIONS}
    recomputed = recomputed_flops_per_token(shape, length, step)
    memory = memory_of(shape, workload, parallel)
    time = _predict_step(shape, workload, parallel.layout, device, target)
    return Prediction(
        flops_per_token=flops,
        recomputed_flops_per_token=recomputed,
        memory_bytes=memory.total_bytes,
        memory_states_bytes=memory.states_bytes,
        memory_activations_bytes=memory.activations_bytes,
        memory_verdict=memory_verdict(memory, device, target),
        step_seconds=time.seconds,
        step_seconds_low=time.low,
        step_seconds_high=time.high,
        step_seconds_reason=time.reason,
        max_seconds=max_seconds,
        max_usd=max_usd,
    )


def _predict_step(
    shape: ModelShape,
    workload: PlannedWorkload,
    layout: Layout,
    device: PlannedDevice,
    target: Target,
) -> StepTime:
    """Return the estimate of a step, which `trnbench estimate` makes too, or why there is none."""
    chip = target.accelerator
    if chip is None or chip.peak_flops_per_second(workload.precision) is None:
        return StepTime(None, None, None, "no datasheet peak is known for this device, so no time "
                        "is predicted")  # fmt: skip
    known = target.instance
    carries = known is not None and known.accelerator == chip
    machine = machine_of(chip.name, known.name if known and carries else None)
    machine, chips = driven(machine, device.devices_used, device.devices_per_chip)
    setup = Setup(
        shape=shape,
        sequence_length=workload.sequence_length,
        global_batch_size=workload.global_batch_size,
        precision=workload.precision,
        step=workload.step,
        micro_batch_size=workload.micro_batch_size,
        layout=layout,
        machine=machine,
        chips=chips,
    )
    try:
        found = estimate_step(setup)
    except ConfigError as error:
        return StepTime(None, None, None, str(error))
    if found.seconds is None:
        least = say_seconds(found.bound_seconds)
        return StepTime(None, None, None, f"{found.basis}: at least {least}")
    return StepTime(found.seconds, found.seconds_low, found.seconds_high,
                    f"an estimate from {found.basis}")  # fmt: skip


def pipeline_bubble(layout: Layout, passes: int) -> float:
    """Return the time that a pipeline's ranks wait, over the time that they work.

    Source: Narayanan et al., arXiv 2104.04473, section 2.2.
    """
    waiting = layout.pipeline_parallel_size - 1
    return waiting / (layout.pipeline_stages_per_rank * passes)


def memory_of(
    shape: ModelShape, workload: PlannedWorkload, parallel: PlannedParallel
) -> MemoryPrediction:
    """Predict the memory of a plan's fullest rank."""
    return predict_memory(
        shape,
        sequence_length=workload.sequence_length,
        micro_batch_size=workload.micro_batch_size,
        precision=workload.precision,
        step=workload.step,
        passes=workload.gradient_accumulation_steps,
        layout=parallel.layout,
    )


def memory_verdict(
    memory: MemoryPrediction, device: PlannedDevice, target: Target
) -> MemoryVerdict:
    """Compare a prediction with the device's memory; `tight` leaves little of it."""
    if device.memory_bytes is None:
        return "unknown"
    needed = memory.total_bytes + target.likely_row.reserve_bytes
    if needed <= COMFORTABLE_SHARE * device.memory_bytes:
        return "fits"
    return "tight" if needed <= device.memory_bytes else "does_not_fit"
