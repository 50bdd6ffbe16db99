"""Comparisons that show all that a report can show."""

import dataclasses
from datetime import date
from decimal import Decimal

from tests.comparisons import base_side, cand_side, launch, side
from trnbench.compare.compare import compare
from trnbench.compare.gates import Terms, parse_gates
from trnbench.compare.launches import Launch
from trnbench.compare.metrics import COMPARABLES
from trnbench.schema.comparison import Comparison
from trnbench.schema.price import Price
from trnbench.schema.result import MetricValue

GATES = (
    "tokens_per_second > -2%",
    "usd_per_million_tokens < +1%",
    "step_time_median_seconds < +5%",
    "peak_memory_bytes < +5%",
)
OTHER = {"workload.sequence_length": "64"}


def on_chip(one: Launch) -> Launch:
    """Return a launch as if it had been made on a GPU, at a listed price."""
    device = one.result.device.model_copy(
        update={
            "backend": "cuda", "accelerator": "h200-sxm", "instance": "p5en.48xlarge",
            "devices_used": 8,
        }
    )  # fmt: skip
    assert one.result.environment is not None
    environment = dataclasses.replace(
        one.result.environment, device_name="NVIDIA H200", device_count=8, threads=None
    )
    price = Price(
        usd_per_hour=Decimal("63.16"), instance="p5en.48xlarge", option="capacity_block",
        region="us-east-2", date=date(2026, 10, 7), source="a page",
    )  # fmt: skip
    assert one.result.compilation is not None
    compilation = one.result.compilation.model_copy(update={"cache": "cold"})
    metrics = {**one.result.metrics, "compile_seconds": MetricValue(value=12.5)}
    result = one.result.model_copy(
        update={
            "device": device, "environment": environment, "price": price,
            "compilation": compilation, "metrics": metrics,
        }
    )  # fmt: skip
    return dataclasses.replace(one, result=result, digest=f"{one.digest} there")


def slower() -> Comparison:
    """Return six launches against six that are 2.2 % slower, with gates of every state but one."""
    terms = Terms(gates=parse_gates(GATES))
    return _stamped(
        compare(
            base_side(),
            cand_side(),
            terms,
            base_sources=["last:6:results/nightly"],
            cand_sources=["results/today"],
        )
    )


def rich() -> Comparison:
    """Return cases of every kind: doubtful, on another chip, undecided, without counterpart."""
    invalid = launch(number=50, overrides=OTHER)
    checks = tuple(
        check.model_copy(update={"verdict": "invalid", "evidence": "12 % of the way"})
        if check.name == "learning"
        else check
        for check in invalid.result.checks
    )
    wrong = dataclasses.replace(
        invalid,
        result=invalid.result.model_copy(update={"standing": "invalid", "checks": checks}),
        digest="wrong",
    )
    gone = {"workload.global_batch_size": "2"}
    bf16 = {"workload.precision": "bf16", "model": "tiny-gpt2"}
    terms = Terms(metrics=tuple(COMPARABLES), gates=parse_gates(GATES[:2]), allowed=("precision",))
    return _stamped(
        compare(
            [
                *side((1.0,), overrides={"model": "tiny-gpt2"}),
                *base_side(overrides=OTHER),
                *side((1.0,), overrides=gone),
            ],
            [
                *[on_chip(one) for one in side((1.01, 1.02), start=20, day=9, overrides=bf16)],
                *cand_side(overrides=OTHER),
                wrong,
            ],
            terms,
            base_sources=["git:main:results"],
            cand_sources=["results/new", "results/newer"],
        )
    )


def _stamped(comparison: Comparison) -> Comparison:
    return comparison.model_copy(update={"trnbench_version": "0.1.0"})
