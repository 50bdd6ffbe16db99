"""How `trnbench run` ends, without a process."""

from pathlib import Path

import pytest
import typer

from tests.builders import make_measurement, make_plan, make_result
from trnbench.cli.run import end_with, say_next
from trnbench.run.ending import Ending


def test_a_signal_before_anything_was_measured_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(typer.Exit) as end:
        end_with([Ending(cases=[], signal=2, storage_full=None)], Path("results/mine"))
    assert end.value.exit_code == 130
    assert capsys.readouterr().err == (
        "results: results/mine\n"
        "trnbench: stopped before a case had begun: nothing was measured\n"
        "          run the same command with `-o results/mine` to measure it\n"
    )


def test_three_commands_follow_a_run() -> None:
    plan = make_plan()
    sound = make_result(plan, make_measurement(plan))
    said = say_next([sound], Path("results/my run")).splitlines()
    assert said[0].startswith("next: trnbench cost 'results/my run' --tokens 1T  ")
    assert [line.split()[1] for line in said[1:]] == ["report", "compare"]
    bare = sound.model_copy(update={"price": None, "standing": "doubtful", "suite": "quick"})
    said = say_next([sound, bare], Path("r")).splitlines()
    assert said[0].startswith("next: trnbench report r --usd-per-hour RATE  ")
    assert [line.split()[1] for line in said[1:]] == ["doctor", "compare"]
    failed = [sound.model_copy(update={"standing": each}) for each in ("failed", "invalid")]
    assert [line.split()[2] for line in say_next(failed, Path("r")).splitlines()] == ["doctor"]
    assert say_next([bare], Path("r")).splitlines()[2].split()[1] == "init"
