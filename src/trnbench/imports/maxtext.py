"""MaxText: seconds between callbacks of the host, while devices may still work on earlier steps.

Source: MaxText, "Understand logs and metrics"; `total_weights` are the target tokens that count.
"""

import re
from array import array

import numpy as np

from trnbench.imports.base import ImportedLog, Reader, Sample, number
from trnbench.schema.imported import Given

_STEP = re.compile(
    r"completed step: (\d+), seconds: ([\d.]+), TFLOP/s/device: ([\d.]+), "
    r"Tokens/s/device: ([\d.]+)(?:, total_weights: (\d+))?(?:, loss: (\S+))?"
)
FIRST_STEPS = 3
"""That the queue of the devices makes too slow or too fast."""
TOO_FAST = 2.0
"""A step this many times as fast as the median was not waited for."""


class MaxText(Reader):
    """The first three steps are left out, and each that is too fast to be one."""

    name = "maxtext"
    program = "MaxText"

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.shares = array("d")

    @classmethod
    def recognise(cls, head: str) -> bool:
        return _STEP.search(head) is not None

    def feed(self, line: str) -> bool:
        found = _STEP.search(line)
        if found is None:
            return False
        seconds, weights = float(found[2]), float(found[5]) if found[5] else None
        if weights and seconds:
            self.shares.append(weights / (seconds * float(found[4])))
        loss = self.loss_of(found[6].rstrip(",") if found[6] else None)
        left_out = "first_step" if len(self.samples) < FIRST_STEPS else None
        self.add(Sample(step=int(found[1]), seconds=seconds, tokens=weights, loss=loss,
                        left_out=left_out))  # fmt: skip
        return True

    def finish(self) -> ImportedLog:
        seconds = self.samples["seconds"]
        if len(seconds) > FIRST_STEPS:
            typical = float(np.median(seconds[FIRST_STEPS:]))
            self.samples.leave_out(seconds * TOO_FAST < typical, "impossible_step")
        # Weights of a step over those of a device: whole where nothing is padding.
        devices = float(np.median(self.shares)) if self.shares else None
        log = self.found(time_basis="step", synchronised="no", scope="device")
        if np.isnan(self.samples["tokens"]).any() and self.given.settle("tokens_per_step") is None:
            count = self.given.settle("device_count")
            if count:  # rates of a device are all there is
                _rated(log, count)
        elif devices is not None:
            log.doubt(
                "tokens_counted",
                "tokens are those that count in the loss (total_weights), of the whole job; by "
                f"tokens/s of a device they are {number(f'{devices:.1f}'):g} devices' worth",
            )
        return log


def _rated(log: ImportedLog, count: int) -> None:
    log.doubt("per_device", f"the log has no rates of the job; {count} devices were named")
