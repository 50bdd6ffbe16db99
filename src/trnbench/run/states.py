"""What run.json says of a run while it goes on, written seldom where there are many cases."""

import math
import time
from collections.abc import Callable

from trnbench.run.store import RunFolder
from trnbench.schema.result import RunCase, RunDocument

FEW_CASES = 100
"""Up to so many, each change is written at once."""

SELDOM_SECONDS = 10.0
"""Of more, run.json is written at most so often: it is written whole, and grows with the cases. How
a case ended is in its own folder all the same."""


class States:
    """The state of each case, and run.json."""

    def __init__(self, document: RunDocument, clock: Callable[[], float] = time.monotonic) -> None:
        """Take what run.json says at the beginning; nothing is written yet."""
        self._document = document
        self._clock = clock
        self._cases = {case.case_id: case for case in document.cases}
        self._last_written = -math.inf

    def set(self, run: RunFolder, case_id: str, status: str) -> None:
        """Say how a case is.

        Raises:
            StorageFull: it could not be written.
        """
        self._cases[case_id] = RunCase(case_id=case_id, status=status)
        is_due = self._clock() - self._last_written >= SELDOM_SECONDS
        if len(self._cases) <= FEW_CASES or is_due:
            self.write(run)

    def write(self, run: RunFolder) -> None:
        """Write run.json as things are now."""
        self._document = self._document.model_copy(update={"cases": [*self._cases.values()]})
        run.write_document(self._document)
        self._last_written = self._clock()

    def end(self, run: RunFolder, ended_at: str, state: str | None, *, is_stopped: bool) -> None:
        """Say how the run ended; None: by its cases, and by whether a signal stopped it."""
        if state is None:
            unfinished = any(case.status != "finished" for case in self._cases.values())
            state = "failed" if unfinished else "finished"
            state = "interrupted" if is_stopped else state
        self._document = self._document.model_copy(update={"ended_at": ended_at, "state": state})
        self.write(run)
