"""`trnbench run` on two real nodes: by srun's pipes and by torch's store, and a node that dies."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.command import only_case, records_of
from tests.slurm.cluster import Cluster
from trnbench.run.store import read_plan

TRNBENCH = f"{sys.executable} -m trnbench"

CONFIG = """
name: two nodes
model: {family: llama, name: small, layers: 2, hidden_size: 64, heads: 4, kv_heads: 2,
        intermediate_size: 128, vocabulary_size: 256, max_positions: 64}
workload: {sequence_length: 64, global_batch_size: 4, micro_batch_size: 2, precision: fp32,
           threads: 1}
device: cpu
measure: {min_samples: 8, max_samples: 8, min_seconds: 0, ceiling: false, gate: false,
          telemetry: false}
"""

LOSS_TOLERANCE = 2e-6
"""Of losses in fp32, relative: another order of the same sums."""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "nodes.yaml"
    path.write_text(CONFIG)
    return path


def submit(cluster: Cluster, folder: Path, command: str, *options: str) -> int:
    """Submit a script of one command on two nodes; its output is in `job.out`."""
    script = folder / "job.sh"
    script.write_text(f"#!/bin/bash\n{command}\n")
    given = ("--nodes=2", "--ntasks-per-node=1", "--no-requeue", f"--output={folder}/job.out")
    return cluster.submit(script, *given, *options)


def losses_of(case: Path) -> list[float]:
    blocks = [record for record in records_of(case) if record["kind"] == "block"]
    return [loss for block in blocks for loss in block["losses"]]


def outcome_of(case: Path) -> dict[str, Any]:
    return records_of(case)[-1]


@pytest.mark.timeout(900)
def test_two_nodes_train_as_one_process_does(
    cluster: Cluster, config: Path, tmp_path: Path
) -> None:
    runs = {
        "pipes": f"{TRNBENCH} run {config} -o {tmp_path}/pipes",
        "store": f"srun --kill-on-bad-exit=1 {TRNBENCH} run {config} -o {tmp_path}/store",
        "alone": f"{TRNBENCH} run {config} --set parallel.nodes=1 -o {tmp_path}/alone",
    }

    number = submit(cluster, tmp_path, " && ".join(runs.values()))

    said = cluster.end_of(number, 840)
    assert said["JobState"] == "COMPLETED", (tmp_path / "job.out").read_text()
    cases = {name: only_case(tmp_path / name) for name in runs}
    nodes = {name: read_plan(case).parallel.nodes for name, case in cases.items()}
    assert nodes == {"pipes": 2, "store": 2, "alone": 1}
    alone = losses_of(cases["alone"])
    for name in ("pipes", "store"):
        assert outcome_of(cases[name])["status"] == "finished"
        both = losses_of(cases[name])
        shared = min(len(both), len(alone))
        assert shared > 8
        assert both[:shared] == pytest.approx(alone[:shared], rel=LOSS_TOLERANCE)
    assert not cluster.processes_of("n2")


@pytest.mark.timeout(900)
def test_a_node_that_dies_is_named_and_the_same_command_completes_the_plan(
    cluster: Cluster, config: Path, tmp_path: Path
) -> None:
    """The first case is measured, n2 dies in the second, and that alone is measured again."""
    long = config.with_name("long.yaml")
    text = CONFIG.replace(
        "max_samples: 8, min_seconds: 0", "relative_precision: 0.9, min_seconds: 20"
    )
    long.write_text(text.replace("fp32", "bf16"))
    folder = tmp_path / "run"
    command = f"{TRNBENCH} run {config} {long} -o {folder}"
    number = submit(cluster, tmp_path, command)
    cluster.wait_until(lambda: has_timed_a_step(folder, "bf16"), 600)

    cluster.kill_node("n2")

    cluster.end_of(number, 300)
    first, second = case_of(folder, "fp32"), case_of(folder, "bf16")
    # Slurm takes the job for over while its processes have time to end.
    cluster.wait_until(lambda: "status" in outcome_of(second), 60)
    assert outcome_of(first)["status"] == "finished"
    assert outcome_of(second)["status"] == "died"
    assert "node 1 is lost" in outcome_of(second)["reason"]
    assert not cluster.processes_of("n2")
    kept = (first / "measurement.jsonl").read_bytes()
    cluster.revive("n2")

    number = submit(cluster, tmp_path, command)

    said = cluster.end_of(number, 600)
    assert said["JobState"] == "COMPLETED", (tmp_path / "job.out").read_text()
    assert outcome_of(second)["status"] == "finished"
    assert (first / "measurement.jsonl").read_bytes() == kept


def case_of(folder: Path, precision: str) -> Path:
    return next(path for path in folder.iterdir() if f"-{precision}-" in path.name)


def has_timed_a_step(folder: Path, precision: str) -> bool:
    """Tell whether a case has a timed block on disk."""
    for records in folder.glob(f"*-{precision}-*/measurement.jsonl"):
        if '"purpose":"measure"' in records.read_text():
            return True
    return False
