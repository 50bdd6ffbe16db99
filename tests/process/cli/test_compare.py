"""`trnbench compare` where it starts processes: git, fresh launches, and its own imports."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import COMMAND, heed_signals, in_process, processes_named
from tests.comparisons import BASE, CAND, write_launch, write_side
from tests.fake_python import fake_python
from trnbench.schema.comparison import Comparison

GATE = ("--gate", "tokens_per_second > -2%")

CONFIG = """
name: gated
model: tiny-llama
workload: {sequence_length: 64, global_batch_size: 2, learning_rate: 0.003}
measure: {relative_precision: 0.05, min_seconds: 0, min_samples: 50}
"""


def compare(folder: Path, *arguments: object) -> "tuple[int, str, str]":
    done = in_process("compare", *arguments, cwd=folder)
    assert "Traceback" not in done.err
    return done.code, done.out, done.err


def test_a_git_ref_can_stand_for_a_side(tmp_path: Path) -> None:
    write_side(tmp_path / "cand", CAND, start=20)
    write_side(tmp_path / "results" / "nightly", BASE[:3])
    for arguments in (
        ["init", "-q", "-b", "main"],
        ["add", "-f", "results"],
        ["commit", "-qm", "x"],
    ):
        identity = ("-c", "user.name=A", "-c", "user.email=a@b.c")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True)
    code, out, _ = compare(tmp_path, "git:main", "cand", "--format", "json")
    assert code == 0
    found = Comparison.model_validate_json(out)
    assert (found.cases[0].base.used, found.base) == (3, ("git:main",))


def test_its_help_is_light() -> None:
    program = (
        "import sys; from trnbench.cli.main import main\n"
        "sys.argv = ['trnbench', 'compare', '--help']\n"
        "try: main()\n"
        "finally: print([m for m in ('numpy', 'scipy') if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "[]"


def test_it_needs_no_torch(tmp_path: Path) -> None:
    write_launch(tmp_path / "base")
    write_launch(tmp_path / "cand", number=1)
    program = (
        "import sys; from trnbench.cli.main import main\n"
        "sys.argv = ['trnbench', 'compare', 'base', 'cand']\n"
        "try: main()\n"
        "finally: print([m for m in ('torch', 'pandas') if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of results that a stand-in of the worker made: CAND looks slow once."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "gated.yaml").write_text(CONFIG)
    for name, seconds in (("base/1", 0.25), ("base/2", 0.2503), ("base/3", 0.2498), ("cand", 0.4)):
        place = folder / "pythons" / name
        place.mkdir(parents=True)
        python = fake_python(place, step_seconds=seconds)
        done = in_process(
            "run", folder / "gated.yaml", "-o", folder / name, "--python", python, cwd=folder
        )
        assert done.code == 0, done.err
    for name, seconds in (("fast", 0.25), ("slow", 0.4)):
        (folder / name).mkdir()
        fake_python(folder / name, step_seconds=seconds)
    return folder


def test_a_slow_launch_that_does_not_come_again_fails_no_build(measured: Path) -> None:
    python = measured / "fast" / "python-that-good"
    assert compare(measured, "base", "cand", *GATE)[0] == 6
    code, out, err = compare(
        measured, "base", "cand", *GATE, "--confirm", "--python", python,
        "--confirm-folder", measured / "confirm-fast",
    )  # fmt: skip
    assert code == 0, err
    assert "1 gate: 1 passed" in out
    assert "at the first look: tokens_per_second > -2%" in " ".join(out.split())
    runs = sorted(path.name for path in (measured / "confirm-fast").iterdir())
    assert runs == ["cand-1", "cand-2", "cand-3", "cand-4"]


def test_a_loss_that_comes_again_fails_it(measured: Path) -> None:
    python = measured / "slow" / "python-that-good"
    code, out, _ = compare(
        measured, "base", "cand", *GATE, "--confirm", "--confirm-launches", 3, "--python", python,
        "--confirm-folder", measured / "confirm-slow", "--format", "json",
    )  # fmt: skip
    assert code == 6
    comparison = Comparison.model_validate_json(out)
    assert [gate.state for gate in comparison.gates] == ["failed"]
    assert [gate.state for gate in comparison.first_look] == ["failed"]
    assert comparison.cases[0].cand.used == 3


def test_both_sides_are_measured_again_where_both_can_be(measured: Path) -> None:
    slow, fast = (measured / name / "python-that-good" for name in ("slow", "fast"))
    code, _, err = compare(
        measured, "base", "cand", *GATE, "--confirm", "--confirm-launches", 3,
        "--python", slow, "--base-python", fast, "--confirm-folder", measured / "confirm-both",
    )  # fmt: skip
    assert code == 6
    began = [line.rpartition("/")[2] for line in err.splitlines() if "1 case into" in line]
    assert began == ["base-1", "cand-1", "cand-2", "base-2", "base-3", "cand-3"]


def test_nothing_is_measured_again_where_every_gate_holds(measured: Path) -> None:
    code, _, err = compare(
        measured, "base", "base/3", *GATE, "--confirm", "--confirm-folder", measured / "unused"
    )
    assert (code, err) == (0, "")
    assert not (measured / "unused").exists()


def test_a_folder_that_holds_something_is_no_place_for_fresh_launches(measured: Path) -> None:
    python = measured / "slow" / "python-that-good"
    code, out, err = compare(
        measured, "base", "cand", *GATE, "--confirm", "--python", python,
        "--confirm-folder", measured / "base",
    )  # fmt: skip
    assert (code, out) == (2, "")
    assert "is not an empty folder" in err


def test_a_confirmation_that_cannot_train_says_so(measured: Path) -> None:
    code, _, err = compare(
        measured, "base", "cand", *GATE, "--confirm", "--python", "/bin/false",
    )  # fmt: skip
    assert code == 3
    assert "is not a Python interpreter with torch" in err


def test_a_confirmation_needs_the_plan(measured: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare" / "case"
    bare.mkdir(parents=True)
    (case,) = (measured / "cand").glob("*/result.json")
    (bare / "result.json").write_text(case.read_text())
    code, out, err = compare(measured, "base", tmp_path / "bare", *GATE, "--confirm")
    assert (code, out) == (2, "")
    assert "--confirm: the plan of" in err


def test_a_confirmation_that_is_interrupted_says_so_and_leaves_nobody(measured: Path) -> None:
    (measured / "hangs").mkdir()
    python = fake_python(measured / "hangs", "hangs")
    process = subprocess.Popen(
        [*COMMAND, "compare", "base", "cand", *GATE, "--confirm", "--python", python],
        cwd=measured, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=heed_signals,
    )  # fmt: skip
    assert process.stderr is not None
    assert any("measuring" in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert processes_named(python) == []
    assert list((measured / "results").glob("*-confirm/cand-1"))
