"""A study on this machine: its folders, and what ends it between two trials."""

from collections.abc import Callable
from pathlib import Path
from signal import SIGINT
from types import SimpleNamespace
from typing import Any

from tests.pure.tune.studies import result_of, space_of_sizes
from trnbench.run.store import PLAN_FILE
from trnbench.run.study import StudyRun
from trnbench.run.watch import Interruption
from trnbench.schema.plan import Plan

SPACE = space_of_sizes({"measure.launches": "3"})
WAYS = {way.plan.case_id: way for way in SPACE.ways}


class Machine:
    """Measures every way in 0.1 s a step; a trial takes 100 s of its clock."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.plans: list[Plan] = []
        self.folders: list[str] = []
        self.unpaid_from = 99
        self.after: Callable[[], None] = lambda: None

    def open_session(self, plans: list[Plan], *, folder: Path, make_rule: Any) -> Any:
        (plan,) = plans
        self.plans.append(plan)
        self.folders.append(folder.name)

        def run() -> Any:
            self.seconds += 100.0
            self.after()
            results = [result_of(WAYS[plan.case_id], 0.1)]
            is_unpaid = len(self.plans) >= self.unpaid_from
            return SimpleNamespace(
                unpaid=int(is_unpaid),
                storage_full=None,
                load_results=lambda _: [] if is_unpaid else results,
            )

        return SimpleNamespace(run=run)


def study_run(
    machine: Machine, folder: Path, *, most_seconds: float = 1e9, stop: Interruption | None = None
) -> StudyRun:
    return StudyRun(
        space=SPACE,
        folder=folder,
        open_session=machine.open_session,
        interruption=stop or Interruption(),
        most_seconds=most_seconds,
        notify=lambda _: None,
        clock=lambda: machine.seconds,
    )


def test_each_trial_is_a_run_in_a_folder_of_its_own(tmp_path: Path) -> None:
    machine = Machine()
    study = study_run(machine, tmp_path / "study").run(20)
    assert study.ended == "all 4 ways are tried"
    assert {plan.measure.launches for plan in machine.plans} == {1}


def test_an_unfinished_trial_keeps_its_folder_and_a_new_one_is_behind_all(tmp_path: Path) -> None:
    first = SPACE.ways[0].plan.case_id
    for number, case in ((3, first), (7, "another-case")):
        (tmp_path / f"trial-{number}" / case).mkdir(parents=True)
        (tmp_path / f"trial-{number}" / case / PLAN_FILE).write_text("")
    machine = Machine()
    study_run(machine, tmp_path).run(2)
    assert machine.folders == ["trial-3", "trial-8"]


def test_minutes_end_it_and_limit_each_trial(tmp_path: Path) -> None:
    machine = Machine()
    study = study_run(machine, tmp_path, most_seconds=220.0).run(20)
    assert study.ended == "--max-minutes: less is left than a trial takes"
    assert len(study.trials) == 2
    assert [plan.measure.max_minutes * 60 for plan in machine.plans] == [220.0, 120.0]


def test_dollars_end_it(tmp_path: Path) -> None:
    machine = Machine()
    machine.unpaid_from = 2
    study = study_run(machine, tmp_path).run(20)
    assert study.ended == "--max-usd: less is left than a trial costs"
    assert len(study.trials) == 1


def test_a_signal_ends_it_and_keeps_what_was_made(tmp_path: Path) -> None:
    machine, stop = Machine(), Interruption()
    machine.after = lambda: stop.note(SIGINT, None)
    study = study_run(machine, tmp_path, stop=stop).run(20)
    assert len(study.trials) == 1
    assert study.ended == stop.reason
