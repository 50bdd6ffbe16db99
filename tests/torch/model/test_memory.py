"""Memory before anything is run: worked terms, published differences, and what must hold always."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trnbench.catalog.models import complete_shape, models
from trnbench.model.flops import parameter_count
from trnbench.model.memory import (
    MemoryPrediction,
    predict_memory,
)
from trnbench.protocol.model import Experts, ModelShape
from trnbench.protocol.orders import Precision, Recompute, StepSettings
from trnbench.protocol.parallel import Layout
from trnbench.train.layers.moe import ExpertsMlp
from trnbench.units import GIB

LAYOUT_KEYS = {
    "tensor": "tensor_parallel_size",
    "pipeline": "pipeline_parallel_size",
    "context": "context_parallel_size",
    "shard": "data_parallel_shard_size",
    "data": "data_parallel_replicate_size",
}


def predict(
    shape: ModelShape | str,
    *,
    length: int = 8192,
    micro: int = 1,
    precision: Precision = "bf16",
    **ranks: Any,
) -> MemoryPrediction:
    return predict_memory(
        models()[shape].shape if isinstance(shape, str) else shape,
        sequence_length=length,
        micro_batch_size=micro,
        precision=precision,
        layout=Layout(**{LAYOUT_KEYS[axis]: size for axis, size in ranks.items()}),
    )


def test_a_block_of_llama_keeps_what_was_measured() -> None:
    """229,504 bytes a token and block: 28 copies of the hidden state with eager kernels."""
    tokens, layers, width = 8192, 32, 4096
    activations = predict("llama3-8b").activations_bytes
    assert activations == tokens * (layers * 229_504 + 2 * width)
    assert round(229_504 / (2 * width), 1) == 28.0


def test_a_block_of_gpt2_keeps_what_was_measured() -> None:
    """8,224 bytes by the formula where saved-tensor hooks counted 8,232, at width 256."""
    shape = complete_shape(
        {
            "family": "gpt2",
            "layers": 1,
            "hidden_size": 256,
            "heads": 8,
            "intermediate_size": 1024,
            "vocabulary_size": 512,
            "max_positions": 64,
        }
    )
    assert predict(shape, length=1).activations_bytes == 8224 + 2 * 256


@pytest.mark.parametrize(
    ("precision", "per_weight"), [("fp32", 16), ("bf16", 16), ("pure_bf16", 8)]
)
def test_one_rank_holds_weights_gradients_and_moments(
    precision: Precision, per_weight: int
) -> None:
    shape = models()["gpt2-124m"].shape
    found = predict(shape, precision=precision)
    assert found.states_bytes == per_weight * parameter_count(shape)


def test_the_logits_take_fourteen_bytes_an_entry() -> None:
    assert predict("llama3-8b").working_bytes == 14 * 8192 * 128_256


def test_bf16_copies_of_fp32_weights_are_kept_unless_they_are_gathered_or_recomputed() -> None:
    head, blocks = 525_336_576, 32 * 218_112_000
    assert predict("llama3-8b").gathered_bytes == 2 * (blocks + head)
    assert predict("llama3-8b", precision="pure_bf16").gathered_bytes == 0


def test_sharding_over_more_ranks_frees_what_was_published() -> None:
    """From 8 to 128 ranks an 8B model's state shrinks by 14.02 GiB; 15.0 to 15.4 were measured."""
    few, many = (predict("llama3-8b", shard=n).states_bytes for n in (8, 128))
    assert round((few - many) / GIB, 2) == 14.02


def test_a_sharded_model_of_seventy_billion_holds_the_published_state() -> None:
    found = predict("llama3.1-70b", tensor=32, shard=2)
    assert round(found.states_bytes / GIB, 1) == 16.4


def test_ranks_that_share_a_sequence_keep_their_part_of_it() -> None:
    whole, half = predict("llama3-8b"), predict("llama3-8b", context=2)
    assert half.activations_bytes == whole.activations_bytes / 2
    assert half.working_bytes == whole.working_bytes / 2
    assert half.states_bytes == whole.states_bytes / 2, "they shard the state too"


def test_ranks_that_copy_the_state_each_hold_all_of_it() -> None:
    alone, copied = predict("gpt2-124m"), predict("gpt2-124m", data=8)
    assert copied == alone


def test_gathered_weights_are_the_embeddings_and_two_blocks() -> None:
    """bf16 copies of embedding, head and two blocks."""
    root, block = 2 * 525_336_576, 218_112_000
    assert predict("llama3-8b", shard=8).gathered_bytes == 2 * root + 4 * block


def test_a_tied_embedding_is_gathered_once() -> None:
    root, block = 128_256 * 2048, 60_821_504
    assert predict("llama3.2-1b", shard=8).gathered_bytes == 2 * root + 4 * block


def test_fp32_keeps_twice_what_bf16_keeps_but_for_norms() -> None:
    """A norm's fp32 copies are as wide in either."""
    half, whole = predict("llama3-8b"), predict("llama3-8b", precision="fp32")
    norms = 8192 * 32 * 2 * 8 * 4096
    assert whole.activations_bytes == 2 * half.activations_bytes - norms
    assert whole.states_bytes == half.states_bytes


def test_tensor_ranks_keep_their_part_and_what_is_gathered_between() -> None:
    split, alone = predict("llama3-8b", tensor=4), predict("llama3-8b")
    gathered = 8192 * 32 * 2 * 2 * 4096 * 3 / 4
    assert split.activations_bytes == alone.activations_bytes / 4 + gathered
    assert split.working_bytes == alone.working_bytes / 4


def kept_by_experts(capacity: float | None, recompute: Recompute = "none") -> float:
    """Return the bytes of a pass of 64 tokens that a model of one block of experts keeps."""
    shape = complete_shape(
        {
            "family": "moe", "layers": 1, "hidden_size": 64, "heads": 4, "intermediate_size": 128,
            "vocabulary_size": 128, "max_positions": 64,
            "experts": {"count": 8, "per_token": 2, "size": 128},
        }
    )  # fmt: skip
    return predict_memory(
        shape,
        sequence_length=64,
        micro_batch_size=1,
        precision="fp32",
        step=StepSettings(expert_capacity=capacity, recompute=recompute),
    ).activations_bytes


def test_empty_places_of_experts_keep_as_much_as_others() -> None:
    """A place keeps its row of 64, and gate, up, silu and product of 128, in fp32."""
    place = 4 * (64 + 4 * 128)
    assert kept_by_experts(1.0) == kept_by_experts(None)
    assert kept_by_experts(2.0) - kept_by_experts(1.0) == 64 * 2 * place
    assert kept_by_experts(4.0) - kept_by_experts(1.0) == 64 * 6 * place
    assert kept_by_experts(100.0) == kept_by_experts(4.0), "no more than all tokens in each expert"


def test_selective_keeps_the_products_of_empty_places() -> None:
    gate_and_up = 4 * 2 * 128
    grown = kept_by_experts(2.0, "selective") - kept_by_experts(1.0, "selective")
    assert grown == 64 * 2 * gate_and_up


@pytest.mark.parametrize("capacity", [1.0, 2.0, 4.0])
def test_what_experts_keep_grows_by_what_torch_keeps(capacity: float) -> None:
    experts = Experts(count=8, per_token=2, size=128)
    shape = replace(models()["tiny-moe"].shape, hidden_size=64, experts=experts)

    def kept(places: float) -> int:
        with torch.device("meta"):
            mlp = ExpertsMlp(shape, experts)
        mlp.capacity = places
        sizes: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.is_floating_point() and not isinstance(tensor, torch.nn.Parameter):
                sizes[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
            held.append(tensor)
            return tensor

        held: list[torch.Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            mlp(torch.zeros(1, 64, 64, device="meta", requires_grad=True))
        return sum(sizes.values())

    predicted = kept_by_experts(capacity) - kept_by_experts(1.0)
    assert kept(capacity) - kept(1.0) == pytest.approx(predicted, rel=0.01)


powers = st.sampled_from([1, 2, 4, 8])
rank_sets: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "tensor": powers,
        "pipeline": powers,
        "context": powers,
        "shard": powers,
    }
)
# An encoder's head works on a part of its tokens that is rounded: it does not double exactly.
names = st.sampled_from(
    sorted(name for name, known in models().items() if known.shape.family not in ("bert", "vit"))
)
precisions: st.SearchStrategy[Precision] = st.sampled_from(["fp32", "bf16", "pure_bf16"])


@given(names, precisions, rank_sets, st.integers(1, 16), st.sampled_from([128, 1024, 8192]))
def test_more_sequences_need_more_memory_and_the_same_state(
    name: str, precision: Precision, ranks: dict[str, Any], micro: int, length: int
) -> None:
    one = predict(name, precision=precision, length=length, micro=micro, **ranks)
    two = predict(name, precision=precision, length=length, micro=2 * micro, **ranks)
    longer = predict(name, precision=precision, length=2 * length, micro=micro, **ranks)
    assert two == longer
    assert two.states_bytes == one.states_bytes > 0
    assert two.activations_bytes == pytest.approx(2 * one.activations_bytes, rel=1e-12)
    assert one.total_bytes < two.total_bytes < 2 * one.total_bytes


@given(names, precisions, rank_sets)
def test_sharding_never_holds_more_state_than_copying(
    name: str, precision: Precision, ranks: dict[str, Any]
) -> None:
    copied = predict(name, precision=precision, **{**ranks, "shard": 1})
    sharded = predict(name, precision=precision, **ranks)
    group = ranks["shard"]  # over the context ranks both are sharded
    if ranks["pipeline"] > 1:  # gradients are summed over its passes before they are sharded
        assert sharded.states_bytes <= copied.states_bytes
    else:
        assert sharded.states_bytes == pytest.approx(copied.states_bytes / group, rel=1e-12)
    assert sharded.gathered_bytes > 0 or group * ranks["context"] == 1
