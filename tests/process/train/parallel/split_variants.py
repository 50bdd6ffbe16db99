"""One rank's side of `test_split`: trains models of which each rank has a part.

    python -m tests.process.train.parallel.split_variants SEAT SET FOLDER ANSWER

The ranks import torch once for all variants of a set: that is what they cost.
"""

import contextlib
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist

from tests.process.train.parallel.variants import TIED, train
from tests.pure.train.orders import GPT2, LLAMA, MOE, order_of
from tests.ranks import seat_argument
from trnbench.protocol.model import ModelShape
from trnbench.protocol.orders import Execution, GateOrder, Lora, Precision, StepSettings, WorkOrder
from trnbench.protocol.parallel import Layout, PipelineSchedule
from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.parallel import collectives, tensor
from trnbench.train.parallel.mesh import Mesh
from trnbench.train.parity import run_parity_gate

TENSOR = Layout(tensor_parallel_size=2)
WHOLE_TOKENS = replace(TENSOR, sequence_parallel=False)
SHARDED = replace(TENSOR, data_parallel_shard_size=2)
CONTEXT = Layout(context_parallel_size=2)

ADAPTERS = Lora(rank=4, alpha=8.0, targets="all")
QWEN3 = replace(LLAMA, qk_norm=True)
WINDOW = replace(LLAMA, sliding_window=7, attention_biases="qkv")
GPT_OSS = replace(
    MOE, attention_sinks=True, attention_biases="all", sliding_window=7, full_attention_every=2
)
assert MOE.experts is not None
SHARED = replace(
    MOE,
    experts=replace(MOE.experts, shared_size=24, shared_gate=True, balance_coefficient=0.1),
)


def variant(
    layout: Layout, shape: ModelShape = LLAMA, *, passes: int = 1, precision: Precision = "fp32",
    execution: Execution = "eager", **step: Any,
) -> WorkOrder:  # fmt: skip
    """Return the order of a variant."""
    return order_of(
        shape, layout=layout, gradient_accumulation_steps=passes, precision=precision,
        execution=execution, step=StepSettings(**step),
    )  # fmt: skip


OF_TENSOR = {
    "sequence parallel": variant(TENSOR),
    "whole tokens": variant(WHOLE_TOKENS, QWEN3),
    "window, biases, passes": variant(TENSOR, WINDOW, passes=2),
    "tied, chunked, recomputed": variant(TENSOR, TIED, loss_chunk_rows=8, recompute="full"),
    "documents, recomputed in part": variant(
        TENSOR, QWEN3, document_length=5, recompute="selective", adamw="foreach"
    ),
    "bf16": variant(TENSOR, TIED, precision="bf16", loss_chunk_rows=8),
    "shared expert": variant(TENSOR, SHARED, passes=2),
    "experts with room, whole tokens": variant(WHOLE_TOKENS, SHARED, expert_capacity=1.0),
    "sinks, biases, adapters": variant(TENSOR, GPT_OSS, lora=ADAPTERS),
    "experts, bf16": variant(TENSOR, MOE, precision="bf16"),
}

COMPILED = {
    "compiled": variant(TENSOR, QWEN3, execution="compile", recompute="full"),
    "compiled experts": variant(TENSOR, SHARED, execution="compile", loss_chunk_rows=8),
}


def staged(schedule: PipelineSchedule, stages: int = 1) -> Layout:
    """Return the layout of two pipeline ranks."""
    return Layout(
        pipeline_parallel_size=2, pipeline_schedule=schedule, pipeline_stages_per_rank=stages
    )


ONE_F_ONE_B = staged("1f1b")
FOUR_LAYERS = replace(QWEN3, layers=4)
OF_STAGES = {
    "gpipe": variant(staged("gpipe"), passes=4, recompute="full"),
    "1f1b, chunked": variant(ONE_F_ONE_B, passes=4, loss_chunk_rows=8),
    "interleaved": variant(staged("interleaved_1f1b", 2), FOUR_LAYERS, passes=4),
    "zero bubble, chunked": variant(
        staged("zero_bubble", 2), FOUR_LAYERS, passes=4, loss_chunk_rows=8
    ),
    "zero bubble, adapters": variant(
        staged("zero_bubble", 2), FOUR_LAYERS, passes=4, lora=ADAPTERS
    ),
    "1f1b, bf16": variant(ONE_F_ONE_B, passes=2, precision="bf16"),
    "1f1b, experts": variant(ONE_F_ONE_B, SHARED, passes=2),
    "1f1b, adapters": variant(ONE_F_ONE_B, passes=2, lora=ADAPTERS),
}

OF_CONTEXT = {
    "context": variant(CONTEXT, QWEN3, passes=2, loss_chunk_rows=8),
    "context, a window, biases": variant(CONTEXT, WINDOW),
    "context, documents, recomputed": variant(CONTEXT, document_length=5, recompute="full"),
    "context, sinks": variant(CONTEXT, replace(GPT_OSS, layers=2)),
    "context, experts": variant(CONTEXT, SHARED),
    "context, bf16": variant(CONTEXT, TIED, precision="bf16"),
    "context, adapters": variant(CONTEXT, lora=ADAPTERS),
    "context, learned positions": variant(CONTEXT, GPT2),
}

OF_FOUR = {
    "sharded": variant(SHARDED),
    "sharded, tied, chunked, passes": variant(
        SHARDED, replace(TIED, qk_norm=True), passes=2, loss_chunk_rows=8
    ),
    "sharded, bf16, recomputed": variant(SHARDED, precision="bf16", recompute="full"),
    "sharded experts": variant(SHARDED, SHARED),
    "replicated": variant(replace(TENSOR, data_parallel_replicate_size=2)),
    "context": variant(replace(TENSOR, context_parallel_size=2)),
    "context, replicated": variant(
        replace(CONTEXT, data_parallel_replicate_size=2), QWEN3, passes=2
    ),
    "context, sharded": variant(replace(CONTEXT, data_parallel_shard_size=2), SHARED),
    "stages": variant(replace(ONE_F_ONE_B, tensor_parallel_size=2), passes=2),
    "stages, sharded": variant(
        replace(staged("interleaved_1f1b", 2), data_parallel_shard_size=2), FOUR_LAYERS, passes=4
    ),
    "stages, replicated": variant(replace(ONE_F_ONE_B, data_parallel_replicate_size=2), passes=2),
}

SETS = {"two": {**OF_TENSOR, **OF_STAGES, **OF_CONTEXT}, "compiled": COMPILED, "four": OF_FOUR}


def _not_summed(whole: torch.Tensor, dimension: int, group: dist.ProcessGroup) -> torch.Tensor:
    """Return this rank's own part where that of the sum is asked for."""
    return whole.chunk(group.size(), dimension)[group.rank()].contiguous()


SOUND = "sound"
GATED = {
    f"{SOUND}: tensor ranks": (variant(TENSOR, SHARED), None),
    f"{SOUND}: context ranks": (variant(CONTEXT, QWEN3), None),
    f"{SOUND}: stages": (variant(ONE_F_ONE_B, passes=2), None),
    "outputs are not summed": (
        variant(TENSOR), mock.patch.object(tensor, "scattered", _not_summed),
    ),
    "gradients of norms are not summed": (
        variant(TENSOR), mock.patch.object(tensor, "read_part", tensor.read_whole),
    ),
    "every rank gives the whole of the balance loss": (
        variant(TENSOR, SHARED),
        mock.patch.object(tensor._Share, "backward", lambda _, given: (given, None)),
    ),
    "gradients of keys are not summed": (
        variant(CONTEXT), mock.patch.object(collectives, "scattered", _not_summed),
    ),
}  # fmt: skip
"""Gates on layouts of two ranks: right ones, and each with a fault that it must find."""


def gate(order: WorkOrder, fault: Any, mesh: Mesh) -> dict[str, Any]:
    """Return what the gate of an order found, with a fault or none."""
    small = GateOrder(
        shape=order.own_shape, sequence_length=order.sequence_length, sequences_a_pass=2, passes=2,
        steps=4, optimizer=order.optimizer, step=order.step,
    )  # fmt: skip
    backend = CpuBackend.open(Claim(precision=order.precision, threads=1))
    with fault or contextlib.nullcontext():
        found = run_parity_gate(replace(order, gate=small), backend, None, mesh=mesh)
    return {**found, "points": [asdict(point) for point in found["points"]]}


def main() -> None:
    """Train every variant of a set, and save the weights."""
    seat = seat_argument(sys.argv[1])
    variants = SETS[sys.argv[2]]
    folder, answer = Path(sys.argv[3]), Path(sys.argv[4])
    torch.set_num_threads(1)
    CpuBackend.compiler = "aot_eager"  # captures and differentiates, and builds no C++
    joined = Mesh.join(seat, next(iter(variants.values())).layout, CpuBackend)
    told = {}
    for number, (name, order) in enumerate(variants.items()):
        made = train(order, joined.relaid(order.layout, torch.device("cpu")))
        torch.save(made.weights, folder / f"{number}-{seat.rank}.pt")
        told[name] = {
            "losses": made.losses,
            "gradient_norms": made.gradient_norms,
            "program": made.program,
        }
    if sys.argv[2] == "two":
        for name, (order, fault) in GATED.items():
            told[name] = gate(order, fault, joined.relaid(order.layout, torch.device("cpu")))
    joined.leave()
    answer.write_text(json.dumps(told))


if __name__ == "__main__":
    main()
