"""The loop that every trainer is driven by, and the job that all of them do.

A trainer is a process of its own that makes its first steps, says so, and then waits: for each
number on its standard input it makes so many steps and answers with their seconds. So several can
be measured in turns, and none pays for another's start.

Standard library and torch alone: peers live in interpreters of their own.
"""

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

LAYERS, WIDTH, HEADS, MLP_WIDTH, VOCABULARY = 4, 256, 8, 688, 8192
SEQUENCES, TOKENS = 8, 128
WEIGHTS = 7_358_720
LEARNING_RATE, BETAS, WEIGHT_DECAY = 1e-3, (0.9, 0.95), 0.1
WARMUP_STEPS = 6

Step = Callable[[], None]


def options() -> argparse.Namespace:
    """Read what is to be trained: `--precision`, `--execution`, `--threads`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--execution", choices=("eager", "compile"), default="eager")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--records-fd", type=int, default=1)
    return parser.parse_args()


def prepare(asked: argparse.Namespace) -> None:
    """Set the threads, and fp32 products to full fp32, as ours are."""
    import torch

    if asked.threads:
        torch.set_num_threads(asked.threads)
    torch.set_float32_matmul_precision("highest")
    torch.manual_seed(1)


def tokens(steps: int) -> list[tuple[Any, Any]]:
    """Return inputs and targets of as many steps, made beforehand."""
    import torch

    generator = torch.Generator().manual_seed(2)
    made = torch.randint(0, VOCABULARY, (steps, SEQUENCES, TOKENS + 1), generator=generator)
    return [(each[:, :-1].contiguous(), each[:, 1:].contiguous()) for each in made]


def batches() -> Callable[[], tuple[Any, Any]]:
    """Return what gives the next step's inputs and targets, for ever."""
    ready = tokens(64)
    state = {"next": 0}

    def take() -> tuple[Any, Any]:
        state["next"] += 1
        return ready[state["next"] % len(ready)]

    return take


class Records:
    """The way back to whoever drives; libraries may print what they like elsewhere."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def send(self, **fields: Any) -> None:
        """Write one line."""
        os.write(self._descriptor, json.dumps(fields).encode() + b"\n")


def peak_bytes() -> int:
    """Return the process's largest resident set so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)


def serve(step: Step, weights: int, asked: argparse.Namespace) -> None:
    """Make the first steps, then bursts of steps as told, until the input ends."""
    records = Records(asked.records_fd)
    began = time.perf_counter()
    step()
    first_seconds = time.perf_counter() - began
    for _ in range(WARMUP_STEPS):
        step()
    records.send(ready=True, weights=weights, first_step_seconds=first_seconds)
    for line in sys.stdin:
        count = int(line)
        times = []
        for _ in range(count):
            began = time.perf_counter()
            step()
            times.append(time.perf_counter() - began)
        records.send(seconds=times, peak_bytes=peak_bytes())
