"""`trnbench launch slurm --submit` on a real Slurm: its results come home, and every bad end."""

import json
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import COMMAND, Done, in_process
from tests.each import check_each
from tests.slurm.cluster import Cluster

SUITE = """\
name: tiny on slurm
model: tiny-llama
workload: {sequence_length: 32, global_batch_size: 2, precision: fp32}
device: cpu
measure: {min_samples: 8, max_samples: 8, min_seconds: 0, max_minutes: 10, ceiling: false,
  gate: false, telemetry: false}
"""

SLEEPS = ("--setup", "exec sleep 600")
"""A job that trains nothing: for what becomes of it."""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(SUITE)
    return tmp_path


def launch(cluster: Cluster, place: Path, *words: str) -> Done:
    more = {"PATH": cluster.environment["PATH"], "SLURM_CONF": str(cluster.conf)}
    return in_process("launch", "slurm", *words, cwd=place, **more)


def submit(cluster: Cluster, place: Path, *words: str) -> Done:
    return launch(cluster, place, "tiny.yaml", "--submit", "-o", "home", *words)


def jobs(cluster: Cluster, state: str = "all") -> list[str]:
    asked = ["squeue", "--noheader", "--states", state, "--format", "%i"]
    return cluster.run(asked).stdout.split()


def beside(cluster: Cluster, do: Callable[[str], object]) -> threading.Thread:
    """Wait beside the test until a job runs, and do something to it."""

    def wait() -> None:
        cluster.wait_until(lambda: bool(jobs(cluster, "RUNNING")))
        do(jobs(cluster, "RUNNING")[0])

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.timeout(1200)  # it trains
def test_a_suite_is_measured_on_a_node_and_its_results_come_home(
    cluster: Cluster, place: Path
) -> None:
    done = submit(cluster, place)
    assert (done.code, done.out) == (0, ""), done.err
    assert (place / "home/run.json").is_file()
    assert len([*place.glob("home/*/result.json")]) == 1
    assert "tiny-llama" in done.err  # the job's own table, as it was printed
    assert "COMPLETED" in done.err
    assert f"next: trnbench report {place / 'home'}" in done.err


@pytest.mark.timeout(1200)  # it trains
def test_a_job_of_two_nodes_is_one_run_on_both(cluster: Cluster, place: Path) -> None:
    done = submit(cluster, place, "--nodes", "2")
    assert done.code == 0, done.err
    (plan,) = place.glob("home/*/plan.json")
    assert json.loads(plan.read_text())["parallel"]["nodes"] == 2


def test_what_slurm_refuses_is_told_at_once(cluster: Cluster, place: Path) -> None:
    def check(words: tuple[str, ...], code: int, said: str) -> None:
        done = launch(cluster, place, *words)
        assert done.code == code, done.err
        assert said in done.err

    suite = ("tiny.yaml", "--submit", "-o", "home")
    check_each(
        [
            (
                (*suite, "--partition", "nope"),
                2,
                "trnbench: --partition nope: Slurm refuses the job",
            ),
            ((*suite, "--nodes", "9"), 2, "its partition never has so many nodes"),
            ((*suite, "--sbatch=--qqq=1"), 2, "Slurm refuses the job"),
            (("--follow", "99999", "-o", "home"), 3, "trnbench: job 99999: is gone"),
        ],
        check,
    )
    assert not jobs(cluster, "PENDING,RUNNING")


def test_a_controller_that_is_not_there_is_told(cluster: Cluster, place: Path) -> None:
    conf = place / "slurm.conf"
    conf.write_text(cluster.conf.read_text().replace("SlurmctldPort=", "SlurmctldPort=1#"))
    words = ("launch", "slurm", "--follow", "1", "-o", "home")
    path = cluster.environment["PATH"]
    done = in_process(*words, cwd=place, PATH=path, SLURM_CONF=str(conf))
    assert done.code == 3, done.err
    done = in_process(*words, cwd=place, PATH=str(place), SLURM_CONF=str(conf))
    assert done.code == 3
    assert "trnbench: scontrol: is not installed on this machine" in done.err


def test_a_job_that_is_cancelled(cluster: Cluster, place: Path) -> None:
    thread = beside(cluster, lambda job: cluster.run(["scancel", job]))
    done = submit(cluster, place, *SLEEPS)
    thread.join()
    assert done.code == 4, done.err
    assert "CANCELLED: it was cancelled" in done.err
    assert "no results: " in done.err


def test_a_job_that_is_killed_ends_with_its_signal(cluster: Cluster, place: Path) -> None:
    done = submit(cluster, place, "--setup", "kill -KILL $$")
    assert done.code == 128 + signal.SIGKILL, done.err
    assert "`trnbench run` ended with code 137" in done.err


def test_a_node_that_dies_ends_the_job(cluster: Cluster, place: Path) -> None:
    def kill(job: str) -> None:
        cluster.kill_node(cluster.job(int(job))["NodeList"])

    thread = beside(cluster, kill)
    try:
        done = submit(cluster, place, *SLEEPS)
    finally:
        thread.join()
        for node in cluster.nodes:
            if cluster.state(node) != "idle":
                cluster.revive(node)
    assert done.code == 4, done.err
    assert "NODE_FAIL: it lost a node" in done.err


def test_ctrl_c_leaves_the_job_and_says_how_to_follow_it_again(
    cluster: Cluster, place: Path
) -> None:
    process = subprocess.Popen(
        [*COMMAND, "launch", "slurm", "tiny.yaml", "--submit", "-o", "home", *SLEEPS],
        cwd=place,
        env={**cluster.environment, "NO_COLOR": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = ""
    while ": RUNNING" not in said:
        line = process.stderr.readline()
        assert line, said
        said += line
    process.send_signal(signal.SIGINT)
    said += process.communicate()[1]
    assert process.returncode == 130
    (job,) = jobs(cluster, "RUNNING")
    assert f"stopped by Ctrl-C: job {job} goes on running" in said
    assert f"to end it: scancel {job}" in said
    again = said.splitlines()[-1].partition("to follow it: trnbench ")[2].split()
    assert again == ["launch", "slurm", "--follow", job, "-o", str(place / "home")]
    thread = beside(cluster, lambda _: cluster.run(["scancel", job]))
    assert launch(cluster, place, *again[2:]).code == 4
    thread.join()


def test_the_job_s_own_bad_end_is_the_command_s(cluster: Cluster, place: Path) -> None:
    # `run` on the node refuses what this machine's plan could not know: an interpreter of its own.
    done = submit(cluster, place, "--python", str(place / "no-python"))
    assert done.code in (2, 3), done.err
    assert f"`trnbench run` ended with code {done.code}" in done.err
