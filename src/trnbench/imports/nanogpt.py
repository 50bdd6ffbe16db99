"""nanoGPT: the time of the one iteration at which it prints; evaluation lies inside some.

Source: nanoGPT, `train.py`: dt is of one iteration, and `loss.item()` at printing waits for the
device, so that with log_interval > 1 the printed time pays for the steps queued before it.
"""

import re

import numpy as np

from trnbench.imports.base import ImportedLog, Reader, Sample, number
from trnbench.schema.imported import Given

_ITER = re.compile(r"^\s*iter (\d+): loss (\S+), time ([\d.]+)ms(?:, mfu (-?[\d.]+)%)?")
_TOKENS = re.compile(r"tokens per iteration will be: ([\d,]+)")
_SETTING = re.compile(
    r"^(?:Overriding: )?(block_size|batch_size|gradient_accumulation_steps) = (\d+)"
)
_EVALUATED = re.compile(r"^\s*step (\d+): train loss \S+, val loss")
_SAVED = re.compile(r"^saving checkpoint to")
_WEIGHTS = re.compile(r"number of parameters: ([\d.]+)M")


class NanoGpt(Reader):
    """Iterations with evaluation or a checkpoint inside are left out."""

    name = "nanogpt"
    program = "nanoGPT"

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.tokens: float | None = None
        self.settings: dict[str, int] = {}
        self.weights: float | None = None
        self._inside: str | None = None

    @classmethod
    def recognise(cls, head: str) -> bool:
        return re.search(_ITER.pattern, head, re.MULTILINE) is not None

    def feed(self, line: str) -> bool:
        if found := _ITER.search(line):
            before = len(self.samples)
            step, loss = int(found[1]), self.loss_of(found[2])
            self.add(
                Sample(step=step, seconds=float(found[3]) / 1e3, loss=loss, includes=self._inside)
            )
            self._inside = None if len(self.samples) > before else self._inside
        elif found := _TOKENS.search(line):
            self.tokens = number(found[1])
        elif found := _SETTING.search(line):
            self.settings[found[1]] = int(found[2])
        elif _EVALUATED.search(line):
            self._inside = "evaluation_inside"
        elif _SAVED.search(line):
            self._inside = "checkpoint_inside"
        elif found := _WEIGHTS.search(line):
            self.weights = float(found[1]) * 1e6
        else:
            return False
        return True

    def finish(self) -> ImportedLog:
        length = self.settings.get("block_size")
        log = self.found(
            time_basis="step",
            synchronised="unknown",
            scope="job",
            tokens_per_step=self.tokens,
            sequence_length=length,
            sequences_per_step=int(self.tokens / length) if self.tokens and length else None,
            micro_batch_size=self.settings.get("batch_size"),
            accumulation=self.settings.get("gradient_accumulation_steps"),
            parameter_count=round(self.weights) if self.weights else None,
        )
        if (np.diff(self.samples["step"]) > 1).any():
            log.doubt(
                "asynchronous_times",
                "only some iterations are printed, and their times pay for steps that were queued",
                "log every iteration: log_interval = 1",
            )
        else:
            log.synchronised = "yes"
        return log
