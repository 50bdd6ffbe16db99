"""MLPerf's `:::MLLOG`: blocks of training between evaluations, by the log's own clock.

Source: mlcommons/logging, and MLPerf Training's rules: block_start to block_stop is training, and
eval_start to eval_stop apart; what is before run_start is not timed.
"""

import json
from typing import Any

from trnbench.imports.base import ImportedLog, Reader, Sample, refuse
from trnbench.schema.imported import Given

MARK = ":::MLLOG"
SIZES = ("global_batch_size", "gradient_accumulation_steps", "max_sequence_length")
KEYS = (*SIZES, "block_start", "block_stop", "submission_benchmark", "submission_platform",
        "run_start", "run_stop", "train_samples")  # fmt: skip


class Mllog(Reader):
    """A block is one sample; tracked statistics, whose names differ by submitter, are not used."""

    name = "mllog"
    program = "MLPerf logging"

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.values: dict[str, Any] = {}
        self.start: dict[str, Any] | None = None
        self.spans: list[tuple[float, float | None, float | None]] = []
        self.damaged = self.runs = 0

    @classmethod
    def recognise(cls, head: str) -> bool:
        return MARK in head

    def feed(self, line: str) -> bool:
        _, mark, text = line.partition(MARK)
        if not mark:
            return False
        try:
            entry = json.loads(text)
            key, meta = entry["key"], entry.get("metadata") or {}
            time = float(entry["time_ms"]) / 1e3
        except (ValueError, LookupError, TypeError):
            self.damaged += 1
            return True
        if key not in KEYS:
            return False
        moment = {"time": time, "step": meta.get("step"), "samples": meta.get("samples_count")}
        if key == "block_start" and self.start is None:
            self.start = moment
        elif key == "block_stop" and self.start is not None:
            self._block(self.start, moment)
            self.start = None
        elif key == "run_start":
            self.runs += 1
        elif not key.startswith("block"):
            self.values.setdefault(key, entry.get("value"))
        return True

    def _block(self, start: dict[str, Any], stop: dict[str, Any]) -> None:
        steps = samples = None
        if start["step"] is not None and stop["step"] is not None:
            steps = float(stop["step"]) - float(start["step"])
        if start["samples"] is not None and stop["samples"] is not None:
            samples = float(stop["samples"]) - float(start["samples"])
        self.spans.append((stop["time"] - start["time"], steps, samples))

    def finish(self) -> ImportedLog:
        batch = self.values.get("global_batch_size")
        length = self.values.get("max_sequence_length")
        done = 0
        for seconds, steps, samples in self.spans:
            # A step counts optimizer steps where it is given; samples count sequences.
            count = steps if steps else (samples / batch if samples and batch else None)
            if steps and samples and batch and abs(samples / batch - steps) > 1:
                count = samples / batch  # this submitter's steps are samples
            if not count or seconds <= 0:
                continue
            done += round(count)
            self.add(Sample(step=done, steps=round(count), seconds=seconds / count))
        if not len(self.samples):
            raise refuse(
                "has no whole block of training: block_start to block_stop, with its samples",
                "name the result file of a run, whole",
            )
        passes = self.values.get("gradient_accumulation_steps")
        log = self.found(
            time_basis="block",
            synchronised="yes",
            scope="job",
            sequences_per_step=int(batch) if batch else None,
            sequence_length=int(length) if length else None,
            accumulation=int(passes) if passes else None,
            model=self.values.get("submission_benchmark"),
        )
        if self.damaged:
            log.doubt("damaged", f"{self.damaged} lines of the log cannot be read")
        if self.runs > 1:
            log.doubt("several_runs", f"run_start stands in it {self.runs} times")
        if platform := self.values.get("submission_platform"):
            system = self.given.beside and self.given.beside.device_name
            beside = f"the system file {system}" if system else "no system file lies beside it"
            log.doubt("platform", f"the log says the platform is {platform}, and {beside}")
        return log
