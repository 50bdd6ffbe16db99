"""torchtitan: a line of rates each `log_freq` steps, from every rank; `tps` is of one device.

Source: torchtitan, `components/metrics.py`: tps is tokens of a data-parallel rank over the time
since the last line, divided by the devices that share a sequence.
"""

import re

from trnbench.imports.base import ImportedLog, Reader, Sample, number, refuse, steps_since
from trnbench.imports.text import stamp_of
from trnbench.schema.imported import Given

_STEP = re.compile(
    r"(?<!validate )\bstep:\s*(?P<step>\d+)\s+loss:\s*(?P<loss>\S+)"
    r"(?:.*?memory:\s*(?P<memory>[\d.]+)GiB)?.*?tps:\s*(?P<tps>[\d,.]+)"
)
_SETTINGS = re.compile(
    r"local batch size:? (?P<micro>\d+), global batch size:? (?P<batch>\d+)"
    r"(?:, gradient accumulation steps:? (?P<passes>\d+))?, sequence length:? (?P<length>\d+)"
)
_MESH = re.compile(r"Building \d+-D device mesh with .*?, \[?\(?([\d, ]+)")
_MODEL = re.compile(r"Model (?P<name>.+?) size: (?P<weights>[\d,]+) total parameters")
_DEVICE = re.compile(r"(?:CUDA|GPU|XPU|HPU|NPU) capacity: (?P<name>.+?) with ")
_VALIDATE = re.compile(r"validate step:\s*\d+")
_SAVED = re.compile(r"Saving (?:a |the )?checkpoint|Finished saving the checkpoint")


class Torchtitan(Reader):
    """Its rates are turned into seconds by the tokens of a step and the number of devices."""

    name = "torchtitan"
    program = "torchtitan"

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.batch: re.Match[str] | None = None
        self.model: re.Match[str] | None = None
        self.devices: int | None = None
        self.device_name: str | None = None
        self.memory: float | None = None
        self.rates: list[float] = []
        self._inside: str | None = None

    @classmethod
    def recognise(cls, head: str) -> bool:
        return _STEP.search(head) is not None

    def feed(self, line: str) -> bool:
        if found := _STEP.search(line):
            return self._step(found, line)
        if found := _SETTINGS.search(line):
            self.batch = found
        elif found := _MODEL.search(line):
            self.model = found
        elif found := _DEVICE.search(line):
            self.device_name = found["name"]
        elif found := _MESH.search(line):
            sizes = [int(size) for size in re.findall(r"\d+", found[1])]
            self.devices = 1
            for size in sizes:
                self.devices *= size
        elif _VALIDATE.search(line):
            self._inside = "evaluation_inside"
        elif _SAVED.search(line):
            self._inside = self._inside or "checkpoint_inside"
        else:
            return False
        return True

    def _step(self, found: re.Match[str], line: str) -> bool:
        step, rate = int(found["step"]), number(found["tps"])
        steps, before = steps_since(self.samples, step), len(self.samples)
        if rate <= 0:
            return True
        loss = self.loss_of(found["loss"])
        self.add(
            Sample(step=step, steps=steps, seconds=1 / rate, loss=loss, stamp=stamp_of(line),
                   includes=self._inside)
        )  # fmt: skip
        if len(self.samples) > before:
            self._inside = None
        if found["memory"]:
            self.memory = max(self.memory or 0.0, float(found["memory"]) * 2**30)
        return True

    def finish(self) -> ImportedLog:
        devices = self.given.settle("device_count", self.devices)
        batch = self.batch
        tokens = float(batch["batch"]) * int(batch["length"]) if batch else None
        tokens = self.given.settle("tokens_per_step", tokens)
        if devices is None or tokens is None:
            missing = (
                "--tokens-per-step N"
                if tokens is None
                else "--on INSTANCE, --on CHIP:N or --devices N"
            )
            raise refuse(
                "prints tokens a second of one device, and does not say "
                + ("the tokens of a step" if tokens is None else "how many devices there are"),
                f"say it: {missing}",
            )
        self.samples["seconds"][:] *= tokens / devices
        log = self.found(
            time_basis="interval" if (self.samples["steps"] > 1).any() else "step",
            synchronised="yes",
            scope="device",
            tokens_per_step=tokens,
            sequences_per_step=int(batch["batch"]) if batch else None,
            sequence_length=int(batch["length"]) if batch else None,
            micro_batch_size=int(batch["micro"]) if batch else None,
            accumulation=int(batch["passes"]) if batch and batch["passes"] else None,
            device_count=self.devices,
            device_name=self.device_name,
            model=self.model["name"] if self.model else None,
            parameter_count=int(number(self.model["weights"])) if self.model else None,
            memory_bytes=self.memory,
        )
        log.doubt(
            "per_device",
            f"tps is of one device, and was multiplied by {devices}; it is right where every "
            "device has the same share of the tokens",
        )
        return log
