"""NeuronX Distributed on Trainium: a step's own time, and a moving mean of the whole loop's rate.

Source: neuronx-distributed examples, `training_utils.py`, `Throughput`: sequences of the last ten
steps over the time of their whole loop; step_time covers forward to logging alone.
"""

import re
from array import array
from itertools import chain

import numpy as np

from trnbench.imports.base import ImportedLog, Reader, Sample, refuse
from trnbench.schema.imported import Given

_STEP = re.compile(
    r"step (\d+) step_time ([\d.]+)s throughput ([\d.]+) seq/s loss (\S+) grad norm (\S+)"
)
_RESTART = re.compile(
    r"\[Auto Resume\]|Retrying step|loading checkpoint|Resuming from", re.IGNORECASE
)
WINDOW = 10
"""Steps of the moving mean."""


class Neuronx(Reader):
    """The loop's own time is found by undoing the moving mean."""

    name = "neuronx"
    program = "NeuronX Distributed"

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.rates = [array("d")]

    @classmethod
    def recognise(cls, head: str) -> bool:
        return _STEP.search(head) is not None

    def feed(self, line: str) -> bool:
        if found := _STEP.search(line):
            before, restarts = len(self.samples), len(self.restarts)
            loss = self.loss_of(found[4])
            self.add(Sample(step=int(found[1]), seconds=float(found[2]), loss=loss))
            if len(self.restarts) > restarts:
                self.rates.append(array("d"))
            if len(self.samples) > before:
                self.rates[-1].append(float(found[3]))
            return True
        if _RESTART.search(line):
            self.restart()
            return True
        return False

    def finish(self) -> ImportedLog:
        given = self.given
        length, tokens = given.settle("sequence_length"), given.settle("tokens_per_step")
        if length is None or tokens is None:
            missing = "--tokens-per-step N" if tokens is None else "--sequence-length N"
            raise refuse(
                "says neither how long a sequence is nor how many a step has"
                if tokens is None
                else "says sequences a second, and not how long a sequence is",
                f"say it: {missing}"
                + (" --sequence-length N" if length is None and tokens is None else ""),
            )
        batch = tokens / length
        seconds = self.samples["seconds"]
        printed = float(seconds.sum())
        undone = chain.from_iterable(_undone(part, batch) for part in self.rates)
        seconds[:] = np.fromiter(undone, float, len(seconds))
        log = self.found(
            time_basis="step",
            synchronised="unknown",
            scope="job",
            sequences_per_step=round(batch),
            sequence_length=length,
        )
        outside = 1 - printed / float(seconds.sum())
        log.doubt(
            "time_outside",
            f"{outside:.1%} of the time lies outside step_time: the rate of the whole loop is "
            "used, and its moving mean undone",
        )
        if (seconds <= 0).any():
            raise refuse(
                f"cannot be {batch:g} sequences a step: the moving mean gives steps of no time",
                "check --tokens-per-step and --sequence-length",
            )
        return log


def _undone(rates: "array[float]", batch: float) -> "array[float]":
    """Return the seconds of each step of which the rates are moving means."""
    seconds = array("d")
    for number, rate in enumerate(rates, start=1):
        window = min(number, WINDOW)
        earlier = seconds[number - window : number - 1]
        seconds.append(window * batch / rate - sum(earlier))
    return seconds
