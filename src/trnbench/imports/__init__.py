"""Logs of other programs, read into results: one file a format, one line here.

`read_log` streams a log through its format's reader. A format is found by content.
"""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from trnbench.errors import ConfigError, DataError, did_you_mean
from trnbench.imports.base import ImportedLog, Reader, TwoRuns
from trnbench.imports.text import HEAD_LENGTH, date_of, without_rank
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


@dataclass(slots=True)
class Read:
    """A log that was read, with the lines of it that say something."""

    log: ImportedLog
    format: str
    program: str
    lines: list[str] = field(default_factory=list)


def read_log(lines: Iterator[str], given: Given, redact: Callable[[str], str] = str) -> Read:
    """Read one run of a log, keeping the lines that say something, each as `redact` leaves it.

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
    kind = reader_class(name)
    wanted = int(given.run) if given.run is not None and given.run.isdigit() else None
    kept: list[str] = []
    run, reader, date = 1, kind(given), None
    for line in (*head, *lines):
        date = date or date_of(line)
        text = redact(line) if len(line) < HEAD_LENGTH else line
        try:
            is_kept = reader.feed(without_rank(text))
        except TwoRuns:
            if wanted is None:
                raise
            if run == wanted:
                break
            run, reader, kept = run + 1, kind(given), []
            is_kept = reader.feed(without_rank(text))
        if is_kept:
            kept.append(text)
    if wanted is not None and wanted != run:
        raise DataError(f"holds {run} run{'s' if run > 1 else ''}", hint="--run counts from 1")
    log = reader.finish()
    log.started_at = log.started_at or date
    return Read(log, name, reader.program, kept)
