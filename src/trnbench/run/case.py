"""One case from its launch to its outcome: hear the worker, write it down, tell it what is next.

Whatever happens, the last record is an outcome with its reason, and no process is left. Between
a block's record and the next command the worker waits; only then does the parent work, so that it
takes no processor time from a block that is being timed.
"""

import time
from collections.abc import Callable

from trnbench.analysis.records import is_valid_block
from trnbench.machine.telemetry import Recorder
from trnbench.run import endings
from trnbench.run.budget import Budget, NextBlock
from trnbench.run.endings import Over
from trnbench.run.hang import HangWatch
from trnbench.run.interruption import Interruption
from trnbench.run.launch import Ended, Line, Overflow, Worker
from trnbench.run.observer import Observer, Progress
from trnbench.run.pace import Pacer
from trnbench.run.store import MeasurementFile
from trnbench.run.watch import LoadWatch
from trnbench.schema.plan import Plan
from trnbench.schema.records import Decision, Outcome
from trnbench.wire import (
    CHILD_RECORDS,
    Activity,
    Block,
    ChildRecord,
    Environment,
    Failed,
    Finish,
    Finished,
    Phase,
    WireError,
    decode,
)

Clock = Callable[[], float]

QUIET_SECONDS = 1.0
"""While nothing is heard, whoever watches is told this often."""

SYNC_SECONDS = 10.0
"""This often the records are made safe against a loss of power; a write survives all else."""


class CaseRun:
    """Drives one worker through one plan."""

    def __init__(
        self,
        plan: Plan,
        records: MeasurementFile,
        worker: Worker,
        interruption: Interruption,
        observer: Observer,
        clock: Clock = time.perf_counter,
        recorder: Recorder | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._plan = plan
        self._backend = plan.order.backend
        self._file = records
        self._worker = worker
        self._interruption = interruption
        self._observer = observer
        self._clock = clock
        self._recorder = recorder
        self._budget = budget or Budget.of(plan)
        self._pacer = Pacer(plan.measure, self._budget.reason)
        self._watch: LoadWatch | None = None
        self._began = self._told = self._synced = clock()
        self._hang = HangWatch(worker.pid, plan.measure.hang_seconds, self._began)
        self._next_block = NextBlock()
        self._phase = "start"
        self._steps = 0

    def follow(self) -> Outcome:
        """Follow the worker to its end and say how it ended; the outcome is not written here.

        Raises:
            StorageFull: a record could not be written.
        """
        try:
            for event in self._worker.events():
                if isinstance(event, Line):
                    self._hear(event.text)
                elif isinstance(event, Ended):
                    raise endings.of_death(
                        self._backend, event.exit_code, self._worker, self._phase
                    )
                elif isinstance(event, Overflow):
                    raise endings.of_garbage("a line without an end", self._worker)
                self._look_at_the_clock()
        except Over as over:
            return over.outcome(self._elapsed())
        raise RuntimeError("the worker's events ended without an end")

    # --- what is heard ------------------------------------------------------------------------

    def _hear(self, line: bytes) -> None:
        try:
            record: ChildRecord = decode(line, CHILD_RECORDS)
        except WireError as error:
            raise endings.of_unreadable(line, error, self._worker) from None
        self._hang.heard(self._clock())
        if isinstance(record, Failed):
            raise endings.of_failure(self._backend, record, self._worker)
        if isinstance(record, Block) and not is_valid_block(record):
            what = f"{record.steps} steps that took {record.seconds:g} s"
            raise endings.of_garbage(what, self._worker)
        self._file.append(record)
        match record:
            case Finished():
                raise self._finished()
            case Environment():
                self._meet(record)
            case Phase():
                self._enter(record)
            case Activity():
                self._next_block.hear(record)
            case Block():
                self._take(record)

    def _meet(self, environment: Environment) -> None:
        endings.require_version(environment)
        self._pacer.device_is(is_asynchronous=environment.asynchronous)

    def _enter(self, phase: Phase) -> None:
        self._phase = phase.name
        self._tell_observer()
        if phase.name == "train":
            self._watch = LoadWatch(self._worker.pid, self._clock)
            self._command_next()

    def _take(self, block: Block) -> None:
        """Take in a block while the worker waits, then send it on."""
        self._steps = block.first_step + block.steps
        self._next_block.take(block)
        self._phase = "measure" if block.purpose == "measure" else "warm up"
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
        if isinstance(command, Finish):
            self._phase = "end"
        self._worker.send(command)

    # --- how it can end -------------------------------------------------------------------------

    def _finished(self) -> Over:
        return endings.of_finish(self._pacer.samples, self._elapsed(), self._pacer.stopped)

    def _look_at_the_clock(self) -> None:
        """End what was interrupted, hangs, or has had its time; tell whoever watches."""
        now = self._clock()
        if self._recorder is not None:
            for reading in self._recorder.poll(self._elapsed()):
                self._file.append(reading)
        if self._interruption.signal is not None:
            raise Over(
                self._interruption.status,
                f"{self._interruption.reason} after {self._pacer.samples} samples",
                "run the same command with the same `-o` folder to measure it again",
            )
        if self._hang.is_hung(now):
            limit = f"measure.hang_seconds={self._plan.measure.hang_seconds:g}"
            silent_seconds = self._hang.silent_seconds(now)
            raise endings.of_hang(silent_seconds, limit, self._worker, self._phase)
        if self._budget.is_overrun(self._elapsed(), self._next_block.seconds):
            raise Over(
                "out_of_budget",
                self._budget.say_overrun(self._plan.measure, self._phase, self._elapsed()),
                endings.allow_more(self._budget.reason),
            )
        if now - self._told > QUIET_SECONDS:
            self._tell_observer()

    # --- what is told ---------------------------------------------------------------------------

    def _elapsed(self) -> float:
        return self._clock() - self._began

    def _tell_observer(self) -> None:
        self._told = self._clock()
        mean = self._pacer.mean_step_seconds
        self._observer.case_moves(
            self._plan,
            Progress(
                phase=self._phase,
                steps=self._steps,
                samples=self._pacer.samples,
                tokens_per_second=self._plan.workload.tokens_per_step / mean if mean else None,
                relative_half_width=self._pacer.relative_half_width,
                elapsed_seconds=self._elapsed(),
                usd_spent=self._budget.usd_spent(self._elapsed()),
            ),
        )
