"""One launch of a case to its outcome: read a record, write it down, command what is next.

Whatever happens, the last record is an outcome with its reason, and no process is left. Between
a block's record and the next command the worker waits; only then does the parent work, so that it
takes no processor time from a block that is being timed.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from trnbench.analysis.records import is_valid_block
from trnbench.catalog.backends import backend_of
from trnbench.machine.telemetry import Recorder
from trnbench.protocol.orders import Finish
from trnbench.protocol.parallel import Replica
from trnbench.protocol.records import Activity, Block, ChildRecord, Environment, Phase
from trnbench.run import outcomes
from trnbench.run.disk import MeasurementFile
from trnbench.run.job import Job, Rank
from trnbench.run.outcomes import End
from trnbench.run.ranks import Merged, RankRecords
from trnbench.run.stopping import (
    ALL_REDUCE_SECONDS,
    Budget,
    NextBlock,
    StoppingRule,
    communication_steps,
)
from trnbench.run.watch import Clock, Interruption, LoadWatch
from trnbench.run.worker import converse, named
from trnbench.schema.measurement import Outcome
from trnbench.schema.plan import Plan
from trnbench.schema.result import Result

NOTIFY_SECONDS = 1.0
"""While no record comes, the observer is notified this often."""

SYNC_SECONDS = 10.0
"""This often the records are made safe against a loss of power; a write survives all else."""

OUTPUT_HINT = "the end of its output is in the outcome of its measurement.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a launch is."""

    phase: str
    steps: int
    samples: int
    tokens_per_second: float | None
    relative_half_width: float | None
    """Of the interval at the last look."""
    elapsed_seconds: float
    limit_seconds: float
    """What the launch may take."""
    usd_spent: float | None


class Observer(Protocol):
    """Shows a run while it goes on; it is called outside the timed blocks."""

    def run_begins(self, folder: Path, plans: Sequence[Plan]) -> None:
        """The folder is there and the first case is next."""

    def case_begins(self, number: int, plan: Plan, launch: int) -> None:
        """A case is about to be launched; `number` and `launch` count from 1."""

    def case_moves(self, plan: Plan, progress: Progress) -> None:
        """Something has changed, or a second has passed."""

    def case_ends(self, number: int, result: Result, *, was_measured_before: bool) -> None:
        """A case is over and its result is on disk."""


class CaseRun:
    """Drives one job through one plan: all its ranks obey the same commands."""

    def __init__(
        self,
        plan: Plan,
        records: MeasurementFile,
        job: Job,
        interruption: Interruption,
        observer: Observer,
        clock: Clock = time.perf_counter,
        recorder: Recorder | None = None,
        budget: Budget | None = None,
        rule: StoppingRule | None = None,
    ) -> None:
        self._plan = plan
        self._file = records
        self._job = job
        self._interruption = interruption
        self._observer = observer
        self._clock = clock
        self._recorder = recorder
        self._budget = budget or Budget.of(plan)
        self._rule = rule or StoppingRule(plan.measure, self._budget.reason)
        self._next_block = NextBlock()
        order = plan.order
        group = backend_of(order.backend).process_group
        self._ranks = RankRecords(order.layout, group, order.precision)
        self._load: LoadWatch | None = None
        """None before the training begins."""
        self._steps = 0
        self._is_measured = self._is_finishing = False
        self._ceiling_began: float | None = None
        self._ending_seconds = 0.0
        """What comes after the last block is expected to take: the ceiling is timed once more."""
        self._began = self._notified = self._synced = clock()

    def follow(self) -> Outcome:
        """Follow the job to its end and return how it ended; the outcome is not written here.

        Raises:
            StorageFull: a record could not be written.
        """
        try:
            for rank, record in converse(
                self._job,
                backend=self._plan.order.backend,
                hang=self._plan.measure.hang_seconds,
                clock=self._clock,
                check=self._check,
            ):
                self._take(rank, record)
            end = self._finish()
        except End as early:
            end = self._late(early) if self._is_measured else early
            if end.status == "died" and end.hint is None:
                end = replace(end, hint=OUTPUT_HINT)
        return end.outcome(self._elapsed())

    def _finish(self) -> End:
        return outcomes.of_finish(self._rule.samples, self._elapsed(), self._rule.stopped)

    def _late(self, early: End) -> End:
        """Return the end of a job that failed in its last part, where none of its figures are from.

        What a person stopped stays stopped.
        """
        if early.status == self._interruption.status and self._interruption.signal is not None:
            return early
        end = self._finish()
        what = f"{end.reason}; its communication is not known: {early.reason}"
        return replace(end, reason=what, detail=early.detail)

    # --- at each record -------------------------------------------------------------------------

    def _take(self, rank: Rank, record: ChildRecord) -> None:
        if isinstance(record, Block) and not is_valid_block(record):
            what = f"{record.steps} steps that took {record.seconds:g} s"
            end = outcomes.of_garbage(what, self._job.output_tail(rank))
            raise named(self._job, rank, end)
        for merged in self._ranks.take(rank, record):
            self._file.append(merged)
            self._act_on(merged)

    def _act_on(self, record: Merged) -> None:
        match record:
            case Environment():
                self._rule.is_asynchronous = record.asynchronous
            case Phase():
                self._note_phase(record)
                self._notify()
                if record.name == "train":
                    self._load = LoadWatch(self._job.pids, self._clock)
                    self._command_next()
            case Activity():
                self._next_block.note_activity(record)
            case Block():
                self._take_block(record)
            case Replica():  # of all ranks at once: nothing that is judged comes after it
                self._is_measured = True

    def _note_phase(self, phase: Phase) -> None:
        """Time the ceiling, which a device that others may use has timed once more at the end."""
        if phase.name == "ceiling":
            self._ceiling_began = self._clock()
        elif self._ceiling_began is not None:
            if backend_of(self._plan.order.backend).is_host:
                self._ending_seconds = self._clock() - self._ceiling_began
            self._ceiling_began = None

    def _take_block(self, block: Block) -> None:
        self._steps = block.first_step + block.steps
        self._next_block.note_block(block)
        self._rule.observe(block)
        if self._load is not None:
            seen = self._load.look(self._elapsed(), block.purpose)
            if seen is not None:
                self._file.append(seen)
        now = self._clock()
        if now - self._synced > SYNC_SECONDS:
            self._file.sync()
            self._synced = now
        self._notify()
        self._command_next()

    def _command_next(self) -> None:
        spent = self._budget.is_spent(
            self._elapsed(), self._next_block.seconds, self._ending_seconds
        )
        command = self._rule.next_command(is_out_of_budget=spent)
        for decision in self._rule.take_decisions():
            self._file.append(replace(decision, at_seconds=self._elapsed()))
        if isinstance(command, Finish) and self._job.ranks > 1:
            left = self._budget.seconds - self._elapsed()
            steps = communication_steps(self._rule.mean_step_seconds, left)
            command = replace(
                command, communication_steps=steps, times_all_reduce=left > ALL_REDUCE_SECONDS
            )
        self._is_finishing = isinstance(command, Finish)
        self._job.send(command)

    # --- between records ------------------------------------------------------------------------

    def _check(self) -> None:
        """Take readings; end what was interrupted or has used up its time; notify the observer."""
        if self._recorder is not None:
            for reading in self._recorder.poll(self._elapsed()):
                self._file.append(reading)
        self._interruption.check(
            f" after {self._rule.samples} samples",
            "run the same command with the same `-o` folder to measure it again",
        )
        if self._budget.is_overrun(self._elapsed()):
            raise self._overrun()
        if self._clock() - self._notified > NOTIFY_SECONDS:
            self._notify()

    def _overrun(self) -> End:
        """Return the end of a launch whose limit has come; all that was recorded is kept.

        One that was only writing its last records is as long as it was to be.
        """
        said = self._budget.say_overrun(self._plan.measure, self._job.phase(), self._elapsed())
        if self._is_finishing:
            end = self._finish()
            return replace(end, reason=f"{end.reason}; {said}")
        if self._rule.samples:
            said += f"; {self._rule.samples} samples are kept"
        return End("out_of_budget", said, outcomes.allow_more(self._budget.reason))

    def _elapsed(self) -> float:
        return self._clock() - self._began

    def _notify(self) -> None:
        self._notified = self._clock()
        mean = self._rule.mean_step_seconds
        self._observer.case_moves(
            self._plan,
            Progress(
                phase=self._job.phase(),
                steps=self._steps,
                samples=self._rule.samples,
                tokens_per_second=self._plan.workload.tokens_per_step / mean if mean else None,
                relative_half_width=self._rule.relative_half_width,
                elapsed_seconds=self._elapsed(),
                limit_seconds=self._budget.seconds,
                usd_spent=self._budget.usd_spent(self._elapsed()),
            ),
        )
