"""Cross-entropy from logits with its gradient, of the whole vocabulary or of this rank's part.

Tensor ranks split the vocabulary: each has the logits of its own part. What they exchange are two
figures of each row: the log of its sum of exponentials, and the target's logit, which one rank has.

Shapes: C rows of a chunk, V vocabulary, of this rank where it is split.
"""

from typing import TYPE_CHECKING, NamedTuple

import torch

from trnbench.train.parallel.collectives import gathered

if TYPE_CHECKING:  # a build of torch may be without it
    from torch.distributed import ProcessGroup


class VocabularyPart(NamedTuple):
    """Which part of the vocabulary this rank has."""

    first: torch.Tensor
    """Its first entry, on the device: so all ranks' programs are alike."""
    group: "ProcessGroup"


def entropies(
    logits_CV: torch.Tensor, targets_C1: torch.Tensor, part: VocabularyPart | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each row's cross-entropy, (C, 1), and its gradient by the logits, both in fp32."""
    sums_C1, gradient_CV = _softmax(logits_CV)
    if part is None:
        of_targets_C1 = logits_CV.gather(1, targets_C1).float()
        is_own_C1 = None
    else:
        targets_C1 = targets_C1 - part.first
        is_own_C1 = (targets_C1 >= 0) & (targets_C1 < logits_CV.shape[1])
        nearest_C1 = targets_C1.clamp(0, logits_CV.shape[1] - 1)
        of_targets_C1 = logits_CV.gather(1, nearest_C1).float() * is_own_C1
        own_sums_C1 = sums_C1
        sums_C1, of_targets_C1 = _over_ranks(sums_C1, of_targets_C1, part.group)
        gradient_CV = gradient_CV.mul_((own_sums_C1 - sums_C1).exp())
    losses_C1 = sums_C1 - of_targets_C1
    if torch.compiler.is_compiling():
        # One kernel over what is read anyway: the gradient is never stored in fp32.
        is_target_CV = torch.arange(logits_CV.shape[1], device=logits_CV.device) == targets_C1
        return losses_C1, gradient_CV - is_target_CV.float()
    if is_own_C1 is None:
        of_target_C1 = gradient_CV.new_full(targets_C1.shape, -1.0)
    else:
        targets_C1, of_target_C1 = nearest_C1, -is_own_C1.float()
    gradient_CV.scatter_add_(1, targets_C1, of_target_C1)
    return losses_C1, gradient_CV


def _softmax(logits_CV: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log of each row's sum of exponentials, (C, 1), and its softmax, both in fp32."""
    if torch.compiler.is_compiling():
        sums_C1 = logits_CV.float().logsumexp(1, keepdim=True)
        return sums_C1, (logits_CV.float() - sums_C1).exp()
    # log sum exp from the likeliest entry, whose probability cannot underflow.
    largest_C1 = logits_CV.amax(1, keepdim=True).float()
    if logits_CV.device.type == "cpu":  # there it is nine times as fast if it need not cast
        shares_CV = torch.softmax(logits_CV.float(), 1)
    else:
        shares_CV = torch.softmax(logits_CV, 1, dtype=torch.float32)
    return largest_C1 - shares_CV.amax(1, keepdim=True).log(), shares_CV


def _over_ranks(
    sums_C1: torch.Tensor, of_targets_C1: torch.Tensor, group: "ProcessGroup"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both figures of the whole vocabulary, by one all-gather."""
    own_1C2 = torch.cat((sums_C1, of_targets_C1), 1)[None]
    each_NC2 = gathered(own_1C2, 0, group)
    return each_NC2[..., :1].logsumexp(0), each_NC2[..., 1:].sum(0)
