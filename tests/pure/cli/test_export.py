"""`trnbench export`: what is refused, and what needs no package."""

import json
from pathlib import Path

import pytest

from tests.builders import make_result, three_results
from tests.command import in_process
from tests.comparisons import write_launch
from trnbench.reports.columns import COLUMNS
from trnbench.reports.exports import TARGETS, figures_of, settings_of
from trnbench.reports.extras import EXTRAS

ROOT = Path(__file__).resolve().parents[3]


def test_mlperf_s_lines_have_each_step_and_each_figure(tmp_path: Path) -> None:
    write_launch(tmp_path / "results" / "run")
    done = in_process("export", "mllog", tmp_path / "results", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    (path,) = (tmp_path / "export-mllog").iterdir()
    events = [json.loads(line.removeprefix(":::MLLOG ")) for line in path.read_text().splitlines()]
    values = {event["key"]: event["value"] for event in events}
    assert values["submission_benchmark"] == "tiny-llama"
    assert values["trnbench_tokens_per_second"] > 0
    assert sum(event["key"] == "tracked_stats" for event in events) == 60
    assert [e["key"] for e in events if e["event_type"] != "POINT_IN_TIME"] == [
        "run_start", "block_start", "block_stop", "run_stop",
    ]  # fmt: skip
    assert {event["metadata"]["file"] for event in events} == {"trnbench"}


def test_a_column_is_a_setting_or_a_figure() -> None:
    for result in three_results():
        settings, figures = settings_of(result), figures_of(result)
        known = {column.name for column in COLUMNS if column.read(result) is not None}
        assert set(settings) | set(figures) == known
        assert not set(settings) & set(figures)
    assert {"model", "price_usd_per_hour", "standing"} <= set(settings_of(make_result()))
    assert {"tokens_per_second", "peak_memory_bytes"} <= set(figures_of(make_result()))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["excel", "results"], 2, "'mlflow', 'wandb', 'tensorboard', 'mllog'"),
        (["mllog", "none"], 5, "no such folder"),
        (["mllog", "results", "-o", "."], 2, "is not an empty folder"),
        (["mllog", "results", "-o", "file"], 2, "is not an empty folder"),
        (["mllog", "results", "-o", "file/below"], 2, "cannot be made"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], code: int, said: str, tmp_path: Path
) -> None:
    write_launch(tmp_path / "results" / "run")
    (tmp_path / "file").write_text("kept")
    done = in_process("export", *arguments, cwd=tmp_path)
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("target", [name for name, each in TARGETS.items() if each.packages])
def test_a_missing_package_is_named(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trnbench.reports.extras.find_spec", lambda name: None)
    done = in_process("export", target, "results", cwd=tmp_path)
    assert done.code == 3
    (package,) = TARGETS[target].packages
    assert f"{package} is not installed" in done.err
    assert f"\n{EXTRAS[package]} = [" in (ROOT / "pyproject.toml").read_text()
    assert not (tmp_path / f"export-{target}").exists()


def test_a_result_without_records_goes_without_its_steps(tmp_path: Path) -> None:
    write_launch(tmp_path / "results" / "run")
    (records,) = (tmp_path / "results").rglob("measurement.jsonl")
    records.unlink()
    done = in_process("export", "mllog", tmp_path / "results", "-o", tmp_path / "out")
    assert done.code == 0
    assert "1 without their steps" in done.out


def test_the_targets_are_the_files() -> None:
    folder = ROOT / "src" / "trnbench" / "reports" / "exports"
    assert {each.module for each in TARGETS.values()} == {p.stem for p in folder.glob("to_*.py")}
