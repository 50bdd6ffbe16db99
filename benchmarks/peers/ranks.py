"""One rank of a peer's job: our own objective under torch's DDP or by accelerate.

Rank 0 takes numbers from its driver, by a socket; for each, every rank makes so many steps as one
block, as ours does: meet, clock, steps, clock. The seconds are the slowest rank's.
"""

import argparse
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from trnbench.protocol.codec import from_json
from trnbench.protocol.orders import WorkOrder
from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.build import build_objective, make_stream
from trnbench.train.loop import StepTokens, prepare_tokens
from trnbench.train.optimizer import make_optimizer

READY_STEPS = 16
WARMUP_STEPS = 6


def main() -> None:
    """Make the first steps, then blocks of steps on command, until the driver is gone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--how", choices=("torchrun", "accelerate"), required=True)
    parser.add_argument("--order", type=Path, required=True, help="one rank's, as JSON")
    parser.add_argument(
        "--driver", type=int, required=True, help="the port that rank 0 connects to"
    )
    asked = parser.parse_args()
    order = from_json(WorkOrder, json.loads(asked.order.read_text()))
    backend = CpuBackend.open(Claim(precision=order.precision, threads=1))
    objective = build_objective(order, backend)
    optimizer = make_optimizer(
        list(objective.parameters()), order.optimizer, backend.adamw, order.precision
    )
    make = with_torch if asked.how == "torchrun" else with_accelerate
    step = make(objective, optimizer, order.optimizer.gradient_clip_norm)
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    # Tokens of its own for each rank: every rank's are other steps of the same stream.
    ready = prepare_tokens(make_stream(order), order, rank * READY_STEPS, READY_STEPS, backend)
    serve(step, ready, asked.driver, rank, ranks)


Step = Callable[[StepTokens], None]


def with_torch(objective: Any, optimizer: Any, limit: float) -> Step:
    """Return a step as torch's own tutorial makes it; torchrun has set where the ranks meet."""
    run = objective
    if int(os.environ["WORLD_SIZE"]) > 1:
        dist.init_process_group("gloo")
        run = torch.nn.parallel.DistributedDataParallel(objective)

    def step(tokens: StepTokens) -> None:
        for arguments in tokens.passes:
            run(*arguments).total.backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), limit)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def with_accelerate(objective: Any, optimizer: Any, limit: float) -> Step:
    """Return a step as accelerate's documentation makes it."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    run, optimizer = accelerator.prepare(objective, optimizer)

    def step(tokens: StepTokens) -> None:
        for arguments in tokens.passes:
            accelerator.backward(run(*arguments).total)
        accelerator.clip_grad_norm_(run.parameters(), limit)
        optimizer.step()
        optimizer.zero_grad()

    return step


def serve(step: Step, ready: list[StepTokens], port: int, rank: int, ranks: int) -> None:
    """Make blocks of steps as the driver commands rank 0, until it ends."""
    done = 0

    def block(steps: int) -> float:
        nonlocal done
        if ranks > 1:
            dist.barrier()
        began = time.perf_counter()
        for _ in range(steps):
            step(ready[done % len(ready)])
            done += 1
        seconds = torch.tensor([time.perf_counter() - began])
        if ranks > 1:
            dist.all_reduce(seconds, dist.ReduceOp.MAX)
        return float(seconds)

    block(WARMUP_STEPS)
    driver = None
    if rank == 0:
        driver = socket.create_connection(("127.0.0.1", port)).makefile("rw")
        driver.write(f"{ranks}\n")  # as they met: a launcher may start fewer
        driver.flush()
    while steps := _next(driver, ranks):
        seconds = block(steps)
        if driver is not None:
            driver.write(json.dumps(seconds) + "\n")
            driver.flush()


def _next(driver: Any, ranks: int) -> int:
    """Return the steps of the next block, on every rank; 0: no more."""
    told = torch.zeros(1, dtype=torch.int64)
    if driver is not None:
        told[0] = int(driver.readline() or 0)
    if ranks > 1:
        dist.broadcast(told, 0)
    return int(told)


if __name__ == "__main__":
    main()
