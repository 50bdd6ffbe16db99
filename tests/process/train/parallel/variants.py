"""One rank's side of `test_ranks`: trains every variant on its layout, and writes what came out.

    python -m tests.process.train.parallel.variants SEAT FOLDER ANSWER

The ranks import torch once for all variants: that is what they cost.
"""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from tests.process.train.parallel.faults import DDP, FAULTS, FSDP, RIGHT, records_of
from tests.pure.train.orders import BERT, GPT2, LLAMA, MOE, VIT, order_of
from tests.ranks import seat_argument
from trnbench.protocol.model import ExternalModel, ModelShape
from trnbench.protocol.orders import Lora, StepSettings, WorkOrder
from trnbench.protocol.parallel import Layout
from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.build import build_objective, make_stream
from trnbench.train.loop import StepOutcomes, TrainingStep, prepare_tokens
from trnbench.train.parallel.agreement import program_digest, weights_digest
from trnbench.train.parallel.mesh import ALONE_MESH, Mesh
from trnbench.train.parallel.parts import whole_of

STEPS = 4
TIED = replace(LLAMA, tied_embeddings=True)


def variant(layout: Layout, shape: ModelShape = LLAMA, **changes: Any) -> WorkOrder:
    """Return the order of a variant."""
    return order_of(shape, layout=layout, **changes)


def stepping(layout: Layout, **settings: Any) -> WorkOrder:
    """Return the order of a variant whose step is executed otherwise."""
    return variant(layout, step=StepSettings(**settings))


DDP_VARIANTS = {
    "llama": variant(DDP),
    "three passes": variant(DDP, gradient_accumulation_steps=3),
    "tied": variant(DDP, TIED),
    "gpt2": variant(DDP, GPT2),
    "bert": variant(DDP, BERT),
    "vit": variant(DDP, VIT),
    "moe": variant(DDP, MOE),
    "chunked": stepping(DDP, loss_chunk_rows=8),
    "recomputed": stepping(DDP, recompute="full"),
    "adapters": stepping(DDP, lora=Lora(rank=4, alpha=8.0, targets="all")),
    "documents": stepping(DDP, document_length=5),
    "bf16": variant(DDP, precision="bf16"),
    "bf16_master": variant(DDP, precision="bf16_master"),
}
FSDP_VARIANTS = {
    **{name: replace(order, layout=FSDP) for name, order in DDP_VARIANTS.items()},
    "gathered once": variant(
        replace(FSDP, reshard_after_forward=False), gradient_accumulation_steps=2
    ),
    "selective": stepping(FSDP, recompute="selective"),
    "for-loop": stepping(FSDP, adamw="for-loop"),
    "foreach": stepping(FSDP, adamw="foreach"),
    "pure_bf16": variant(FSDP, precision="pure_bf16"),
}
for _variants, _layout in ((DDP_VARIANTS, DDP), (FSDP_VARIANTS, FSDP)):
    _variants["compiled"] = variant(_layout, execution="compile", gradient_accumulation_steps=2)
FSDP_VARIANTS["compiled, recomputed"] = replace(
    FSDP_VARIANTS["compiled"], step=StepSettings(recompute="full")
)
THEIRS = {
    "bigram": ExternalModel(
        kind="python", target="tests.torch.train.external_models:Bigram", arguments="{}",
        checked_keys=[], vocabulary_size=128,
    ),
    "unused weights": ExternalModel(
        kind="python", target="tests.torch.train.external_models:Unused", arguments="{}",
        checked_keys=[], vocabulary_size=128,
    ),
}  # fmt: skip
for _name, _model in THEIRS.items():
    for _variants, _layout in ((DDP_VARIANTS, DDP), (FSDP_VARIANTS, FSDP)):
        _variants[_name] = variant(_layout, external=_model)
VARIANTS = {
    **{f"ddp {name}": order for name, order in DDP_VARIANTS.items()},
    **{f"fsdp {name}": order for name, order in FSDP_VARIANTS.items()},
}


FOUR = {
    "replicas of shards": Layout(data_parallel_replicate_size=2, data_parallel_shard_size=2),
    "replicas of tensor ranks": Layout(data_parallel_replicate_size=2, tensor_parallel_size=2),
    "shards of tensor ranks": Layout(data_parallel_shard_size=2, tensor_parallel_size=2),
    "shards of context ranks": Layout(data_parallel_shard_size=2, context_parallel_size=2),
    "replicas of context ranks": Layout(data_parallel_replicate_size=2, context_parallel_size=2),
}
OF_FOUR = {
    f"{name}, {passes} passes": variant(layout, gradient_accumulation_steps=passes)
    for name, layout in FOUR.items()
    for passes in (1, 2)
}
SMALL_SIZES = {
    "vocab_size": 128, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 64,
}  # fmt: skip


def of_transformers(target: str, **sizes: Any) -> WorkOrder:
    """Return the order of a class of transformers on replicas of shards."""
    arguments = {**SMALL_SIZES, **sizes}
    model = ExternalModel(
        kind="huggingface", target=target, arguments=json.dumps(arguments),
        checked_keys=sorted(arguments), vocabulary_size=128,
        task="masked_token" if target.endswith("MaskedLM") else "next_token",
    )  # fmt: skip
    return variant(FOUR["replicas of shards"], external=model, gradient_accumulation_steps=2)


OF_FOUR |= {
    "a decoder of transformers": of_transformers(
        "Qwen2ForCausalLM", num_key_value_heads=2, tie_word_embeddings=True
    ),
    "experts of transformers": of_transformers(
        "MixtralForCausalLM", num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2
    ),
    "an encoder of transformers": of_transformers(
        "ModernBertForMaskedLM", pad_token_id=0, bos_token_id=1, eos_token_id=2, cls_token_id=1,
        sep_token_id=2, attn_implementation="sdpa",
    ),
}  # fmt: skip


class Traced(CpuBackend):
    """Compiles without generating code: that would take a minute."""

    compiler = "aot_eager"


@dataclass(frozen=True, slots=True)
class Trained:
    """What some steps of a variant came to."""

    losses: list[float]
    gradient_norms: list[float]
    weights: dict[str, torch.Tensor]
    """Whole, after the last step."""
    digest: str
    program: str


def train(order: WorkOrder, mesh: Mesh = ALONE_MESH) -> Trained:
    """Train a few steps of an order on this rank of a mesh."""
    claim = Claim(precision=order.precision, execution=order.execution, threads=1)
    backend = Traced.open(claim)
    step = TrainingStep(build_objective(order, backend, mesh), order, backend, mesh)
    outcomes = StepOutcomes()
    for tokens in prepare_tokens(make_stream(order), order, 0, STEPS, backend, mesh):
        if step.steps_done == 2:
            backend.forbid_recompiles()
        step.run(tokens, outcomes)
    if order.execution == "compile":
        assert backend.compilations().graphs
        torch.compiler.set_stance("default")
        torch.compiler.reset()
    return Trained(
        [float(loss) for loss in outcomes.losses],
        [float(norm) for norm in outcomes.gradient_norms],
        {name: whole_of(p).clone() for name, p in step.model.named_parameters()},
        weights_digest(step.model),
        program_digest(order, step.model, backend, mesh),
    )


def alone(order: WorkOrder) -> WorkOrder:
    """Return the order of one eager rank that sees the tokens of all, in as many more passes."""
    passes = order.gradient_accumulation_steps * order.layout.data_parallel_size
    one = replace(order, layout=Layout(), gradient_accumulation_steps=passes)
    return replace(one, execution="eager")


def main() -> None:
    """Train every variant of this many ranks; rank 0 saves the weights."""
    seat = seat_argument(sys.argv[1])
    folder, answer = Path(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    is_pair = seat.world_size == 2
    cpu = torch.device("cpu")
    joined = Mesh.join(seat, DDP if is_pair else FOUR["replicas of shards"], CpuBackend)
    told: dict[str, Any] = {}
    for number, (name, order) in enumerate((VARIANTS if is_pair else OF_FOUR).items()):
        made = train(order, joined.relaid(order.layout, cpu))
        if seat.rank == 0:
            torch.save(made.weights, folder / f"{number}.pt")
        told[name] = {
            "losses": made.losses,
            "gradient_norms": made.gradient_norms,
            "digest": made.digest,
            "program": made.program,
        }
    if is_pair:
        told["faults"] = {
            name: records_of(layout, make_step, joined.relaid(layout, cpu))
            for name, (layout, make_step) in {**RIGHT, **FAULTS}.items()
        }
    joined.leave()
    answer.write_text(json.dumps(told))


if __name__ == "__main__":
    main()
