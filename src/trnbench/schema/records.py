"""What a measurement file holds: the child's records and, between them, the parent's own.

Format versions, and what changed in each:

1   first version
2   `launch`, `activity` and `reading`; a block may have `event_seconds` and `rank_seconds`, a
    built model its `placement`, an environment its `clock_step_seconds`, an outcome
    the vendor's `code`
"""

from dataclasses import dataclass
from typing import Any, Literal

from trnbench.wire import CHILD_RECORDS, ChildRecord, FailureReason, Purpose, decode

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

StopReason = Literal["precise", "max_samples", "max_minutes", "max_usd", "not_finite"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """First line of a measurement: of what, by which version, begun when."""

    kind: Literal["header"] = "header"
    schema_version: int
    trnbench_version: str
    case_id: str
    plan_sha256: str
    """Of the plan's text, so that a plan cannot be swapped under its measurement."""
    started_at: str
    """UTC, ISO 8601."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """The variables that the worker was started with, beside those that the machine had."""

    kind: Literal["launch"] = "launch"
    at_seconds: float
    variables: dict[str, str]
    """What the parent decided; paths and names are removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the parent decided from what it saw: the window, each look at the precision, the end."""

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
    """Processor time of everybody else as a part of the machine's, over these seconds."""
    worker_rss_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one source said of one device, or of all that it looks at, beside the run.

    A value that a source does not have is not there: never a zero in its place. What each name
    counts stands in `machine/source.py`.
    """

    kind: Literal["reading"] = "reading"
    at_seconds: float
    source: str
    """`host`, `rapl`, `nvml` or `neuron-monitor`."""
    device: int | None
    """By the source's own count; null: the whole machine, or all that the source sees."""
    is_valid: bool
    """False: there is no figure here, and `note` says why. Told once, not at every turn."""
    note: str | None
    """Why it is not valid, or what is counted."""
    values: dict[str, float]
    flags: list[str]
    """States without a figure. What begins with `throttle_` is a reason why the chip runs slower
    than it could; others are `clocks_…`, `ecc_uncorrected` and `numerical_errors`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Last line of a measurement: how it ended, and why."""

    kind: Literal["outcome"] = "outcome"
    at_seconds: float
    status: Status
    reason: str
    hint: str | None = None
    detail: str | None = None
    """The worker's last words: its traceback or the end of what it printed, paths removed."""
    code: str | None = None
    """The vendor's own code for what went wrong, such as `NCC_EVRF004`."""


ParentRecord = Header | Launch | Decision | Watch | Reading | Outcome
Record = ChildRecord | ParentRecord
RECORDS: tuple[type, ...] = (*CHILD_RECORDS, Header, Launch, Decision, Watch, Reading, Outcome)


def parse_record(line: str | bytes) -> Any:
    """Read one line of a measurement file.

    Raises:
        WireError: the line is not a record of this version.
    """
    return decode(line, RECORDS)
