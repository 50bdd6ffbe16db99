"""RunDocument: what a run's folder says of the run as a whole."""

from typing import Any, Literal

from trnbench.schema.base import Strict


class RunCase(Strict):
    """One case and how it stands."""

    case_id: str
    status: str
    """`waiting`, `running`, or how it ended."""


class RunDocument(Strict):
    """The suite, where it ran, and how it ended."""

    schema_version: Literal[1] = 1
    trnbench_version: str
    run_id: str
    suites: list[str]
    started_at: str
    ended_at: str | None
    state: Literal["running", "finished", "failed", "interrupted"]
    """`running` in the folder of a run that was killed: nobody was left to write more."""
    machine: dict[str, Any]
    devices: list[dict[str, Any]]
    versions: dict[str, str]
    cases: list[RunCase]
