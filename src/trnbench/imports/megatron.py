"""Megatron-LM and Megatron-Bridge: mean milliseconds of an iteration since the last line.

Source: Megatron-LM, `training.py`, `training_log`: a barrier stands before the clock is read;
iterations that are skipped count in time; golden values of its tests are JSON by metric or by step.
"""

import json
import re
from array import array
from typing import Any

import numpy as np

from trnbench.imports.base import ImportedLog, Reader, Sample, most_common, refuse, steps_since
from trnbench.schema.imported import Given

_STEP = re.compile(r"iteration\s+(\d+)/\s*\d+ \|.*?elapsed time per iteration \(ms\): ([\d.]+)")
_BATCH = re.compile(r"global batch size:\s*(\d+)")
_LOSS = re.compile(r"\blm loss: (\S+)")
_SKIPPED = re.compile(r"number of skipped iterations:\s*(\d+)")
_NAN = re.compile(r"number of nan iterations:\s*(\d+)")
_ARGUMENT = re.compile(r"^\s*(seq_length|micro_batch_size|world_size)\s*[.:=]+\s*(\d+)\s*$")
_EVALUATED = re.compile(r"validation loss at iteration")
_SAVED = re.compile(r"saving checkpoint at iteration|successfully saved checkpoint")
_GOLDEN = re.compile(r'"(?:iteration-time|elapsed time per iteration \(ms\))"')
_STEP_TIME = re.compile(r"Step Time : ([\d.]+)s GPU utilization")


class Megatron(Reader):
    """Lines, or the golden values of a test, which are JSON."""

    name = "megatron"
    program = "Megatron"

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.arguments: dict[str, int] = {}
        self.batches = array("q")
        self.skipped = 0
        self.nan = 0
        self.document: list[str] = []
        self._inside: str | None = None

    @classmethod
    def recognise(cls, head: str) -> bool:
        is_golden = head.lstrip()[:1] == "{" and _GOLDEN.search(head) is not None
        return is_golden or _STEP.search(head) is not None

    def feed(self, line: str) -> bool:
        if self.document or (not len(self.samples) and line.lstrip()[:1] == "{"):
            self.document.append(line)
        elif found := _STEP.search(line):
            self._step(found, line)
        elif found := _ARGUMENT.match(line):
            self.arguments[found[1]] = int(found[2])
        elif _EVALUATED.search(line):
            self._inside = "evaluation_inside"
        elif _SAVED.search(line):
            self._inside = "checkpoint_inside"
        else:
            return _STEP_TIME.search(line) is not None
        return True

    def _step(self, found: re.Match[str], line: str) -> None:
        step, before = int(found[1]), len(self.samples)
        loss = _LOSS.search(line)
        self.add(
            Sample(
                step=step,
                steps=steps_since(self.samples, step),
                seconds=float(found[2]) / 1e3,
                loss=self.loss_of(loss[1]) if loss else None,
                includes=self._inside,
            )
        )
        if len(self.samples) == before:
            return
        self._inside = None
        batch = _BATCH.search(line)
        self.batches.append(int(batch[1]) if batch else 0)
        if (skipped := _SKIPPED.search(line)) is not None:
            self.skipped += int(skipped[1])
        if (nan := _NAN.search(line)) is not None:
            self.nan += int(nan[1])

    def finish(self) -> ImportedLog:
        if self.document:
            self._golden(self._document())
        batch = most_common(self.batches) if self.batches else 0
        if self.batches:
            self.samples.leave_out(np.frombuffer(self.batches, "q") != batch, "batch_changes")
        log = self.found(
            time_basis="interval" if (self.samples["steps"] > 1).any() else "step",
            synchronised="yes",
            scope="job",
            sequences_per_step=batch or None,
            sequence_length=self.arguments.get("seq_length"),
            micro_batch_size=self.arguments.get("micro_batch_size"),
            device_count=self.arguments.get("world_size"),
        )
        if self.skipped:
            log.doubt(
                "skipped_steps",
                f"{self.skipped} iterations were skipped: they took time and trained nothing",
            )
        if self.nan:
            log.doubt(
                "finite", f"{self.nan} iterations had losses or gradients that are no numbers"
            )
        return log

    def _document(self) -> dict[str, Any]:
        try:
            document = json.loads("\n".join(self.document))
        except ValueError as error:
            raise refuse(f"is no whole JSON document: {error}", "copy it again, whole") from None
        return document if isinstance(document, dict) else {}

    def _golden(self, document: dict[str, Any]) -> None:
        metric = document.get("iteration-time")
        if isinstance(metric, dict):
            losses = document.get("lm loss", {}).get("values", {})
            rows = [(step, seconds, losses.get(step)) for step, seconds in metric["values"].items()]
        else:
            rows = [
                (step, row["elapsed time per iteration (ms)"] / 1e3, row.get("lm loss"))
                for step, row in document.items()
                if step.isdigit() and isinstance(row, dict)
            ]
        for step, seconds, loss in rows:
            if isinstance(seconds, str):  # "nan": not read at this step
                continue
            steps = steps_since(self.samples, int(step))
            self.add(Sample(step=int(step), steps=steps, seconds=float(seconds),
                            loss=self.loss_of(loss)))  # fmt: skip
