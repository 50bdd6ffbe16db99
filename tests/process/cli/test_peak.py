"""`trnbench peak` as a user runs it: on this processor, on the stand-in, and into its ends."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.command import COMMAND, heed_signals, trnbench
from tests.stand_in import stand_in_environment
from trnbench.cli.main import app
from trnbench.plan.microbench import COLLECTIVES
from trnbench.run.microbench import HANG_HINT

SMALL = (
    "--model", "tiny-gpt2", "--sequence-length", "64", "--square", "64", "--array-mib", "1",
    "--message-mib", "0.01", "--seconds", "0.001",
)  # fmt: skip


def read(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "peak.json").read_text())
    return document


def test_a_processor_is_measured_kept_and_printed_again(tmp_path: Path) -> None:
    folder = tmp_path / "a peak"
    done = trnbench("peak", *SMALL, "--device", "cpu", "-o", folder, cwd=tmp_path)
    assert done.code == 0, done.err
    made = read(folder)
    assert made["status"] == "finished"
    groups = {each["group"] for each in made["readings"]}
    assert groups == {"square", "model", "memory", "attention", "collective"}
    assert all(len(each["seconds"]) == 6 for each in made["readings"]), "a task was not timed"
    assert all(second > 0 for each in made["readings"] for second in each["seconds"])
    together = [each for each in made["readings"] if each["group"] == "collective"]
    assert {each["ranks"] for each in together} == {2}
    assert {each["task"]["operation"] for each in together} == set(COLLECTIVES)
    assert "all matmuls of tiny-gpt2 together" in done.out
    assert str(tmp_path) not in json.dumps(made)

    again = trnbench("peak", "--from", folder)
    assert again.out == done.out
    table = trnbench("peak", "--from", folder, "--format", "csv").out
    assert len(table.splitlines()) == 1 + len(made["readings"])

    refused = trnbench("peak", *SMALL, "--device", "cpu", "-o", folder, cwd=tmp_path)
    assert refused.code == 2
    assert "holds a peak.json already" in refused.err
    assert read(folder) == made
    report = trnbench("report", tmp_path)
    assert report.code == 5, "it is no result of a run"


def test_the_stand_in_s_cores_are_measured_and_its_tool_times_collectives(tmp_path: Path) -> None:
    pytest.importorskip("torch.utils.backend_registration")
    environment = {**stand_in_environment(), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = trnbench(
        "peak", *SMALL, "--device", "neuron", "-o", tmp_path / "p", cwd=tmp_path, **environment
    )
    assert done.code == 0, done.err
    made = read(tmp_path / "p")
    tool = [each for each in made["readings"] if each["source"] == "nccom-test"]
    assert [each["ranks"] for each in tool] == [2] * 4 + [4] * 4, "of the four cores of a chip"
    expected = [[pytest.approx(10e-6 + 10485 / 1e10)]] * len(tool)
    assert [each["seconds"] for each in tool] == expected
    timed = [each for each in made["readings"] if each["source"] == "torch"]
    assert all(each["seconds"] for each in timed), [each["reason"] for each in timed]
    assert made["environment"]["backend"] == "neuron"
    assert "the project has not run this backend" in done.out


def test_what_a_hang_is_answered_with_are_options_of_the_command() -> None:
    named = set(re.findall(r"--[a-z-]+", HANG_HINT))
    command = typer.main.get_command(app).commands["peak"]  # type: ignore[attr-defined]
    assert named
    assert named <= {option for each in command.params for option in each.opts}


def test_ctrl_c_keeps_what_was_measured_and_leaves_nobody(tmp_path: Path) -> None:
    # A repeat of a minute: whatever comes after the first thing is under way when it is stopped.
    arguments = ["peak", *SMALL[:-1], "60", "--device", "cpu", "-o", str(tmp_path / "p")]
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "NO_COLOR": "1"}, preexec_fn=heed_signals,
    )  # fmt: skip
    while not (tmp_path / "p" / "peak.json").exists() or not read_or_none(tmp_path / "p"):
        assert process.poll() is None
        os.sched_yield()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    made = read(tmp_path / "p")
    assert (made["status"], made["reason"]) == ("interrupted", "stopped by Ctrl-C")
    assert len(made["planned_products"]) > len(made["readings"])


def read_or_none(folder: Path) -> dict[str, Any] | None:
    """Return the document once the device has told of itself."""
    try:
        made = read(folder)
    except ValueError:
        return None  # it has just been made, and is empty
    return made if made["environment"] else None


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--model", "lama3-8b"], 2, "--model lama3-8b: is not in the catalog"),
        (["--device", "cuda:9"], 3, "'cuda:9' is not here"),
        (["--square", "60000", "--device", "cpu"], 2, "--square 60000: takes 40"),
        (["--array-mib", "900000", "--device", "cpu"], 2, "--array-mib 900000: takes 2"),
        (["--seconds", "0"], 2, "Invalid value for '--seconds'"),
        (["--python", "/nowhere/python"], 2, "cannot be started"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    arguments: list[str], code: int, said: str, tmp_path: Path
) -> None:
    done = trnbench("peak", *arguments, cwd=tmp_path)
    assert (done.code, said in done.err) == (code, True), done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "elsewhere"], "--output"),
        (["--square", "5"], "--square"),
        (["--device", "auto", "--seconds", "0.1"], "--device, --seconds"),
    ],
)
def test_what_would_be_measured_is_not_said_of_what_was(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    done = trnbench("peak", "--from", "there", *arguments, "--format", "csv", cwd=tmp_path)
    assert done.code == 2, done.err
    assert f"{said}: " in done.err
    assert "nothing is measured with --from" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read: No such file"),
        ("", "is not a peak.json of this version"),
        ('{"schema_version": 2}', "schema_version"),
        ('{"schema_version": 1, "readings": [', "is not a peak.json"),
    ],
)
def test_a_document_that_cannot_be_read_is_named(
    text: str | None, said: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "peak.json").write_text(text)
    done = trnbench("peak", "--from", tmp_path)
    assert done.code == 5
    assert said in done.err
    assert "Traceback" not in done.err
