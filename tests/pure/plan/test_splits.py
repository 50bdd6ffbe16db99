"""Layouts that a kind of model, its sizes or a device do not allow, each with what would work."""

import pytest

from tests.pure.run.plans import conflict_of, plan_case
from trnbench.units import say_bytes

WIDE = "{base: tiny-llama, heads: 8, kv_heads: 8, layers: 4, tied_embeddings: false}"
BATCH = {"workload.global_batch_size": "64", "workload.micro_batch_size": "1"}

REFUSED = [
    ("{base: tiny-llama, heads: 8, kv_heads: 2}", {"tensor": 4}, "tensor", "2 key heads", "1, 2"),
    (
        "{base: tiny-llama, heads: 8, kv_heads: 8, intermediate_size: 100}", {"tensor": 8},
        "tensor", "100 of the MLP's width (intermediate_size)", "1, 2, 4",
    ),
    (
        "{base: tiny-llama, heads: 8, kv_heads: 8, vocabulary_size: 2049}", {"tensor": 2},
        "tensor", "2049 tokens of the vocabulary", "1, 3",
    ),
    (
        WIDE, {"pipeline": 8}, "pipeline",
        "8 ranks x 1 stage = 8 stages do not divide the 4 layers of tiny-llama, changed, and 4 of "
        "them would be empty", "1, 2, 4 ranks",
    ),
    (WIDE, {"pipeline": 3}, "pipeline", "3 stages do not divide the 4 layers of", "1, 2, 4 ranks"),
    (WIDE, {"context": 3}, "context", "the 128 tokens a sequence", "1, 2, 4"),
    (WIDE, {"context": 128}, "context", "128 tokens of a sequence are not a multiple of 256", "25"),
    ("tiny-gpt2", {"tensor": 2}, "tensor", "tiny-gpt2 is gpt2", "data_parallel_shard_size"),
    ("tiny-gpt2", {"pipeline": 2}, "pipeline", "tiny-gpt2 is gpt2", "data_parallel_"),
    (
        "{base: tiny-llama, tied_embeddings: true, name: tied}", {"pipeline": 2}, "pipeline",
        "head of tied is its embedding", "tied_embeddings: false",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("model", "sizes", "axis", "said", "hint"), REFUSED)
def test_a_size_that_does_not_suit_the_model_is_a_conflict_at_its_key(
    model: str, sizes: dict[str, int], axis: str, said: str, hint: str
) -> None:
    keys = {f"parallel.{name}_parallel_size": str(size) for name, size in sizes.items()}
    conflict = conflict_of({"model": model, **BATCH, **keys})
    assert conflict.path == ("parallel", f"{axis}_parallel_size")
    assert said in conflict.message
    assert hint in conflict.hint


@pytest.mark.parametrize(("length", "sequence_parallel"), [("126", True), ("126", False)])
def test_tensor_ranks_share_out_tokens_only_with_sequence_parallelism(
    length: str, sequence_parallel: bool
) -> None:
    keys = {
        "model": WIDE,
        **BATCH,
        "workload.sequence_length": length,
        "parallel.tensor_parallel_size": "4",
        "parallel.sequence_parallel": str(sequence_parallel).lower(),
    }
    if not sequence_parallel:
        assert plan_case(keys).parallel.tensor_parallel_size == 4
        return
    conflict = conflict_of(keys)
    assert "126 tokens of a sequence are not a multiple of 4" in conflict.message
    assert "sequence_parallel: false" in conflict.hint


@pytest.mark.parametrize("axis", ["tensor", "context", "pipeline", "data_parallel_shard"])
def test_adapters_are_trained_under_every_axis(axis: str) -> None:
    key = f"{axis}_size" if axis.startswith("data") else f"{axis}_parallel_size"
    keys = {"model": WIDE, "workload.lora": "{rank: 4}", f"parallel.{key}": "2"}
    assert plan_case({**BATCH, **keys}).parallel.world_size == 2


def test_learned_positions_are_shared_out_and_their_matmuls_are_not() -> None:
    gpt2 = {"model": "gpt2-124m", **BATCH}
    assert plan_case({**gpt2, "parallel.context_parallel_size": "2"}).parallel.world_size == 2
    conflict = conflict_of({**gpt2, "parallel.tensor_parallel_size": "2"})
    assert "models of llama, moe, and gpt2-124m is gpt2" in conflict.message


# --- pipelines ------------------------------------------------------------------------------------


def pipeline(**sizes: str) -> dict[str, str]:
    return {"model": WIDE, **BATCH, **{f"parallel.{key}": size for key, size in sizes.items()}}


@pytest.mark.parametrize(
    ("keys", "key", "said"),
    [
        (
            pipeline(pipeline_parallel_size="2", pipeline_stages_per_rank="2"),
            "pipeline_stages_per_rank", "2 stages a rank are not for the schedule 1f1b",
        ),
        (
            pipeline(pipeline_parallel_size="2", pipeline_schedule="interleaved_1f1b"),
            "pipeline_schedule", "and there is one",
        ),
        (
            pipeline(
                pipeline_parallel_size="4", pipeline_stages_per_rank="2",
                pipeline_schedule="interleaved_1f1b",
            ),
            "pipeline_parallel_size",
            "4 ranks x 2 stages = 8 stages do not divide the 4 layers",
        ),
    ],
)  # fmt: skip
def test_stages_that_the_schedule_or_the_layers_do_not_fill_are_refused(
    keys: dict[str, str], key: str, said: str
) -> None:
    conflict = conflict_of(keys)
    assert conflict.path == ("parallel", key)
    assert said in conflict.message


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"parallel.data_parallel_shard_size": "2"}, "FSDP2 (data_parallel_shard_size 2)"),
        ({"workload.activation_checkpointing": "selective"}, "recomputes selectively once"),
        ({"workload.activation_checkpointing": "full"}, "recomputing frees no memory"),
        ({"workload.execution": "compile"}, "compiles it as one"),
    ],
)
def test_zero_bubble_refuses_what_does_not_bear_two_backward_passes(
    keys: dict[str, str], said: str
) -> None:
    zero_bubble = pipeline(pipeline_parallel_size="2", pipeline_schedule="zero_bubble")
    assert plan_case(zero_bubble).order.execution == "eager"
    conflict = conflict_of({**zero_bubble, **keys})
    assert conflict.path == ("parallel", "pipeline_schedule")
    assert said in conflict.message
    assert "1f1b" in conflict.hint


def test_zero_bubble_that_does_not_fit_names_the_schedule_that_recomputes() -> None:
    keys = {
        "model": "llama3-8b",
        "device": "cuda",
        "price.instance": "p5.48xlarge",
        "workload.global_batch_size": "16",
        "workload.micro_batch_size": "1",
        "parallel.pipeline_parallel_size": "8",
        "parallel.pipeline_schedule": "zero_bubble",
    }
    long = {**keys, "workload.sequence_length": "8192"}
    plan = plan_case(long)
    why = plan.parallel.reason or ""
    assert plan.order.step.recompute == "none"
    assert plan.prediction.memory_verdict == "does_not_fit"
    assert "pipeline_schedule: 1f1b with activation_checkpointing: full" in why
    other = plan_case(
        {
            **long,
            "parallel.pipeline_schedule": "1f1b",
            "workload.activation_checkpointing": "full",
        }
    )
    assert other.prediction.memory_verdict == "fits"
    assert f"needs about {say_bytes(other.prediction.memory_bytes or 0)}" in why
    fits = plan_case({**keys, "workload.sequence_length": "1024"})
    assert "zero_bubble recomputes" not in (fits.parallel.reason or "")


def test_tensor_ranks_recompute_compiled_blocks_as_a_whole() -> None:
    keys = {
        "model": WIDE,
        **BATCH,
        "parallel.tensor_parallel_size": "2",
        "workload.activation_checkpointing": "selective",
    }
    assert plan_case(keys).order.step.recompute == "selective"
    conflict = conflict_of({**keys, "workload.execution": "compile"})
    assert conflict.path == ("workload", "activation_checkpointing")
    assert "full" in conflict.hint


def test_context_ranks_do_not_share_the_places_of_experts() -> None:
    keys = {"model": "tiny-moe", **BATCH, "parallel.context_parallel_size": "2"}
    assert plan_case(keys).parallel.context_parallel_size == 2
    conflict = conflict_of({**keys, "workload.expert_capacity": "2"})
    assert conflict.path == ("parallel", "context_parallel_size")
    assert "tensor_parallel_size" in conflict.hint


def test_a_pipeline_needs_as_many_passes_as_ranks() -> None:
    keys = pipeline(pipeline_parallel_size="4")
    conflict = conflict_of({**keys, "workload.global_batch_size": "3"})
    assert conflict.path == ("workload", "global_batch_size")
    assert "3 makes 3 passes of 1 sequences, and a pipeline of 4 ranks needs at least 4 passes" in (
        conflict.message
    )
    assert conflict.hint.startswith("use 4")
    plan = plan_case({**keys, "workload.global_batch_size": "4"})
    assert plan.workload.gradient_accumulation_steps == 4
    interleaved = {
        **keys,
        "parallel.pipeline_parallel_size": "2",
        "parallel.pipeline_stages_per_rank": "2",
        "parallel.pipeline_schedule": "interleaved_1f1b",
        "workload.global_batch_size": "5",
    }
    assert "needs a multiple of 2 passes" in conflict_of(interleaved).message


def test_a_pipeline_s_microbatches_are_the_passes_by_default() -> None:
    keys = {**pipeline(pipeline_parallel_size="2"), "workload.global_batch_size": "8"}
    del keys["workload.micro_batch_size"]
    work = plan_case(keys).workload
    assert (work.micro_batch_size, work.gradient_accumulation_steps) == (4, 2)


# --- experts --------------------------------------------------------------------------------------


def test_experts_are_shared_out_over_the_tensor_group() -> None:
    keys = {"model": "tiny-moe", **BATCH, "parallel.tensor_parallel_size": "2"}
    assert plan_case(keys).parallel.expert_parallel_size == 2
    assert (
        plan_case({**BATCH, "parallel.tensor_parallel_size": "2"}).parallel
        == plan_case(
            {**BATCH, "parallel.tensor_parallel_size": "2", "parallel.expert_parallel_size": "2"}
        ).parallel
    )
    conflict = conflict_of({**keys, "parallel.expert_parallel_size": "4"})
    assert conflict.path == ("parallel", "expert_parallel_size")
    assert "4 is not tensor_parallel_size 2" in conflict.message


# --- devices --------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["xla", "mps", "xpu"])
def test_a_backend_without_collectives_drives_one_device(backend: str) -> None:
    keys = {"device": backend, **BATCH}
    assert plan_case(keys, found=None).parallel.world_size == 1
    conflict = conflict_of({**keys, "parallel.data_parallel_shard_size": "4"}, found=None)
    assert f"drives one {backend} device for each job, and these sizes ask for 4" in str(conflict)
    assert "neuron, cuda, cpu" in conflict.hint
    several = conflict_of({**keys, "device": f"{backend}:0-3"}, found=None)
    assert several.path == ("device",)
