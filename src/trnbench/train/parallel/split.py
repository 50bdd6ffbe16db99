"""From a whole model to this rank's part of it, by each axis of the mesh that splits one."""

from typing import TYPE_CHECKING

import torch

from trnbench.train.objective import Objective, Trainable
from trnbench.train.parallel.mesh import Mesh

if TYPE_CHECKING:
    from trnbench.train.parallel.pipeline import Pipeline


def split(objective: Objective, mesh: Mesh) -> None:
    """Leave this rank's part of a model on its device."""
    context = mesh.group("context")
    if context is not None:
        from trnbench.train.parallel.context import split_context

        split_context(objective, context)
    if mesh.size("tensor") > 1:
        from trnbench.train.parallel.tensor import split_model

        is_sequence = mesh.layout.sequence_parallel
        split_model(objective, mesh.devices("tensor"), sequence_parallel=is_sequence)
    if mesh.size("pipeline") > 1:
        from trnbench.train.parallel.pipeline import keep_stages

        keep_stages(objective, mesh)


def make_pipeline(
    objective: Trainable, passes: int, mesh: Mesh, device: torch.device
) -> "Pipeline | None":
    """Return what runs the passes of a step where ranks have stages of a model, else None."""
    if mesh.size("pipeline") == 1 or not isinstance(objective, Objective):
        return None
    from trnbench.train.parallel.pipeline import Pipeline

    return Pipeline(objective, passes, mesh, device)


def tokens_of_rank(whole_BT: torch.Tensor, mesh: Mesh) -> torch.Tensor:
    """Return this rank's tokens of whole sequences, in a step's inputs or targets."""
    ranks = mesh.size("context")
    return whole_BT if ranks == 1 else own_tokens(whole_BT, 1, mesh.index("context"), ranks)


def own_tokens(whole: torch.Tensor, dimension: int, rank: int, ranks: int) -> torch.Tensor:
    """Return a context rank's part of a tensor along its dimension of tokens, in their order."""
    chunks = whole.chunk(2 * ranks, dimension)
    return torch.cat([chunks[number] for number in own_chunks(rank, ranks)], dimension)


def own_chunks(rank: int, ranks: int) -> tuple[int, int]:
    """Return which chunks of a sequence a context rank has, of twice as many as ranks."""
    return rank, 2 * ranks - 1 - rank
