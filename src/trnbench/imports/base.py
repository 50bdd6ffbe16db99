"""What another program's log says, in one form: stretches of steps with their seconds, and traps.

A reader takes one line after another and keeps those that say something; what it makes of them is
an `ImportedLog`. Units: seconds, tokens of the whole job, bytes, nats a token.
"""

from array import array
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from trnbench.errors import DataError
from trnbench.schema.imported import Given, Synchronised, TimeBasis

MEANINGLESS = "the log does not say"


@dataclass(slots=True, kw_only=True)
class Sample:
    """A stretch of optimizer steps that the log times as one."""

    step: int
    """The last step of it, as the log counts."""
    steps: int = 1
    seconds: float
    """Of one of its steps, mean."""
    tokens: float | None = None
    """Of one of its steps, of the whole job; None where it is the log's constant."""
    loss: float | None = None
    """Nats a token; None where it is not printed, and where it is no number."""
    includes: str | None = None
    """What else lies in its time: the name of the trap."""
    stamp: float | None = None
    """The line's own clock, seconds since some midnight."""
    left_out: str | None = None
    """The name of the trap for which it does not count."""


COLUMNS = {"step": "q", "steps": "q", "seconds": "d", "tokens": "d", "loss": "d", "stamp": "d",
           "segment": "i", "includes": "B", "left_out": "B"}  # fmt: skip
"""Of samples, with their types; NaN stands for None, and 0 for no trap."""


class Samples:
    """Samples in order, in columns of 54 bytes a sample: a log may have millions."""

    def __init__(self) -> None:
        self._columns: dict[str, array[Any]] = {name: array(kind) for name, kind in COLUMNS.items()}
        self._traps: list[str | None] = [None]
        self.segments = 1
        """Parts of the log; a job that was started again begins one."""

    def __len__(self) -> int:
        return len(self._columns["step"])

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a column, which may be written to; nothing can be appended while it is used."""
        column = self._columns[name]
        return np.frombuffer(column, column.typecode) if column else np.empty(0, column.typecode)

    def append(self, sample: Sample) -> None:
        """Add a sample to the last segment."""
        columns, none = self._columns, float("nan")
        columns["step"].append(sample.step)
        columns["steps"].append(sample.steps)
        columns["seconds"].append(sample.seconds)
        columns["tokens"].append(none if sample.tokens is None else sample.tokens)
        columns["loss"].append(none if sample.loss is None else sample.loss)
        columns["stamp"].append(none if sample.stamp is None else sample.stamp)
        columns["segment"].append(self.segments - 1)
        columns["includes"].append(self.code(sample.includes))
        columns["left_out"].append(self.code(sample.left_out))

    def last_steps(self, count: int = 1) -> "array[int]":
        """Return the numbers of the last steps, as the log counts."""
        return self._columns["step"][-count:]

    @property
    def first_step(self) -> int:
        """The number of the first step."""
        return int(self._columns["step"][0])

    def code(self, trap: str | None) -> int:
        """Return the number that stands for a trap's name in `includes` and `left_out`."""
        if trap is None:
            return 0
        if trap not in self._traps:
            self._traps.append(trap)
        return self._traps.index(trap)

    def leave_out(self, which: NDArray[np.bool_], trap: str) -> None:
        """Leave the samples of a mask out for a trap, if they still count."""
        left_out = self["left_out"]
        left_out[which & (left_out == 0)] = self.code(trap)

    def traps(self, name: str, among: NDArray[np.bool_] | None = None) -> dict[str, int]:
        """Return how many samples have each trap in a column, in the order of the log."""
        column = self[name] if among is None else self[name][among]
        codes, first, counts = np.unique(column, return_index=True, return_counts=True)
        found = sorted(zip(first, codes, counts, strict=True))
        return {self._traps[code] or "": int(count) for _, code, count in found if code}


@dataclass(frozen=True, slots=True)
class Trap:
    """Something about the log that makes its figures less than they seem."""

    name: str
    evidence: str
    verdict: Literal["sound", "doubtful", "invalid"] = "doubtful"
    advice: str | None = None


@dataclass(slots=True, kw_only=True)
class ImportedLog:
    """All that was read of one run."""

    samples: Samples = field(default_factory=Samples)
    time_basis: TimeBasis
    synchronised: Synchronised
    scope: str
    """What the printed rates are of: the job, one device, one process."""
    tokens_per_step: float | None = None
    """Of the whole job."""
    sequences_per_step: int | None = None
    sequence_length: int | None = None
    micro_batch_size: int | None = None
    accumulation: int | None = None
    device_count: int | None = None
    device_name: str | None = None
    model: str | None = None
    parameter_count: int | None = None
    memory_bytes: float | None = None
    started_at: str | None = None
    has_repeats: bool = True
    """Whether the samples are separate timings, so that an interval can be made."""
    traps: list[Trap] = field(default_factory=list)

    def doubt(self, name: str, evidence: str, advice: str | None = None) -> None:
        """Add a trap that makes the result doubtful."""
        self.traps.append(Trap(name, evidence, "doubtful", advice))


class Reader:
    """One run's lines in, one `ImportedLog` out; a subclass for each format."""

    name: ClassVar[str]
    """As `--format` has it."""
    program: ClassVar[str]
    """As its makers write it."""

    def __init__(self, given: Given) -> None:
        self.given = given
        self.losses_lost = 0
        self.resets = 0
        self.restarts: list[int] = []
        self._starts_anew = False
        self.samples = Samples()

    @classmethod
    def recognise(cls, head: str) -> bool:
        """Tell whether a text is the beginning of such a log."""
        raise NotImplementedError

    def feed(self, line: str) -> bool:
        """Take in a line; tell whether it says anything, so that it is kept."""
        raise NotImplementedError

    def finish(self) -> ImportedLog:
        """Return what was read."""
        raise NotImplementedError

    def restart(self) -> None:
        """Note that the job was started again: its next step starts anew too."""
        self._starts_anew = True

    def add(self, sample: Sample) -> None:
        """Add a stretch; the same one printed by another rank counts once.

        Raises:
            DataError: the log begins anew, so that it is of two runs.
        """
        samples = self.samples
        if not len(samples):
            samples.append(sample)
            return
        (last,) = samples.last_steps()
        if sample.step == last:
            return  # the same step, printed by another rank
        if sample.step < last:
            if sample.step <= samples.first_step:
                raise _TwoRunsError(sample.step)
            self._starts_anew = True
        if self._starts_anew:
            self.restarts.append(sample.step)
            samples.segments += 1
            sample.left_out = "restart"
        self._starts_anew = False
        samples.append(sample)

    def loss_of(self, text: str | float | None) -> float | None:
        """Return a loss, or None where it is no number, which is counted."""
        if text is None:
            return None
        value = float(text)
        if value != value or value in (float("inf"), float("-inf")):
            self.losses_lost += 1
            return None
        return value

    def found(self, **known: Any) -> ImportedLog:
        """Return the log with what every format has: samples, lost losses, restarts."""
        log = ImportedLog(samples=self.samples, **known)
        if self.losses_lost:
            log.traps.append(
                Trap(
                    "finite",
                    f"{self.losses_lost} printed losses are not numbers",
                    "invalid",
                    "find the step at which the loss was lost; its speed says nothing",
                )
            )
        if self.restarts:
            at = ", ".join(map(str, self.restarts[:5]))
            log.doubt(
                "restart",
                f"the job was started again before step {at}; the step after a restart is left out",
                "import the part after the restart by itself",
            )
        return log


class _TwoRunsError(DataError):
    """The log holds another run from here on."""

    def __init__(self, step: int) -> None:
        super().__init__(
            f"begins anew at step {step}: it holds more than one run",
            hint="name the one that is meant, counted from 1: --run 1",
        )


TwoRuns = _TwoRunsError


def steps_since(samples: Samples, step: int) -> int:
    """Return how many steps a line stands for: those since the line before it; 1 of the first."""
    return max(step - samples.last_steps()[0], 1) if len(samples) else 1


def most_common(values: "array[Any]") -> Any:
    """Return the value that stands most often in a column."""
    found, counts = np.unique(np.frombuffer(values, values.typecode), return_counts=True)
    return found[counts.argmax()].item()


def number(text: str) -> float:
    """Read a figure with thousands separators."""
    return float(text.replace(",", ""))


def refuse(message: str, hint: str) -> DataError:
    """Return the error of a log that cannot become a result."""
    return DataError(message, hint=hint)
