"""Measures the grid that `benchmarks/tuning.py` replays: every way of carrying out one small step.

    python -m benchmarks.common.tuning_grid > benchmarks/series/tuning-cpu.csv

One thread, and the process's own processor seconds instead of the clock's, so that what else runs
on the machine is not in it. Ways are measured in shuffled order, a warm-up step and six timed ones.
"""

import csv
import itertools
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime

from tests.configs import parse_config
from trnbench.machine.describe import Devices, describe_machine
from trnbench.plan.make import make_plan
from trnbench.protocol.orders import WorkOrder
from trnbench.protocol.records import FoundDevice
from trnbench.train.backends import backend_class
from trnbench.train.backends.base import Claim
from trnbench.train.build import build_objective, make_stream
from trnbench.train.loop import StepOutcomes, TrainingStep, prepare_tokens

CONFIG = """\
model: tiny-llama
workload: {sequence_length: 64, global_batch_size: 16}
"""

WAYS = {
    "workload.micro_batch_size": ["1", "2", "4", "8", "16"],
    "workload.activation_checkpointing": ["none", "selective", "full"],
    "workload.loss": ["plain", "chunked"],
    "workload.adamw": ["fused", "foreach", "for-loop"],
}

STEPS = 6


def ways() -> Iterator[dict[str, str]]:
    """Yield every way of the grid, in the order of nested loops: a full grid's."""
    for values in itertools.product(*WAYS.values()):
        yield dict(zip(WAYS, values, strict=True))


def order_of(way: dict[str, str], today: date) -> WorkOrder:
    """Return what the worker would be given."""
    (case,) = parse_config(CONFIG, "grid.yaml", way)
    found = FoundDevice(backend="cpu", device_name="a processor", device_count=1, proven=True)
    devices = Devices((found,), {})
    return make_plan(case, machine=describe_machine(), devices=devices, today=today).order


def measure(order: WorkOrder) -> list[float]:
    """Return the processor seconds of each timed step."""
    claim = Claim(precision=order.precision, execution=order.execution, threads=1)
    backend = backend_class(order.backend).open(claim)
    training = TrainingStep(build_objective(order, backend), order, backend)
    ready = prepare_tokens(make_stream(order), order, 0, 1 + STEPS, backend)
    seconds = []
    for tokens in ready:
        began = time.process_time()
        training.run(tokens, StepOutcomes())
        seconds.append(time.process_time() - began)
    return seconds[1:]


def main() -> None:
    """Measure the grid and print it as CSV, in the grid's order."""
    grid = [*ways()]
    shuffled = random.Random(1).sample(range(len(grid)), len(grid))
    today = datetime.now(UTC).date()
    found = {number: measure(order_of(grid[number], today)) for number in shuffled}
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*WAYS, "seconds"])
    for number, way in enumerate(grid):
        writer.writerow([*way.values(), " ".join(f"{each:.4f}" for each in found[number])])


if __name__ == "__main__":
    main()
