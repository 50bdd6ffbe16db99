"""What `trnbench export` writes, as the programs that it is for read it.

`make test-consumers` makes the environment; elsewhere each test is skipped with its reason.
"""

import getpass
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.command import in_process
from tests.comparisons import write_launch
from trnbench.reports.exports import TARGETS, Run, figures_of, series_of, settings_of
from trnbench.run.results import Places, find_trace, load_results

REASON = "`make test-consumers` has it"


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    """Two runs with all of their records, below `results`."""
    for name in ("one", "two"):
        write_launch(tmp_path / "results" / name)
    places: Places = {}
    found = list(load_results([tmp_path / "results"], [], places))
    return [Run(result, find_trace(places, result)) for result in found]


def exported(target: str, tmp_path: Path) -> Path:
    """Export by the command; nothing of what it left may name this machine, its user or a path."""
    for package in TARGETS[target].packages:
        pytest.importorskip(package, reason=REASON)
    folder = tmp_path / "out"
    done = in_process("export", target, tmp_path / "results", "-o", folder)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"2 results for {target}: {folder}\n"
    names = {socket.gethostname(), getpass.getuser(), str(tmp_path), str(Path.home())} - {"root"}
    for path in folder.rglob("*"):
        assert not path.is_symlink()
        said = f"{path.relative_to(folder)}\n".encode() + (
            path.read_bytes() if path.is_file() else b""
        )
        for name in names:
            assert not re.search(rb"(?<!\w)%s(?!\w)" % re.escape(name.encode()), said), path
    return folder


def test_mlflow_reads_settings_figures_and_every_step(runs: list[Run], tmp_path: Path) -> None:
    folder = exported("mlflow", tmp_path)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=folder.as_uri())
    experiment = client.get_experiment_by_name("trnbench")
    found = {each.info.run_name: each for each in client.search_runs([experiment.experiment_id])}
    assert set(found) == {run.name for run in runs}
    for run in runs:
        data, number = found[run.name].data, found[run.name].info.run_id
        assert data.params == {k: str(v) for k, v in settings_of(run.result).items() if str(v)}
        figures = figures_of(run.result)
        assert {name: data.metrics[name] for name in figures} == figures
        for name, points in series_of(run.trace).items():
            history = client.get_metric_history(number, name)
            assert sorted((each.step, each.value) for each in history) == points
        assert data.tags["mlflow.user"] == "trnbench"
        assert found[run.name].info.status == "FINISHED"


def test_tensorboard_reads_figures_and_every_step(runs: list[Run], tmp_path: Path) -> None:
    accumulators = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason=REASON
    )
    folder = exported("tensorboard", tmp_path)
    for run in runs:
        events = accumulators.EventAccumulator(str(folder / run.name), {"scalars": 0})
        events.Reload()
        for name, value in figures_of(run.result).items():
            (point,) = events.Scalars(f"figures/{name}")
            assert point.value == pytest.approx(value, rel=1e-6), "float32"
        for name, points in series_of(run.trace).items():
            seen = [(each.step, each.value) for each in events.Scalars(f"steps/{name}")]
            assert [step for step, _ in seen] == [step for step, _ in points]
            assert [value for _, value in seen] == pytest.approx([v for _, v in points], rel=1e-6)


def test_wandb_reads_config_summary_and_every_step(runs: list[Run], tmp_path: Path) -> None:
    folder = exported("wandb", tmp_path)
    found = {records["name"]: records for records in map(read_wandb, folder.rglob("*.wandb"))}
    assert set(found) == {run.name for run in runs}
    for run in runs:
        records, settings = found[run.name], settings_of(run.result)
        assert {name: records["config"][name] for name in settings} == settings
        figures = figures_of(run.result)
        assert {name: records["summary"][name] for name in figures} == figures
        for name, points in series_of(run.trace).items():
            seen = [(row["_step"], row[name]) for row in records["history"] if name in row]
            assert seen == points


def read_wandb(path: Path) -> dict[str, Any]:
    """Read a file of records in LevelDB's framing, blocks of 32 KiB after a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, part = path.read_bytes(), 7, b""
    records: dict[str, Any] = {"config": {}, "summary": {}, "history": []}
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        part += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # full, last
            record = Record()
            record.ParseFromString(part)
            part = b""
            _take(record, records)
    return records


def _take(record: Any, records: dict[str, Any]) -> None:
    def values(items: Any) -> dict[str, Any]:
        return {
            each.key or "/".join(each.nested_key): json.loads(each.value_json) for each in items
        }

    match record.WhichOneof("record_type"):
        case "run":
            records["name"] = record.run.display_name
            records["config"].update(values(record.run.config.update))
        case "summary":
            records["summary"].update(values(record.summary.update))
        case "history":
            records["history"].append(values(record.history.item))


@pytest.mark.parametrize("ruleset", ["5.1.0", "6.0.0"])
def test_mlperf_s_parser_reads_every_line(runs: list[Run], tmp_path: Path, ruleset: str) -> None:
    parser = pytest.importorskip("mlperf_logging.compliance_checker.mlp_parser", reason=REASON)
    folder = exported("mllog", tmp_path)
    for run in runs:
        path = folder / f"{run.name}.log"
        lines, errors = parser.parse_file(str(path), ruleset=ruleset)
        assert errors == []
        assert len(lines) == len(path.read_text().splitlines())
        stats = [line.value["value"] for line in lines if line.key == "tracked_stats"]
        assert [each["train_step_time"] for each in stats] == [
            seconds for _, seconds in series_of(run.trace)["step_time_seconds"]
        ]
        times = [line.timestamp for line in lines]
        assert times == sorted(times)
