"""`trnbench run` as torchrun starts it, twice on this machine's loopback; it needs no Slurm."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import only_case, run_to_end
from tests.slurm.test_nodes import CONFIG, outcome_of
from trnbench.run.store import read_plan


def torchrun(node: int, port: int, *arguments: str) -> "subprocess.Popen[str]":
    agent = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", f"--node-rank={node}"]
    agent += ["--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={port}"]
    return subprocess.Popen(
        [*agent, "--no-python", sys.executable, "-m", "trnbench", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
    )


@pytest.mark.timeout(900)
def test_two_agents_of_torchrun_are_two_nodes(tmp_path: Path) -> None:
    config = tmp_path / "nodes.yaml"
    config.write_text(CONFIG)
    agents = [
        torchrun(node, 29_611, "run", str(config), "-o", f"{tmp_path}/run") for node in (0, 1)
    ]

    said = [agent.communicate(timeout=800)[0] for agent in agents]

    assert [agent.returncode for agent in agents] == [0, 0], "\n".join(said)
    case = only_case(tmp_path / "run")
    assert read_plan(case).parallel.nodes == 2
    assert outcome_of(case)["status"] == "finished"


@pytest.mark.parametrize(("rank", "said"), [("0", "did not come at"), ("1", "has no node 0 at")])
def test_a_rendezvous_that_nobody_reaches_is_said_with_its_address(
    tmp_path: Path, rank: str, said: str
) -> None:
    config = tmp_path / "nodes.yaml"
    config.write_text(CONFIG)
    variables = {
        "PET_NNODES": "2",
        "PET_NODE_RANK": rank,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29613",
        "TRNBENCH_RENDEZVOUS_SECONDS": "2",
    }

    done = run_to_end(["run", config, "-o", tmp_path / "run"], environment=variables)

    assert done.code == 3
    assert f"{said} 127.0.0.1:29613" in done.err
    assert "firewall" in done.err
