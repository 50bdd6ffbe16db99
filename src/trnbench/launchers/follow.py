"""Follows a job until its end: its state when that changes, and what its first node prints."""

from collections.abc import Callable

from trnbench.errors import UnavailableError
from trnbench.launchers.base import JobGoneError, RunningJob, State

FIRST_SECONDS, MOST_SECONDS, GROWTH = 0.5, 10.0, 1.2
"""Between two looks: a short job is seen at once, and a long one asks an engine six times a minute.
Slurm forgets a job five minutes after its end (MinJobAge, slurm.conf(5))."""

MOST_FAILURES = 60
"""Looks in a row that an engine may not answer: ten minutes. The job goes on meanwhile."""


def follow(
    job: RunningJob,
    *,
    tell: Callable[[str], None],
    wait: Callable[[float], bool],
) -> State | None:
    """Return how a job ended; None where `wait` was stopped before.

    Args:
        job: the job.
        tell: is given each line for people.
        wait: waits for so many seconds, and returns whether to go on.

    Raises:
        JobGoneError: the engine does not know the job any more.
        UnavailableError: the engine has not answered for ten minutes.
    """
    said, failures, seconds = "", 0, FIRST_SECONDS
    while True:
        try:
            state = job.look()
            failures = 0
        except JobGoneError:
            raise
        except UnavailableError as error:
            failures += 1
            if failures > MOST_FAILURES:
                raise
            state = State(f"not known for the moment: {error}")
        for line in job.new_lines():
            tell(line)
        if state.says != said:
            said = state.says
            tell(f"job {job.identifier}: {said}")
        if state.is_over:
            return state
        if not wait(seconds):
            return None
        seconds = min(seconds * GROWTH, MOST_SECONDS)
