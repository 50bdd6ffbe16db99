"""The cluster of these tests: two nodes, a job over both, and a node that dies and comes back."""

from pathlib import Path

from tests.slurm.cluster import Cluster


def test_a_job_runs_on_both_nodes(cluster: Cluster, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text("#!/bin/sh\nsrun --ntasks-per-node=1 sh -c 'echo $SLURMD_NODENAME'\n")

    number = cluster.submit(script, "--nodes=2", f"--output={tmp_path}/out")

    assert cluster.end_of(number)["JobState"] == "COMPLETED"
    assert sorted((tmp_path / "out").read_text().split()) == cluster.nodes


def test_a_killed_node_ends_its_job_and_comes_back(cluster: Cluster, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    started = tmp_path / "started"
    task = f"touch {started}.$SLURM_NODEID; exec tail -f /dev/null"
    script.write_text(
        f"#!/bin/sh\nsrun --ntasks-per-node=1 --kill-on-bad-exit=1 --wait=5 sh -c '{task}'\n"
    )
    number = cluster.submit(script, "--nodes=2", f"--output={tmp_path}/out", "--no-requeue")
    cluster.wait_until(lambda: len(list(tmp_path.glob("started.*"))) == 2)

    cluster.kill_node("n2")

    assert cluster.end_of(number)["JobState"] in ("FAILED", "NODE_FAIL")
    assert not cluster.processes_of("n2")
    cluster.revive("n2")
