"""Hugging Face's Trainer, axolotl too: `trainer_state.json`, its last results, or its dictionaries.

Source: transformers, `trainer.py`, `trainer_utils.speed_metrics`: train_runtime is wall clock from
the start of training, with evaluation, saving and logging in it; an entry has it only where
include_num_input_tokens_seen is set.
"""

import ast
import json
import re
from typing import Any

import numpy as np

from trnbench.imports.base import ImportedLog, Reader, Sample, refuse
from trnbench.schema.imported import Given

_DICTIONARY = re.compile(r"\{'(?:loss|train_runtime|eval_loss)'.*?\}")
_ANY = re.compile(r"\{'[a-z_]+':.*?\}")


class HuggingFace(Reader):
    """Times are differences of entries; those with an evaluation between them are left out."""

    name = "huggingface"
    program = "Hugging Face Trainer"

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.text: list[str] = []
        self.summary: dict[str, Any] = {}
        self.logging_steps = 1
        self.damaged = self.entries = 0
        self._last = (0.0, 0.0, 0.0)
        self._has_evaluation = self._has_steps = False

    @classmethod
    def recognise(cls, head: str) -> bool:
        is_json = head.lstrip()[:1] == "{" and (
            '"log_history"' in head or '"train_runtime"' in head
        )
        return is_json or _DICTIONARY.search(head) is not None

    def feed(self, line: str) -> bool:
        if self.text or (not self.entries and line.lstrip()[:1] == "{" and "'" not in line):
            self.text.append(line)
            return True
        found = _ANY.findall(line)
        for text in found:
            try:
                entry = ast.literal_eval(re.sub(r"\b(nan|inf)\b", "None", text))
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                self.damaged += 1
                continue
            if "loss" in entry and entry["loss"] is None:
                self.losses_lost += 1
            self._take(entry)
        return bool(found)

    def finish(self) -> ImportedLog:
        state: dict[str, Any] = {}
        if self.text:
            try:
                state = json.loads("\n".join(self.text))
            except ValueError as error:
                raise refuse(
                    f"is no whole JSON document: {error}", "copy it again, whole"
                ) from None
            self.logging_steps = state.get("logging_steps") or 1
            for entry in state.get("log_history") or [state]:
                self._take(entry)
        repeats = len(self.samples) > 1
        if not len(self.samples):
            self._whole(self.summary)
        batch = state.get("train_batch_size")
        log = self.found(
            time_basis="cumulative" if repeats else "run",
            synchronised="unknown",
            scope="job",
            has_repeats=repeats,
            micro_batch_size=int(batch) if batch else None,
        )
        self._doubts(log, repeats)
        return log

    def _take(self, entry: dict[str, Any]) -> None:
        self.entries += 1
        self._has_steps = self._has_steps or "step" in entry
        if "train_steps_per_second" in entry:
            self.summary = entry
        elif any(key.startswith("eval_") for key in entry):
            self._has_evaluation = True
        elif "train_runtime" in entry and "loss" in entry:
            self._last = self._entry(entry, self._last)
            self._has_evaluation = False
        elif "loss" in entry:
            self.loss_of(entry["loss"])

    def _entry(
        self, entry: dict[str, Any], before: tuple[float, float, float]
    ) -> tuple[float, float, float]:
        """Add what lies between two entries; without a step's number each stands for one."""
        seconds = float(entry["train_runtime"])
        tokens = float(entry.get("num_input_tokens_seen") or 0)
        step = float(entry.get("step") or before[0] + self.logging_steps)
        if seconds < before[1] or step <= before[0]:
            self.restart()
            return step, seconds, tokens
        steps = round(step - before[0])
        trained = (tokens - before[2]) / steps if tokens > before[2] else None
        if seconds > before[1]:
            self.add(
                Sample(step=round(step), steps=steps, seconds=(seconds - before[1]) / steps,
                       tokens=trained, loss=self.loss_of(entry["loss"]),
                       includes="evaluation_inside" if self._has_evaluation else None)
            )  # fmt: skip
        return step, seconds, tokens

    def _whole(self, summary: dict[str, Any]) -> None:
        """Take the mean of the whole run, which is all that there is."""
        if not summary:
            raise refuse(
                "has no times: no entry has train_runtime",
                "name train_results.json, or the state of a finished run",
            )
        seconds = float(summary["train_runtime"])
        steps = round(seconds * float(summary["train_steps_per_second"]))
        if steps < 1 or seconds <= 0:
            raise refuse("ran for no whole step", "name the results of a longer run")
        tokens = summary.get("num_input_tokens_seen")
        steps = int(summary.get("step") or steps)
        self.add(Sample(step=steps, steps=steps, seconds=seconds / steps,
                        tokens=float(tokens) / steps if tokens else None))  # fmt: skip

    def _doubts(self, log: ImportedLog, repeats: bool) -> None:
        if repeats:
            log.doubt(
                "cumulative_clock",
                "train_runtime counts from the start: differences of entries are used, not the "
                "printed tokens/s, which is a mean since the start",
            )
        else:
            log.doubt(
                "evaluation_inside",
                "start-up, evaluation, saving and logging lie in train_runtime",
            )
        if not np.isnan(log.samples["tokens"]).all():
            log.doubt("tokens_counted", "num_input_tokens_seen may count padding")
        if not self.text and not self._has_steps:
            log.doubt("steps", "its entries have no step: each is taken as one logging step")
        if self.damaged:
            log.doubt("damaged", f"{self.damaged} dictionaries of the log cannot be read")
