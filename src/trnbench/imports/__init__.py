"""Logs of other programs, read into results: one file a format, one line here.

`read_log` streams a log through its format's reader. A format is found by content.
"""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from trnbench.errors import ConfigError, DataError, did_you_mean
from trnbench.imports.base import ImportedLog, Reader, TwoRuns
from trnbench.imports.text import HEAD_LENGTH, date_of, rank_of, without_rank
from trnbench.schema.imported import Given

FORMATS = {
    "mllog": "mllog:Mllog",
    "torchtitan": "torchtitan:Torchtitan",
    "maxtext": "maxtext:MaxText",
    "nemo": "nemo:Nemo",
    "megatron": "megatron:Megatron",
    "neuronx": "neuronx:Neuronx",
    "nanochat": "nanochat:Nanochat",
    "nanogpt": "nanogpt:NanoGpt",
    "modded-nanogpt": "modded_nanogpt:ModdedNanoGpt",
    "llm.c": "llm_c:LlmC",
    "llamafactory": "llamafactory:LlamaFactory",
    "optimum-benchmark": "optimum_benchmark:OptimumBenchmark",
    "huggingface": "huggingface:HuggingFace",
    "wandb-csv": "tables:WandbCsv",
    "csv": "tables:NamedCsv",
}
"""By the name of `--format`: file and class; the first that recognises a log reads it."""


def reader_class(name: str) -> type[Reader]:
    """Return the reader of a format."""
    file, _, found = FORMATS[name].partition(":")
    return getattr(importlib.import_module(f"trnbench.imports.{file}"), found)  # type: ignore[no-any-return]


def find_format(head: str) -> str:
    """Return the format of a log by its beginning.

    Raises:
        DataError: no format has such lines.
    """
    for name in FORMATS:
        if reader_class(name).recognise(head):
            return name
    raise DataError(
        "is not a log of a program that is known" if head.strip() else "is empty",
        hint=f"known are {', '.join(FORMATS)}; of a table of your own see docs/import.md",
    )


def require_format(name: str) -> None:
    """Refuse a format that is not known, as a `ConfigError`."""
    if name not in FORMATS:
        raise ConfigError(
            f"--format {name}: is not a format of logs",
            hint=did_you_mean(name, FORMATS, f"one of {', '.join(FORMATS)}"),
        )


class Keeper(Protocol):
    """Where the lines that say something go."""

    def keep(self, line: str) -> None:
        """Take a line."""

    def clear(self) -> None:
        """Forget the lines so far: they were of another run."""


@dataclass(frozen=True, slots=True)
class Read:
    """A log that was read."""

    log: ImportedLog
    format: str
    program: str
    given: Given
    """With what files beside the log say."""


UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
"""What a reader raises on a line that is almost one of its program's."""


def read_log(
    lines: Iterator[str],
    given: Given,
    redact: Callable[[str], str] = str,
    keeper: Keeper | None = None,
    look_beside: Callable[[str, Given], Given] = lambda _, given: given,
) -> Read:
    """Read one run of a log, and hand on the lines that say something, as `redact` leaves them.

    `look_beside` is asked once the format is known, and adds what files beside the log say.

    Raises:
        DataError: it is of no known program, of more than one run, or has no times.
    """
    head: list[str] = []
    length = 0
    for line in lines:
        head.append(line)
        length += len(line)
        if length > HEAD_LENGTH:
            break
    name = given.format or find_format("\n".join(map(without_rank, head)))
    given = look_beside(name, given)
    reading = _Reading(reader_class(name), given, keeper)
    date = None
    for number, line in enumerate(chain(head, lines), start=1):
        date = date or date_of(line)
        try:
            if not reading.feed(redact(line) if len(line) < HEAD_LENGTH else line):
                break
        except UNREADABLE as error:
            raise _unreadable(f"line {number}", reading.reader, error) from error
    reader = reading.whole()
    try:
        log = reader.finish()
    except UNREADABLE as error:
        raise _unreadable("the whole of it", reader, error) from error
    log.started_at = log.started_at or date
    return Read(log, name, reader.program, given)


class _Reading:
    """The run that is wanted, of a log that may hold several, and one rank's lines of it.

    Of ranks that write into one log, the first that prints a step is followed.
    """

    def __init__(self, kind: type[Reader], given: Given, keeper: Keeper | None) -> None:
        self.kind, self.given, self.keeper = kind, given, keeper
        self.reader = kind(given)
        self.run = 1
        is_number = given.run is not None and given.run.isdigit()
        self.wanted = int(given.run or 0) if is_number else None
        self._leader: str | None = None

    def feed(self, line: str) -> bool:
        """Take a line; tell whether the run goes on."""
        rank = rank_of(line)
        if self._leader is not None and rank is not None and rank != self._leader:
            return True
        before = len(self.reader.samples)
        try:
            is_kept = self.reader.feed(without_rank(line))
        except TwoRuns:
            if self.wanted is None:
                raise
            if self.run == self.wanted:
                return False
            self.run, self.reader, before = self.run + 1, self.kind(self.given), 0
            if self.keeper:
                self.keeper.clear()
            is_kept = self.reader.feed(without_rank(line))
        if len(self.reader.samples) > before:
            self._leader = rank
        if is_kept and self.keeper:
            self.keeper.keep(line)
        return True

    def whole(self) -> Reader:
        """Return the reader of the run that is wanted.

        Raises:
            DataError: the log has fewer runs.
        """
        if self.wanted is not None and self.wanted != self.run:
            many = "s" if self.run > 1 else ""
            raise DataError(f"holds {self.run} run{many}", hint="--run counts from 1")
        return self.reader


def _unreadable(what: str, reader: Reader, error: Exception) -> DataError:
    return DataError(
        f"{what} is not as {reader.program} writes it: {error!r}",
        hint="is it whole? another program's log is read by another --format",
    )
