"""What a device must do for its figures to be true, tried on the device, one proof a process.

    python tests/device/proofs.py PROOF BACKEND [INDEX]

Each proof claims the device afresh, as a worker does, and prints what it saw as one JSON object;
the tests beside this file judge it. It knows no vendor: what is tried is the backend's own class.
"""

import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from tests.pure.run.plans import plan_case
from trnbench.analysis.checks.parity import TOLERANCES, find_faults
from trnbench.protocol.orders import Execution, WorkOrder
from trnbench.protocol.records import Parity
from trnbench.train.backends import backend_class
from trnbench.train.backends.base import Backend, Claim
from trnbench.train.build import build_objective, make_stream
from trnbench.train.loop import (
    StepOutcomes,
    StepTokens,
    Timed,
    TrainingStep,
    prepare_tokens,
    timed_block,
)
from trnbench.train.models import build_model
from trnbench.train.parity import run_parity_gate

REPEATS = 5
STEPS = 4
PRODUCTS = 32
LEAST_SECONDS = 0.03
SMALLEST_SIZE = 128
LARGEST_SIZE = 8192
ALLOCATED_BYTES = 64 * 2**20

MODEL = {
    "model": "{family: llama, layers: 2, hidden_size: 128, heads: 4, kv_heads: 2, "
    "intermediate_size: 256, vocabulary_size: 512, max_positions: 128, tied_embeddings: true}",
    "workload.sequence_length": "128",
    "workload.global_batch_size": "4",
}


class Job:
    """A small model on the device, and the steps that train it."""

    def __init__(
        self,
        name: str,
        index: int | None,
        precision: str = "bf16",
        execution: Execution | None = None,
    ) -> None:
        plan = plan_case({**MODEL, "device": name, "workload.precision": precision}, found=None)
        kind = backend_class(name)
        self.order = _order(plan.order, name, execution or plan.order.execution, index)
        claim = Claim(precision=self.order.precision, execution=self.order.execution, index=index)
        self.backend: Backend = kind.open(claim)
        objective = build_objective(self.order, self.backend)
        self.model = objective.model
        self.step = TrainingStep(objective, self.order, self.backend)
        self._stream = make_stream(self.order)

    def train(self, steps: int, synchronize: Callable[[], None] | None = None) -> Timed:
        """Time so many steps, by default as the worker does."""
        first = self.step.steps_done
        prepared = prepare_tokens(self._stream, self.order, first, steps, self.backend)
        wait = synchronize or self.backend.synchronize
        return timed_block(self.step.run, prepared, wait, self.backend.timer())


def _order(order: WorkOrder, name: str, execution: Execution, index: int | None) -> WorkOrder:
    return replace(order, backend=name, execution=execution, device_index=index)


def prove_waiting(name: str, index: int | None) -> dict[str, Any]:
    """Twice the work takes about twice the time; without waiting the clock sees less.

    The work is a chain of matrix products, so large that handing it over takes little of its time.
    """
    backend = backend_class(name).open(Claim(precision="bf16", index=index))
    size = _telling_size(backend)
    chain = _Chain(backend, size)
    once, twice, unwaited = [], [], []
    for _ in range(REPEATS):
        once.append(chain.seconds(PRODUCTS))
        twice.append(chain.seconds(2 * PRODUCTS))
        unwaited.append(chain.seconds(PRODUCTS, wait=lambda: None))
        backend.synchronize()
    return {
        "asynchronous": backend.is_asynchronous,
        "size": size,
        "twice_over_once": statistics.median(t / o for t, o in zip(twice, once, strict=True)),
        "unwaited_over_once": statistics.median(u / o for u, o in zip(unwaited, once, strict=True)),
    }


class _Chain:
    """Matrix products on the device, each of the last one's result."""

    def __init__(self, backend: Backend, size: int) -> None:
        self._backend = backend
        self._matrix = torch.full((size, size), 1.0 / size, dtype=torch.bfloat16)
        self._matrix = self._matrix.to(backend.device)
        self.seconds(1)

    def seconds(self, products: int, wait: Callable[[], None] | None = None) -> float:
        """Time so many products as the worker times steps."""
        self._backend.synchronize()
        self._last = self._matrix
        made = [StepTokens(passes=[], oracle_loss=0.0)] * products
        return timed_block(self._multiply, made, wait or self._backend.synchronize).seconds

    def _multiply(self, _tokens: StepTokens, _outcomes: StepOutcomes) -> None:
        self._last = self._last @ self._matrix


def _telling_size(backend: Backend) -> int:
    """Return an edge at which a chain takes at least `LEAST_SECONDS`."""
    size = SMALLEST_SIZE
    while _Chain(backend, size).seconds(PRODUCTS) < LEAST_SECONDS and size < LARGEST_SIZE:
        size *= 2
    return size


def prove_memory(name: str, index: int | None) -> dict[str, Any]:
    """The peak holds what was allocated, and a reset forgets what is gone."""
    backend = backend_class(name).open(Claim(index=index))
    backend.reset_peak_memory()
    before, counted = backend.peak_memory_bytes()
    block = torch.ones(ALLOCATED_BYTES // 4, dtype=torch.float32).to(backend.device)
    backend.synchronize()
    held, _ = backend.peak_memory_bytes()
    del block
    gc.collect()
    backend.empty_cache()
    backend.reset_peak_memory()
    after, _ = backend.peak_memory_bytes()
    return {"counted": counted, "before": before, "held": held, "after": after}


def prove_compilation(name: str, index: int | None) -> dict[str, Any]:
    """What is compiled is compiled in the first step, and nothing after it."""
    job = Job(name, index, execution="compile")
    at_start = job.backend.compilations()
    began = time.perf_counter()
    job.train(1)
    first_seconds = time.perf_counter() - began
    after_first = job.backend.compilations()
    job.backend.forbid_recompiles()
    later = job.train(STEPS)
    at_end = job.backend.compilations()
    return {
        "execution": job.order.execution,
        "first_seconds": first_seconds,
        "later_seconds": later.seconds / STEPS,
        "first": _counts(after_first.since(at_start)),
        "later": _counts(at_end.since(after_first)),
    }


def prove_parity(name: str, index: int | None) -> dict[str, Any]:
    """Small models of this make train as fp32 on the CPU does, in each precision."""
    faults = {}
    for precision in ("fp32", "bf16", "pure_bf16"):
        order = plan_case({**MODEL, "workload.precision": precision}, found=None).order
        order = _order(order, name, "eager", index)
        backend = backend_class(name).open(Claim(precision=order.precision, index=index))
        parity = Parity(at_seconds=0.0, **run_parity_gate(order, backend, None))
        faults[precision] = list(find_faults(parity, TOLERANCES[order.precision]))
    return faults


def prove_fallback(name: str, index: int | None) -> dict[str, Any]:
    """Every operator of a step runs on the device."""
    job = Job(name, index)
    job.train(STEPS)
    return {"fallback_ops": job.backend.fallback_ops()}


def prove_clocks(name: str, index: int | None) -> dict[str, Any]:
    """The device's own events and the host's clock tell the same time."""
    job = Job(name, index)
    if job.backend.timer() is None:
        return {"events_over_clock": None}
    job.train(STEPS)
    timed = [job.train(4 * STEPS) for _ in range(REPEATS)]
    ratios = [t.event_seconds / t.seconds for t in timed if t.event_seconds is not None]
    return {"events_over_clock": statistics.median(ratios) if ratios else None}


def prove_weights(name: str, index: int | None) -> dict[str, Any]:
    """The weights lie on the device, tied ones once, and a step moves them."""
    job = Job(name, index, precision="fp32")
    parameters = dict(job.model.named_parameters())
    before = {key: p.detach().cpu().clone() for key, p in parameters.items()}
    loss = float(job.train(1).outcomes.losses[0])
    return {
        "device": job.backend.device.type,
        "places": sorted({p.device.type for p in parameters.values()}),
        "elements": sum(p.numel() for p in parameters.values()),
        "elements_on_cpu": sum(
            p.numel() for p in build_model(job.order.own_shape, 128, 0).parameters()
        ),
        "still": [key for key, p in parameters.items() if bool((p.cpu() == before[key]).all())],
        "loss": loss,
    }


def _counts(made: Any) -> dict[str, int | None]:
    return {"graphs": made.graphs, "programs": made.programs}


PROOFS: dict[str, Callable[[str, int | None], dict[str, Any]]] = {
    "waiting": prove_waiting,
    "memory": prove_memory,
    "compilation": prove_compilation,
    "parity": prove_parity,
    "fallback": prove_fallback,
    "clocks": prove_clocks,
    "weights": prove_weights,
}


def main() -> None:
    """Run one proof and print what it saw."""
    proof, name, *index = sys.argv[1:]
    told = PROOFS[proof](name, int(index[0]) if index else None)
    print(json.dumps(told))  # noqa: T201 - it is what the tests read


if __name__ == "__main__":
    main()
