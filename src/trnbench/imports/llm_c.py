"""llm.c: whole steps timed by CUDA events, or a processor's; later tok/s are moving means.

Source: llm.c, `train_gpt2.cu` and `train_gpt2.c`.
"""

import re

from trnbench.imports.base import ImportedLog, Reader, Sample, number, refuse
from trnbench.schema.imported import Given

_GPU = re.compile(
    r"step\s+(\d+)/\d+ \| (?:train )?loss (\S+).*?\| ([\d.]+) ms \|(?: (-?[\d.]+)% \S+ MFU \|)?"
    r" ([\d,]+) tok/s"
)
_CPU = re.compile(r"^\s*step (\d+): train loss (\S+) \(took ([\d.]+) ms\)")
_MAIN = re.compile(r"^s:\d+ (?:tel|trl|eval):", re.MULTILINE)
_SIZE = re.compile(
    r"^\|?\s*(max_seq_len|max_sequence_length T|sequence length T|num_parameters|"
    r"micro batch size B|total batch size|device)[ :|]+(.+?)[ |]*$"
)


class LlmC(Reader):
    """The first step's rate, which is not yet a moving mean, says how many tokens a step has."""

    name = "llm.c"
    program = "llm.c"

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.sizes: dict[str, str] = {}
        self.tokens: float | None = None
        self.is_gpu = self.has_no_times = False

    @classmethod
    def recognise(cls, head: str) -> bool:
        return bool(
            _GPU.search(head)
            or re.search(_CPU.pattern, head, re.MULTILINE)
            or len(_MAIN.findall(head)) > 1
        )

    def feed(self, line: str) -> bool:
        if found := _GPU.search(line):
            self.is_gpu, seconds = True, float(found[3]) / 1e3
            if self.tokens is None:
                self.tokens = float(round(number(found[5]) * seconds / 1024) * 1024)
            self.add(Sample(step=int(found[1]), seconds=seconds, loss=self.loss_of(found[2])))
        elif found := _CPU.search(line):
            loss = self.loss_of(found[2])
            self.add(Sample(step=int(found[1]), seconds=float(found[3]) / 1e3, loss=loss))
        elif found := _SIZE.match(line):
            self.sizes[found[1]] = found[2]
        elif _MAIN.match(line):
            self.has_no_times = True
        else:
            return False
        return True

    def finish(self) -> ImportedLog:
        if self.has_no_times and not len(self.samples):
            raise refuse(
                "is llm.c's main.log, which has no times",
                "import what the program printed on its terminal",
            )
        weights = self.sizes.get("num_parameters", "").replace(",", "")
        length = self.sizes.get("sequence length T")
        return self.found(
            time_basis="step",
            synchronised="yes",
            scope="job",
            tokens_per_step=self.tokens,
            sequence_length=int(number(length)) if length and length.isdigit() else None,
            parameter_count=int(weights) if weights.isdigit() else None,
            device_name=self.sizes.get("device"),
        )
