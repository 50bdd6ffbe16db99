"""How a worker that did as it was told ends: with a figure, or without the time for one."""

import pytest

from trnbench.run.outcomes import of_finish


def test_enough_samples_are_a_finish_whatever_stopped_them() -> None:
    for stopped in ("precise", "max_samples", "max_minutes", "max_usd"):
        end = of_finish(3, 46.1, stopped)
        assert (end.status, end.reason) == ("finished", "3 samples in 46.1 s")


@pytest.mark.parametrize(
    ("samples", "stopped", "reason", "hint"),
    [
        (
            0, "max_minutes", "measure.max_minutes was used up before a sample was timed (46.1 s)",
            "allow more minutes by measure.max_minutes",
        ),
        (
            2, "max_usd",
            "measure.max_usd was used up after 2 of the 3 samples that a figure needs (46.1 s)",
            "allow more dollars by measure.max_usd",
        ),
    ],
)  # fmt: skip
def test_a_limit_that_left_no_time_for_a_figure_is_no_finish(
    samples: int, stopped: str, reason: str, hint: str
) -> None:
    end = of_finish(samples, 46.1, stopped)  # type: ignore[arg-type]
    assert (end.status, end.reason, end.hint) == ("out_of_budget", reason, hint)


def test_what_was_not_finite_is_judged_by_its_check_and_not_called_late() -> None:
    assert of_finish(0, 5.0, "not_finite").status == "finished"
