"""Real step times: a small model trained here and now, each step timed by itself.

What the machine did meanwhile is in them: that is what they are for.
"""

import time

import numpy as np
import torch

from tests.unit.analysis.series import Series
from tests.unit.run.plans import plan_case
from trnbench.train.assemble import build_objective
from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.loop import StepOutcomes, TrainingStep, prepare_tokens
from trnbench.train.streams import stream_of

WARMUP_STEPS = 20
READY_STEPS = 64


def record_step_seconds(steps: int) -> Series:
    """Train a tiny GPT-2 on one thread, and return the seconds of each step, in order."""
    plan = plan_case(
        {
            "model": "tiny-gpt2",
            "workload.sequence_length": "32",
            "workload.global_batch_size": "2",
        }
    )
    order = plan.order
    torch.manual_seed(order.seed)
    backend = CpuBackend.open(Claim(precision="fp32", execution="eager", threads=1))
    training = TrainingStep(build_objective(order, backend), order, backend)
    stream = stream_of(order.own_shape, order.sequence_length, order.stream)
    ready = prepare_tokens(stream, order, 0, READY_STEPS, backend)
    seconds = []
    for step in range(WARMUP_STEPS + steps):
        began = time.perf_counter()
        training.run(ready[step % READY_STEPS], StepOutcomes())
        seconds.append(time.perf_counter() - began)
    return np.asarray(seconds[WARMUP_STEPS:])
