"""Plans as a report: what will be done, and what arithmetic says of it before anything is run."""

from collections.abc import Iterator, Sequence

from trnbench import __version__
from trnbench.analysis.checks.parity import NO_SMALL_MODEL, SAY_SMALL
from trnbench.analysis.idle import idle_note
from trnbench.catalog.backends import backend_of
from trnbench.model.flops import FULL_CONVENTION, active_parameter_count
from trnbench.protocol.orders import StepSettings
from trnbench.reports import document as doc
from trnbench.reports.texts import plural, price_terms
from trnbench.schema.plan import Plan, PlannedModel, PlannedWorkload
from trnbench.units import say_bytes, say_flops, say_seconds, say_usd, say_weights

MANY = 50
"""Of more plans a terminal shows the first alone."""
FIRST = 3


def _document(plans: Sequence[Plan], page: doc.Page) -> doc.Document:
    parts: list[doc.Part] = []
    shown, command = plans, page.all_rows
    if command is not None and len(plans) > MANY:
        shown = plans[:FIRST]
        said = f"the first {FIRST} of {len(plans):,} plans; all of them: {command}"
        parts = [doc.Lines([_say_all(plans), said])]
    for number, plan in enumerate(shown, start=1):
        title = f"[{number}/{len(plans)}] {plan.case_id}"
        parts.append(doc.Heading(title, beside=f"({plan.suite})"))
        parts.append(doc.Facts([*_lines(plan)], label_width=14))
    return doc.Document(parts)


def _say_all(plans: Sequence[Plan]) -> str:
    """Say what all plans come to: the time and the dollars at most, and which do not fit."""
    most = [plan.prediction.max_usd for plan in plans]
    known = [usd for usd in most if usd is not None]
    cost = f"for at most {say_usd(sum(known))}" if len(known) == len(most) else "without a price"
    seconds = sum(plan.prediction.max_seconds for plan in plans)
    large = sum(plan.prediction.memory_verdict == "does_not_fit" for plan in plans)
    fit = f"; {large:,} of them need more memory than there is" if large else ""
    return f"{len(plans):,} cases: up to {say_seconds(seconds)} in all, {cost}{fit}"


def _rows(plans: Sequence[Plan]) -> doc.Rows:
    return doc.rows_at(
        plans, "case_id", "suite", "model=model.name", "model.parameter_count:int",
        "device.backend", "workload.precision", "workload.global_batch_size:int",
        "workload.sequence_length:int", "workload.tokens_per_step:int",
        "layout=parallel.in_words", "layout_reason=parallel.reason", "nodes=parallel.nodes:int",
        "device.devices_used:int",
        "device.devices_billed:int", "prediction.memory_bytes:int",
        "prediction.step_seconds:float", "prediction.max_seconds:float",
        "price.usd_per_hour:float", "prediction.max_usd:float",
    )  # fmt: skip


REPORT: doc.Report[Sequence[Plan]] = doc.Report(
    title="Plan",
    document=_document,
    rows=_rows,
    record=lambda plans, page: {
        "trnbench_version": __version__,
        "plans": [plan.model_dump(mode="json") for plan in plans],
    },
)


def _lines(plan: Plan) -> Iterator[tuple[str, str]]:
    predicted, measure = plan.prediction, plan.measure
    yield "model", _model(plan.model)
    if plan.swept:
        yield "swept", ", ".join(f"{key}={value}" for key, value in plan.swept.items())
    yield "step", _step(plan.workload)
    if plan.workload.reason is not None:
        yield "chosen", plan.workload.reason
    yield "execution", _carried_out(plan)
    also = ", ".join(_extras(plan.workload.step))
    if also:
        yield "also", also
    yield from _places(plan)
    for note in plan.model.notes:
        yield "note", note
    yield "device", _device(plan)
    idle = idle_note(plan.device)
    if idle is not None:
        yield "idle", idle
    yield "operations", _operations(plan)
    yield "memory", _memory(plan)
    if plan.order.gate is None:
        why = f"{NO_SMALL_MODEL}; {SAY_SMALL}" if measure.gate else "measure.gate is false"
        yield "gate", f"none: {why}"
    if predicted.step_seconds is None:
        yield "step time", f"not predicted: {predicted.step_seconds_reason}"
    else:
        seconds = say_seconds(predicted.step_seconds)
        if predicted.step_seconds_low is not None and predicted.step_seconds_high is not None:
            low, high = map(say_seconds, (predicted.step_seconds_low, predicted.step_seconds_high))
            seconds += f", {low} to {high} in 80 % of cases"
        yield "step time", f"{seconds} ({predicted.step_seconds_reason})"
    if measure.launches > 1:
        yield "launches", f"{measure.launches} fresh processes, all within the limits below"
    yield (
        "until",
        f"±{measure.relative_precision:.2%} after {measure.min_samples} samples and "
        f"{measure.min_seconds:g} s, at most {measure.max_samples} samples or "
        f"{say_seconds(predicted.max_seconds)}",
    )
    yield "price", _price(plan)


def _places(plan: Plan) -> Iterator[tuple[str, str]]:
    yield "ranks", _ranks(plan)
    if plan.parallel.nodes > 1:
        yield "nodes", _nodes(plan)


def _model(model: PlannedModel) -> str:
    sizes, active = "", None
    if model.shape is not None:
        active = active_parameter_count(model.shape)
        sizes = f", {model.shape.layers} layers of width {model.shape.hidden_size}"
    weights = f"{model.parameter_count:,} ({say_weights(model.parameter_count, active)}) weights"
    source = f" ({model.source})" if model.external is not None else ""
    return f"{model.name}{source}: {weights}{sizes}, vocabulary {model.vocabulary_size:,}"


def _step(work: PlannedWorkload) -> str:
    return (
        f"{work.global_batch_size} sequences of {work.sequence_length} = "
        f"{work.tokens_per_step:,} tokens, in {plural(work.gradient_accumulation_steps, 'pass')} "
        f"of {work.micro_batch_size} a rank; {work.precision}, {work.optimizer}"
    )


def _carried_out(plan: Plan) -> str:
    """Say how the step is carried out: what the config says, and what its `auto` came to."""
    order, step = plan.order, plan.workload.step
    loss = "plain"
    if plan.model.external is not None:
        loss = "the model's own"
    elif step.loss_chunk_rows is not None:
        loss = f"chunked by {step.loss_chunk_rows} tokens"
    adamw = step.adamw or "by the device's own choice"
    unseen = " (no device was inspected)" if order.backend == "auto" else ""
    return (
        f"{order.execution}{unseen}, activation checkpointing {step.recompute}, "
        f"loss {loss}, AdamW {adamw}"
    )


def _ranks(plan: Plan) -> str:
    """Say how many ranks there are, along which axes, and why."""
    ranks = plan.parallel
    said = "1" if ranks.world_size == 1 else f"{ranks.world_size} = {ranks.in_words}"
    first = plan.order.device_index
    if first is not None:
        last = first + ranks.ranks_per_node - 1
        said += f", device {first}" if last == first else f", devices {first} to {last}"
        said += " of each node" if ranks.nodes > 1 else ""
    return said if ranks.reason is None else f"{said} ({ranks.reason})"


def _nodes(plan: Plan) -> str:
    """Say how the ranks lie on the nodes, and what is set for them."""
    ranks, usual = plan.parallel, backend_of(plan.order.backend).node_variables
    said = f"{ranks.nodes}, with {plural(ranks.ranks_per_node, 'rank')} on each"
    variables = " ".join(f"{name}={value}" for name, value in usual.items())
    return f"{said}; set unless you have: {variables}" if variables else said


def _extras(step: StepSettings) -> Iterator[str]:
    """Say what of the step is not the default."""
    if step.document_length is not None:
        yield f"documents of {step.document_length} tokens packed"
    if step.lora is not None:
        yield f"adapters of rank {step.lora.rank} ({step.lora.targets}), the rest frozen"
    if step.expert_capacity is not None:
        yield f"{step.expert_capacity:g} places an expert for each row of its share"


def _device(plan: Plan) -> str:
    device = plan.device
    chip = f", {device.chips_used} x {device.accelerator}" if device.accelerator else ""
    if device.devices_used % device.devices_per_chip or device.devices_per_chip > 1:
        chip = f", {plural(device.devices_used, 'device')} of{chip.removeprefix(',')}"
    billed = ""
    if device.instance:
        billed = f"; billed: {device.instances_billed} x {device.instance}"
        billed += f" ({plural(device.chips_billed, 'chip')})" if device.accelerator else ""
    where = "the best one there is" if device.backend == "auto" else device.backend
    return f"{where}{chip}{billed}"


def _operations(plan: Plan) -> str:
    counted = plan.prediction.flops_per_token
    own, full = counted.get(plan.flops_convention), counted.get(FULL_CONVENTION)
    if own is None:
        described = plan.model.described
        return f"not known: {described.flops_reason if described else 'they were not counted'}"
    text = f"{say_flops(own)} a token by {plan.flops_convention}"
    if full is not None:
        text += f", {say_flops(full)} by {FULL_CONVENTION}"
    extra = plan.prediction.recomputed_flops_per_token
    if extra:
        is_made_again = plan.workload.step.recompute != "none"
        what = "recomputation" if is_made_again else "experts' empty places"
        text += f"; {say_flops(extra)} more for {what}"
    return text


def _memory(plan: Plan) -> str:
    predicted, there = plan.prediction, plan.device.memory_bytes
    of = f" of {say_bytes(there)}" if there is not None else ""
    state = f"state {say_bytes(predicted.memory_states_bytes)}"
    if predicted.memory_bytes is None or predicted.memory_activations_bytes is None:
        return f"{state}{of}; what an external model's activations take is not known"
    return (
        f"about {say_bytes(predicted.memory_bytes)}{of} on the {_fullest(plan)} "
        f"({predicted.memory_verdict.replace('_', ' ')}): "
        f"{state}, activations {say_bytes(predicted.memory_activations_bytes)}"
    )


def _fullest(plan: Plan) -> str:
    return "fullest rank" if plan.parallel.world_size > 1 else "device"


def _price(plan: Plan) -> str:
    price, most = plan.price, plan.prediction.max_usd
    if price is None:
        return f"none: {plan.price_reason}"
    terms = [*price_terms(price), price.source, *([price.note] if price.note else [])]
    limit = f"; this case costs at most {say_usd(most)}" if most is not None else ""
    return f"${price.usd_per_hour} an hour ({', '.join(terms)}){limit}"
