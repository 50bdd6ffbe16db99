"""`trnbench compare`: sides, gates, files and messages."""

import json
from pathlib import Path

import junitparser
import pytest

from tests.command import in_process
from tests.comparisons import BASE, CAND, edit, write_launch, write_side
from trnbench.reports import text_formats
from trnbench.schema.comparison import Comparison

GATE = ("--gate", "tokens_per_second > -2%")


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
    done = in_process("compare", *arguments, cwd=folder, **environment)
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


def test_a_window_can_stand_for_a_side(sides: Path) -> None:
    code, out, _ = compare(sides, "last:3:base", "cand", "--format", "json")
    assert code == 0
    assert Comparison.model_validate_json(out).cases[0].base.used == 3


def test_one_call_writes_every_format_that_is_asked_for(sides: Path, tmp_path: Path) -> None:
    names = sorted(text_formats("comparison"))
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
    names = sorted(text_formats("comparison"))
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
        ([], 2, "BASE is missing"),
        (["base"], 2, "takes BASE and CAND; it was given 1"),
        (["base", "cand", "again"], 2, "add further folders of a side"),
        (["base", "nowhere"], 5, "nowhere: no such folder"),
        (["base", "cand", "--gate", "speed > 1%"], 2, "is not a metric that can be compared"),
        (["base", "cand", "--gate", "tokens_per_second > 2"], 2, "has no percent sign"),
        (["base", "cand", "--metric", "speed"], 2, "--metric speed"),
        (["base", "cand", "--margin", "2"], 2, "--margin 2: is not a percentage"),
        (["base", "cand", "--margin", "nan%"], 2, "is not a percentage"),
        (["base", "cand", "--margin", "some%"], 2, "--margin some%: is not a percentage"),
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


def test_a_result_that_was_changed_by_hand_is_derived_again_and_that_is_said(
    tmp_path: Path,
) -> None:
    case = write_launch(tmp_path / "base")
    write_launch(tmp_path / "cand", number=1)
    edit(case / "result.json", metrics__tokens_per_second__value=99_999.0)
    code, out, err = compare(tmp_path, "base", "cand", *GATE)
    assert code == 0, err
    assert "99,999" not in out
    assert "BASE: its result.json is not as it was written" in out


def test_wrong_training_never_passes_a_gate(tmp_path: Path) -> None:
    write_launch(tmp_path / "base")
    write_launch(tmp_path / "cand", 0.7, number=1, ceiling=(1e3, 1e3, 1e3))
    code, out, err = compare(tmp_path, "base", "cand", *GATE)
    assert code == 6
    assert "NOT JUDGED" in out
    assert "are invalid" in err


def test_the_schema_of_a_comparison_is_printed() -> None:
    schema = json.loads(in_process("schema", "comparison").out)
    assert schema["title"] == "Comparison"
