"""nanochat: step lines, or the report that it writes of a finished run.

Source: nanochat, `scripts/base_train.py`: dt is one step, synchronised before and after; tok/sec is
of the whole job. The report's total training time leaves ten steps out, evaluation too.
"""

import re
from array import array

import numpy as np

from trnbench.imports.base import ImportedLog, Reader, Sample, number
from trnbench.schema.imported import Given

_STEP = re.compile(
    r"step (\d+)/\d+ \([\d.]+%\) \| loss:? (\S+) \|.*?\bdt: ([\d.]+)ms \| tok/sec: ([\d,]+)"
)
_KEY = re.compile(r"^- ([^:]+): (.+)$")
_GPUS = re.compile(r"^(\d+)x (.+)$")
WARMUP_STEPS = 10
"""That the program's own total leaves out."""


class Nanochat(Reader):
    """Of a report the section of base training; its hourly rate is no price."""

    name = "nanochat"
    program = "nanochat"

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.tokens = array("d")
        self.report: dict[str, str] = {}
        self._section = ""

    @classmethod
    def recognise(cls, head: str) -> bool:
        return _STEP.search(head) is not None or (
            "nanochat training report" in head and "Base model training" in head
        )

    def feed(self, line: str) -> bool:
        pieces = list(_STEP.finditer(line))
        for found in pieces:  # pasted terminals glue lines together
            seconds = float(found[3]) / 1e3
            step, loss = int(found[1]), self.loss_of(found[2])
            tokens = seconds * number(found[4])
            self.tokens.append(tokens)
            self.add(Sample(step=step, seconds=seconds, loss=loss, tokens=tokens))
        if pieces:
            return True
        if line.startswith("#"):
            self._section = line.strip("# ").strip()
            return self._section in ("Base model training", "Hardware", "nanochat training report")
        found_key = _KEY.match(line)
        if found_key and self._section in ("Base model training", "Hardware"):
            self.report.setdefault(found_key[1], found_key[2])
            return True
        return False

    def finish(self) -> ImportedLog:
        if len(self.samples):
            # Tokens of a step come from two rounded figures: the median over steps is the constant.
            tokens = sorted(self.tokens)[len(self.tokens) // 2]
            self.samples["tokens"][:] = np.nan
            exact = round(tokens / 1024) * 1024 if tokens > 2**16 else tokens
            return self.found(
                time_basis="step", synchronised="yes", scope="job", tokens_per_step=exact
            )
        report = self.report
        minutes = report.get("Total training time", "").removesuffix("m")
        batch, steps = report.get("total_batch_size"), report.get("Calculated number of iterations")
        if minutes and steps:
            count = int(number(steps)) - WARMUP_STEPS
            seconds = float(minutes) * 60 / count
            self.add(Sample(step=count + WARMUP_STEPS, steps=count, seconds=seconds))
        gpus = _GPUS.match(report.get("GPUs", ""))
        world = report.get("DDP world size")
        length = report.get("max_seq_len")
        passes = report.get("device_batch_size")
        weights = report.get("Number of parameters")
        log = self.found(
            time_basis="run",
            synchronised="yes",
            scope="job",
            has_repeats=False,
            tokens_per_step=number(batch) if batch else None,
            sequence_length=int(number(length)) if length else None,
            micro_batch_size=int(number(passes)) if passes else None,
            sequences_per_step=int(number(batch) / number(length)) if batch and length else None,
            device_count=int(world) if world else None,
            device_name=gpus[2] if gpus else None,
            parameter_count=int(number(weights)) if weights else None,
        )
        if "Hourly Rate" in report:
            log.doubt("price", "the report's hourly rate is a guess of the program: it is not used")
        return log
