"""`trnbench compare` as it is typed: files, exit codes, and a gate that measures again."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import junitparser
import pytest

from tests.command import COMMAND, heed_signals, processes_named, trnbench
from tests.comparisons import BASE, CAND, edit, write_launch, write_side
from tests.fake_python import fake_python
from trnbench.reports.comparison import COMPARISON_REPORTS
from trnbench.schema.comparison import Comparison

GATE = ("--gate", "tokens_per_second > -2%")

CONFIG = """
name: gated
model: tiny-llama
workload: {sequence_length: 64, global_batch_size: 2, learning_rate: 0.003}
measure: {relative_precision: 0.05, min_seconds: 0, min_samples: 50}
"""


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of six launches `base`, six slower ones `cand`, and six as fast, `again`."""
    folder = tmp_path_factory.mktemp("results")
    write_side(folder / "base", BASE)
    write_side(folder / "cand", CAND, start=20)
    write_side(folder / "again", [1.001 * factor for factor in reversed(BASE)], start=40)
    write_side(folder / "other", BASE[:1], overrides={"workload.precision": "bf16"})
    return folder


def compare(folder: Path, *arguments: object, **environment: str) -> "tuple[int, str, str]":
    done = trnbench("compare", *arguments, cwd=folder, **environment)
    assert "Traceback" not in done.err
    return done.code, done.out, done.err


def test_two_folders_are_compared_and_nothing_is_gated(sides: Path) -> None:
    code, out, err = compare(sides, "base", "cand")
    assert (code, err) == (0, "")
    assert "0.9788 [0.9748, 0.9829]" in out
    assert "worse by 2.1 %" in out


def test_a_gate_that_fails_leaves_with_six_and_says_why(sides: Path) -> None:
    code, out, err = compare(sides, "base", "cand", *GATE)
    assert code == 6
    assert "FAILED" in out
    assert "gate 'tokens_per_second > -2%' failed on tiny-llama (894k) 8x128 fp32" in err


def test_a_gate_that_holds_leaves_with_zero(sides: Path) -> None:
    code, out, _ = compare(sides, "base", "again", *GATE)
    assert code == 0
    assert "1 gate: 1 passed" in out


def test_an_undecided_gate_fails_a_build_only_where_it_is_asked_to(sides: Path) -> None:
    single = ("base/1", "cand/1", *GATE)
    assert compare(sides, *single)[0] == 0
    code, _, err = compare(sides, *single, "--strict")
    assert code == 6
    assert "measure 4 launches a side" in err


def test_several_folders_can_stand_for_a_side(sides: Path) -> None:
    several = [x for n in range(1, 7) for x in ("--base", f"base/{n}", "--cand", f"cand/{n}")]
    code, out, _ = compare(sides, *several, "--format", "json")
    assert code == 0
    comparison = Comparison.model_validate_json(out)
    assert comparison.cases[0].base.used == comparison.cases[0].cand.used == 6
    code, out, _ = compare(sides, "base/1", "cand", "--base", "base/2", "--format", "json")
    assert Comparison.model_validate_json(out).cases[0].base.used == 2


def test_a_window_and_a_ref_can_stand_for_a_side(sides: Path, tmp_path: Path) -> None:
    code, out, _ = compare(sides, "last:3:base", "cand", "--format", "json")
    assert code == 0
    assert Comparison.model_validate_json(out).cases[0].base.used == 3
    write_side(tmp_path / "results" / "nightly", BASE[:3])
    for arguments in (["init", "-q", "-b", "main"], ["add", "-f", "."], ["commit", "-qm", "x"]):
        identity = ("-c", "user.name=A", "-c", "user.email=a@b.c")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True)
    code, out, _ = compare(tmp_path, "git:main", sides / "cand", "--format", "json")
    assert code == 0
    found = Comparison.model_validate_json(out)
    assert (found.cases[0].base.used, found.base) == (3, ("git:main",))


def test_one_call_writes_every_format_that_is_asked_for(sides: Path, tmp_path: Path) -> None:
    names = sorted(COMPARISON_REPORTS)
    writes = [x for name in names for x in ("--write", f"{name}={tmp_path / name}")]
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    code, out, _ = compare(
        sides, "base", "cand", *GATE, *writes, "--github-summary", "--output", tmp_path / "out",
        GITHUB_STEP_SUMMARY=str(summary),
    )  # fmt: skip
    assert (code, out) == (6, "")
    assert "FAILED" in (tmp_path / "out").read_text()
    for name in names:
        assert (tmp_path / name).stat().st_size > 0
    assert summary.read_text().startswith("before\n## trnbench compare: 1 gate: 1 FAILED")
    assert junitparser.JUnitXml.fromfile(str(tmp_path / "junit")).failures == 1


def test_it_is_read_at_eighty_columns(sides: Path) -> None:
    _, out, _ = compare(sides, "base", "cand", *GATE, COLUMNS="80")
    assert max(map(len, out.splitlines())) <= 80


def test_a_side_can_be_costed_at_another_rate(sides: Path) -> None:
    rates = ("--base-usd-per-hour", "10", "--cand-usd-per-hour", "5")
    code, out, _ = compare(sides, "base", "cand", *rates, "--format", "json")
    assert code == 0
    (cost,) = [
        metric
        for metric in Comparison.model_validate_json(out).cases[0].metrics
        if metric.metric == "usd_per_million_tokens"
    ]
    assert cost.ratio.value == pytest.approx(0.5 * 1.021645928404)
    assert cost.verdict == "better"


def test_the_metrics_and_the_margin_can_be_chosen(sides: Path) -> None:
    code, out, _ = compare(
        sides, "base", "cand", "--metric", "mfu", "--margin", "5%", "--format", "json"
    )
    assert code == 0
    comparison = Comparison.model_validate_json(out)
    assert comparison.margin == 0.05
    assert [(one.metric, one.verdict) for one in comparison.cases[0].metrics] == [("mfu", "same")]


def test_no_report_holds_a_path_of_this_machine(sides: Path, tmp_path: Path) -> None:
    names = sorted(COMPARISON_REPORTS)
    writes = [x for name in names for x in ("--write", f"{name}={tmp_path / name}")]
    code, out, err = compare(sides, sides / "base", sides / "cand", *GATE, *writes)
    assert code == 6
    for text in (out, err, *((tmp_path / name).read_text() for name in names)):
        assert str(sides) not in text
    assert "BASE is …/base; CAND is …/cand" in out


def test_unlike_work_is_refused_until_it_is_allowed(sides: Path) -> None:
    code, out, err = compare(sides, "base", "other")
    assert (code, out) == (2, "")
    assert "precision: BASE fp32, CAND bf16" in err
    assert "--allow precision" in err
    code, out, _ = compare(sides, "base", "other", "--allow", "precision")
    assert code == 0
    assert "NOT THE SAME WORK, allowed: precision fp32 / bf16" in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "nothing stands for BASE"),
        (["base"], 2, "takes BASE and CAND, and was given 1"),
        (["base", "cand", "again"], 2, "several folders of one side"),
        (["base", "nowhere"], 5, "nowhere: no such folder"),
        (["base", "cand", "--gate", "speed > 1%"], 2, "is no metric that can be compared"),
        (["base", "cand", "--gate", "tokens_per_second > 2"], 2, "has no percent sign"),
        (["base", "cand", "--metric", "speed"], 2, "--metric speed"),
        (["base", "cand", "--margin", "2"], 2, "--margin 2: is no percentage"),
        (["base", "cand", "--margin", "nan%"], 2, "is no percentage"),
        (["base", "cand", "--margin", "some%"], 2, "--margin some%: is no percentage"),
        (["base", "cand", "--allow", "everything"], 2, "--allow everything"),
        (["base", "cand", "--write", "pdf=x"], 2, "--write pdf=x: is not FORMAT=FILE"),
        (["base", "cand", "--write", "json"], 2, "is not FORMAT=FILE"),
        (["base", "cand", "--write", "json=/nowhere/x"], 2, "cannot be written"),
        (["base", "cand", "--write", "json=x", "--write", "csv=x"], 2, "named for two outputs"),
        (["base", "cand", "--github-summary"], 2, "$GITHUB_STEP_SUMMARY names no file"),
        (["base", "cand", "--base-usd-per-hour", "0"], 2, "--base-usd-per-hour 0"),
        (["base", "cand", "--target-excess-nats", "0"], 2, "--target-excess-nats 0"),
        (["base/1", "cand", "--paired"], 2, "has 1 launches in BASE and 6 in CAND"),
        (["git:--help", "cand"], 2, "is no git ref"),
        (["last:0:base", "cand"], 2, "is not last:N:PATH"),
    ],
)
def test_a_wrong_call_is_told_in_two_lines(
    arguments: list[str], code: int, said: str, sides: Path
) -> None:
    found, out, err = compare(sides, *arguments, GITHUB_STEP_SUMMARY="")
    assert (found, out) == (code, "")
    assert said in err
    assert len(err.splitlines()) == 2
    assert not (sides / "x").exists()


def test_a_result_that_was_changed_by_hand_is_refused(tmp_path: Path) -> None:
    case = write_launch(tmp_path / "base")
    write_launch(tmp_path / "cand", number=1)
    edit(case / "result.json", metrics__tokens_per_second__value=99_999.0)
    code, out, err = compare(tmp_path, "base", "cand", *GATE)
    assert (code, out) == (5, "")
    assert "says tokens_per_second 99999" in err


def test_wrong_training_never_passes_a_gate(tmp_path: Path) -> None:
    write_launch(tmp_path / "base")
    write_launch(tmp_path / "cand", 0.7, number=1, ceiling=(1e3, 1e3, 1e3))
    code, out, err = compare(tmp_path, "base", "cand", *GATE)
    assert code == 6
    assert "NOT JUDGED" in out
    assert "came out invalid" in err


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


def test_it_needs_no_torch(sides: Path) -> None:
    program = (
        "import sys; from trnbench.cli.main import main\n"
        "sys.argv = ['trnbench', 'compare', 'base', 'cand']\n"
        "try: main()\n"
        "finally: print([m for m in ('torch', 'pandas') if m in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=sides, capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "[]"


# --- confirming -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of results that a stand-in of the worker made: CAND looks slow once."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "gated.yaml").write_text(CONFIG)
    for name, seconds in (("base/1", 0.25), ("base/2", 0.2503), ("base/3", 0.2498), ("cand", 0.4)):
        place = folder / "pythons" / name
        place.mkdir(parents=True)
        python = fake_python(place, step_seconds=seconds)
        done = trnbench(
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
    assert "did not answer as a Python with torch" in err


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
    assert any("step 9" in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert processes_named(python) == []
    assert list((measured / "results").glob("*-confirm/cand-1"))


def test_the_schema_of_a_comparison_is_printed() -> None:
    schema = json.loads(trnbench("schema", "comparison").out)
    assert schema["title"] == "Comparison"
