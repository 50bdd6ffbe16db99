"""From one checked config to a plan in which every number is resolved.

Pure, but for the price that it asks of others where the config says so. What the machine and its
devices are is an argument; without them a plan can still be made, and says what will be decided on
the machine.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path

from trnbench import __version__
from trnbench.catalog.backends import backend_of
from trnbench.config.load import CaseConfig, Conflict
from trnbench.config.model import Config, ModelConfig
from trnbench.errors import UnavailableError
from trnbench.machine.describe import Devices, Machine
from trnbench.model.families import ALPHABET_SIZE, family_of
from trnbench.model.flops import COUNTED_CONVENTION, DEFAULT_CONVENTION
from trnbench.plan.device import (
    asked_backend,
    asked_index,
    check_instance,
    check_threads,
    choose_accelerator,
    choose_device,
    choose_instance,
    plan_device,
)
from trnbench.plan.external import Describe, choose_external, is_external, small_external
from trnbench.plan.model import choose_model
from trnbench.plan.parity import parity_shape, plan_external_parity, plan_gate
from trnbench.plan.predict import predict
from trnbench.plan.step import (
    plan_execution,
    plan_precision,
    plan_step,
    plan_workload,
)
from trnbench.prices import find_price, sources_for
from trnbench.prices.base import PriceRequest, PriceSource
from trnbench.protocol.model import ModelShape
from trnbench.protocol.orders import (
    PROTOCOL_VERSION,
    GateOrder,
    OptimizerSettings,
    StreamSettings,
    WorkOrder,
)
from trnbench.protocol.records import FoundDevice
from trnbench.schema.plan import (
    Plan,
    PlannedModel,
    PlannedParallel,
    PlannedWorkload,
)
from trnbench.schema.price import Price

STREAM_NOISE = 0.1


def plan_all(
    cases: Sequence[CaseConfig],
    *,
    machine: Machine,
    devices: Devices | None,
    today: date,
    describe: Describe | None = None,
) -> list[Plan]:
    """Resolve every case as `make_plan` does, giving each conflict its file and line.

    Raises:
        ConfigError: values that cannot stand together.
        UnavailableError: a live price was asked for and is not to be had.
    """
    plans = []
    for case in cases:
        try:
            plan = make_plan(case, machine=machine, devices=devices, today=today, describe=describe)
        except Conflict as conflict:
            raise case.explain(conflict) from None
        plans.append(plan)
    return plans


def make_plan(
    case: CaseConfig,
    *,
    machine: Machine,
    devices: Devices | None,
    today: date,
    price_sources: Sequence[PriceSource] | None = None,
    describe: Describe | None = None,
) -> Plan:
    """Resolve one case.

    Args:
        case: the checked config.
        machine: where the run is made, or planned from.
        devices: what the training interpreter found; None plans without looking.
        today: the day for which prices are asked.
        price_sources: asked in this order; by default those that the config names.
        describe: says what an external model is; without it there must be none.

    Raises:
        Conflict: values that cannot stand together, with the key to blame.
        UnavailableError: a live price was asked for and is not to be had.
    """
    config = case.config
    model = _choose_model(config, describe)
    parallel = _plan_parallel(config, model)
    found = choose_device(config, devices)
    instance = choose_instance(config, machine)
    accelerator = choose_accelerator(found, instance)
    backend = found.backend if found else asked_backend(config)
    check_threads(config, found, machine)
    precision = plan_precision(config, backend, accelerator)
    workload = plan_workload(config, model, parallel, precision)
    request = _price_request(config, machine, today)
    device = plan_device(backend, accelerator, instance, parallel, machine, request)
    step = plan_step(config, model, workload, parallel, device, accelerator)
    workload = workload.model_copy(update={"step": step})
    price, price_reason = _plan_price(config, request, price_sources)
    check_instance(config, instance, backend, machine, is_priced=price is not None)
    _check_dollars(config, price, price_reason)
    work = _make_order(config, model, workload, found)
    order = replace(work, gate=_plan_gate(config, model, work)) if config.measure.gate else work
    return Plan(
        trnbench_version=__version__,
        suite=config.name,
        case_id=_case_id(model, workload, parallel, work),
        swept=dict(case.swept),
        model=model,
        workload=workload,
        parallel=parallel,
        device=device,
        measure=config.measure,
        price=price,
        price_reason=price_reason,
        flops_convention=COUNTED_CONVENTION if model.shape is None else DEFAULT_CONVENTION,
        prediction=predict(model, workload, parallel, device, config.measure, accelerator, price),
        order=order,
    )


# --- what is asked for --------------------------------------------------------------------------


def _choose_model(config: Config, describe: Describe | None) -> PlannedModel:
    model = config.model
    if isinstance(model, ModelConfig) and is_external(model):
        if describe is None:
            raise ValueError("an external model cannot be planned unless it is described")
        known = describe(model, config.workload.sequence_length)
        return choose_external(config, known, model.name)
    return choose_model(config.model)


def _plan_gate(config: Config, model: PlannedModel, work: WorkOrder) -> GateOrder | None:
    """Return the gate's order; None for an external model of which no small one is known."""
    if model.external is None or not isinstance(config.model, ModelConfig):
        return plan_gate(work)
    length = work.sequence_length
    shape = None if model.shape is None else parity_shape(work, model.shape, length)
    small = small_external(model, config.model, shape)
    return None if small is None else plan_external_parity(work, small)


def _plan_parallel(config: Config, model: PlannedModel) -> PlannedParallel:
    asked = config.parallel
    tensor, pipeline = asked.tensor_parallel_size, asked.pipeline_parallel_size
    context, data = asked.context_parallel_size, asked.data_parallel_size
    if model.shape is not None:
        _check_divisible(config, model.name, model.shape)
    return PlannedParallel(
        world_size=tensor * pipeline * context * data,
        tensor_parallel_size=tensor,
        pipeline_parallel_size=pipeline,
        context_parallel_size=context,
        data_parallel_size=data,
        data_parallel=asked.data_parallel,
    )


def _check_divisible(config: Config, name: str, shape: ModelShape) -> None:
    asked = config.parallel
    tensor = asked.tensor_parallel_size
    experts = tensor if shape.experts is None else shape.experts.count
    length = config.workload.sequence_length
    rules = (
        (shape.kv_heads, tensor, "tensor", "key heads (kv_heads)", "model.kv_heads"),
        (shape.heads, tensor, "tensor", "heads", "model.heads"),
        (shape.layers, asked.pipeline_parallel_size, "pipeline", "layers", "model.layers"),
        (experts, tensor, "tensor", "experts", "model.experts.count"),
        (
            length, asked.context_parallel_size, "context", "tokens a sequence",
            "workload.sequence_length",
        ),
    )  # fmt: skip
    for total, size, axis, what, where in rules:
        if total % size:
            key = f"{axis}_parallel_size"
            divisors = [n for n in range(1, min(total, 512) + 1) if total % n == 0]
            raise Conflict(
                f"parallel.{key}",
                f"{size} does not divide the {total} {what} of {name}",
                hint=f"use one of {', '.join(map(str, divisors[:12]))}",
                others=[where],
            )


def _price_request(config: Config, machine: Machine, today: date) -> PriceRequest:
    asked = config.price
    request = machine.price_request(today)
    if asked.instance != "auto":
        request = PriceRequest(instance=asked.instance, today=today)
    return request.choose(
        option=asked.option,
        region=asked.region,
        zone=asked.zone,
        usd_per_hour=asked.usd_per_hour,
    )


def _plan_price(
    config: Config, request: PriceRequest, sources: Sequence[PriceSource] | None
) -> tuple[Price | None, str | None]:
    """Return the price, or None and why there is none."""
    file = None if config.price.file is None else Path(config.price.file)
    price = find_price(request, sources or sources_for(config.price.source, file, request.today))
    if isinstance(price, Price):
        return price, None
    if config.price.source == "live":
        raise UnavailableError(f"price.source: live: {price.reason}", hint=price.hint)
    return None, f"{price.reason}; {price.hint}"


def _check_dollars(config: Config, price: Price | None, reason: str | None) -> None:
    if config.measure.max_usd is not None and price is None:
        raise Conflict(
            "measure.max_usd",
            f"{config.measure.max_usd} cannot be kept without a price",
            hint=reason or "",
        )


# --- what the worker is given -------------------------------------------------------------------


def _make_order(
    config: Config, model: PlannedModel, workload: PlannedWorkload, found: FoundDevice | None
) -> WorkOrder:
    backend = found.backend if found else asked_backend(config)
    asked, wanted = config.workload, config.measure.ceiling
    alphabet = ALPHABET_SIZE if model.shape is None else family_of(model.shape).alphabet_size
    return WorkOrder(
        wire_version=PROTOCOL_VERSION,
        shape=model.shape if model.external is None else None,
        sequence_length=workload.sequence_length,
        micro_batch_size=workload.micro_batch_size,
        gradient_accumulation_steps=workload.gradient_accumulation_steps,
        precision=workload.precision,
        optimizer=OptimizerSettings(
            name=asked.optimizer,
            learning_rate=asked.learning_rate,
            lr_warmup_steps=asked.lr_warmup_steps,
            beta1=0.9,
            beta2=0.95,
            epsilon=1e-8,
            weight_decay=asked.weight_decay,
            gradient_clip_norm=asked.gradient_clip_norm,
        ),
        stream=StreamSettings(alphabet_size=alphabet, noise=STREAM_NOISE, seed=asked.seed),
        backend=backend,
        threads=asked.threads,
        measure_ceiling=backend_of(backend).measures_ceiling if wanted is None else wanted,
        seed=asked.seed,
        execution=plan_execution(config, model, backend, found),
        device_index=asked_index(config),
        step=workload.step,
        external=model.external,
    )


def _case_id(
    model: PlannedModel, workload: PlannedWorkload, parallel: PlannedParallel, order: WorkOrder
) -> str:
    """Name the case for people, and end in a mark of all that decides the work."""
    work = asdict(replace(order, wire_version=0)) | {"parallel": parallel.model_dump(mode="json")}
    mark = hashlib.sha256(json.dumps(work, sort_keys=True).encode()).hexdigest()[:8]
    name = "".join(c if c.isalnum() or c in ".-" else "-" for c in model.name)
    return f"{name}-{workload.precision}-{order.backend}-{mark}"
