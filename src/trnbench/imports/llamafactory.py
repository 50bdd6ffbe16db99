"""LLaMA-Factory's `trainer_log.jsonl`: time since the start in whole seconds.

Source: LLaMA-Factory, `train/callbacks.py`: elapsed_time is a timedelta as text; total_tokens is 0
where tokens were not counted.
"""

import json
import re

from trnbench.imports.base import ImportedLog, Reader, Sample
from trnbench.schema.imported import Given

_LINE = re.compile(r'^\s*\{"current_steps": ?\d+')
_TIME = re.compile(r"(?:(\d+) days?, )?(\d+):(\d{2}):(\d{2})")


class LlamaFactory(Reader):
    """Times are differences of entries; evaluations and checkpoints lie inside."""

    name = "llamafactory"
    program = "LLaMA-Factory"

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.damaged = 0
        self._last: tuple[int, float, float] | None = None

    @classmethod
    def recognise(cls, head: str) -> bool:
        return re.search(_LINE.pattern, head, re.MULTILINE) is not None

    def feed(self, line: str) -> bool:
        if not _LINE.match(line):
            return False
        try:
            entry = json.loads(line)
            step, seconds = int(entry["current_steps"]), _seconds(entry["elapsed_time"])
        except (ValueError, LookupError, TypeError):
            self.damaged += 1
            return True
        tokens, last = float(entry.get("total_tokens") or 0), self._last
        loss = self.loss_of(entry.get("loss"))
        if last is not None and step == last[0]:
            return True  # printed by another rank, or the end of the run
        if last is not None and (seconds < last[1] or step < last[0]):
            self.restart()
            self._last = last = (step, seconds, tokens)
            return True
        if last is not None:
            steps = step - last[0]
            trained = (tokens - last[2]) / steps if tokens > last[2] else None
            self.add(Sample(step=step, steps=steps, seconds=(seconds - last[1]) / steps,
                            tokens=trained, loss=loss))  # fmt: skip
        elif step > 0:
            self.add(Sample(step=step, steps=step, seconds=seconds / step,
                            tokens=tokens / step if tokens else None, loss=loss))  # fmt: skip
        self._last = (step, seconds, tokens)
        return True

    def finish(self) -> ImportedLog:
        log = self.found(time_basis="cumulative", synchronised="unknown", scope="job")
        log.doubt("resolution", "its clock is in whole seconds")
        log.doubt("evaluation_inside", "evaluations and checkpoints lie in its times, unmarked")
        if self.damaged:
            log.doubt("damaged", f"{self.damaged} lines of the log cannot be read")
        return log


def _seconds(text: str) -> float:
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise ValueError(text)
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
