"""How far the prediction of memory is from torch's own count, for layouts of up to 64 ranks.

The product's worker code builds this rank's part of the model and runs two optimizer steps under
torch's FakeTensorMode and its `fake` process group: every tensor is made, none has memory. What is
alive is counted by storage, as an allocator counts it, without its rounding and its pools. DDP is
counted without its reducer, which FakeTensorMode cannot enter: gradients are views of its buckets.

    python -m benchmarks.memory [--large]
"""

import argparse
import dataclasses
import gc
import multiprocessing
import weakref
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from datetime import date
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.pipelining import PipelineStage, _utils
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trnbench.config.load import check_document
from trnbench.config.yaml import parse_document
from trnbench.machine.describe import describe_machine
from trnbench.plan.make import make_plan
from trnbench.protocol.orders import WorkOrder
from trnbench.protocol.parallel import Seat
from trnbench.schema.plan import Plan
from trnbench.train import build, loop
from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.loop import Pass, StepOutcomes, StepTokens, TrainingStep
from trnbench.train.parallel.mesh import Mesh
from trnbench.units import GIB

SMALL = [
    "llama3.2-1b",
    "llama3.2-1b recompute=full",
    "llama3.2-1b precision=fp32 length=1024",
    "llama3.2-1b precision=pure_bf16",
    "llama3.2-1b replicate=8",
    "llama3.2-1b shard=8",
    "llama3.2-1b shard=8 recompute=selective",
    "llama3.2-1b shard=8 reshard=false",
    "llama3.2-1b shard=8 precision=fp32 length=1024",
    "llama3.2-1b tensor=4",
    "llama3.2-1b tensor=4 sequence=false",
    "llama3.2-1b shard=4 tensor=4",
    "llama3.2-1b shard=2 context=4",
    "llama3.2-1b context=4",
    "llama3.2-1b replicate=2 context=4",
    "llama3.2-1b tensor=2 context=4",
    "llama3-8b layers=8 pipeline=4 batch=8",
    "llama3-8b layers=8 pipeline=4 batch=8 recompute=full",
    "llama3-8b layers=8 pipeline=4 batch=8 schedule=gpipe",
    "llama3-8b layers=8 pipeline=4 batch=8 schedule=interleaved_1f1b stages=2",
    "llama3-8b layers=8 pipeline=4 batch=8 schedule=zero_bubble",
    "llama3-8b layers=8 pipeline=2 batch=8 precision=fp32 length=1024",
    "llama3-8b layers=8 pipeline=2 tensor=4 batch=8",
    "llama3-8b layers=8 pipeline=2 shard=4 batch=16",
]
LARGE = [
    "llama3-8b shard=16 tensor=4",
    "llama3.1-70b shard=64 precision=pure_bf16 recompute=full",
    "llama3.1-70b shard=64 recompute=full",
    "llama3.1-70b shard=16 tensor=4 precision=pure_bf16 recompute=full",
    "llama3.1-70b shard=16 tensor=4 recompute=full",
    "llama3.1-70b shard=8 tensor=8",
    "llama3.1-70b replicate=2 shard=8 tensor=4 precision=pure_bf16 recompute=full",
    "llama3.1-70b shard=16 context=4 precision=pure_bf16 recompute=full",
    "llama3.1-70b pipeline=8 tensor=8 batch=32 precision=pure_bf16 recompute=full",
    "llama3.1-70b pipeline=4 shard=4 tensor=4 batch=32 precision=pure_bf16 recompute=full",
]
KEYS = {
    "batch": "workload.global_batch_size", "length": "workload.sequence_length",
    "precision": "workload.precision",
    "recompute": "workload.activation_checkpointing", "layers": "model.layers",
    "tensor": "parallel.tensor_parallel_size", "pipeline": "parallel.pipeline_parallel_size",
    "context": "parallel.context_parallel_size",
    "schedule": "parallel.pipeline_schedule", "stages": "parallel.pipeline_stages_per_rank",
    "replicate": "parallel.data_parallel_replicate_size",
    "shard": "parallel.data_parallel_shard_size", "reshard": "parallel.reshard_after_forward",
    "sequence": "parallel.sequence_parallel",
}  # fmt: skip
SUITE = """\
name: memory
model: {}
workload: {{sequence_length: 4096, global_batch_size: 128, micro_batch_size: 1, precision: bf16,
           activation_checkpointing: none}}
device: cuda
"""


class Live(TorchDispatchMode):
    """Counts the bytes of all storages that are alive, and the most of them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note what an operator makes."""
        made = func(*args, **(kwargs or {}))
        # A fake view has a storage of its own, which stands for the one that it views.
        if not any(result.alias_info for result in func._schema.returns):
            for each in tree_leaves(made):
                if isinstance(each, torch.Tensor):
                    # The wrapper of a DTensor claims the bytes of the whole; this rank has a part.
                    own = each.to_local() if isinstance(each, DTensor) else each
                    self.note(own.untyped_storage())
        return made

    def note(self, storage: torch.UntypedStorage) -> None:
        """Count a storage, or what it has grown or shrunk by."""
        key, size = storage._cdata, storage.nbytes()
        if key not in self._sizes:
            weakref.finalize(storage, self._forget, key)
        self.now += size - self._sizes.get(key, 0)
        self._sizes[key] = size
        self.peak = max(self.peak, self.now)

    def _forget(self, key: int) -> None:
        self.now -= self._sizes.pop(key, 0)


def resizing(live: Live) -> Any:
    """Return `resize_` of a storage, by which FSDP2 frees what it gathered and takes it again."""
    resize = torch.UntypedStorage.resize_

    def resize_(storage: torch.UntypedStorage, size: int) -> Any:
        made = resize(storage, size)
        live.note(storage)
        return made

    return resize_


class Neighbours:
    """What a pipeline's rank hears from ranks that are not there: states of one shape."""

    def __init__(self, states: Any) -> None:
        self.states = states

    def methods(self) -> dict[str, Any]:
        """Return the methods of a stage by which it hears of others."""
        exchanged = SimpleNamespace(item=lambda: 0)  # of static shapes 1
        return {
            "_warmup_forward_vote": lambda *_, **__: exchanged,
            "_warmup_backward_result": lambda *_, **__: exchanged,
            "_send_meta": lambda stage, meta, to: self._sent(meta),
            "_recv_meta": lambda stage, source: self._received(source < stage.stage_index),
        }

    def _sent(self, meta: Any) -> None:
        self.states = getattr(meta, "forward_metas", self.states)

    def _received(self, is_forward: bool) -> Any:
        if is_forward:
            return _utils._StageForwardMeta(forward_metas=self.states)
        return _utils._StageBackwardMeta(backward_metas=self.states)


def not_fake(function: Any) -> Any:
    """Return a function of meshes that works with the ranks' real numbers."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with unset_fake_temporarily():
            return function(*args, **kwargs)

    return call


def plan_of(words: str) -> Plan:
    """Plan a line of the lists above."""
    model, *given = words.split()
    keys = {KEYS[key]: value for key, value in (each.split("=") for each in given)}
    (case,) = check_document(parse_document(SUITE.format(model), "memory.py"), keys)
    return make_plan(case, machine=describe_machine(), devices=None, today=date(2026, 8, 1))


def count(order: WorkOrder) -> int:
    """Return the most bytes that are alive on the fullest rank of those that differ."""
    first, states = in_a_process(count_rank, order, 0, None)
    if order.layout.pipeline_parallel_size == 1:
        return first
    return max(first, in_a_process(count_rank, order, order.layout.world_size - 1, states)[0])


def in_a_process(function: Any, *arguments: Any) -> Any:
    """Return what a function returns in a process of its own: torch's groups are made once."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        return pool.submit(function, *arguments).result()


def count_rank(order: WorkOrder, rank: int, states: Any) -> tuple[int, Any]:
    """Return the most bytes that are alive in the second of two steps of a rank.

    Beside them, the shapes of the states that it sends, of which the last rank of a pipeline is
    given the first's.
    """
    neighbours = Neighbours(states)
    world = order.layout.world_size
    if world > 1:
        dist.init_process_group("fake", store=FakeStore(), rank=rank, world_size=world)
    seat = Seat(rank=rank, local_rank=rank, world_size=world, local_world_size=world)
    mesh = Mesh(seat, order.layout)
    mesh.lay_out(torch.device("cpu"))
    backend = CpuBackend.open(Claim(precision=order.precision, execution="eager"))
    live = Live()
    tokens = order.sequence_length // order.layout.context_parallel_size
    with (
        mock.patch.object(torch.UntypedStorage, "resize_", resizing(live)),
        # Weights are made on the fake device at once; their values are no matter.
        mock.patch.object(build, "without_memory", nullcontext),
        mock.patch.object(build, "_fill", return_value=None),
        mock.patch.object(build, "draw_weights", return_value=None),
        mock.patch.object(torch.nn.Module, "to", lambda module, *_: module),
        mock.patch.object(loop, "share_gradients", lambda objective, *_: objective),
        mock.patch.multiple(PipelineStage, **neighbours.methods()),
        mock.patch.object(DeviceMesh, "__init__", not_fake(DeviceMesh.__init__)),
        mock.patch.object(DeviceMesh, "_concatenate", not_fake(DeviceMesh._concatenate)),
        FakeTensorMode(allow_non_fake_inputs=True),
        live,
    ):
        objective = build.build_objective(order, backend, mesh)
        gc.collect()
        # FakeTensorMode keeps the whole weights that were sharded.
        surplus = live.now - bytes_of(objective)
        step = TrainingStep(objective, order, backend, mesh)
        for _ in range(2):
            ids = torch.zeros(order.micro_batch_size, tokens, dtype=torch.long)
            live.peak = live.now
            # In all passes but the first the gradients are there.
            asked = order.gradient_accumulation_steps
            is_pipeline = order.layout.pipeline_parallel_size > 1
            passes = [Pass(ids, ids)] * (asked if is_pipeline else min(2, asked))
            step.run(StepTokens(passes, 0.0), StepOutcomes())
            gc.collect()
    if world > 1:
        dist.destroy_process_group()
    return live.peak - surplus, neighbours.states


def bytes_of(objective: torch.nn.Module) -> int:
    """Return the bytes of this rank's own weights and buffers, each once."""
    total = 0
    for tensor in (*objective.parameters(), *objective.buffers()):
        own: Any = tensor
        own = own.to_local() if hasattr(own, "to_local") else own
        total += own.numel() * own.element_size()
    return total


def main() -> None:
    """Print torch's count, the prediction and its error, for each layout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="70B on 64 ranks: minutes")
    parser.add_argument("lines", nargs="*")
    asked = parser.parse_args()
    errors = []
    print(f"{'rank of':70} {'torch':>9} {'predicted':>9} {'error':>7}")
    for words in asked.lines or [*SMALL, *(LARGE if asked.large else [])]:
        plan = plan_of(words)
        counted = count(dataclasses.replace(plan.order, backend="cpu", gate=None))
        predicted = plan.prediction.memory_bytes or 0.0
        errors.append(predicted / counted - 1)
        print(
            f"{words:70} {counted / GIB:5.2f} GiB {predicted / GIB:5.2f} GiB {errors[-1]:+7.1%}",
            flush=True,
        )
    print(f"largest error: {max(map(abs, errors)):.1%}")


if __name__ == "__main__":
    main()
