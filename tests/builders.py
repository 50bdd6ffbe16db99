"""Cases made of scripted step times and losses, and the results that they come to."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

from tests.pure.run.plans import CPU, make_machine, plan_case
from trnbench.analysis.analyze import analyze
from trnbench.catalog.backends import backend_of
from trnbench.model.flops import COUNTED_CONVENTION
from trnbench.protocol.model import ExternalModel
from trnbench.protocol.orders import PROTOCOL_VERSION, Precision
from trnbench.protocol.parallel import Communication, Layout, Seated
from trnbench.protocol.records import (
    Activity,
    Block,
    Built,
    Ceiling,
    CeilingPoint,
    Described,
    Environment,
    Memory,
    Parity,
    ParityPoint,
    Phase,
    WeightUpdate,
)
from trnbench.schema.measurement import (
    SCHEMA_VERSION,
    Decision,
    Header,
    Measurement,
    Outcome,
    Status,
    Watch,
)
from trnbench.schema.plan import Plan, PlannedDevice, PlannedParallel
from trnbench.schema.price import Price
from trnbench.schema.result import Result

PLAN_SHA256 = "0" * 64
ORACLE_LOSS = 0.73
STEP_SECONDS = 0.05

PARITY = Parity(
    at_seconds=0.4, seconds=0.5, reference_seconds=0.2, was_cached=False,
    points=[
        ParityPoint(
            start="production", loss=7.625001, reference_loss=7.625, gradient_norm=1.5,
            reference_gradient_norm=1.5, tensors=21, worst_tensor="blocks.0.mlp.up.weight",
            worst_distance=2e-7, least_cosine_tensor="norm.weight", least_cosine=1.0,
        )
    ],
    losses=[7.625001, 7.5, 7.25], reference_losses=[7.625, 7.5, 7.25],
)  # fmt: skip
WEIGHT_UPDATE = WeightUpdate(
    at_seconds=1.05, steps=1, tensors=21, still=[], least_tensor="embedding.weight",
    least=2e-4, most_tensor="norm.weight", most=3e-3,
)  # fmt: skip

__all__ = ["CPU", "make_machine", "make_measurement", "make_plan", "make_result"]


def make_plan(overrides: dict[str, str] | None = None, **details: Any) -> Plan:
    """Return a plan of tiny-llama on a CPU, with keys set as `--set` does."""
    return plan_case({"price.usd_per_hour": "3.6", **(overrides or {})}, **details)


def as_external(plan: Plan, *, is_known: bool, flops_reason: str | None = None) -> Plan:
    """Return the plan of a class of transformers of the same sizes, its family known or not."""
    model = plan.model
    external = ExternalModel(
        kind="huggingface", target="TheirForCausalLM", arguments="{}", checked_keys=[],
        vocabulary_size=model.vocabulary_size,
    )  # fmt: skip
    counted = None if flops_reason is not None else 4e6
    described = Described(
        at_seconds=0.0, wire_version=PROTOCOL_VERSION, parameter_count=model.parameter_count,
        trained_count=model.parameter_count, embeddings_are_tied=model.is_tied,
        vocabulary_size=model.vocabulary_size, config=None, flops_per_token=counted,
        flops_reason=flops_reason, versions={},
    )  # fmt: skip
    theirs = {"external": external, "described": described, "source": "transformers' class"}
    if is_known:
        return plan.model_copy(update={"model": model.model_copy(update=theirs)})
    flops = {} if counted is None else {COUNTED_CONVENTION: counted}
    return plan.model_copy(
        update={
            "model": model.model_copy(update={**theirs, "shape": None}),
            "flops_convention": COUNTED_CONVENTION,
            "prediction": plan.prediction.model_copy(update={"flops_per_token": flops}),
        }
    )


def learned(step: int) -> float:
    """Return the loss of a model that learns as it should."""
    return ORACLE_LOSS + 6.92 * math.exp(-step / 10)


def steady_times(count: int = 60) -> list[float]:
    """Return step times that wobble by half a percent about `STEP_SECONDS`."""
    return [STEP_SECONDS * (1 + 0.005 * math.sin(2.4 * i)) for i in range(count)]


def make_blocks(
    times: Sequence[float],
    *,
    warmup: int = 8,
    steps: int = 1,
    loss: Callable[[int], float | None] = learned,
    gradient_norm: float | None = 1.0,
    gap_seconds: float = 0.0001,
) -> list[Block]:
    """Return warm-up blocks and then one timed block for each of `times`, the seconds of a step."""
    blocks, at, step = [], 1.0, 0
    purposes = [("warmup", 1, STEP_SECONDS)] * warmup + [("measure", steps, t) for t in times]
    for purpose, count, seconds in purposes:
        at += count * seconds + gap_seconds
        blocks.append(
            Block(
                at_seconds=at,
                purpose="warmup" if purpose == "warmup" else "measure",
                first_step=step,
                steps=count,
                seconds=count * seconds,
                prepare_seconds=gap_seconds / 2,
                losses=[loss(step + i) for i in range(count)],
                gradient_norms=[gradient_norm] * count,
                oracle_losses=[ORACLE_LOSS] * count,
            )
        )
        step += count
    return blocks


def parity_in(precision: Precision) -> Parity:
    """Return a gate whose gradients are as far from fp32's as a precision's roundings are."""
    if precision == "fp32":
        return PARITY
    far = 0.12 if precision == "fp8" else 1.2e-2
    return replace(PARITY, points=[replace(PARITY.points[0], worst_distance=far)])


def make_activity(steps: int, **changes: Any) -> Activity:
    """Return what an eager case on a processor tells: nothing compiled, fallbacks unknown."""
    told: dict[str, Any] = {"graphs": 0, "compilations": 0, "cache_hits": 0}
    told |= {"fallback_ops": None, "compile_seconds": []}
    return Activity(at_seconds=1.0, steps=steps, **{**told, **changes})


def make_measurement(
    plan: Plan | None = None,
    *,
    blocks: Sequence[Block] | None = None,
    status: Status | None = "finished",
    foreign_cpu_share: float = 0.01,
    ceiling: Sequence[float] | None = (9e10, 1e11, 1.1e11),
    proven: bool = True,
    **changes: Any,
) -> Measurement:
    """Return what would have been recorded of a case; `status=None` leaves its end out."""
    plan = plan or make_plan()
    blocks = make_blocks(steady_times()) if blocks is None else blocks
    end = blocks[-1].at_seconds + 0.5 if blocks else 1.0
    measurement = Measurement(
        header=Header(
            schema_version=SCHEMA_VERSION,
            trnbench_version="0.1.0",
            case_id=plan.case_id,
            plan_sha256=PLAN_SHA256,
            started_at="2026-08-01T12:00:00+00:00",
        ),
        environment=Environment(
            at_seconds=0.1, wire_version=PROTOCOL_VERSION, backend=plan.order.backend,
            device_name="AMD EPYC", device_count=1, asynchronous=False, proven=proven, threads=2,
            versions={"python": "3.11.7", "torch": "2.13.0"}, settings={},
            clock_step_seconds=1e-7,
        ),
        built=Built(
            at_seconds=0.5, parameter_count=plan.model.parameter_count,
            parameter_bytes=4 * plan.model.parameter_count,
            embeddings_are_tied=plan.model.is_tied,
            placement=[f"{plan.order.backend} float32"],
        ),
        parity=parity_in(plan.order.precision),
        movement=WEIGHT_UPDATE,
        activities=[make_activity(1)] if blocks else [],
        memory=Memory(at_seconds=end, peak_bytes=512 * 2**20, counted="process_rss"),
        phases=[Phase(at_seconds=end, name="teardown")],
        blocks=list(blocks),
        decisions=[
            Decision(
                at_seconds=end, what="stop", why="precise: enough",
                value=sum(block.purpose == "measure" for block in blocks),
            )
        ],
        watches=[
            Watch(
                at_seconds=end, purpose="measure", seconds=3.0,
                foreign_cpu_share=foreign_cpu_share, worker_rss_bytes=400 * 2**20,
            )
        ],
    )  # fmt: skip
    if ceiling is not None:
        points = [CeilingPoint(size=512, flops_per_second=list(ceiling))]
        measurement.ceilings = [Ceiling(at_seconds=0.3, dtype="float32", points=points)]
    if status is not None:
        reason = "60 samples" if status == "finished" else f"the worker came to {status}"
        measurement.outcome = Outcome(at_seconds=end, status=status, reason=reason)
    for name, value in changes.items():
        setattr(measurement, name, value)
    return measurement


def make_result(
    plan: Plan | None = None, measurement: Measurement | None = None, **changes: Any
) -> Result:
    """Return the result of a case; by default a sound one, with a price."""
    plan = plan or make_plan()
    result = analyze(
        plan,
        measurement or make_measurement(plan),
        plan_sha256=PLAN_SHA256,
        run_id="20260801T120000Z-a-suite",
        measurement_bytes=1000,
    )
    return result.model_copy(update=changes)


def three_results() -> list[Result]:
    """Return a sound case with a price, a doubtful one without, and one that failed."""
    noisy = make_plan({"price": "{}", "model": "tiny-gpt2"})
    times = [0.04 * (1 + i % 5 / 9) for i in range(60)]
    large = make_plan({"model": "llama3.2-1b", "workload.precision": "bf16"})
    results = [
        make_result(),
        make_result(noisy, make_measurement(noisy, blocks=make_blocks(times))),
        make_result(large, make_measurement(large, blocks=[], status="out_of_memory", memory=None)),
    ]
    return [result.model_copy(update={"trnbench_version": "0.1.0"}) for result in results]


# --- jobs of several devices ----------------------------------------------------------------------


H100S = PlannedDevice(
    backend="cuda", accelerator="h100-sxm", instance="p5.48xlarge", is_instance_recognised=True,
    devices_used=8, devices_per_chip=1, chips_used=8, chips_billed=8, instances_billed=1,
    memory_bytes=80 * 2**30,
)  # fmt: skip
CORES = PlannedDevice(
    backend="neuron", accelerator="trainium2", instance="trn2.48xlarge",
    is_instance_recognised=True, devices_used=1, devices_per_chip=4, chips_used=1,
    chips_billed=16, instances_billed=1, memory_bytes=24 * 2**30,
)  # fmt: skip
DEVICE_NAMES = {"cuda": "NVIDIA H100 80GB HBM3", "neuron": "trn2", "cpu": "AMD EPYC"}
HOURLY = {"p5.48xlarge": "55.04", "p5.4xlarge": "6.88", "trn2.48xlarge": "35.76"}


def make_job_plan(
    layout: Layout | None = None, device: PlannedDevice = H100S, **changes: Any
) -> Plan:
    """Return the plan of tiny-llama as one job of a layout, on these devices; by default FSDP2."""
    layout = layout or Layout(data_parallel_shard_size=device.devices_used)
    plan = make_plan()
    order = replace(plan.order, layout=layout, backend=device.backend)
    parallel = PlannedParallel.of(layout, "weights and moments do not fit one device")
    price = Price(
        usd_per_hour=Decimal(HOURLY[device.instance or ""]), instance=device.instance,
        option="on_demand", region="us-east-1", date=date(2026, 7, 10), source="a page",
    )  # fmt: skip
    return plan.model_copy(
        update={
            "case_id": f"tiny-llama-fp32-{device.backend}-{device.devices_used}",
            "parallel": parallel, "device": device, "order": order, "price": price, **changes,
        }
    )  # fmt: skip


def make_job(plan: Plan | None = None, **changes: Any) -> Measurement:
    """Return what would have been recorded of a job of several ranks that all did well."""
    plan = plan or make_job_plan()
    backend, count = plan.order.backend, plan.parallel.world_size
    blocks = [
        replace(
            block,
            rank_seconds=[
                block.seconds * (1 - 0.001 * ((rank + at) % count)) for rank in range(count)
            ],
        )
        for at, block in enumerate(make_blocks(steady_times()))
    ]
    made = make_measurement(plan, blocks=blocks, ceiling=None)
    end = blocks[-1].at_seconds
    assert made.environment is not None
    assert made.memory is not None
    made.environment = replace(
        made.environment, device_name=DEVICE_NAMES[backend], device_count=count, threads=None,
        asynchronous=True,
    )  # fmt: skip
    peaks: list[int | None] = [(512 + 8 * rank % 24) * 2**20 for rank in range(count)]
    made.memory = Memory(
        at_seconds=end, peak_bytes=max(peak or 0 for peak in peaks), counted="device_allocated",
        rank_peak_bytes=peaks,
    )  # fmt: skip
    made.seats = [make_seat(rank, backend) for rank in range(count)]
    made.communications = [
        Communication(
            at_seconds=end, rank=rank, steps=3, window_seconds=0.15, seconds=0.03 + 0.0005 * rank,
            exposed_seconds=0.009 + 0.0003 * rank,
            operations={"all_gather": 0.02, "reduce_scatter": 0.01},
        )
        for rank in range(count)
    ]  # fmt: skip
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def make_seat(rank: int, backend: str = "cuda", **changes: Any) -> Seated:
    """Return what a rank reports of its device and its program."""
    seat = Seated(
        at_seconds=0.6, rank=rank, node=0, device=f"{backend}:{rank}",
        device_id=None if backend == "cpu" else f"device-{rank}",
        process_group=backend_of(backend).process_group or "", program="a digest",
    )  # fmt: skip
    return replace(seat, **changes)


def job_results() -> list[Result]:
    """Return a job on all of a machine's devices, one device of its kind, and one of 64 idle."""
    one = H100S.model_copy(
        update={"devices_used": 1, "chips_used": 1, "chips_billed": 1, "instance": "p5.4xlarge"}
    )
    alone = make_job_plan(Layout(), one)
    part = make_job_plan(Layout(), CORES)
    slower = [6.5 * seconds for seconds in steady_times()]
    results = [
        make_result(make_job_plan(), make_job()),
        make_result(alone, make_single(alone, slower)),
        make_result(part, make_single(part, slower)),
    ]
    return [result.model_copy(update={"trnbench_version": "0.1.0"}) for result in results]


def make_single(plan: Plan, times: Sequence[float]) -> Measurement:
    """Return what would have been recorded of one rank on an accelerator."""
    made = make_measurement(plan, blocks=make_blocks(times), ceiling=None)
    assert made.environment is not None
    made.environment = replace(
        made.environment, device_name=DEVICE_NAMES[plan.order.backend], threads=None
    )
    return made
