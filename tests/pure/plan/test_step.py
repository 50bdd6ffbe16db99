"""How a step is carried out: what is resolved for the device, and what is refused beforehand."""

from typing import Any

import pytest

from tests.pure.run.plans import CPU, H100, TRN2, conflict_of, make_case, plan_case
from trnbench.model.flops import flops_per_token
from trnbench.protocol.orders import Lora, StepSettings

LARGE = {"model": "llama3-8b", "workload.sequence_length": "4096"}


def step_of(changes: dict[str, str], found: Any = (CPU,)) -> StepSettings:
    return plan_case(changes, found=found).order.step


# --- the loss by chunks ---------------------------------------------------------------------------


def test_small_logits_are_made_at_once_and_large_ones_by_chunks_that_fit_a_cache() -> None:
    tiny = {"workload.sequence_length": "32", "workload.global_batch_size": "4"}
    assert step_of(tiny).loss_chunk_rows is None
    # 2,048 entries a row in fp32, 8 MiB: 1,024 rows.
    many = {"workload.sequence_length": "128", "workload.global_batch_size": "64"}
    assert step_of(many).loss_chunk_rows == 1024


def test_an_accelerator_takes_larger_chunks() -> None:
    chunk = step_of({**LARGE, "workload.global_batch_size": "4"}, (H100,)).loss_chunk_rows
    assert chunk == 2048
    assert chunk * 128_256 * 4 <= 2**30 < 2 * chunk * 128_256 * 4


def test_a_chunk_is_never_larger_than_a_pass_nor_smaller_than_kernels_like() -> None:
    asked = {"workload.loss_chunk_tokens": "5000", "workload.global_batch_size": "2"}
    assert step_of(asked).loss_chunk_rows == 256
    wide = {"model.base": "tiny-llama", "model.vocabulary_size": "1000000"}
    assert step_of(wide).loss_chunk_rows == 128


def test_the_loss_can_be_forced_either_way() -> None:
    assert step_of({"workload.loss": "chunked"}).loss_chunk_rows == 1024
    assert step_of({"workload.loss": "plain", **LARGE}, (H100,)).loss_chunk_rows is None


def test_an_encoder_s_chunks_are_of_its_masked_tokens() -> None:
    asked = {"model": "tiny-bert", "workload.loss": "chunked", "workload.sequence_length": "128"}
    assert step_of(asked).loss_chunk_rows == 8 * 19


def test_chunks_that_are_sized_and_not_made_are_a_conflict() -> None:
    conflict = conflict_of({"workload.loss": "plain", "workload.loss_chunk_tokens": "64"})
    assert conflict.path == ("workload", "loss_chunk_tokens")


# --- what is made again ---------------------------------------------------------------------------


def test_nothing_is_made_again_where_all_fits_and_all_where_nothing_less_does() -> None:
    small = {**LARGE, "model": "llama3.2-1b", "workload.global_batch_size": "1"}
    assert step_of(small, (H100,)).recompute == "none"
    more = {**small, "workload.micro_batch_size": "12", "workload.global_batch_size": "12"}
    assert step_of(more, (H100,)).recompute in ("selective", "full")
    most = {**small, "workload.micro_batch_size": "40", "workload.global_batch_size": "40"}
    assert step_of(most, (H100,)).recompute == "full"


@pytest.mark.parametrize("asked", ["none", "selective", "full"])
def test_what_is_asked_for_is_taken_and_told(asked: str) -> None:
    plan = plan_case({"workload.activation_checkpointing": asked})
    assert plan.workload.step.recompute == plan.order.step.recompute == asked
    again = plan.prediction.recomputed_flops_per_token
    assert again is not None
    assert (again > 0) == (asked == "full")
    needed = plan.prediction.flops_per_token["matmul-causal-v1"]
    assert again < needed / 3


def test_the_less_is_kept_the_less_memory_is_predicted() -> None:
    predicted = [
        plan_case({"workload.activation_checkpointing": how}).prediction.memory_bytes or 0.0
        for how in ("none", "selective", "full")
    ]
    assert predicted == sorted(predicted, reverse=True)
    assert len(set(predicted)) == 3


# --- adapters, documents, experts -----------------------------------------------------------------


def test_adapters_have_twice_their_rank_as_alpha_and_every_product_as_target() -> None:
    assert step_of({"workload.lora.rank": "8"}).lora == Lora(rank=8, alpha=16.0, targets="all")
    given = {"workload.lora.rank": "8", "workload.lora.alpha": "4.0"}
    assert step_of({**given, "workload.lora.targets": "attention"}).lora == Lora(
        rank=8, alpha=4.0, targets="attention"
    )


def test_adapters_change_operations_and_memory() -> None:
    plain, adapted = plan_case({}), plan_case({"workload.lora.rank": "8"})
    for name in ("matmul-causal-v1", "matmul-full-v1"):
        part = adapted.prediction.flops_per_token[name] / plain.prediction.flops_per_token[name]
        assert 0.6 < part < 0.9
    assert adapted.prediction.memory_states_bytes < plain.prediction.memory_states_bytes / 2


def test_packed_documents_are_less_work() -> None:
    plan = plan_case({"workload.document_length": "32"})
    shape = plan.model.own_shape
    assert plan.prediction.flops_per_token["matmul-causal-v1"] == flops_per_token(shape, 32)


@pytest.mark.parametrize(("found", "capacity"), [(CPU, None), (H100, None), (TRN2, 2.0)])
def test_experts_have_fixed_places_where_shapes_must_not_move(
    found: Any, capacity: float | None
) -> None:
    assert step_of({"model": "tiny-moe"}, (found,)).expert_capacity == capacity
    asked = {"model": "tiny-moe", "workload.expert_capacity": "1.5"}
    assert step_of(asked, (found,)).expert_capacity == 1.5


def test_fixed_places_take_experts_of_any_width() -> None:
    odd = {"model.base": "tiny-moe", "model.experts.size": "50"}
    assert step_of({**odd, "workload.expert_capacity": "1.5"}, (CPU,)).expert_capacity == 1.5


def test_empty_places_are_told_as_operations() -> None:
    asked = {"model": "tiny-moe", "workload.expert_capacity": "1.5"}
    again = plan_case(asked).prediction.recomputed_flops_per_token
    assert again == 6 * 0.5 * 2 * 3 * 128 * 176 * 2  # half of two experts' products in two blocks


@pytest.mark.parametrize("adamw", ["fused", "foreach", "for-loop"])
def test_the_optimizer_s_implementation_can_be_chosen(adamw: str) -> None:
    assert step_of({"workload.adamw": adamw}).adamw == adamw
    assert step_of({}).adamw is None


# --- bad input ------------------------------------------------------------------------------------

OWN_MOE = {"model.base": "tiny-moe"}
BAD: list[tuple[dict[str, str], tuple[str, ...], str]] = [
    (
        {"model.base": "tiny-llama", "model.kv_heads": "3"},
        ("model", "kv_heads"),
        "3 does not divide heads=4",
    ),
    (
        {"model.base": "tiny-llama", "model.heads": "6"},
        ("model", "heads"),
        "model.heads: 6 does not divide hidden_size=128",
    ),
    (
        {"model.base": "tiny-gpt2", "model.heads": "6"},
        ("model", "heads"),
        "model.heads: 6 does not divide hidden_size=128",
    ),
    (
        {"model.base": "tiny-llama", "model.sliding_window": "129"},
        ("model", "sliding_window"),
        "129 tokens of tiny-llama, changed is longer than the sequence of 128",
    ),
    (
        {"model": "mistral-7b-v0.1", "workload.sequence_length": "2048"},
        ("model", "sliding_window"),
        "4096 tokens of mistral-7b-v0.1 is longer than the sequence of 2048",
    ),
    (
        {"model.base": "tiny-gpt2", "model.sliding_window": "16"},
        ("model", "sliding_window"),
        "gpt2 has none",
    ),
    ({"model.base": "tiny-bert", "model.qk_norm": "true"}, ("model", "qk_norm"), "bert has none"),
    (
        {"model.base": "tiny-llama", "model.experts": "{count: 4, per_token: 2, size: 8}"},
        ("model", "experts"),
        "llama has no experts",
    ),
    (
        {**OWN_MOE, "model.experts.per_token": "9"},
        ("model", "experts"),
        "per_token=9 is more than count=8",
    ),
    (
        {**OWN_MOE, "model.experts.dense_layers": "2"},
        ("model", "experts"),
        "dense_layers=2 leaves none of 2 layers",
    ),
    (
        {**OWN_MOE, "model.experts.shared_gate": "true"},
        ("model", "experts"),
        "shared_gate has no shared MLP",
    ),
    (
        {"model": "tiny-moe", "parallel.tensor_parallel_size": "16"},
        ("parallel", "tensor_parallel_size"),
        "does not divide",
    ),
    (
        {
            **OWN_MOE,
            "model.experts.count": "6",
            "model.heads": "4",
            "model.kv_heads": "4",
            "parallel.tensor_parallel_size": "4",
        },
        ("parallel", "tensor_parallel_size"),
        "4 does not divide the 6 experts",
    ),
    (
        {"model.base": "tiny-vit", "model.image": "{size: 60, patch_size: 8}"},
        ("model", "image"),
        "size=60 is not a multiple of patch_size=8",
    ),
    (
        {"model": "tiny-vit"},
        ("workload", "sequence_length"),
        "128 is not the 65 patches and class token of tiny-vit",
    ),
    (
        {"model": "tiny-vit", "workload.sequence_length": "65", "workload.document_length": "8"},
        ("workload", "document_length"),
        "one image at a time",
    ),
    ({"model": "tiny-bert", "workload.sequence_length": "7"}, ("workload", "sequence_length"), "7"),
    (
        {"model.base": "tiny-bert", "model.vocabulary_size": "64"},
        ("model", "vocabulary_size"),
        "alphabet of 64 and the mark of a masked token",
    ),
    (
        {"model.base": "tiny-vit", "model.vocabulary_size": "15", "workload.sequence_length": "65"},
        ("model", "vocabulary_size"),
        "alphabet of 16",
    ),
    ({"workload.document_length": "129"}, ("workload", "document_length"), "longer than"),
    ({"workload.lora.rank": "65"}, ("workload", "lora", "rank"), "rank: 65 is more than"),
    (
        {"model": "tiny-moe", "workload.lora.rank": "4"},
        ("workload", "lora", "targets"),
        "experts have no",
    ),
    ({"workload.expert_capacity": "2.0"}, ("workload", "expert_capacity"), "models with experts"),
    (
        {"model.base": "tiny-moe", "model.experts.size": "50"},
        ("model", "experts", "size"),
        "model.experts.size: 50 is not a multiple of 4, as grouped matmuls in fp32",
    ),
    (
        {
            "model.base": "tiny-moe",
            "model.experts.size": "52",
            "workload.precision": "bf16",
        },
        ("model", "experts", "size"),
        "model.experts.size: 52 is not a multiple of 8",
    ),
    (
        {
            "model.base": "llama3.2-1b",
            "model.rope_scaling": "{factor: 2.0, low_frequency_factor: 4.0, "
            "high_frequency_factor: 1.0, original_max_positions: 64}",
        },
        ("model", "rope_scaling"),
        "is not below",
    ),
]


@pytest.mark.parametrize(("changes", "path", "message"), BAD, ids=lambda part: str(part)[:60])
def test_what_does_not_fit_is_refused_before_a_device_is_touched(
    changes: dict[str, str], path: tuple[str, ...], message: str
) -> None:
    conflict = conflict_of(changes, found=None)
    assert conflict.path == path
    assert message in conflict.message
    assert conflict.hint


@pytest.mark.parametrize(
    ("overrides", "place"),
    [
        ({"workload.micro_batch_size": "3"}, "--set workload.micro_batch_size=3: "),
        ({"workload.lora.rank": "100"}, "--set workload.lora.rank=100: workload.lora.rank: 100 is"),
        ({"workload.lora": "{rank: 100}"}, "--set workload.lora={rank: 100}: workload.lora.rank"),
        ({"parallel.pipeline_parallel_size": "3"}, "--set parallel.pipeline_parallel_size=3: "),
    ],
)
def test_a_conflict_blames_what_was_set_and_no_line_of_the_file(
    overrides: dict[str, str], place: str
) -> None:
    said = make_case(overrides).explain(conflict_of(overrides)).problems[0].message
    assert said.startswith(place)


def test_a_window_of_the_whole_sequence_is_plain_causal_attention() -> None:
    plan = plan_case({"model.base": "tiny-llama", "model.sliding_window": "128"})
    plain = plan_case({"model": "tiny-llama"})
    assert plan.prediction.flops_per_token == plain.prediction.flops_per_token


def test_part_of_a_base_s_experts_can_be_changed() -> None:
    shape = plan_case({"model.base": "mixtral-8x7b", "model.experts.count": "4"}).model.own_shape
    assert shape.experts is not None
    assert (shape.experts.count, shape.experts.per_token, shape.experts.size) == (4, 2, 14336)
    assert shape.experts.balance_coefficient == 0.02


def test_another_picture_has_another_number_of_patches() -> None:
    plan = plan_case(
        {
            "model.base": "vit-b16",
            "model.image": "{size: 384, patch_size: 16}",
            "workload.sequence_length": "577",
        }
    )
    assert plan.model.own_shape.max_positions == 577
    assert plan.order.stream.alphabet_size == 16


def test_experts_of_one_s_own_need_their_sizes() -> None:
    conflict = conflict_of(
        {"model.base": "tiny-llama", "model.family": "moe", "model.experts": "{count: 4, size: 8}"}
    )
    assert conflict.message == "model.experts.per_token: is missing"
