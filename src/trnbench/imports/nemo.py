"""NeMo 2 (Lightning): the timing callback's mean step; iterations begin anew with each epoch.

Source: NeMo, `lightning/pytorch/callbacks`: `train_step_timing in s` is of one optimizer step.
"""

import re
from array import array

import numpy as np

from trnbench.imports.base import ImportedLog, Reader, Sample, most_common, steps_since
from trnbench.schema.imported import Given

_STEP = re.compile(r"Training epoch \d+, iteration \d+/\d+ \|")
_BAR = re.compile(r"(?=.*\bglobal_step=)(?=.*\b(?:train_step_timing in s|throughput)=)")
_FIELD = re.compile(r"([A-Za-z_][\w ]*?)\s*[:=]\s*([-+\d.eE]+|nan|inf)(?=\s*(?:[|,\]]|$))")
_SAVED = re.compile(r"[Cc]heckpoint save|Saving checkpoint|Scheduled async checkpoint")


class Nemo(Reader):
    """The batch is in sequences, whose length the log does not have."""

    name = "nemo"
    program = "NeMo"

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.batches = array("d")
        self.rate: float | None = None
        self.is_throughput = False
        self._inside: str | None = None
        self._consumed: float | None = None

    @classmethod
    def recognise(cls, head: str) -> bool:
        return _STEP.search(head) is not None or any(map(_BAR.match, head.splitlines()))

    def feed(self, line: str) -> bool:
        if _SAVED.search(line) and not _STEP.search(line):
            self._inside = "checkpoint_inside"
            return True
        if not _STEP.search(line) and not _BAR.match(line):
            return False
        fields = {key.strip(): value for key, value in _FIELD.findall(line)}
        step = fields.get("global_step")
        if step is None:
            return False
        number_, batch = int(float(step)), fields.get("global_batch_size")
        consumed = fields.get("consumed_samples")
        seconds = fields.get("train_step_timing in s")
        steps = steps_since(self.samples, number_)
        sequences = float(batch) if batch else None
        if sequences is None and consumed and self._consumed is not None:
            sequences = (float(consumed) - self._consumed) / steps
        self._consumed = float(consumed) if consumed else None
        if seconds is None and sequences and float(fields.get("throughput", 0)) > 0:
            self.is_throughput = True
            seconds = str(sequences / float(fields["throughput"]))
        if seconds is None or sequences is None:
            return True
        if float(seconds) <= 0:
            return True
        loss = self.loss_of(fields.get("reduced_train_loss"))
        before = len(self.samples)
        self.add(
            Sample(step=number_, steps=steps, seconds=float(seconds), loss=loss,
                   includes=None)
        )  # fmt: skip
        if len(self.samples) > before:
            self.batches.append(sequences)
        if "tokens_per_sec_per_gpu" in fields:
            self.rate = float(fields["tokens_per_sec_per_gpu"]) * float(seconds)
        return True

    def finish(self) -> ImportedLog:
        batch = most_common(self.batches) if self.batches else None
        if batch is not None:
            self.samples.leave_out(np.frombuffer(self.batches, "d") != batch, "batch_changes")
        count = self.given.settle("device_count")
        tokens = self.rate * count if self.rate and count else None
        log = self.found(
            time_basis="interval",
            synchronised="unknown",
            scope="job",
            tokens_per_step=tokens,
            sequences_per_step=round(batch) if batch else None,
        )
        if self._inside:
            log.doubt(
                "checkpoint_inside",
                "checkpoints are written beside training, and slow the steps meanwhile",
            )
        if self.is_throughput:
            log.has_repeats = False
            log.doubt("moving_average", "throughput is a moving mean of ten steps")
        return log
