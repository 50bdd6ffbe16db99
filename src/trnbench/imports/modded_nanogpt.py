"""modded-nanogpt: a cumulative clock without evaluation, which early logs set back at step 10.

Source: modded-nanogpt, `train_gpt.py`: training_time_ms is read after a synchronisation at
evaluations alone in logs since 2025; tokens of a step stand in the code at the log's head.
"""

import re

from trnbench.imports.base import ImportedLog, Reader, Sample
from trnbench.schema.imported import Given

_STEP = re.compile(
    r"^\s*step:(\d+)/\d+ (?:(val_loss|train_loss):(\S+) )?train_time:([\d.]+)(ms|s) step_avg"
)
_GPU = re.compile(r"^\|\s+\d+\s+(NVIDIA .+?)\s+(?:On|Off)\s+\|")
_RUNNING = re.compile(r"Running PyTorch .*? on (.+?)\s+with world_size (\d+)")
_MEMORY = re.compile(r"peak memory (?:allocated|consumption): (\d+) MiB")


class ModdedNanoGpt(Reader):
    """Times are differences between evaluations, where the device was waited for."""

    name = "modded-nanogpt"
    program = "modded-nanogpt"

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.gpus: list[str] = []
        self.world: int | None = None
        self.memory: float | None = None
        self.lines: list[tuple[int, float, bool, float | None]] = []
        self._last: tuple[int, float] | None = None

    @classmethod
    def recognise(cls, head: str) -> bool:
        return re.search(_STEP.pattern, head, re.MULTILINE) is not None

    def feed(self, line: str) -> bool:
        if found := _STEP.search(line):
            step = int(found[1])
            seconds = float(found[4]) / (1e3 if found[5] == "ms" else 1.0)
            loss = self.loss_of(found[3]) if found[3] else None
            self._line(step, seconds, found[2] == "val_loss", loss)
        elif found := _GPU.search(line):
            self.gpus.append(found[1])
        elif found := _RUNNING.search(line):
            self.gpus, self.world = [found[1]], int(found[2])
        elif found := _MEMORY.search(line):
            self.memory = float(found[1]) * 2**20
        else:
            return False
        return True

    def _line(self, step: int, seconds: float, is_synchronised: bool, loss: float | None) -> None:
        """Add the steps between two evaluations; a clock that fell was set back."""
        if self._last is not None and seconds < self._last[1]:
            self.resets += 1
            self._last = (step, seconds)
            return
        if self._last is None:
            self._last = (step, seconds)
            return
        if not is_synchronised or step <= self._last[0]:
            return
        before, at = self._last
        steps = step - before
        self.add(Sample(step=step, steps=steps, seconds=(seconds - at) / steps, loss=loss))
        self._last = (step, seconds)

    def finish(self) -> ImportedLog:
        log = self.found(
            time_basis="cumulative",
            synchronised="yes",
            scope="job",
            device_count=self.world or len(self.gpus) or None,
            device_name=self.gpus[0] if self.gpus else None,
            memory_bytes=self.memory,
        )
        log.doubt(
            "cumulative_clock",
            "times are differences of a running total at evaluations; "
            + (f"it was set back {self.resets} times" if self.resets else "it never fell"),
        )
        log.doubt(
            "tokens_counted",
            "tokens of a step are in no line, and logs since 2026 train more of them as they go: "
            "no single tokens/s holds for all of such a run",
            "give --tokens-per-step as a mean over the run",
        )
        return log
