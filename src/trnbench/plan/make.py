"""From a checked config to a plan in which every number is resolved.

A plan is made of arguments alone, but for a price that a source is asked for: what the machine and
its devices are is passed in. Without devices a plan says what will be decided on the machine.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import date
from functools import partial
from pathlib import Path

from trnbench import __version__
from trnbench.config.load import CaseConfig, Conflict, check_all, for_each
from trnbench.config.model import AUTO, MAX, Config, ModelConfig
from trnbench.errors import UnavailableError
from trnbench.machine.describe import Devices, Machine
from trnbench.model.families import ALPHABET_SIZE, family_of
from trnbench.model.flops import COUNTED_CONVENTION, DEFAULT_CONVENTION
from trnbench.plan.defaults import choose_batch, fill_length
from trnbench.plan.device import (
    Target,
    check_instance,
    check_target,
    choose_target,
)
from trnbench.plan.external import Describe, choose_external
from trnbench.plan.largest import choose_largest
from trnbench.plan.layout import Choice, Job
from trnbench.plan.model import choose_model
from trnbench.plan.parity import plan_external_gate, plan_gate
from trnbench.plan.predict import predict
from trnbench.plan.rules import check_config
from trnbench.plan.step import plan_execution
from trnbench.plan.supply import find_supply
from trnbench.prices import find_price, sources_for
from trnbench.prices.base import PriceRequest
from trnbench.protocol.orders import (
    PROTOCOL_VERSION,
    GateOrder,
    OptimizerSettings,
    StreamSettings,
    WorkOrder,
)
from trnbench.schema.plan import Plan, PlannedModel, PlannedWorkload, Prediction
from trnbench.schema.price import Price

STREAM_NOISE = 0.1


def plan_all(
    cases: Sequence[CaseConfig],
    *,
    machine: Machine,
    devices: Devices | None,
    today: date,
    describe: Describe | None = None,
    pass_size: int | None = None,
) -> list[Plan]:
    """Resolve every case as `make_plan` does, giving each conflict its file and line.

    Raises:
        ConfigError: values that do not fit together, those of all cases.
        UnavailableError: a live price was asked for, and no source has it.
    """

    def make(case: CaseConfig) -> Plan:
        try:
            return make_plan(
                case,
                machine=machine,
                devices=devices,
                today=today,
                describe=describe,
                pass_size=pass_size,
            )
        except Conflict as conflict:
            raise case.explain(conflict) from None

    return for_each(cases, make)


def make_plan(
    case: CaseConfig,
    *,
    machine: Machine,
    devices: Devices | None,
    today: date,
    describe: Describe | None = None,
    pass_size: int | None = None,
) -> Plan:
    """Resolve one case.

    Args:
        case: the checked config.
        machine: where the case runs, or where it is planned.
        devices: what the training interpreter found; None where they were not looked for.
        today: the day for which prices are asked.
        describe: says what an external model is; None where the config has none.
        pass_size: the sequences in a pass where the config says `max`; None: the first to try.

    Raises:
        Conflict: values that do not fit together, with their keys.
        UnavailableError: a live price was asked for, and no source has it.
    """
    target = choose_target(case.config, devices, machine)
    request = _price_request(case.config, machine, today)
    _, (config, model, choice), (price, price_reason) = check_all(
        partial(check_target, case.config, target, machine),
        partial(_choose_work, case.config, target, machine, request, describe, pass_size),
        partial(_choose_price, case.config, target, machine, request),
    )
    parallel, device, workload = choice.parallel, choice.device, choice.workload
    work = _plan_work(config, model, choice, target, machine)
    prediction = predict(model, workload, parallel, device, config.measure, target, price)
    return Plan(
        trnbench_version=__version__,
        suite=config.name,
        case_id=_case_id(model, workload, work, parallel.nodes),
        swept=dict(case.swept),
        model=model,
        workload=workload,
        parallel=parallel,
        device=device,
        measure=config.measure,
        price=price,
        price_reason=price_reason,
        flops_convention=_convention(prediction),
        prediction=prediction,
        order=replace(work, gate=_plan_gate(config, model, work)),
    )


def _convention(prediction: Prediction) -> str:
    """Return the convention of MFU: without what the mask hides, where that is known."""
    known = prediction.flops_per_token
    return DEFAULT_CONVENTION if DEFAULT_CONVENTION in known else COUNTED_CONVENTION


def _choose_work(
    config: Config,
    target: Target,
    machine: Machine,
    request: PriceRequest,
    describe: Describe | None,
    pass_size: int | None,
) -> tuple[Config, PlannedModel, Choice]:
    """Return the config with a sequence length, the model, and the layout and the batch."""
    sized, model = _choose_model(config, describe, target)
    job = Job(
        config=sized,
        model=model,
        target=target,
        supply=find_supply(config.device, target, machine),
        machine=machine,
        request=request,
    )
    if config.workload.micro_batch_size == MAX:
        return sized, model, choose_largest(job, pass_size)
    has_length = config.workload.sequence_length != AUTO
    return sized, model, choose_batch(job, has_length=has_length)


def _choose_price(
    config: Config, target: Target, machine: Machine, request: PriceRequest
) -> tuple[Price | None, str | None]:
    """Return the price, or None and why there is none, and check what rests on it."""
    price, reason = _plan_price(config, request)
    check_all(
        partial(check_instance, config, target, machine, is_priced=price is not None),
        partial(_check_max_usd, config, price, reason),
    )
    return price, reason


def _choose_model(
    config: Config, describe: Describe | None, target: Target
) -> tuple[Config, PlannedModel]:
    """Return the config with a sequence length, and the model."""
    asked = config.model
    if isinstance(asked, ModelConfig) and (asked.huggingface or asked.python) is not None:
        if describe is None:
            raise ValueError("an external model cannot be planned unless it is described")
        config = fill_length(config, None, target)
        known = describe(asked, config.workload.sequence_length)
        return config, choose_external(config, known, asked.name)
    model = choose_model(asked)
    config = fill_length(config, model.own_shape, target)
    check_config(model.own_shape, model.name, config)
    return config, model


def _price_request(config: Config, machine: Machine, today: date) -> PriceRequest:
    asked = config.price
    request = machine.price_request(today)
    is_here = asked.instance == machine.instance and machine.ec2.region is not None
    if asked.instance != "auto" and not is_here:
        request = PriceRequest(instance=asked.instance, today=today)
    return request.choose(
        option=asked.option,
        region=asked.region,
        zone=asked.zone,
        usd_per_hour=asked.usd_per_hour,
    )


def _plan_price(config: Config, request: PriceRequest) -> tuple[Price | None, str | None]:
    """Return the price, or None and why there is none."""
    file = None if config.price.file is None else Path(config.price.file)
    price = find_price(request, sources_for(config.price.source, file, request.today))
    if isinstance(price, Price):
        return price, None
    if config.price.source == "live":
        raise UnavailableError(f"price.source: live: {price.reason}", hint=price.hint)
    return None, f"{price.reason}; {price.hint}"


def _check_max_usd(config: Config, price: Price | None, reason: str | None) -> None:
    limit = config.measure.max_usd
    if limit is not None and price is None:
        fault = f"{limit} cannot be kept without a price"
        raise Conflict("measure.max_usd", fault, hint=reason or "")


def _plan_work(
    config: Config, model: PlannedModel, choice: Choice, target: Target, machine: Machine
) -> WorkOrder:
    """Return what the worker is given, without the parity gate."""
    asked, ceiling = config.workload, config.measure.ceiling
    workload = choice.workload
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
        backend=target.backend,
        threads=_threads(asked.threads, choice.parallel.ranks_per_node, target, machine),
        measure_ceiling=target.row.measures_ceiling if ceiling is None else ceiling,
        seed=asked.seed,
        execution=plan_execution(config, model, target),
        device_index=choice.first_device,
        layout=choice.parallel.layout,
        step=workload.step,
        external=model.external,
    )


def _threads(asked: int | None, ranks: int, target: Target, machine: Machine) -> int | None:
    """Return a rank's threads; of several ranks on one processor each has an equal part."""
    if asked is not None or ranks == 1 or not target.likely_row.is_host:
        return asked
    return max(1, machine.host.logical_cpus // ranks)


def _plan_gate(config: Config, model: PlannedModel, work: WorkOrder) -> GateOrder | None:
    """Return the parity gate; None where it is off, and without a small external model."""
    if not config.measure.gate:
        return None
    if model.external is None:
        return plan_gate(work)
    small = config.model.small if isinstance(config.model, ModelConfig) else None
    return plan_external_gate(work, model, small)


def _case_id(model: PlannedModel, workload: PlannedWorkload, order: WorkOrder, nodes: int) -> str:
    """Return a name for people that ends in a hash of all that decides the work."""
    work = asdict(replace(order, wire_version=0)) | ({"nodes": nodes} if nodes > 1 else {})
    mark = hashlib.sha256(json.dumps(work, sort_keys=True).encode()).hexdigest()[:8]
    name = "".join(c if c.isalnum() or c in ".-" else "-" for c in model.name)
    return f"{name}-{workload.precision}-{order.backend}-{mark}"
