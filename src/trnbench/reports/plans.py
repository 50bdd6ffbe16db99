"""Plans as a report: what will be done, and what arithmetic says of it before anything is run."""

from collections.abc import Iterable, Sequence
from typing import Any

from trnbench import __version__
from trnbench.analysis.checks.parity import NO_SMALL_MODEL, SAY_SMALL
from trnbench.model.flops import FULL_CONVENTION, active_parameter_count
from trnbench.protocol.orders import StepSettings
from trnbench.reports.document import Document, Facts, Heading, Page, Part, Report, Rows, rows_at
from trnbench.schema.plan import Plan, PlannedModel, PlannedParallel
from trnbench.units import say_bytes, say_flops, say_seconds, say_usd, say_weights


def _document(plans: Sequence[Plan], page: Page) -> Document:
    parts: list[Part] = []
    for number, plan in enumerate(plans, start=1):
        title = f"[{number}/{len(plans)}] {plan.case_id}"
        parts.append(Heading(title, beside=f"({plan.suite})"))
        parts.append(Facts([*_lines(plan)], label_width=14))
    return Document(parts)


def _rows(plans: Sequence[Plan]) -> Rows:
    return rows_at(
        plans, "case_id", "suite", "model=model.name", "model.parameter_count", "device.backend",
        "workload.precision", "workload.global_batch_size", "workload.sequence_length",
        "workload.tokens_per_step", "prediction.memory_bytes", "prediction.step_seconds",
        "prediction.max_seconds", "price.usd_per_hour", "prediction.max_usd",
    )  # fmt: skip


def _record(plans: Sequence[Plan], page: Page) -> dict[str, Any]:
    """Return every number, resolved."""
    return {
        "trnbench_version": __version__,
        "plans": [plan.model_dump(mode="json") for plan in plans],
    }


REPORT: Report[Sequence[Plan]] = Report(document=_document, rows=_rows, record=_record)


def _lines(plan: Plan) -> Iterable[tuple[str, str]]:
    work, predicted = plan.workload, plan.prediction
    yield "model", _model(plan.model)
    if plan.swept:
        yield "swept", ", ".join(f"{key}={value}" for key, value in plan.swept.items())
    yield (
        "step",
        (
            f"{work.global_batch_size} sequences of {work.sequence_length} = "
            f"{work.tokens_per_step:,} tokens, in {_passes(work.gradient_accumulation_steps)} of "
            f"{work.micro_batch_size} a rank; {work.precision}, {work.optimizer}"
        ),
    )
    yield "carried out", _carried_out(plan)
    besides = _besides(plan.workload.step)
    if besides:
        yield "besides", ", ".join(besides)
    if plan.parallel.world_size > 1:
        yield "ranks", _ranks(plan.parallel)
    yield "device", _device(plan)
    yield "operations", _operations(plan)
    yield "memory", _memory(plan)
    if plan.order.gate is None:
        yield "gate", _no_gate(plan)
    if predicted.step_seconds is None:
        yield "step time", f"not predicted: {predicted.step_seconds_reason}"
    else:
        said = say_seconds(predicted.step_seconds)
        yield "step time", f"about {said} ({predicted.step_seconds_reason})"
    asked = plan.measure
    if asked.launches > 1:
        yield "launches", f"{asked.launches} fresh processes, all within the limits below"
    yield (
        "until",
        (
            f"±{asked.relative_precision:.2%} after {asked.min_samples} samples and "
            f"{asked.min_seconds:g} s, at most {asked.max_samples} samples or "
            f"{say_seconds(predicted.max_seconds)}"
        ),
    )
    yield "price", _price(plan)


def _model(model: PlannedModel) -> str:
    sizes, active = "", None
    if model.shape is not None:
        active = active_parameter_count(model.shape)
        sizes = f", {model.shape.layers} layers of width {model.shape.hidden_size}"
    said = say_weights(model.parameter_count, active)
    count = f"{model.parameter_count:,} ({said}) weights"
    whose = f" ({model.source})" if model.external is not None else ""
    return f"{model.name}{whose}: {count}{sizes}, vocabulary {model.vocabulary_size:,}"


def _operations(plan: Plan) -> str:
    counted = plan.prediction.flops_per_token
    own = counted.get(plan.flops_convention)
    if own is None:
        described = plan.model.described
        return f"not known: {described.flops_reason if described else 'they were not counted'}"
    said = f"{say_flops(own)} a token by {plan.flops_convention}"
    full = counted.get(FULL_CONVENTION)
    if full is not None:
        said += f", {say_flops(full)} by {FULL_CONVENTION}"
    extra = plan.prediction.recomputed_flops_per_token
    if not extra:
        return said
    is_made_again = plan.workload.step.recompute != "none"
    what = "what is made again" if is_made_again else "experts' empty places"
    return f"{said}; {say_flops(extra)} more for {what}"


def _no_gate(plan: Plan) -> str:
    """Return why no small model will be compared with the CPU, and what would change it."""
    if not plan.measure.gate:
        return "none: measure.gate is false"
    return f"none: {NO_SMALL_MODEL}; {SAY_SMALL}"


def _carried_out(plan: Plan) -> str:
    """Return how the step is carried out: what was asked for and what `auto` came to."""
    order, step = plan.order, plan.workload.step
    if plan.model.external is not None:
        loss = "the model's own"
    elif step.loss_chunk_rows is None:
        loss = "plain"
    else:
        loss = f"chunked by {step.loss_chunk_rows} tokens"
    adamw = step.adamw or "by the device's own choice"
    unseen = " (no device was looked at)" if order.backend == "auto" else ""
    return (
        f"execution {order.execution}{unseen}, activation checkpointing {step.recompute}, "
        f"loss {loss}, AdamW {adamw}"
    )


def _besides(step: StepSettings) -> list[str]:
    """Return what of the step is not there by default."""
    said = []
    if step.document_length is not None:
        said.append(f"documents of {step.document_length} tokens packed")
    if step.lora is not None:
        said.append(f"adapters of rank {step.lora.rank} ({step.lora.targets}), the rest frozen")
    if step.expert_capacity is not None:
        said.append(f"{step.expert_capacity:g} places an expert for each row of its share")
    return said


def _ranks(ranks: PlannedParallel) -> str:
    return (
        f"{ranks.world_size} = tensor {ranks.tensor_parallel_size} x pipeline "
        f"{ranks.pipeline_parallel_size} x context {ranks.context_parallel_size} x data "
        f"{ranks.data_parallel_size} ({ranks.data_parallel})"
    )


def _passes(count: int) -> str:
    return "1 pass" if count == 1 else f"{count} passes"


def _device(plan: Plan) -> str:
    device = plan.device
    chip = f", {device.chips_used} x {device.accelerator}" if device.accelerator else ""
    billed = ""
    if device.instance:
        billed = f"; billed: {device.instances_billed} x {device.instance}"
        billed += f" ({device.chips_billed} chips)" if device.accelerator else ""
    where = "the best one there is" if device.backend == "auto" else device.backend
    return f"{where}{chip}{billed}"


def _memory(plan: Plan) -> str:
    predicted, there = plan.prediction, plan.device.memory_bytes
    of = f" of {say_bytes(there)}" if there is not None else ""
    verdict = predicted.memory_verdict.replace("_", " ")
    if predicted.memory_bytes is None or predicted.memory_activations_bytes is None:
        states = say_bytes(predicted.memory_states_bytes)
        return f"state {states}{of}; what an external model's activations take is not known"
    return (
        f"about {say_bytes(predicted.memory_bytes)}{of} on the fullest device ({verdict}): "
        f"state {say_bytes(predicted.memory_states_bytes)}, "
        f"activations {say_bytes(predicted.memory_activations_bytes)}"
    )


def _price(plan: Plan) -> str:
    price = plan.price
    if price is None:
        return f"none: {plan.price_reason}"
    parts = (price.instance, price.option, price.region, price.date.isoformat(), price.source)
    told = ", ".join(part for part in (*parts, price.note) if part)
    most = plan.prediction.max_usd
    limit = f"; this case costs at most {say_usd(most)}" if most is not None else ""
    return f"${price.usd_per_hour} an hour ({told}){limit}"
