"""How `trnbench run` ends, without a process."""

from pathlib import Path

import pytest
import typer

from trnbench.cli.run import end_with
from trnbench.run.session import Ending


def test_a_signal_before_anything_was_measured_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(typer.Exit) as end:
        end_with([Ending(results=[], signal=2, storage_full=None)], Path("results/mine"))
    assert end.value.exit_code == 130
    assert capsys.readouterr().err == (
        "results: results/mine\n"
        "trnbench: stopped before a case had begun: nothing was measured\n"
        "          run the same command with `-o results/mine` to measure it\n"
    )
