"""One rank's side of `test_split`: trains models of which each rank has a part.

    python -m tests.process.train.parallel.split_variants SEAT SET FOLDER ANSWER

The ranks import torch once for all variants of a set: that is what they cost.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tests.process.train.parallel.variants import TIED, train
from tests.pure.train.orders import LLAMA, MOE, order_of
from tests.ranks import seat_argument
from trnbench.protocol.model import ModelShape
from trnbench.protocol.orders import Execution, Lora, Precision, StepSettings, WorkOrder
from trnbench.protocol.parallel import Layout
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.parallel.mesh import Mesh

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


OF_TWO = {
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

OF_FOUR = {
    "sharded": variant(SHARDED),
    "sharded, tied, chunked, passes": variant(
        SHARDED, replace(TIED, qk_norm=True), passes=2, loss_chunk_rows=8
    ),
    "sharded, bf16, recomputed": variant(SHARDED, precision="bf16", recompute="full"),
    "sharded experts": variant(SHARDED, SHARED),
}

SETS = {"two": OF_TWO, "compiled": COMPILED, "four": OF_FOUR}


def main() -> None:
    """Train every variant of a set; rank 0 saves the weights."""
    seat = seat_argument(sys.argv[1])
    variants = SETS[sys.argv[2]]
    folder, answer = Path(sys.argv[3]), Path(sys.argv[4])
    torch.set_num_threads(1)
    CpuBackend.compiler = "aot_eager"  # captures and differentiates, and builds no C++
    joined = Mesh.join(seat, next(iter(variants.values())).layout, CpuBackend)
    told = {}
    for number, (name, order) in enumerate(variants.items()):
        made = train(order, joined.relaid(order.layout, torch.device("cpu")))
        if seat.rank == 0:
            torch.save(made.weights, folder / f"{number}.pt")
        told[name] = {
            "losses": made.losses,
            "gradient_norms": made.gradient_norms,
            "program": made.program,
        }
    joined.leave()
    answer.write_text(json.dumps(told))


if __name__ == "__main__":
    main()
