"""Context parallelism: each rank has a part of every sequence, and gathers the others' keys.

A sequence is cut into twice as many chunks as ranks, and a rank has one from its head and the one
as far from its tail: under a causal mask all ranks attend to equally many keys. Queries stay where
they are; keys and values of all ranks are gathered in each block, and their gradients scattered.
The loss is the mean over a rank's own tokens, so gradients are averaged over these ranks as over
data-parallel ones.

Source: Llama 3, arXiv 2407.21783, section 3.3.2.

Shapes: B batch, T tokens of this rank, S keys, N query heads, K key heads, H head width.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from torch.distributed import ProcessGroup

from trnbench.train.layers.attention import (
    AttentionCore,
    JoinedAttention,
    Mask,
    RotaryAttention,
    fused_attention,
    sink_first,
    with_sinks,
)
from trnbench.train.layers.moe import ExpertsMlp
from trnbench.train.models.gpt2 import Gpt2
from trnbench.train.models.llama import Llama
from trnbench.train.objective import Objective
from trnbench.train.parallel.collectives import Gather, summed
from trnbench.train.parallel.split import own_chunks, own_tokens

TOKENS = 2
"""The dimension of tokens, of (B, heads, T, H)."""


def split_context(objective: Objective, group: ProcessGroup) -> None:
    """Have a model train on this rank's part of every sequence.

    Args:
        objective: a model with its loss, built for whole sequences.
        group: the ranks that share them out.

    Raises:
        TypeError: the family has no way to be split.
    """
    model = objective.model
    if not isinstance(model, Llama | Gpt2):
        raise TypeError(f"{type(model).__name__} cannot be split over context ranks")
    rank, ranks = group.rank(), group.size()
    for name in ("positions_T", "cosines_TH", "sines_TH"):
        if hasattr(model, name):
            setattr(model, name, own_tokens(getattr(model, name), 0, rank, ranks))
    attend, mean = ContextAttention(group), MeanOverRanks(group)
    for module in model.modules():
        if isinstance(module, RotaryAttention | JoinedAttention):
            module.attend = attend
        elif isinstance(module, ExpertsMlp):
            module.over_ranks = mean
    objective.over_ranks = mean


class MeanOverRanks:
    """The mean of a figure over ranks, without a gradient."""

    def __init__(self, group: ProcessGroup) -> None:
        self.group = group

    def __call__(self, value: torch.Tensor) -> torch.Tensor:
        """Return the mean in fp32."""
        return summed(value.float(), self.group) / self.group.size()


class ContextAttention:
    """Attention of this rank's queries to the keys of all ranks; used as `attend`."""

    def __init__(self, group: ProcessGroup) -> None:
        self.group = group

    def __call__(
        self,
        q_BNTH: torch.Tensor,
        k_BKTH: torch.Tensor,
        v_BKTH: torch.Tensor,
        mask: Mask,
        sinks_N: torch.Tensor | None = None,
        core: AttentionCore = fused_attention,
    ) -> torch.Tensor:
        """Return the attended values, (B, N, T, H)."""
        width = q_BNTH.shape[3]
        scale = width**-0.5
        k_BKSH, v_BKSH = self._of_all_ranks(torch.cat((k_BKTH, v_BKTH), 3)).chunk(2, 3)
        if sinks_N is not None:
            q_BNTH, k_BKSH, v_BKSH = with_sinks(q_BNTH, k_BKSH, v_BKSH, sinks_N / scale)
        mixed = []
        numbers = own_chunks(self.group.rank(), self.group.size())
        for number, q_BNCH in zip(numbers, q_BNTH.chunk(2, TOKENS), strict=True):
            first, allowed_TS = _allowed(number, q_BNCH.shape[2], mask, q_BNCH.device)
            end = first + allowed_TS.shape[1]
            k, v = k_BKSH[:, :, first:end], v_BKSH[:, :, first:end]
            if sinks_N is not None:
                k, v = sink_first(k, v)
                allowed_TS = F.pad(allowed_TS, (1, 0), value=True)
            allowed = allowed_TS.expand(len(q_BNCH), 1, -1, -1)
            mixed.append(core(q_BNCH, k, v, scale, allowed=allowed))
        return torch.cat(mixed, TOKENS)[..., :width]

    def _of_all_ranks(self, own: torch.Tensor) -> torch.Tensor:
        """Return the tokens of all ranks in the order of the sequence."""
        ranks = self.group.size()
        chunks = Gather.apply(own, TOKENS, self.group).chunk(2 * ranks, TOKENS)
        heads, tails = chunks[::2], chunks[1::2]
        return torch.cat((*heads, *tails[::-1]), TOKENS)


def _allowed(
    number: int, tokens: int, mask: Mask, device: torch.device
) -> tuple[int, torch.Tensor]:
    """Return the first key that a chunk's queries may see, and which they see of those from it."""
    start = number * tokens
    first = 0 if mask.window is None else max(0, start - mask.window + 1)
    if mask.document_length is not None:
        first = max(first, start // mask.document_length * mask.document_length)
    query = torch.arange(start, start + tokens, device=device)[:, None]
    key = torch.arange(first, start + tokens, device=device)[None, :]
    allowed = key <= query
    if mask.window is not None:
        allowed &= key > query - mask.window
    if mask.document_length is not None:
        allowed &= key // mask.document_length == query // mask.document_length
    return first, allowed
