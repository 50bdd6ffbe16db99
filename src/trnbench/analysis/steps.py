"""What is kept of single steps: enough for every check, and as much for a million as for a hundred.

A run may have a million steps, and a thousand samples of their time. Times are kept by sample; of
each step's loss and gradient only what some check or figure asks for is kept while the records are
read, and the rest is let go.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from trnbench.analysis.plausible import Fault, faults_of_block
from trnbench.wire import Block

FIRST_STEPS = 50
"""Of which the losses are kept, in order: those by which something must have been learned."""
LAST_STEPS = 5
"""Of which they are kept too: the final loss is their mean."""
WINDOW_STEPS = 10
"""Over which the excess loss is averaged, where its lowest is asked for."""
MAX_GRADIENT_NORM = 1e4

Loss = tuple[float | None, float]
"""A step's loss, null if it was no number, and that of a model that knows the stream; nats."""


@dataclass(frozen=True, slots=True)
class UnfitStep:
    """A step that cannot have trained anything."""

    step: int
    loss: float | None
    gradient_norm: float | None


@dataclass(slots=True)
class StepDigest:
    """Takes in block after block; `Measurement.steps` is one of these where a file was read."""

    count: int = 0
    first: list[Loss] = field(default_factory=list)
    last: deque[Loss] = field(default_factory=lambda: deque(maxlen=LAST_STEPS))
    unfit: UnfitStep | None = None
    """The first step whose loss is no number or below zero, or whose gradient is none or vast."""
    known_losses: int = 0
    """Steps whose loss is a number."""
    lowest_excess: float = math.inf
    """The lowest mean, over a window of steps, of the loss above the best possible; nats."""
    fault: Fault | None = None
    """The first thing that no worker tells; nothing was taken in from there on."""
    imbalances: int = 0
    imbalance_sum: float = 0.0
    """Over measured steps, of rows of the fullest expert over the mean."""
    _recent: list[float] = field(default_factory=list)
    """The last excess losses, one less than a window has."""

    def take(self, block: Block) -> Block:
        """Take in a block's steps; return it without them."""
        if self.fault is None:
            self.fault = next(faults_of_block(block), None)
        if self.fault is None:
            self._take(block)
        return replace(
            block, losses=[], gradient_norms=[], oracle_losses=[], expert_imbalances=None
        )

    def _take(self, block: Block) -> None:
        missing = FIRST_STEPS - len(self.first)
        if missing > 0:
            early = zip(block.losses[:missing], block.oracle_losses, strict=False)
            self.first.extend(early)
        tail = slice(-LAST_STEPS, None)
        self.last.extend(zip(block.losses[tail], block.oracle_losses[tail], strict=True))
        self.count += block.steps
        self._look_for_unfit(block)
        self._follow_excess(block)
        if block.purpose == "measure":
            told = [value for value in block.expert_imbalances or () if value is not None]
            self.imbalances += len(told)
            self.imbalance_sum += sum(told)

    def _look_for_unfit(self, block: Block) -> None:
        if self.unfit is not None:
            return
        for at, (loss, norm) in enumerate(zip(block.losses, block.gradient_norms, strict=True)):
            if loss is None or loss < 0 or norm is None or not 0 < norm < MAX_GRADIENT_NORM:
                self.unfit = UnfitStep(block.first_step + at, loss, norm)
                return

    def _follow_excess(self, block: Block) -> None:
        pairs = zip(block.losses, block.oracle_losses, strict=True)
        excess = [loss - oracle for loss, oracle in pairs if loss is not None]
        self.known_losses += len(excess)
        joined = [*self._recent, *excess]
        if len(joined) >= WINDOW_STEPS:
            window = np.full(WINDOW_STEPS, 1 / WINDOW_STEPS)
            lowest = float(np.min(np.convolve(joined, window, mode="valid")))
            self.lowest_excess = min(self.lowest_excess, lowest)
        self._recent = joined[-(WINDOW_STEPS - 1) :]


def digest_of(blocks: Iterable[Block]) -> StepDigest:
    """Return the digest of blocks that still have their steps."""
    digest = StepDigest()
    for block in blocks:
        digest.take(block)
    return digest
