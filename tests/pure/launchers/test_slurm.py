"""Batch scripts for Slurm, and what is read of its answers."""

from pathlib import Path
from typing import Any

import pytest

from tests.each import check_each
from tests.jobs import make_job
from trnbench.errors import ConfigError, UnavailableError
from trnbench.launchers.client import Answer
from trnbench.launchers.slurm import Slurm, _fields, _state

EFA = ["export FI_PROVIDER=efa", "export FI_EFA_USE_DEVICE_RDMA=1"]


def lines_of(**changes: Any) -> list[str]:
    return Slurm().write(make_job(**changes)).splitlines()


def test_two_machines_with_trainium() -> None:
    lines = lines_of(place={"partition": "trn2", "account": "team"}, directives=["--qos=high"])
    assert lines[:2] == ["#!/bin/bash", "# mine: a job of a test"]
    assert [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")] == [
        "--job-name=trnbench-mine-1a2b3c",
        "--nodes=2",
        "--ntasks-per-node=1",
        "--exclusive",
        "--mem=0",
        "--no-requeue",
        "--time=40",
        "--output=/home/me/results/mine-%j.out",
        "--signal=B:TERM@120",
        "--partition=trn2",
        "--account=team",
        "--qos=high",
    ]
    assert [line for line in lines if line.startswith("export")] == EFA
    assert "unset NEURON_RT_VISIBLE_CORES NEURON_RT_NUM_CORES NEURON_RT_ROOT_COMM_ID" in lines
    assert any("uname -r" in line and "FI_EFA_FORK_SAFE=1" in line for line in lines)
    assert lines[-1] == (
        "exec srun --ntasks-per-node=1 --cpu-bind=none --kill-on-bad-exit=1 --wait=60 "
        "trnbench run /suites/mine.yaml -o /home/me/results/mine"
    )


def test_gpus_talk_by_nccl_over_efa_and_one_machine_needs_neither() -> None:
    nccl = ["export NCCL_DEBUG=INFO", "export NCCL_DEBUG_SUBSYS=INIT,NET"]
    two = lines_of(instance="p5en.48xlarge", backend="cuda")
    assert [line for line in two if line.startswith("export")] == EFA + nccl
    assert not any("NEURON" in line or "uname" in line for line in two)
    one = lines_of(instance="p5en.48xlarge", backend="cuda", nodes=1)
    assert not any(line.startswith("export") for line in one)


def test_a_type_without_efa_and_one_that_is_not_known_get_no_variables_of_it() -> None:
    assert not any("FI_" in line for line in lines_of(instance="trn1.2xlarge"))
    assert not any("FI_" in line for line in lines_of(instance=None))


def test_what_the_user_gives_comes_last_and_wins() -> None:
    lines = lines_of(
        variables={"FI_PROVIDER": "tcp", "A": "two words"},
        setup="source /opt/venv/bin/activate\nulimit -n 65535",
        words=["--set", "name=two words", "--max-usd", "20"],
    )
    assert "export FI_PROVIDER=tcp" in lines
    assert "export A='two words'" in lines
    assert lines[-3:-1] == ["source /opt/venv/bin/activate", "ulimit -n 65535"]
    assert "--set 'name=two words' --max-usd 20 -o" in lines[-1]


def test_a_folder_with_blanks_and_percent_signs_is_one_path_to_sbatch() -> None:
    lines = lines_of(output=Path("/home/me/my 50% runs"))
    assert '#SBATCH --output="/home/me/my 50%% runs-%j.out"' in lines
    assert lines[-1].endswith("-o '/home/me/my 50% runs'")


def test_how_a_job_stands() -> None:
    def check(name: str, reason: str, code: str, is_over: bool, exit_code: int | None) -> None:
        state = _state(name, reason, code)
        assert (state.is_over, state.exit_code) == (is_over, exit_code)

    check_each(
        [
            ("PENDING", "Resources", "0:0", False, None),
            ("RUNNING", "None", "0:0", False, None),
            ("COMPLETING", "None", "0:0", False, None),
            ("COMPLETED", "None", "0:0", True, 0),
            ("FAILED", "NonZeroExitCode", "4:0", True, 4),
            ("FAILED", "RaisedSignal", "0:9", True, 137),
            ("CANCELLED", "None", "0:15", True, None),
            ("CANCELLED+", "", "0:15", True, None),
            ("TIMEOUT", "TimeLimit", "0:15", True, None),
            ("NODE_FAIL", "NodeDown", "0:0", True, None),
            ("OUT_OF_MEMORY", "OutOfMemory", "0:125", True, None),
        ],
        check,
    )
    assert _state("PENDING", "Resources", "0:0").says == "PENDING (Resources)"
    assert _state("TIMEOUT", "", "0:15").says == "TIMEOUT: it reached its time limit"
    with pytest.raises(UnavailableError, match="NEW_STATE"):
        _state("NEW_STATE", "", "?")


def test_a_value_with_blanks_is_read_whole() -> None:
    said = (
        "JobId=7 JobName=x JobState=RUNNING Reason=None Dependency=(null) ExitCode=0:0 "
        "Command=(null) StdErr=/a b/x-7.out StdIn=/dev/null StdOut=/a b/x-7.out Power= \n"
    )
    found = _fields(said)
    assert found["StdOut"] == "/a b/x-7.out"
    assert (found["JobState"], found["ExitCode"], found["Power"]) == ("RUNNING", "0:0", "")


def test_what_sbatch_refuses_is_the_user_s_option_or_a_controller_that_is_away() -> None:
    said = (
        "sbatch: error: invalid partition specified: trn9\n"
        "sbatch: error: Batch job submission failed: Invalid partition name specified\n"
    )
    refused = Slurm()._refused(Answer(1, "", said), {"partition": "trn9"})
    assert isinstance(refused, ConfigError)
    assert str(refused).startswith("--partition trn9: Slurm refuses the job: invalid partition")
    said = "sbatch: error: Unable to contact slurm controller (connect failure)\n"
    assert isinstance(Slurm()._refused(Answer(1, "", said), {}), UnavailableError)


def test_a_job_s_number_is_a_number() -> None:
    with pytest.raises(ConfigError, match="--follow trnbench-x"):
        Slurm().attach("trnbench-x", {}, Path("/x"))
