"""Measurement: the raw records of one case, sorted by kind; the one thing that is precious.

Its file holds the child's records and, between them, the parent's own.

Format versions, and what changed in each:

1   first version
2   `launch`, `activity` and `reading`; a block may have `event_seconds` and `rank_seconds`, a
    built model its `placement`, an environment its `clock_step_seconds`, an outcome
    the vendor's `code`
"""

import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from trnbench.errors import DataError
from trnbench.protocol.codec import ProtocolError, decode
from trnbench.protocol.orders import Purpose
from trnbench.protocol.parallel import AllReduce, Communication, Replica, Seated
from trnbench.protocol.records import (
    CHILD_RECORDS,
    Activity,
    Block,
    Built,
    Ceiling,
    ChildRecord,
    Environment,
    FailureReason,
    Memory,
    Parity,
    Phase,
    WeightUpdate,
)

SCHEMA_VERSION = 2

Status = (
    FailureReason
    | Literal[
        "finished",
        "died",
        "hung",
        "garbage",
        "out_of_budget",
        "interrupted",
        "terminated",
        "disk_full",
        "does_not_fit",
        "cut_off",
    ]
)
"""How a case ended. `cut_off` is never written: it is what a file without an outcome means."""

StopReason = Literal[
    "precise",
    "max_samples",
    "max_minutes",
    "max_usd",
    "run_max_usd",
    "not_finite",
    "trial",
    "pruned",
]
"""What ended the measuring; `run_max_usd` is the limit of all cases of a command, `trial` a launch
that only asks whether a size fits, `pruned` a launch of a search that is surely not the best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """First line of a measurement: of what, by which version, begun when."""

    kind: Literal["header"] = "header"
    schema_version: int
    trnbench_version: str
    case_id: str
    plan_sha256: str
    """Of the plan's text, so that a plan that was changed later is noticed."""
    started_at: str
    """UTC, ISO 8601."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredPeak:
    """What `trnbench peak` measured of an all-reduce between as many devices of this machine."""

    ranks: int
    whole_bytes: int
    seconds: float
    """Median of its repeats."""
    source: str
    """What timed it, as `peak.json` says: torch or the vendor's tool."""
    folder: str
    """Name of the folder of that peak.json."""
    started_at: str
    """UTC, ISO 8601."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """The environment variables that the parent added for the worker."""

    kind: Literal["launch"] = "launch"
    at_seconds: float
    variables: dict[str, str]
    """Paths and names are removed."""
    links: dict[str, int] | None = None
    """Pairs of the job's devices by what joins them, in the words of the vendor's tool; null: not
    known, or one device."""
    all_reduce_peak: MeasuredPeak | None = None
    """Null: one device, or none was found that is like this machine."""
    nodes: list[dict[str, str]] | None = None
    """Of several nodes, in order, what must be alike on all, by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the stopping rule decided: the window, each look at the precision, the end."""

    kind: Literal["decision"] = "decision"
    at_seconds: float
    what: Literal["window", "look", "stop"]
    value: float
    """Steps in a sample; relative half-width of the interval; samples taken."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What else the machine did while the worker trained."""

    kind: Literal["watch"] = "watch"
    at_seconds: float
    purpose: Purpose
    seconds: float
    foreign_cpu_share: float
    """Processor time of all other processes as a part of the machine's, over these seconds."""
    worker_rss_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one source of telemetry read of one device, or of all that it covers.

    A value that a source does not have is left out, never 0; `machine/source.py` says what each
    name counts.
    """

    kind: Literal["reading"] = "reading"
    at_seconds: float
    source: str
    """`host`, `rapl`, `nvml` or `neuron-monitor`."""
    device: int | None
    """By the source's own count; null: the whole machine, or all that the source covers."""
    is_valid: bool
    """False: there is no figure here, and `note` says why; recorded once, not at every reading."""
    note: str | None
    """Why it is not valid, or what is counted."""
    values: dict[str, float]
    flags: list[str]
    """States without a figure. What begins with `throttle_` is a reason why the chip runs slower
    than it could; others are `clocks_…`, `ecc_uncorrected` and `numerical_errors`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankFault:
    """Ranks of one job contradict each other; the first time of each kind is recorded."""

    kind: Literal["rank_fault"] = "rank_fault"
    at_seconds: float
    what: Literal["losses", "gradient_norms", "weights", "steps", "device", "process_group"]
    """losses: ranks with data of their own have the same ones, so the same data; the others: ranks
    that must agree do not, or two share a device."""
    ranks: list[int]
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Last line of a measurement: how it ended, and why."""

    kind: Literal["outcome"] = "outcome"
    at_seconds: float
    status: Status
    reason: str
    hint: str | None = None
    detail: str | None = None
    """The worker's traceback, or the end of what it printed; paths are removed."""
    code: str | None = None
    """The vendor's own code for what went wrong, such as `NCC_EVRF004`."""


ParentRecord = Header | Launch | Decision | Watch | Reading | RankFault | Outcome

Record = ChildRecord | ParentRecord

RECORDS: tuple[type, ...] = (*CHILD_RECORDS, *typing.get_args(ParentRecord))


def parse_record(line: str | bytes) -> Any:
    """Read one line of a measurement file; raise a `ProtocolError` if it is no record."""
    return decode(line, RECORDS)


class StepTaker(Protocol):
    """Keeps what matters of single steps, so that a long file need not stay in memory."""

    def take(self, block: Block) -> Block:
        """Take in a block's steps; return it without them."""
        ...


@dataclass(slots=True, kw_only=True)
class Measurement:
    """What was recorded of one case, in order; what was never recorded is None or empty."""

    header: Header
    environment: Environment | None = None
    launch: Launch | None = None
    built: Built | None = None
    memory: Memory | None = None
    all_reduce: AllReduce | None = None
    parity: Parity | None = None
    movement: WeightUpdate | None = None
    outcome: Outcome | None = None
    phases: list[Phase] = field(default_factory=list)
    ceilings: list[Ceiling] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    activities: list[Activity] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    watches: list[Watch] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    seats: list[Seated] = field(default_factory=list)
    """One a rank, in order; empty for one rank, as are the next three."""
    communications: list[Communication] = field(default_factory=list)
    replicas: list[Replica] = field(default_factory=list)
    rank_faults: list[RankFault] = field(default_factory=list)
    steps: StepTaker | None = None
    """What keeps the steps of blocks, where the blocks are kept without them."""
    torn_line: str | None = None
    """The beginning of a last line that was cut off while it was written."""
    source: str = field(default="a measurement", compare=False)
    """Where it was read from, for error messages."""

    def add(self, record: Any) -> None:
        """Put one record where it belongs."""
        if type(record) in _SEVERAL:
            getattr(self, _SEVERAL[type(record)]).append(record)
        elif record.kind in _ONE_OF_EACH:
            setattr(self, record.kind, record)
        # Finished and Failed are left out: Outcome says the same, with the parent's view.

    def records(self) -> Iterator[tuple[str, Any]]:
        """Yield each record but the header, with its kind."""
        for name in _ONE_OF_EACH:
            if (record := getattr(self, name)) is not None:
                yield name, record
        for cls, name in _SEVERAL.items():
            for record in getattr(self, name):
                yield cls.__name__.lower(), record


_ONE_OF_EACH = (
    "environment", "launch", "built", "memory", "all_reduce", "parity", "movement", "outcome",
)  # fmt: skip
"""The kinds of records of which there is one, and the fields that hold them."""

_SEVERAL: dict[type, str] = {
    Block: "blocks",
    Watch: "watches",
    Reading: "readings",
    Decision: "decisions",
    Activity: "activities",
    Phase: "phases",
    Ceiling: "ceilings",
    Seated: "seats",
    Communication: "communications",
    Replica: "replicas",
    RankFault: "rank_faults",
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
        source: its name, for error messages.
        steps: keeps each block's steps; without one the blocks keep them.

    Raises:
        DataError: empty, newer than this version, or damaged.
    """
    measurement: Measurement | None = None
    for number, line in enumerate(lines, start=1):
        try:
            record = parse_record(line)
        except ProtocolError as error:
            if measurement is not None and not line.endswith(b"\n"):
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
