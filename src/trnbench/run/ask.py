"""One question to the training interpreter: a worker that answers with one record and is ended."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from trnbench.redact import scrub
from trnbench.run.launch import Ended, Line, Overflow, Worker, worker_command
from trnbench.schema.errors import ConfigError, UnavailableError
from trnbench.wire import (
    CHILD_RECORDS,
    WIRE_VERSION,
    Described,
    Failed,
    Inventory,
    Probe,
    WireError,
    decode,
)

PYTHON_HINT = "name an interpreter that has torch with `--python PATH`"

OTHERS_CODE = {"describe": "while the model was imported, built and tried"}
"""Tasks that run code which is not ours, and what it was doing."""
OTHERS_HINT = "importing and building it must come to an end, and leave the process alone"

Answer = TypeVar("Answer", Inventory, Probe, Described)


def ask_worker(
    python: str,
    task: str,
    kind: type[Answer],
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
    variables: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Answer:
    """Start a worker for one task and return the record that it answers with.

    Args:
        python: the interpreter.
        task: what it shall do, in the words of `train/entry.py`.
        kind: the record that answers.
        seconds: after which it hangs.
        clock: of those seconds.
        variables: on top of our own.
        file: what the task is about, where it is about something.

    Raises:
        ConfigError: the interpreter cannot be started, or the user's model cannot be trained.
        UnavailableError: it cannot do it, hangs, dies, or is no Python.
    """
    worker = Worker(worker_command(python, task, file), variables)
    began = clock()
    answer: Answer | Failed | None = None
    try:
        for event in worker.events():
            if isinstance(event, Line):
                answer = answer or _read(event.text, kind)
            elif answer is not None:
                break  # it has ended by itself, or has been given the time to
            if isinstance(event, Overflow | Ended) or clock() - began > seconds:
                break
        said = scrub(worker.last_words().strip()).splitlines()
    finally:
        worker.end()
    if answer is not None:
        return _checked(answer)
    last = f"; it last said: {said[-1][:200]}" if said else ""
    if task in OTHERS_CODE:
        late = clock() - began > seconds
        how = f"no answer within {seconds:.0f} seconds" if late else "it ended without an answer"
        raise ConfigError(f"{how} {OTHERS_CODE[task]}{last}", hint=OTHERS_HINT)
    raise UnavailableError(
        f"{python}: did not answer as a Python with torch does{last}", hint=PYTHON_HINT
    )


def _read(line: bytes, kind: type[Answer]) -> Answer | Failed | None:
    """Return the record of a line, if it is one that answers."""
    try:
        record = decode(line, CHILD_RECORDS)
    except WireError:
        return None
    return record if isinstance(record, kind | Failed) else None


def _checked(record: Answer | Failed) -> Answer:
    if isinstance(record, Failed) and record.reason == "bad_model":
        raise ConfigError(scrub(record.message), hint=record.hint or "")
    if isinstance(record, Failed):
        raise UnavailableError(scrub(record.message), hint=record.hint or PYTHON_HINT)
    if record.wire_version != WIRE_VERSION:
        raise UnavailableError(
            f"the worker speaks version {record.wire_version} of the records, not {WIRE_VERSION}",
            hint="this is a mixed installation: install trnbench again",
        )
    return record
