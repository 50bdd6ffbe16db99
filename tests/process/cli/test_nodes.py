"""A job of two nodes in a script of Slurm's, whose srun and scontrol are scripts of the test's.

All else is real: the leader, the other node's process at the end of srun's pipes, and the workers
of both, which are scripted. tests/slurm/ has the real Slurm.
"""

import json
import os
import stat
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tests.command import in_process, only_case, processes_named, records_of
from tests.fake_python import fake_python

CONFIG = """
name: nodes
model: tiny-llama
workload: {sequence_length: 64, global_batch_size: 4, threads: 1, learning_rate: 0.003}
parallel: {data_parallel_replicate_size: 4}
measure: {relative_precision: 0.02, min_seconds: 0, min_samples: 50, gate: false}
"""

SCONTROL = "#!/bin/sh\necho NodeName=$3 NodeAddr=127.0.0.1 State=MIXED\n"
SRUN = """#!/bin/sh
while [ "$1" != --nodelist ]; do shift; done
[ "$2" = n2 ] || exit 9
shift 2
SLURMD_NODENAME=n2 exec "$@"
"""

VARIABLES = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_JOB_NODELIST": "n[1-2]",
    "SLURMD_NODENAME": "n1",
}


def run(folder: Path, python: str, *settings: str) -> tuple[int, str, list[dict[str, Any]]]:
    """Run a job of four ranks on two nodes; return the exit code, what was printed, the records."""
    (folder / "bin").mkdir()
    for name, text in (("scontrol", SCONTROL), ("srun", SRUN)):
        tool = folder / "bin" / name
        tool.write_text(text)
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    config = folder / "nodes.yaml"
    config.write_text(CONFIG)
    options = [option for setting in settings for option in ("--set", setting)]
    with patch.dict(os.environ, {"PATH": f"{folder / 'bin'}:/usr/bin:/bin", **VARIABLES}):
        done = in_process("run", config, "-o", folder / "run", "--python", python, *options)
    assert "Traceback" not in done.err, done.err
    assert processes_named(str(folder)) == []
    has_case = (folder / "run").exists()
    return done.code, done.err, records_of(only_case(folder / "run")) if has_case else []


def test_ranks_of_two_nodes_are_one_job_whose_nodes_are_compared(tmp_path: Path) -> None:
    code, words, records = run(tmp_path, fake_python(tmp_path))
    assert code == 0, words
    blocks = [record for record in records if record["kind"] == "block"]
    assert len(blocks) > 50
    assert all(len(block["rank_seconds"]) == 4 for block in blocks)
    (launch,) = [record for record in records if record["kind"] == "launch"]
    first, second = launch["nodes"]
    assert first == second
    assert first["torch"] == "0.0"
    assert launch["variables"]["GLOO_SOCKET_IFNAME"] == "lo"
    assert records[-1]["status"] == "finished"
    case = only_case(tmp_path / "run")
    assert json.loads((case / "plan.json").read_text())["parallel"]["nodes"] == 2
    checks = json.loads((case / "result.json").read_text())["checks"]
    (found,) = [check for check in checks if check["name"] == "nodes"]
    assert found["verdict"] == "sound"


def test_a_rank_that_is_killed_is_named_with_its_node(tmp_path: Path) -> None:
    code, words, records = run(tmp_path, fake_python(tmp_path, "is_killed", at_rank=3))
    assert code == 4, words
    assert records[-1]["status"] == "died"
    assert records[-1]["reason"].startswith("rank 3 of 4 on node 1: the worker died (signal 9)")


def test_a_rank_that_is_stopped_on_another_node_is_named_by_its_process(tmp_path: Path) -> None:
    python = fake_python(tmp_path, "is_stopped", at_rank=2)
    code, words, records = run(tmp_path, python, "measure.hang_seconds=4")
    assert code == 4, words
    assert records[-1]["status"] == "hung"
    assert records[-1]["reason"].startswith("rank 2 of 4 on node 1 is stopped by a signal")


def test_more_nodes_than_the_allocation_has_are_refused_before_anything_starts(
    tmp_path: Path,
) -> None:
    code, words, records = run(tmp_path, fake_python(tmp_path), "parallel.nodes=4")
    assert (code, records) == (3, [])
    assert "parallel.nodes: 4 asked for, and this allocation has 2" in words
