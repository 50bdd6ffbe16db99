"""Measurement: the raw records of one case, sorted by kind; the one thing that is precious."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from trnbench.schema.errors import DataError
from trnbench.schema.records import (
    SCHEMA_VERSION,
    Decision,
    Header,
    Launch,
    Outcome,
    Reading,
    Watch,
    parse_record,
)
from trnbench.wire import (
    Activity,
    Block,
    Built,
    Ceiling,
    Environment,
    Memory,
    Movement,
    Parity,
    Phase,
    WireError,
)


class StepTaker(Protocol):
    """Whoever notes what matters of single steps, so that a long file need not be held whole."""

    def take(self, block: Block) -> Block:
        """Take in a block's steps; return it without them."""
        ...


@dataclass(slots=True, kw_only=True)
class Measurement:
    """What was recorded of one case, in order; whatever never came is None or empty."""

    header: Header
    environment: Environment | None = None
    launch: Launch | None = None
    built: Built | None = None
    memory: Memory | None = None
    parity: Parity | None = None
    movement: Movement | None = None
    outcome: Outcome | None = None
    phases: list[Phase] = field(default_factory=list)
    ceilings: list[Ceiling] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    activities: list[Activity] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    watches: list[Watch] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    steps: StepTaker | None = None
    """What took in each block's steps, if the blocks are kept without them."""
    torn_line: str | None = None
    """The beginning of a last line that was cut off while it was written."""
    source: str = field(default="a measurement", compare=False)
    """Where it was read from, for whoever must be told what is wrong with it."""

    def add(self, record: Any) -> None:
        """Put one record where it belongs."""
        several = _SEVERAL.get(type(record))
        match record:
            case _ if several is not None:
                getattr(self, several).append(record)
            case Environment() | Launch() | Parity() | Built() | Movement() | Memory() | Outcome():
                setattr(self, record.kind, record)  # one of each, named as its kind
            case _:
                pass  # Finished and Failed are told again, with the parent's view, by Outcome

    def records(self) -> Iterator[tuple[str, Any]]:
        """Yield each record but the header, with its kind."""
        for name in _ONE_OF_EACH:
            if (record := getattr(self, name)) is not None:
                yield name, record
        for cls, name in _SEVERAL.items():
            for record in getattr(self, name):
                yield cls.__name__.lower(), record


_ONE_OF_EACH = ("environment", "launch", "built", "memory", "parity", "movement", "outcome")

_SEVERAL: dict[type, str] = {
    Block: "blocks",
    Watch: "watches",
    Reading: "readings",
    Decision: "decisions",
    Activity: "activities",
    Phase: "phases",
    Ceiling: "ceilings",
}
"""Records of which there are many, and the list that each goes to."""


def parse_measurement(
    lines: Iterable[bytes], source: str, steps: StepTaker | None = None
) -> Measurement:
    """Read a measurement from the lines of its file.

    A torn last line is tolerated and kept as `torn_line`; any other line that is not a record
    means that the file was damaged.

    Args:
        lines: of the file.
        source: its name, for whoever must be told what is wrong with it.
        steps: takes in each block's steps as it is read; without one the blocks keep them.

    Raises:
        DataError: empty, newer than this version, or damaged.
    """
    measurement: Measurement | None = None
    for number, line, is_torn in _numbered(lines):
        try:
            record = parse_record(line)
        except WireError as error:
            if measurement is not None and is_torn:
                measurement.torn_line = line[:80].decode(errors="replace")
                break
            raise DataError(
                f"{source}, line {number}: {error}",
                hint="the file is damaged, or a newer trnbench wrote it; keep it and look inside",
            ) from error
        if measurement is None:
            measurement = Measurement(
                header=_checked_header(record, source), source=source, steps=steps
            )
        elif isinstance(record, Header):
            raise DataError(
                f"{source}, line {number}: a second header",
                hint="two measurements were put into one file: part them again",
            )
        else:
            if steps is not None and isinstance(record, Block):
                record = steps.take(record)
            measurement.add(record)
    if measurement is None:
        raise DataError(f"{source}: is empty", hint="nothing was measured; run the case again")
    return measurement


def _numbered(lines: Iterable[bytes]) -> Iterable[tuple[int, bytes, bool]]:
    for number, line in enumerate(lines, start=1):
        yield number, line, not line.endswith(b"\n")


def _checked_header(record: Any, source: str) -> Header:
    if not isinstance(record, Header):
        raise DataError(
            f"{source}: starts without a header", hint="this is not a file that trnbench wrote"
        )
    if record.schema_version < 1:
        raise DataError(
            f"{source}: has format {record.schema_version}, and the first one was 1",
            hint="the file was edited or is damaged; measure again",
        )
    if record.schema_version > SCHEMA_VERSION:
        raise DataError(
            f"{source}: has format {record.schema_version}, this version reads {SCHEMA_VERSION}",
            hint="read it with the newer trnbench that wrote it",
        )
    return record
