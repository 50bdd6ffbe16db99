"""What arithmetic says of a plan before anything is run: FLOPs, memory, time, dollars.

Source: docs/metrics.md, "Step time".
"""

from trnbench.model.flops import (
    CONVENTIONS,
    DEFAULT_CONVENTION,
    flops_per_token,
    fp8_flops_per_token,
    mixed_rate,
    recomputed_flops_per_token,
)
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
from trnbench.units import SECONDS_PER_HOUR

PLANNED_EFFICIENCY = 0.55
"""Part of the datasheet's peak that matmuls are planned to reach; fitted to no measurement."""


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
    work = flops[DEFAULT_CONVENTION] + recomputed
    seconds, reason = _predict_step(shape, work, workload, parallel.layout, device, target)
    return Prediction(
        flops_per_token=flops,
        recomputed_flops_per_token=recomputed,
        memory_bytes=memory.total_bytes,
        memory_states_bytes=memory.states_bytes,
        memory_activations_bytes=memory.activations_bytes,
        memory_verdict=memory_verdict(memory, device, target),
        step_seconds=seconds,
        step_seconds_reason=reason,
        max_seconds=max_seconds,
        max_usd=max_usd,
    )


def _predict_step(
    shape: ModelShape,
    flops_of_token: float,
    workload: PlannedWorkload,
    layout: Layout,
    device: PlannedDevice,
    target: Target,
) -> tuple[float | None, str]:
    """Return the seconds of a step and how they were predicted, or None and why."""
    chip, precision = target.accelerator, workload.precision
    peak = chip.peak_flops_per_second(precision) if chip else None
    if chip is None or peak is None:
        return None, "no datasheet peak is known for this device, so no time is predicted"
    if precision == "fp8" and chip.fp8_flops_per_second is not None:
        in_fp8 = fp8_flops_per_token(shape)
        peak = mixed_rate(flops_of_token, in_fp8, chip.fp8_flops_per_second, peak)
    seconds = estimate_step_seconds(
        flops_per_token=flops_of_token,
        tokens_per_step=workload.tokens_per_step,
        chips=device.devices_used / device.devices_per_chip,
        peak_flops_per_second=peak,
    )
    seconds *= 1 + pipeline_bubble(layout, workload.gradient_accumulation_steps)
    part = f"{PLANNED_EFFICIENCY:.0%} of {chip.name}'s datasheet peak"
    return seconds, f"an estimate: {part}, fitted to no measurement"


def estimate_step_seconds(
    *, flops_per_token: float, tokens_per_step: int, chips: float, peak_flops_per_second: float
) -> float:
    """Divide the step's FLOPs by what the chips are planned to reach."""
    return flops_per_token * tokens_per_step / (chips * peak_flops_per_second * PLANNED_EFFICIENCY)


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
