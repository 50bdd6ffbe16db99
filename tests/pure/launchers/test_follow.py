"""A job is followed to its end, through silences of its engine."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from trnbench.errors import UnavailableError
from trnbench.launchers import ENGINES, engine_of
from trnbench.launchers.base import JobGoneError, State
from trnbench.launchers.follow import MOST_FAILURES, follow

AWAY = UnavailableError("the controller does not answer", hint="wait")
RUNNING, DONE = State("RUNNING"), State("COMPLETED", is_over=True, exit_code=0)


class Scripted:
    identifier = "7"
    end_command = "end 7"
    clean_command: str | None = None

    def __init__(self, *states: State | Exception) -> None:
        self.states = [*states]
        self.looks = 0

    def look(self) -> State:
        found = self.states[min(self.looks, len(self.states) - 1)]
        self.looks += 1
        if isinstance(found, Exception):
            raise found
        return found

    def new_lines(self) -> Sequence[str]:
        return [f"line {self.looks}"]

    def fetch(self, output: Path) -> str | None:
        raise AssertionError(output)

    def close(self) -> None:
        raise AssertionError


def run(job: Scripted, stop_after: int = 1000) -> tuple[State | None, list[str], list[float]]:
    told: list[str] = []
    waited: list[float] = []

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        return len(waited) < stop_after

    return follow(job, tell=told.append, wait=wait), told, waited


def test_a_state_is_told_once_and_every_line_of_the_job() -> None:
    state, told, waited = run(Scripted(State("PENDING (Resources)"), RUNNING, RUNNING, DONE))
    assert state == DONE
    assert told == [
        "line 1", "job 7: PENDING (Resources)", "line 2", "job 7: RUNNING", "line 3", "line 4",
        "job 7: COMPLETED",
    ]  # fmt: skip
    assert waited == sorted(waited)


def test_an_engine_that_is_silent_for_a_while_does_not_end_the_following() -> None:
    state, told, waited = run(Scripted(RUNNING, *[AWAY] * MOST_FAILURES, RUNNING, DONE))
    assert state == DONE
    assert "job 7: not known for the moment: the controller does not answer" in told
    assert max(waited) == 10


def test_an_engine_that_stays_silent_ends_it() -> None:
    with pytest.raises(UnavailableError, match="does not answer"):
        run(Scripted(RUNNING, AWAY))


def test_a_job_that_is_gone_ends_it_at_once() -> None:
    job = Scripted(RUNNING, JobGoneError("job 7: is gone", hint="look"))
    with pytest.raises(JobGoneError):
        run(job)
    assert job.looks == 2


def test_one_who_stops_waiting_leaves_the_job_running() -> None:
    assert run(Scripted(RUNNING), stop_after=2)[0] is None


def test_every_file_of_an_engine_is_registered() -> None:
    folder = Path(__file__).parents[3] / "src/trnbench/launchers"
    beside = {"__init__", "base", "client", "follow", "terms", "archive", "kubernetes_job"}
    assert {path.stem for path in folder.glob("*.py")} - beside == {*ENGINES}
    assert [engine_of(name).name for name in ENGINES] == [*ENGINES]
