"""Promise: published architectures are planned with their weights exact, from class and config.

Of each: weights beside the published count, weights that one token meets where that is known, FLOPs
of a token by convention, and what the parity gate says of a shrunk one trained on this CPU.
`architectures.csv` has the configs and the published counts, both entered by hand: a count that
does not follow from its config to the last weight is an error of the row or of the planner.

    python -m benchmarks.models [--no-gates] [NAME...]      # gates take some ten seconds each
"""

import argparse
import csv
import json
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for the machines of the tests

import torch
import transformers

from tests.configs import parse_config
from tests.pure.run.plans import CPU, make_machine
from trnbench.analysis.checks.parity import find_faults, tolerance_of
from trnbench.config.model import ModelConfig
from trnbench.machine.describe import Devices
from trnbench.model.flops import COUNTED_CONVENTION, DEFAULT_CONVENTION, FULL_CONVENTION
from trnbench.plan.external import KnownExternal
from trnbench.plan.make import make_plan
from trnbench.protocol.orders import PROTOCOL_VERSION, DescribeModel
from trnbench.protocol.records import Described, Parity
from trnbench.run.questions import external_of
from trnbench.schema.plan import Plan
from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.describe import describe
from trnbench.train.parity import run_parity_gate

LENGTH = 512
"""Tokens of a sequence: what the shortest of them takes."""


def main() -> int:
    """Print a row for each architecture, and return 1 if one's weights are not the published."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--no-gates", action="store_true")
    options = parser.parse_args()
    asked = options.names
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, torch "
        f"{torch.__version__}, transformers {transformers.__version__}; {LENGTH} tokens"
    )
    print(
        f"{'architecture':24} {'weights':>15} {'published':>15} {'active':>15} "
        f"{'GFLOP causal':>12} {'all keys':>9} {'CPU s':>6}  gate"
    )
    path = Path(__file__).with_name("architectures.csv")
    wrong = []
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if not asked or row["name"] in asked:
                wrong += [] if _show(row, not options.no_gates) else [row["name"]]
    print(f"not as published: {', '.join(wrong) or 'none'}")
    return 1 if wrong else 0


def _show(row: dict[str, str], has_gate: bool) -> bool:
    began = time.process_time()
    plan = _plan(row["class"], json.loads(row["config"]))
    seconds = time.process_time() - began
    flops, weights = plan.prediction.flops_per_token, plan.model.parameter_count
    causal = flops.get(DEFAULT_CONVENTION)
    whole = flops.get(FULL_CONVENTION) or flops.get(COUNTED_CONVENTION)
    published = row["published_weights"]
    is_published = weights == int(published)
    print(
        f"{row['name']:24} {weights:15,} {'exact' if is_published else published:>15} "
        f"{_of(plan.model.active_parameter_count, '15,'):>15} {_giga(causal):>12} "
        f"{_giga(whole):>9} {seconds:6.1f}  {_verdict(plan) if has_gate else 'not run'}",
        flush=True,
    )
    return is_published


def _plan(target: str, config: dict[str, Any]) -> Plan:
    text = f"""\
name: {target}
model: {{huggingface: {target}, config: {json.dumps(config)}}}
workload: {{sequence_length: {LENGTH}, global_batch_size: 1, precision: fp32}}
device: cpu
"""
    (case,) = parse_config(text, "architectures.csv")

    def described(model: ModelConfig, length: int) -> KnownExternal:
        external = external_of(model)
        task = DescribeModel(external=external, sequence_length=length)
        found = Described(at_seconds=0.0, wire_version=PROTOCOL_VERSION, **describe(task))
        return KnownExternal(external, found)

    return make_plan(
        case,
        machine=make_machine(),
        devices=Devices((CPU,), {}),
        today=datetime.now(UTC).date(),
        describe=described,
    )


def _verdict(plan: Plan) -> str:
    """Train the shrunk model on the CPU, as the gate of a run does, and say what it finds."""
    if plan.order.gate is None:
        return "none: no small model of its kind is known"
    backend = CpuBackend.open(Claim(threads=1))
    parity = Parity(at_seconds=0.0, **run_parity_gate(plan.order, backend, None))
    faults = list(find_faults(parity, tolerance_of("fp32", plan.model.family)))
    return faults[0] if faults else "passes"


def _of(value: int | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _giga(flops: float | None) -> str:
    return "-" if flops is None else f"{flops / 1e9:.3f}"


if __name__ == "__main__":
    sys.exit(main())
