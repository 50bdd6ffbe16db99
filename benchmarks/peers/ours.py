"""Ours: the step that `trnbench run` times, planned and made by the same objects."""

import json
import subprocess
import sys

from benchmarks.peers.bursts import READY_STEPS, read_options, serve
from trnbench.protocol.codec import from_json
from trnbench.protocol.orders import WorkOrder
from trnbench.train.backends import backend_class
from trnbench.train.backends.base import Claim
from trnbench.train.build import build_objective, make_stream
from trnbench.train.loop import StepOutcomes, TrainingStep, prepare_tokens


def take_order() -> WorkOrder:
    """Return the order of this process's job, planned by another, as the product's parent does."""
    command = [sys.executable, "-m", "benchmarks.peers.plan", *sys.argv[1:]]
    planned = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return from_json(WorkOrder, json.loads(planned.stdout))


def main() -> None:
    """Serve bursts of our own training step, gradient clipping included."""
    asked = read_options()
    order = take_order()
    claim = Claim(
        precision=order.precision, execution=order.execution, threads=asked.threads or None
    )
    backend = backend_class(order.backend).open(claim)
    objective = build_objective(order, backend)
    training = TrainingStep(objective, order, backend)
    ready = prepare_tokens(make_stream(order), order, 0, READY_STEPS, backend)
    outcomes = StepOutcomes()

    def step() -> None:
        training.run(ready[training.steps_done % len(ready)], outcomes)

    serve(step, sum(p.numel() for p in objective.parameters()), asked)


if __name__ == "__main__":
    main()
