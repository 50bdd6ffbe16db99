"""The loop that every trainer is driven by, and the jobs that all of them do.

A trainer is a process of its own that makes its first steps, says so, and then waits: for each
number on its standard input it makes so many steps and answers with their seconds. So several can
be measured in turns, and none pays for another's start.

Standard library and torch alone: peers live in interpreters of their own.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LEARNING_RATE, BETAS, WEIGHT_DECAY = 1e-3, (0.9, 0.95), 0.1
NORM_EPSILON, INIT_STD = 1e-5, 0.02
WARMUP_STEPS = 6
READY_STEPS = 64

Step = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A decoder of Llama's kind, and the tokens of one step of it."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    mlp_width: int
    vocabulary: int
    is_tied: bool
    rope_theta: float
    sequences: int
    tokens: int

    @property
    def head_width(self) -> int:
        """Return the width of one head."""
        return self.width // self.heads

    @property
    def weights(self) -> int:
        """Return the weights that every trainer must come to."""
        kv_width = self.kv_heads * self.head_width
        attention = 2 * self.width * self.width + 2 * self.width * kv_width
        block = attention + 3 * self.width * self.mlp_width + 2 * self.width
        tables = 1 if self.is_tied else 2
        return tables * self.vocabulary * self.width + self.layers * block + self.width


JOBS = {
    "small": Job(
        layers=4, width=256, heads=8, kv_heads=8, mlp_width=688, vocabulary=8192, is_tied=False,
        rope_theta=1e4, sequences=8, tokens=128,
    ),
    "llama3.2-1b": Job(
        layers=16, width=2048, heads=32, kv_heads=8, mlp_width=8192, vocabulary=128_256,
        is_tied=True, rope_theta=5e5, sequences=2, tokens=4096,
    ),
    "llama3-8b": Job(
        layers=32, width=4096, heads=32, kv_heads=8, mlp_width=14_336, vocabulary=128_256,
        is_tied=False, rope_theta=5e5, sequences=2, tokens=4096,
    ),
}  # fmt: skip
"""Shapes of the last two: `trnbench/catalog/models.yaml`, which says where it read them. Llama 3.2
stretches its rotary angles; here none does, which costs no time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one trainer is to do, and where."""

    job: Job
    device: str
    precision: str
    execution: str
    threads: int
    records_fd: int

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context of a forward pass: bf16 matmuls over fp32 weights, or none."""
        import torch

        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16")

    def compiled(self, model: Any) -> Any:
        """Return what the loop calls: the model, or what torch makes of it."""
        import torch

        return torch.compile(model, dynamic=False) if self.execution == "compile" else model

    def synchronize(self) -> None:
        """Wait until the device has nothing left to do."""
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()

    def peak_bytes(self) -> int:
        """Return the most that torch took of the GPU, or the process's largest resident set."""
        if self.device == "cuda":
            import torch

            return torch.cuda.max_memory_reserved()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak * (1 if sys.platform == "darwin" else 1024)


def add_job_options(parser: argparse.ArgumentParser) -> None:
    """Let a script choose a job, and change its depth and its batch."""
    parser.add_argument("--job", choices=tuple(JOBS), default="small")
    for name in ("layers", "sequences", "tokens"):
        parser.add_argument(f"--{name}", type=int, help="another than the job's")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")


def job_of(options: argparse.Namespace) -> Job:
    """Return the job that was chosen."""
    changes = {name: getattr(options, name) for name in ("layers", "sequences", "tokens")}
    given = {name: value for name, value in changes.items() if value is not None}
    return dataclasses.replace(JOBS[options.job], **given)


def read_options() -> Asked:
    """Read what is to be trained."""
    parser = argparse.ArgumentParser()
    add_job_options(parser)
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp8"), default="fp32")
    parser.add_argument("--execution", choices=("eager", "compile"), default="eager")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--records-fd", type=int, default=1)
    options = parser.parse_args()
    return Asked(
        job=job_of(options),
        device=options.device,
        precision=options.precision,
        execution=options.execution,
        threads=options.threads,
        records_fd=options.records_fd,
    )


def prepare(asked: Asked) -> None:
    """Set the threads, and fp32 matmuls to full fp32, as ours are.

    Raises:
        SystemExit: fp8, which no peer's own loop trains in.
    """
    import torch

    if asked.precision == "fp8":
        raise SystemExit("fp8 is ours alone")
    if asked.threads:
        torch.set_num_threads(asked.threads)
    torch.set_float32_matmul_precision("highest")
    torch.manual_seed(1)


def tokens(asked: Asked) -> list[tuple[Any, Any]]:
    """Return inputs and targets of `READY_STEPS` steps, made beforehand, in main memory."""
    import torch

    job = asked.job
    generator = torch.Generator().manual_seed(2)
    size = (READY_STEPS, job.sequences, job.tokens + 1)
    made = torch.randint(0, job.vocabulary, size, generator=generator)
    return [(each[:, :-1].contiguous(), each[:, 1:].contiguous()) for each in made]


def batches(asked: Asked) -> Callable[[], tuple[Any, Any]]:
    """Return what gives the next step's inputs and targets, on the device, for ever."""
    ready = [(a.to(asked.device), b.to(asked.device)) for a, b in tokens(asked)]
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


def serve(step: Step, weights: int, asked: Asked) -> None:
    """Make the first steps, then bursts of steps on command, until the input ends."""
    records = Records(asked.records_fd)

    def timed() -> float:
        began = time.perf_counter()
        step()
        asked.synchronize()
        return time.perf_counter() - began

    first_seconds = timed()
    for _ in range(WARMUP_STEPS):
        timed()
    records.send(ready=True, weights=weights, first_step_seconds=first_seconds)
    for line in sys.stdin:
        times = [timed() for _ in range(int(line))]
        records.send(seconds=times, peak_bytes=asked.peak_bytes())
