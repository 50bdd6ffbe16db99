"""A case ends by its minutes or its dollars: by what its steps take, not by what compiling took."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import pytest

from tests.builders import make_activity
from tests.pure.run.plans import plan_case
from tests.pure.run.scripted_worker import make_block
from trnbench.protocol.codec import encode
from trnbench.protocol.orders import PROTOCOL_VERSION, Command, Finish, RunBlock
from trnbench.protocol.parallel import Seated
from trnbench.protocol.records import Block, Environment, Finished, Phase
from trnbench.run.case import CaseRun, Observer, Progress
from trnbench.run.disk import MeasurementFile
from trnbench.run.job import Event, Job, Line, Silence
from trnbench.run.stopping import (
    COMMUNICATION_STEPS,
    Budget,
    NextBlock,
    Spending,
    communication_steps,
)
from trnbench.run.watch import Interruption
from trnbench.schema.measurement import Outcome
from trnbench.schema.plan import Plan


def block_of(seconds: float, first_step: int = 0) -> Block:
    return make_block(RunBlock(steps=1, purpose="warmup"), first_step, seconds)


class Unwatched:
    """An observer that looks away."""

    def case_moves(self, plan: Plan, progress: Progress) -> None:
        pass


@dataclass
class Step:
    """One step of the script: how long it takes, and how much of it the compiler works."""

    seconds: float
    compilations: int = 0


class Scripted(Job):
    """A job without a process, whose steps move the clock."""

    def __init__(self, steps: Sequence[Step], phase: Literal["gate", "train"] = "train") -> None:
        super().__init__([])
        self._phases = ["start"]
        self._steps = iter([*steps])
        self._last = steps[-1]
        self._phase = phase
        self._commands: list[Command] = []
        self._compilations = 0
        self.now = 0.0
        self.steps = 0

    def clock(self) -> float:
        return self.now

    @property
    def pids(self) -> list[int]:
        return [os.getpid()]

    @property
    def unanswered(self) -> int:
        return len(self._commands)

    def send(self, command: Command) -> None:
        super().send(command)
        self._commands.append(command)

    def output_tail(self, rank: int = 0) -> str:
        return ""

    def events(self) -> Iterator[Event]:
        yield self._line(
            Environment(
                at_seconds=0.0, wire_version=PROTOCOL_VERSION, backend="cpu",
                device_name="a processor", device_count=1, asynchronous=False, proven=True,
                threads=2, versions={}, settings={},
            )
        )  # fmt: skip
        yield self._line(Phase(at_seconds=0.0, name=self._phase))
        while not self._commands:
            self.now += 1.0
            yield Silence()
        while isinstance(command := self._commands.pop(), RunBlock):
            yield from self._run(command)
        yield self._line(Finished(at_seconds=self.now, steps=self.steps))

    def _run(self, command: RunBlock) -> Iterator[Event]:
        step = next(self._steps, self._last)
        ends = self.now + step.seconds
        while self.now + 1.0 < ends:
            self.now += 1.0
            yield Silence()
        self.now = ends
        self._compilations += step.compilations
        if step.compilations or self.steps == 0:
            told = make_activity(self.steps + command.steps, compilations=self._compilations)
            yield self._line(told)
        yield self._line(make_block(command, self.steps, step.seconds))
        self.steps += command.steps

    def _line(self, record: object) -> Line:
        return Line(0, encode(record).encode())


class TwoRanks(Scripted):
    """A second rank sends the same records as the first."""

    def __init__(self, steps: Sequence[Step]) -> None:
        super().__init__(steps)
        self._phases = ["start", "start"]

    def events(self) -> Iterator[Event]:
        for event in super().events():
            if isinstance(event, Line) and b'"train"' in event.text:
                yield from (Line(rank, encode(seat(rank)).encode()) for rank in (0, 1))
            yield event
            if isinstance(event, Line):
                yield Line(1, event.text)


def seat(rank: int) -> Seated:
    return Seated(
        at_seconds=0.0, rank=rank, node=0, device="cpu", device_id=None, process_group="gloo",
        program="a" * 32,
    )  # fmt: skip


def follow(
    worker: Scripted, folder: Path, plan: Plan | None = None, budget: Budget | None = None
) -> Outcome:
    records = MeasurementFile(folder / "measurement.jsonl")
    try:
        return CaseRun(
            plan or plan_case({"measure.max_minutes": "3"}),
            records,
            worker,
            Interruption(),
            cast(Observer, Unwatched()),
            clock=worker.clock,
            budget=budget,
        ).follow()
    finally:
        records.close()


# --- what the next block may take ---------------------------------------------------------------


def test_nothing_is_known_of_the_next_block_before_the_second() -> None:
    following = NextBlock()
    assert following.seconds == 0.0
    following.note_block(block_of(89.0))
    assert following.seconds == 0.0


def test_the_next_block_is_taken_to_be_like_the_last() -> None:
    following = NextBlock()
    for seconds in (9.0, 2.0, 3.0):
        following.note_block(block_of(seconds))
    assert following.seconds == 3.0


@pytest.mark.parametrize("what", ["graphs", "compilations", "cache_hits"])
def test_a_block_that_compiled_says_nothing_of_the_next(what: str) -> None:
    following = NextBlock()
    following.note_activity(make_activity(1, graphs=1))
    for seconds in (9.0, 2.0):
        following.note_block(block_of(seconds))
    following.note_activity(make_activity(3, **{"graphs": 1, what: 2}))
    following.note_block(block_of(70.0))
    assert following.seconds == 2.0
    following.note_block(block_of(3.0))
    assert following.seconds == 3.0


def test_an_operator_that_fell_back_is_no_compilation() -> None:
    following = NextBlock()
    following.note_activity(make_activity(1))
    following.note_block(block_of(9.0))
    following.note_activity(make_activity(2, fallback_ops={"aten::mm": 1}))
    following.note_block(block_of(2.0))
    assert following.seconds == 2.0


# --- the end of a case --------------------------------------------------------------------------


def test_a_long_first_compilation_leaves_the_rest_of_the_minutes_to_the_samples(
    tmp_path: Path,
) -> None:
    worker = Scripted([Step(95.0, compilations=4), Step(2.0)])
    outcome = follow(worker, tmp_path)
    assert outcome.status == "finished"
    assert not outcome.reason.startswith("0 samples")
    assert 170.0 < worker.now < 180.0


def test_so_does_one_in_a_later_step(tmp_path: Path) -> None:
    worker = Scripted([Step(5.0), Step(95.0, compilations=2), Step(2.0)])
    assert follow(worker, tmp_path).status == "finished"
    assert 170.0 < worker.now < 180.0


def test_a_step_that_takes_most_of_the_minutes_is_not_begun_again(tmp_path: Path) -> None:
    worker = Scripted([Step(5.0), Step(100.0)])
    assert follow(worker, tmp_path).status == "out_of_budget"  # two steps make no figure
    assert (worker.now, worker.steps) == (105.0, 2)


def test_compiling_without_an_end_is_ended_at_the_limit(tmp_path: Path) -> None:
    worker = Scripted([Step(95.0, compilations=1), Step(1000.0, compilations=1)])
    outcome = follow(worker, tmp_path)
    assert outcome.status == "out_of_budget"
    assert worker.now == pytest.approx(180.0, abs=1.0)


def test_a_block_that_stalls_at_the_limit_is_ended_and_the_samples_before_it_are_kept(
    tmp_path: Path,
) -> None:
    worker = Scripted([*[Step(5.0)] * 20, Step(1000.0)])
    outcome = follow(worker, tmp_path)
    assert worker.now == pytest.approx(180.0, abs=1.0)
    assert outcome.status == "out_of_budget"
    assert outcome.reason.endswith("and the worker was ended; 12 samples are kept")


class SlowToEnd(Scripted):
    """Its last records take long: a ceiling that is timed once more."""

    def __init__(self, steps: Sequence[Step], ending_seconds: float) -> None:
        super().__init__(steps)
        self._ending_seconds = ending_seconds

    def events(self) -> Iterator[Event]:
        for event in super().events():
            if isinstance(event, Line) and b'"finished"' in event.text:
                ends = self.now + self._ending_seconds
                while self.now < ends:
                    self.now += 1.0
                    yield Silence()
            yield event


def test_a_worker_that_is_still_writing_its_last_records_at_the_limit_has_finished(
    tmp_path: Path,
) -> None:
    worker = SlowToEnd([Step(2.0)], ending_seconds=100.0)
    outcome = follow(worker, tmp_path)
    assert worker.now == pytest.approx(180.0, abs=1.0)
    assert outcome.status == "finished"
    assert "measure.max_minutes: 3 was used up in phase 'end'" in outcome.reason


class WithCeiling(Scripted):
    """The device's ceiling is timed for a while before the training."""

    def events(self) -> Iterator[Event]:
        for event in super().events():
            if isinstance(event, Line) and b'"train"' in event.text:
                yield self._line(Phase(at_seconds=0.0, name="ceiling"))
                self.now += 40.0
            yield event


def test_the_time_for_another_ceiling_is_kept_back(tmp_path: Path) -> None:
    worker = WithCeiling([Step(2.0)])
    assert follow(worker, tmp_path).status == "finished"
    assert 130.0 < worker.now < 140.0


# --- dollars of all cases -------------------------------------------------------------------------


def test_the_dollars_of_all_cases_limit_each_launch_by_what_is_left() -> None:
    plan = plan_case({"price.usd_per_hour": "36", "measure.max_usd": "5"})  # a cent a second
    spending = Spending(3.0)
    spending.add(2.0)
    budget = Budget.of(plan, spending=spending)
    assert budget.seconds == pytest.approx(100.0)
    assert budget.reason == "run_max_usd"
    assert budget.pays_for_a_launch()
    spending.add(0.8)
    assert not Budget.of(plan, spending=spending).pays_for_a_launch()
    spending.add(9.0)
    assert Budget.of(plan, spending=spending).seconds == 0.0


def test_a_case_s_own_limit_holds_where_more_is_left() -> None:
    plan = plan_case({"price.usd_per_hour": "36", "measure.max_usd": "0.1"})
    budget = Budget.of(plan, spending=Spending(3.0))
    assert budget.seconds == pytest.approx(10.0)
    assert budget.reason == "max_usd"
    assert budget.pays_for_a_launch()  # the user's own choice, for this case


def test_what_was_left_of_all_dollars_is_named_where_it_is_used_up(tmp_path: Path) -> None:
    plan = plan_case({"price.usd_per_hour": "36"})
    budget = Budget.of(plan, spending=Spending(0.6))
    outcome = follow(Scripted([Step(1.0)], phase="gate"), tmp_path, plan, budget)
    assert outcome.reason.startswith("what was left of --max-usd, 60 s, was used up in phase 'ga")
    assert outcome.hint == "allow more dollars by --max-usd"


def test_the_blocks_of_several_ranks_are_kept_as_one_which_decides(
    tmp_path: Path,
) -> None:
    worker = TwoRanks([Step(2.0)])
    plan = plan_case({"measure.max_minutes": "3", "parallel.data_parallel_replicate_size": "2"})
    assert follow(worker, tmp_path, plan).status == "finished"
    lines = (tmp_path / "measurement.jsonl").read_text().splitlines()
    blocks = [each for each in map(json.loads, lines) if each["kind"] == "block"]
    assert [block["first_step"] for block in blocks] == list(range(worker.steps))
    assert worker.unanswered == 0


class Pair(Scripted):
    """Two ranks, of which the second sends nothing before its end."""

    def __init__(self, steps: Sequence[Step]) -> None:
        super().__init__(steps)
        self._phases = ["start", "start"]

    def events(self) -> Iterator[Event]:
        yield from super().events()
        yield Line(1, encode(Finished(at_seconds=self.now, steps=self.steps)).encode())


@pytest.mark.parametrize(
    ("kind", "finish"),
    [
        (Scripted, Finish()),
        (Pair, Finish(communication_steps=COMMUNICATION_STEPS, times_all_reduce=True)),
    ],
)
def test_several_ranks_end_with_steps_under_the_profiler_and_one_rank_does_not(
    kind: type[Scripted], finish: Finish, tmp_path: Path
) -> None:
    worker, commands = kind([Step(0.5)]), list[Command]()
    send = worker.send

    def noted(command: Command) -> None:
        commands.append(command)
        send(command)

    worker.send = noted  # type: ignore[method-assign]
    assert follow(worker, tmp_path).status == "finished"
    assert commands[-1] == finish
    assert finish not in commands[:-1]


# --- what is said of it -------------------------------------------------------------------------


def test_the_limit_that_was_passed_is_named_with_its_value_and_what_it_took(
    tmp_path: Path,
) -> None:
    outcome = follow(Scripted([Step(1.0)], phase="gate"), tmp_path)
    assert outcome.status == "out_of_budget"
    assert outcome.reason == (
        "measure.max_minutes: 3 was used up in phase 'gate' (3 minutes), and the worker was ended"
    )


def test_a_launch_that_shares_the_limit_names_its_part(tmp_path: Path) -> None:
    plan = plan_case({"measure.max_minutes": "3", "measure.launches": "3"})
    budget = Budget.of(plan, launches_left=3)
    outcome = follow(Scripted([Step(1.0)], phase="gate"), tmp_path, plan, budget)
    assert outcome.reason.startswith(
        "this launch's part of measure.max_minutes: 3, 60 s, was used up in phase 'gate' (1 min"
    )


def test_of_dollars_the_sum_is_told(tmp_path: Path) -> None:
    settings = {"price.usd_per_hour": "36", "measure.max_usd": "0.6"}
    outcome = follow(Scripted([Step(1.0)], phase="gate"), tmp_path, plan_case(settings))
    assert outcome.reason.startswith(
        "measure.max_usd: 0.6 was used up in phase 'gate' (1 minutes, $0.6)"
    )


@pytest.mark.parametrize(
    ("step_seconds", "left_seconds", "steps"),
    [
        (0.1, 600.0, 5),
        (4.0, 600.0, 2),  # 30 s hold three steps that take twice as long, of which one is first
        (8.0, 600.0, 0),
        (0.1, 0.9, 3),
        (0.1, 0.3, 0),
        (0.1, -5.0, 0),
        (None, 600.0, 0),
    ],
)
def test_steps_under_the_profiler_have_room_in_what_is_left(
    step_seconds: float | None, left_seconds: float, steps: int
) -> None:
    assert communication_steps(step_seconds, left_seconds) == steps
