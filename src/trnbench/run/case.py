"""One case from its launch to its outcome: hear the worker, write it down, tell it what is next.

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
from trnbench.machine.telemetry import Recorder
from trnbench.protocol.records import Activity, Block, ChildRecord, Environment, Phase
from trnbench.run import outcomes
from trnbench.run.outcomes import End
from trnbench.run.stopping import Budget, NextBlock, Pacer
from trnbench.run.store import MeasurementFile
from trnbench.run.watch import Clock, Interruption, LoadWatch
from trnbench.run.worker import Job, converse
from trnbench.schema.measurement import Decision, Outcome
from trnbench.schema.plan import Plan
from trnbench.schema.result import Result

QUIET_SECONDS = 1.0
"""While nothing is heard, whoever watches is told this often."""

LAST_WORDS_HINT = "its last words are in the outcome of its measurement.jsonl"

SYNC_SECONDS = 10.0
"""This often the records are made safe against a loss of power; a write survives all else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a case stands."""

    phase: str
    steps: int
    samples: int
    tokens_per_second: float | None
    relative_half_width: float | None
    """Of the interval at the last look."""
    elapsed_seconds: float
    usd_spent: float | None


class Observer(Protocol):
    """Someone who watches; nothing that it does may reach the timed blocks."""

    def run_begins(self, folder: Path, plans: Sequence[Plan]) -> None:
        """The folder is there and the first case is next."""

    def case_begins(self, number: int, plan: Plan, launch: int) -> None:
        """A case is about to be launched; `number` and `launch` count from 1."""

    def case_moves(self, plan: Plan, progress: Progress) -> None:
        """Something has changed, or a second has passed."""

    def case_ends(self, number: int, result: Result, *, was_measured_before: bool) -> None:
        """A case is over and its result is on disk."""


class CaseRun:
    """Drives one job through one plan."""

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
    ) -> None:
        self._plan = plan
        self._file = records
        self._job = job
        self._interruption = interruption
        self._observer = observer
        self._clock = clock
        self._recorder = recorder
        self._budget = budget or Budget.of(plan)
        self._pacer = Pacer(plan.measure, self._budget.reason)
        self._watch: LoadWatch | None = None
        self._began = self._told = self._synced = clock()
        self._next_block = NextBlock()
        self._steps = 0

    def follow(self) -> Outcome:
        """Follow the job to its end and say how it ended; the outcome is not written here.

        Raises:
            StorageFull: a record could not be written.
        """
        hang = self._plan.measure.hang_seconds
        try:
            for _, record in converse(
                self._job,
                backend=self._plan.order.backend,
                hang=hang,
                hang_hint=f"if that is no hang, allow more than measure.hang_seconds={hang:g}",
                clock=self._clock,
                look=self._look,
            ):
                self._hear(record)
            end = outcomes.of_finish(self._pacer.samples, self._elapsed(), self._pacer.stopped)
        except End as early:
            end = early
            if end.status == "died" and end.hint is None:
                end = replace(end, hint=LAST_WORDS_HINT)
        return end.outcome(self._elapsed())

    # --- what is heard ------------------------------------------------------------------------

    def _hear(self, record: ChildRecord) -> None:
        if isinstance(record, Block) and not is_valid_block(record):
            what = f"{record.steps} steps that took {record.seconds:g} s"
            raise outcomes.of_garbage(what, self._job.last_words())
        self._file.append(record)
        match record:
            case Environment():
                self._pacer.device_is(is_asynchronous=record.asynchronous)
            case Phase():
                self._enter(record)
            case Activity():
                self._next_block.hear(record)
            case Block():
                self._take(record)

    def _enter(self, phase: Phase) -> None:
        self._tell_observer()
        if phase.name == "train":
            self._watch = LoadWatch(self._job.pids, self._clock)
            self._command_next()

    def _take(self, block: Block) -> None:
        """Take in a block while the worker waits, then send it on."""
        self._steps = block.first_step + block.steps
        self._next_block.take(block)
        self._pacer.observe(block)
        if self._watch is not None:
            seen = self._watch.look(self._elapsed(), block.purpose)
            if seen is not None:
                self._file.append(seen)
        now = self._clock()
        if now - self._synced > SYNC_SECONDS:
            self._file.sync()
            self._synced = now
        self._tell_observer()
        self._command_next()

    def _command_next(self) -> None:
        spent = self._budget.is_spent(self._elapsed(), self._next_block.seconds)
        command = self._pacer.next_command(is_out_of_budget=spent)
        for choice in self._pacer.take_choices():
            self._file.append(
                Decision(
                    at_seconds=self._elapsed(), what=choice.what, value=choice.value, why=choice.why
                )
            )
        self._job.send(command)

    # --- between what is heard ------------------------------------------------------------------

    def _look(self) -> None:
        """Take readings; end what was interrupted or has had its time; tell the observer."""
        if self._recorder is not None:
            for reading in self._recorder.poll(self._elapsed()):
                self._file.append(reading)
        self._interruption.look(
            f" after {self._pacer.samples} samples",
            "run the same command with the same `-o` folder to measure it again",
        )
        if self._budget.is_overrun(self._elapsed(), self._next_block.seconds):
            phase = self._job.phase()
            raise End(
                "out_of_budget",
                self._budget.say_overrun(self._plan.measure, phase, self._elapsed()),
                outcomes.allow_more(self._budget.reason),
            )
        if self._clock() - self._told > QUIET_SECONDS:
            self._tell_observer()

    def _elapsed(self) -> float:
        return self._clock() - self._began

    def _tell_observer(self) -> None:
        self._told = self._clock()
        mean = self._pacer.mean_step_seconds
        self._observer.case_moves(
            self._plan,
            Progress(
                phase=self._job.phase(),
                steps=self._steps,
                samples=self._pacer.samples,
                tokens_per_second=self._plan.workload.tokens_per_step / mean if mean else None,
                relative_half_width=self._pacer.relative_half_width,
                elapsed_seconds=self._elapsed(),
                usd_spent=self._budget.usd_spent(self._elapsed()),
            ),
        )
