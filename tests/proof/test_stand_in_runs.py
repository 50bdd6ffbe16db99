"""More whole runs on the stand-in for a Trainium; those of every change: tests/process/cli."""

import json
from pathlib import Path

import pytest

from tests.command import only_case, records_of, run_to_end, trnbench
from tests.process.cli.test_stand_in import SUITE, checks_of, run
from tests.stand_in import stand_in_environment

pytest.importorskip("torch.utils.backend_registration")


def test_tied_weights_are_one_also_where_moving_keeps_objects_and_memory_is_not_told(
    tmp_path: Path,
) -> None:
    done, result = run(tmp_path, keep_parameters=True, memory="none")
    assert done.code == 0, done.err
    (built,) = [r for r in records_of(only_case(tmp_path / "out")) if r["kind"] == "built"]
    assert built["embeddings_are_tied"]
    assert checks_of(result)["parameters"] == "sound"
    assert result["metrics"]["peak_memory_bytes"]["value"] is None
    assert result["metrics"]["peak_memory_bytes"]["reason"]


def test_a_warm_cache_is_told_from_a_cold_one(tmp_path: Path) -> None:
    caches = []
    for name in ("cold", "warm"):
        suite = tmp_path / "suite.yaml"
        suite.write_text(SUITE)
        environment = {**stand_in_environment(), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        done = trnbench("run", suite, "-o", tmp_path / name, cwd=tmp_path, **environment)
        assert done.code == 0, done.err
        result = json.loads((only_case(tmp_path / name) / "result.json").read_text())
        caches.append([result["compilation"][key] for key in ("cache", "graphs", "programs")])
    assert caches == [["cold", 1, 2], ["cached", 1, 0]]


def test_a_runtime_that_crashes_after_the_last_step_spoils_no_job(tmp_path: Path) -> None:
    """Seen in the field: SIGSEGV as the process group is destroyed, when all is measured."""
    sizes = ("--set", "parallel.data_parallel_replicate_size=2", "--set", "device=neuron")
    done, result = run(tmp_path, *sizes, fault="crashes_at_end")
    assert done.code == 0, done.err
    assert checks_of(result)["finished"] == "sound"
    assert len([r for r in records_of(only_case(tmp_path / "out")) if r["kind"] == "replica"]) == 2


@pytest.mark.timeout(1600)
def test_a_shipped_config_runs_on_the_cores_that_it_is_for(tmp_path: Path) -> None:
    """All of it but the sizes of its model: four tensor ranks of a chip, priced as the machine."""
    small = (
        "model={base: llama3-8b, layers: 1, hidden_size: 64, heads: 8, kv_heads: 4, "
        "intermediate_size: 64, vocabulary_size: 256, max_positions: 64}"
    )
    settings = (
        small, "workload.sequence_length=16", "measure.min_samples=8", "measure.max_samples=8",
        "measure.min_seconds=0", "measure.relative_precision=0.9",
    )  # fmt: skip
    words = [word for setting in settings for word in ("--set", setting)]
    environment = {**stand_in_environment(), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    out = tmp_path / "out"
    command = ("run", "llama3-8b-trn2.3xlarge", "-o", out, *words)
    done = run_to_end(command, tmp_path, environment, seconds=1500)
    assert done.code == 0, done.err
    result = json.loads((only_case(out) / "result.json").read_text())
    assert result["parallel"]["tensor_parallel_size"] == result["parallel"]["world_size"] == 4
    assert result["price"]["instance"] == "trn2.3xlarge"
    checks = checks_of(result)
    for name in ("parity", "seats", "agreement", "placement", "parameters"):
        assert checks[name] == "sound", (name, result["checks"])
    assert "used" in next(c for c in result["checks"] if c["name"] == "idle_devices")["evidence"]
