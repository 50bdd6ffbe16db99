"""Two arms in turns: whose turn it is, when it ends early, and what is taken up again."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.pure.run.plans import plan_case
from trnbench.run.ending import EndedCase, Ending
from trnbench.run.turns import Arm, interleave
from trnbench.schema.plan import Plan

GOOD = Ending(cases=[], signal=None, storage_full=None)


class Sessions:
    """Notes each session that is opened, and lets it end as it is told to."""

    def __init__(self, endings: Iterator[Ending] | None = None) -> None:
        self.opened: list[tuple[str, int]] = []
        self._endings = endings

    def __call__(self, plans: Sequence[Plan], *, folder: Path, **options: Any) -> Any:
        self.opened.append((folder.name, options["most_launches"]))
        ending = next(self._endings) if self._endings else GOOD
        return SimpleNamespace(run=lambda: ending)


def go(sessions: Sessions, launches: int, *, signal: int | None = None) -> Any:
    plan = plan_case({"measure.launches": str(launches)})
    here: Any = {"plans": (plan,), "python": "python3", "machine": None, "devices": None}
    return interleave(
        [Arm(label="base", **here), Arm(label="cand", **here)],
        Path("experiment"),
        observer=None,  # type: ignore[arg-type]
        interruption=SimpleNamespace(signal=signal),  # type: ignore[arg-type]
        open_session=sessions,
    )


@pytest.mark.parametrize(
    ("launches", "order"), [(1, "ab"), (2, "abba"), (3, "abbaab"), (4, "abbaabba")]
)
def test_arms_take_turns_so_that_a_drift_hits_both_alike(launches: int, order: str) -> None:
    sessions = Sessions()
    go(sessions, launches)
    assert "".join(arm for arm, _ in sessions.opened) == order


def test_each_turn_makes_one_launch_more_of_its_arm() -> None:
    sessions = Sessions()
    go(sessions, 3)
    for arm in "ab":
        assert [most for name, most in sessions.opened if name == arm] == [1, 2, 3]


def test_a_failed_launch_ends_the_experiment_and_is_told_last() -> None:
    failed = EndedCase(
        case_id="a", status="out_of_memory", standing="failed", problem="", hint=None
    )
    bad = Ending(cases=[failed], signal=None, storage_full=None)
    sessions = Sessions(iter([GOOD, GOOD, bad]))
    endings = go(sessions, 6)
    assert len(sessions.opened) == 3
    assert list(endings.values()) == [GOOD, bad]


def test_a_full_disk_ends_the_experiment() -> None:
    full = Ending(cases=[], signal=None, storage_full="no space")
    sessions = Sessions(iter([full]))
    assert list(go(sessions, 6).values()) == [full]
    assert len(sessions.opened) == 1


def test_after_a_signal_nothing_is_begun() -> None:
    sessions = Sessions()
    assert go(sessions, 6, signal=2) == {}
    assert sessions.opened == []
