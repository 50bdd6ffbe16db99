"""What of a model a layout shares out, and which layouts its sizes do not allow.

Each refusal names what would work instead.
"""

from collections.abc import Iterator

from trnbench.catalog.backends import BACKENDS, Backend
from trnbench.config.load import Conflict
from trnbench.config.model import Config
from trnbench.model.families import FAMILIES, family_of
from trnbench.plan.parallel import KEYS
from trnbench.protocol.model import ModelShape
from trnbench.protocol.parallel import Axis, Layout
from trnbench.schema.plan import PlannedModel

SPLITS: tuple[Axis, ...] = ("tensor", "context", "pipeline")
"""Axes that share out the model or its sequences; the others share out data alone."""

SHOWN_SIZES = 12

ZERO_BUBBLE = "zero_bubble"


def check_split(model: PlannedModel, config: Config, layout: Layout, backend: Backend) -> None:
    """Refuse a layout that this backend, this kind of model or its sizes do not allow."""
    if layout.world_size > 1 and backend.process_group is None:
        several = ", ".join(row.name for row in BACKENDS.values() if row.process_group)
        raise Conflict(
            "parallel",
            f"this version drives one {backend.name} device for each job, and these sizes ask for "
            f"{layout.world_size}",
            hint=f"set them to 1, or train on one of {several}",
            others=["device", *_keys_of(layout)],
        )
    splits = [axis for axis in SPLITS if layout.size(axis) > 1]
    for axis in splits:
        _check_kind(model, axis)
    if splits:
        _check_sizes(model.own_shape, model.name, config, layout)
        _check_pipeline(model.own_shape, model.name, config, layout)
    if model.shape is not None and model.shape.experts is not None:
        _check_experts(layout)


def _keys_of(layout: Layout) -> Iterator[str]:
    return (f"parallel.{key}" for axis, key in KEYS.items() if layout.size(axis) > 1)


def _check_kind(model: PlannedModel, axis: Axis) -> None:
    """Refuse to share out more than data where the model cannot be split."""
    families = ", ".join(row.name for row in FAMILIES.values() if axis in row.splits)
    why = None
    if model.external is not None or model.shape is None:
        why = f"{model.name} is a model of your own"
    elif axis not in family_of(model.shape).splits:
        why = f"{model.name} is {model.shape.family}"
    if why is not None:
        raise Conflict(
            f"parallel.{KEYS[axis]}",
            f"{axis} parallelism shares out models of {families}, and {why}",
            hint="share out its data: data_parallel_replicate_size (DDP) or "
            "data_parallel_shard_size (FSDP2)",
            others=["model"],
        )


def _check_sizes(shape: ModelShape, name: str, config: Config, layout: Layout) -> None:
    """Refuse ranks that do not divide what they share out."""
    tensor, context = layout.tensor_parallel_size, layout.context_parallel_size
    length = config.workload.sequence_length
    experts = shape.experts
    is_dense = experts is None or experts.dense_layers > 0
    shared = experts.shared_size if experts is not None else 0
    # Each context rank has a chunk from either half of a sequence, so that the ranks' work under a
    # causal mask is equal. Of its part, the tensor ranks each have an equal part.
    parts = 2 * context if context > 1 else 1
    among_tensor = tensor if layout.sequence_parallel else 1
    rows: tuple[tuple[Axis, int, int, str, str], ...] = (
        ("tensor", tensor, shape.kv_heads, "key heads (kv_heads)", "model.kv_heads"),
        ("tensor", tensor, shape.heads, "heads", "model.heads"),
        ("tensor", tensor, experts.count if experts else 0, "experts", "model.experts.count"),
        ("tensor", tensor, shape.intermediate_size if is_dense else 0,
         "of the MLP's width (intermediate_size)", "model.intermediate_size"),
        ("tensor", tensor, shared, "of the shared MLP's width", "model.experts.shared_size"),
        ("tensor", tensor, shape.vocabulary_size, "tokens of the vocabulary",
         "model.vocabulary_size"),
        ("context", context, length, "tokens a sequence", "workload.sequence_length"),
    )  # fmt: skip
    for axis, ranks, total, what, key in rows:
        if total % ranks:
            raise _not_divided(axis, ranks, total, f"the {total} {what} of {name}", key)
    if length % (parts * among_tensor):
        axis = "context" if context > 1 else "tensor"
        most = f"{parts} parts of {context} context ranks" if context > 1 else ""
        by = f"{among_tensor} tensor ranks" if among_tensor > 1 else ""
        who = " and ".join(filter(None, (most, by)))
        raise Conflict(
            f"parallel.{KEYS[axis]}",
            f"the {length} tokens of a sequence are not a multiple of {parts * among_tensor}, as "
            f"{who} need",
            hint=f"use a sequence_length that is a multiple of {parts * among_tensor}"
            + (", or sequence_parallel: false" if context == 1 else ""),
            others=["workload.sequence_length"],
        )


def _not_divided(axis: Axis, ranks: int, total: int, what: str, key: str) -> Conflict:
    divisors = [n for n in range(1, min(total, 512) + 1) if total % n == 0]
    return Conflict(
        f"parallel.{KEYS[axis]}",
        f"{ranks} does not divide {what}",
        hint=f"use one of {', '.join(map(str, divisors[:SHOWN_SIZES]))}",
        others=[key],
    )


def _check_pipeline(shape: ModelShape, name: str, config: Config, layout: Layout) -> None:
    ranks, each = layout.pipeline_parallel_size, layout.pipeline_stages_per_rank
    if ranks == 1:
        return
    if shape.tied_embeddings:
        raise Conflict(
            "parallel.pipeline_parallel_size",
            f"the head of {name} is its embedding, and they would be on different ranks",
            hint="use another axis, or give the model `tied_embeddings: false`",
            others=["model.tied_embeddings", "model"],
        )
    several = layout.pipeline_schedule in ("interleaved_1f1b", "zero_bubble")
    if each > 1 and not several:
        raise Conflict(
            "parallel.pipeline_stages_per_rank",
            f"{each} stages a rank are not for the schedule {layout.pipeline_schedule}",
            hint="use pipeline_schedule: interleaved_1f1b or zero_bubble, or one stage",
            others=["parallel.pipeline_schedule"],
        )
    if each == 1 and layout.pipeline_schedule == "interleaved_1f1b":
        raise Conflict(
            "parallel.pipeline_schedule",
            "interleaved_1f1b interleaves two or more stages a rank, and there is one",
            hint="use pipeline_stages_per_rank: 2, or pipeline_schedule: 1f1b",
            others=["parallel.pipeline_stages_per_rank"],
        )
    if layout.pipeline_schedule == ZERO_BUBBLE:
        _check_zero_bubble(config, layout)
    stages = ranks * each
    if shape.layers % stages:
        empty = stages - shape.layers
        left = f", and {empty} of them would be empty" if empty > 0 else ""
        fitting = [n for n in range(1, shape.layers + 1) if shape.layers % (n * each) == 0]
        raise Conflict(
            "parallel.pipeline_parallel_size",
            f"{ranks} ranks x {each} stage{'' if each == 1 else 's'} = {stages} stages do not "
            f"divide the {shape.layers} layers of {name}{left}",
            hint=f"use one of {', '.join(map(str, fitting[:SHOWN_SIZES]))} ranks"
            if fitting
            else "use fewer stages a rank",
            others=["parallel.pipeline_stages_per_rank", "model.layers"],
        )


def _check_zero_bubble(config: Config, layout: Layout) -> None:
    """Refuse what does not bear a backward pass in two parts, for states and for weights."""
    hint = "use pipeline_schedule: 1f1b or interleaved_1f1b"
    if layout.state_shards > 1:
        axis: Axis = "shard" if layout.data_parallel_shard_size > 1 else "context"
        raise Conflict(
            "parallel.pipeline_schedule",
            "zero_bubble computes gradients of weights later than those of states, and FSDP2 "
            f"({KEYS[axis]} {layout.size(axis)}) frees weights before",
            hint=f"{hint}, or data_parallel_replicate_size instead",
            others=[f"parallel.{KEYS[axis]}"],
        )
    asked = config.workload.activation_checkpointing
    if asked in ("selective", "full"):
        why = {
            "selective": "torch recomputes selectively once",
            "full": "keeps what it recomputed for the first until the second: recomputing frees no "
            "memory and costs a forward pass",
        }
        raise Conflict(
            "parallel.pipeline_schedule",
            f"zero_bubble runs each backward pass in two parts, and {why[asked]}",
            hint=f"{hint}, or activation_checkpointing: none or auto",
            others=["workload.activation_checkpointing"],
        )


def check_passes(layout: Layout, passes: int, per_pass: int) -> None:
    """Refuse a pipeline with fewer microbatches than ranks: some would never be busy.

    Its microbatches are the passes of gradient accumulation.
    """
    ranks = layout.pipeline_parallel_size
    is_interleaved = layout.pipeline_schedule in ("interleaved_1f1b", ZERO_BUBBLE)
    if passes >= ranks and not (is_interleaved and passes % ranks):
        return
    wanted = "a multiple of" if is_interleaved else "at least"
    raise Conflict(
        "workload.global_batch_size",
        f"{passes * per_pass} makes {passes} pass{'' if passes == 1 else 'es'} of {per_pass} "
        f"sequences, and a pipeline of {ranks} ranks needs {wanted} {ranks} passes",
        hint=f"use {ranks * per_pass}, or a smaller micro_batch_size",
        others=["workload.micro_batch_size", "parallel.pipeline_parallel_size"],
    )


def _check_experts(layout: Layout) -> None:
    """Refuse experts that are shared out over other ranks than those of a tensor group."""
    ranks, tensor = layout.expert_parallel_size, layout.tensor_parallel_size
    if ranks != tensor:
        raise Conflict(
            "parallel.expert_parallel_size",
            f"{ranks} is not tensor_parallel_size {tensor}: whole experts are shared out over the "
            "ranks of a tensor group",
            hint=f"leave it out, or use tensor_parallel_size: {ranks}",
            others=["parallel.tensor_parallel_size"],
        )
