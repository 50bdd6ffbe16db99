"""What arithmetic says of a plan before anything is run: operations, memory, time, dollars.

Source: docs/metrics.md, "Step time".
"""

from typing import Literal

from trnbench.catalog.accelerators import Accelerator
from trnbench.model.flops import (
    CONVENTIONS,
    COUNTED_CONVENTION,
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
    Ranks,
    predict_memory,
)
from trnbench.plan.device import expected_backend
from trnbench.protocol.model import ModelShape
from trnbench.schema.plan import (
    MeasureConfig,
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
    accelerator: Accelerator | None,
    price: Price | None,
) -> Prediction:
    """Predict what can be predicted, and say of the rest why not."""
    if model.shape is None:
        return _predict_external(model, workload, parallel, device, measure, price)
    shape, length, step = model.shape, workload.sequence_length, workload.step
    flops = {name: flops_per_token(shape, length, name, step) for name in CONVENTIONS}
    memory = _predict_memory(model, workload, parallel)
    work = flops[DEFAULT_CONVENTION] + recomputed_flops_per_token(shape, length, step)
    seconds, reason = _predict_step(shape, work, workload, device, accelerator)
    max_seconds = measure.max_minutes * 60
    return Prediction(
        flops_per_token=flops,
        recomputed_flops_per_token=recomputed_flops_per_token(shape, length, step),
        memory_bytes=memory.total_bytes,
        memory_states_bytes=memory.states_bytes,
        memory_activations_bytes=memory.activations_bytes,
        memory_verdict=_memory_verdict(memory, device, accelerator),
        step_seconds=seconds,
        step_seconds_reason=reason,
        max_seconds=max_seconds,
        max_usd=_max_usd(price, max_seconds, device, measure),
    )


def _predict_external(
    model: PlannedModel,
    workload: PlannedWorkload,
    parallel: PlannedParallel,
    device: PlannedDevice,
    measure: MeasureConfig,
    price: Price | None,
) -> Prediction:
    """Predict what the number of weights alone tells: what its state takes."""
    described = model.described
    flops = None if described is None else described.flops_per_token
    of_each = sum(STATE_BYTES_PER_PARAMETER[workload.precision])
    ranks = parallel.data_parallel_size if parallel.data_parallel == "fsdp" else 1
    return Prediction(
        flops_per_token={} if flops is None else {COUNTED_CONVENTION: flops},
        recomputed_flops_per_token=0.0 if workload.step.recompute == "none" else None,
        memory_bytes=None,
        memory_states_bytes=of_each * model.parameter_count / ranks,
        memory_activations_bytes=None,
        memory_verdict="unknown",
        step_seconds=None,
        step_seconds_reason="the sizes of an external model of no known family are not known",
        max_seconds=measure.max_minutes * 60,
        max_usd=_max_usd(price, measure.max_minutes * 60, device, measure),
    )


def _predict_memory(
    model: PlannedModel, workload: PlannedWorkload, parallel: PlannedParallel
) -> MemoryPrediction:
    return predict_memory(
        model.own_shape,
        sequence_length=workload.sequence_length,
        micro_batch_size=workload.micro_batch_size,
        precision=workload.precision,
        step=workload.step,
        ranks=Ranks(
            tensor=parallel.tensor_parallel_size,
            pipeline=parallel.pipeline_parallel_size,
            context=parallel.context_parallel_size,
            data=parallel.data_parallel_size,
            is_sharded=parallel.data_parallel == "fsdp",
        ),
    )


def _predict_step(
    shape: ModelShape,
    flops_of_token: float,
    workload: PlannedWorkload,
    device: PlannedDevice,
    accelerator: Accelerator | None,
) -> tuple[float | None, str]:
    """Return the seconds of a step and how they were come by, or None and why."""
    peak = accelerator.peak_flops_per_second(workload.precision) if accelerator else None
    if accelerator is None or peak is None:
        return None, "no datasheet peak is known for this device, so no time is predicted"
    if workload.precision == "fp8" and accelerator.fp8_flops_per_second is not None:
        fp8 = fp8_flops_per_token(shape)
        peak = mixed_rate(flops_of_token, fp8, accelerator.fp8_flops_per_second, peak)
    seconds = estimate_step_seconds(
        flops_per_token=flops_of_token,
        tokens_per_step=workload.tokens_per_step,
        chips=device.chips_used,
        peak_flops_per_second=peak,
    )
    reason = (
        f"an estimate: {PLANNED_EFFICIENCY:.0%} of {accelerator.name}'s datasheet peak, "
        "fitted to no measurement"
    )
    return seconds, reason


def _max_usd(
    price: Price | None, max_seconds: float, device: PlannedDevice, measure: MeasureConfig
) -> float | None:
    """Return the most that the case can cost."""
    if price is None:
        return None
    hours = max_seconds / SECONDS_PER_HOUR
    usd = float(price.usd_per_hour) * device.instances_billed * hours
    return usd if measure.max_usd is None else min(usd, measure.max_usd)


def memory_fits(
    model: PlannedModel,
    workload: PlannedWorkload,
    parallel: PlannedParallel,
    device: PlannedDevice,
    accelerator: Accelerator | None,
) -> bool:
    """Tell whether the prediction leaves room to spare, or nothing is known of the device."""
    memory = _predict_memory(model, workload, parallel)
    return _memory_verdict(memory, device, accelerator) in ("fits", "unknown")


def _memory_verdict(
    memory: MemoryPrediction, device: PlannedDevice, accelerator: Accelerator | None
) -> Literal["fits", "tight", "does_not_fit", "unknown"]:
    if device.memory_bytes is None:
        return "unknown"
    reserve = expected_backend(device.backend, accelerator).reserve_bytes
    needed = memory.total_bytes + reserve
    if needed <= COMFORTABLE_SHARE * device.memory_bytes:
        return "fits"
    return "tight" if needed <= device.memory_bytes else "does_not_fit"


def estimate_step_seconds(
    *, flops_per_token: float, tokens_per_step: int, chips: int, peak_flops_per_second: float
) -> float:
    """Divide the step's operations by what the chips are planned to do."""
    return flops_per_token * tokens_per_step / (chips * peak_flops_per_second * PLANNED_EFFICIENCY)
