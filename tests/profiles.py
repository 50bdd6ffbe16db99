"""Profiles that tests share: what a worker under the profiler would have sent."""

from pathlib import Path
from typing import Any, Literal

from tests.builders import make_plan
from trnbench.analysis.profile import make_profile
from trnbench.protocol.orders import PROTOCOL_VERSION, CollectiveTask
from trnbench.protocol.parallel import ALL_REDUCE_BYTES, Communication
from trnbench.protocol.records import Environment, OperatorTime, Profiled
from trnbench.schema.microbench import PeakDocument, PeakReading
from trnbench.schema.profile import Profile

ENVIRONMENT = Environment(
    at_seconds=1.0,
    wire_version=PROTOCOL_VERSION,
    backend="cpu",
    device_name="AMD EPYC",
    device_count=1,
    asynchronous=False,
    proven=True,
    threads=2,
    versions={"torch": "2.13.0+cpu"},
    settings={"execution": "eager"},
)


def make_operator(
    name: str,
    host_seconds: float,
    *,
    calls: int = 10,
    within: Literal["optimizer"] | None = None,
    device_seconds: float | None = None,
) -> OperatorTime:
    """Return an operator's time as the worker sends it."""
    return OperatorTime(
        name=name,
        within=within,
        calls=calls,
        host_seconds=host_seconds,
        device_seconds=device_seconds,
    )


def make_profiled(*operators: OperatorTime, window_seconds: float = 1.0) -> Profiled:
    """Return five steps that took 0.76 and 0.84 of the window without the profiler."""
    return Profiled(
        at_seconds=9.0,
        warmup_steps=5,
        steps=5,
        plain_seconds=[0.76 * window_seconds, 0.84 * window_seconds],
        profiled_seconds=window_seconds,
        window_seconds=window_seconds,
        operators=list(operators),
    )


def make_communication(
    seconds: float | None, exposed_seconds: float | None, reason: str | None = None
) -> Communication:
    """Return a rank's time in collectives in five steps of a second together."""
    return Communication(
        at_seconds=9.0,
        rank=0,
        steps=5,
        window_seconds=None if seconds is None else 1.0,
        seconds=seconds,
        exposed_seconds=exposed_seconds,
        operations={} if seconds is None else {"gloo:all_reduce": seconds},
        reason=reason,
    )


def rich_profile(**changes: Any) -> Profile:
    """Return a profile that has everything a table can show."""
    profiled = make_profiled(
        make_operator("aten::mm", 0.08, calls=75),
        make_operator("aten::mul", 0.03, calls=445),
        make_operator("aten::mul", 0.004, calls=20, within="optimizer"),
        make_operator("## Call CompiledFxGraph fjcphjiv47w3xi7mcuuedspju4w4gykpjpzq6yjh ##", 0.02),
        make_operator("aten::tomorrow", 0.005),
        make_operator("evil\x1b[31m|name", 0.002),
        make_operator("=cmd()", 0.001),
        make_operator("aten::never_ran_long", 0.0001),
        make_operator("aten::took_nothing", 0.0),
        *(make_operator(f"aten::view_{letter}", 1e-5, calls=5) for letter in "abcdefghij"),
        window_seconds=0.165,
    )
    made = make_profile(make_plan(), ENVIRONMENT, profiled, made_at="2026-11-24T00:00:00+00:00")
    return made.model_copy(update=changes)


def keep_peak(
    folder: Path,
    day: int,
    seconds: float,
    *,
    ranks: int = 2,
    size: int = 1,
    environment: Environment = ENVIRONMENT,
) -> None:
    """Keep a peak.json of a day, with one all-reduce of `size` times what jobs time."""
    task = CollectiveTask(name="a", operation="all_reduce", whole_bytes=size * ALL_REDUCE_BYTES)
    reading = PeakReading(
        group="collective",
        label="all-reduce",
        task=task,
        ranks=ranks,
        runs=1,
        seconds=(seconds, 2 * seconds, 3 * seconds),
    )
    document = PeakDocument(
        trnbench_version="0.1.0",
        started_at=f"2026-11-{day:02}T00:00:00Z",
        status="finished",
        reason=None,
        model="gpt2-124m",
        tokens=1024,
        accelerator=None,
        devices_per_chip=1,
        environment=environment,
        readings=(reading,),
    )
    (folder / f"{day}").mkdir(parents=True)
    (folder / f"{day}" / "peak.json").write_text(document.model_dump_json())
