"""The stand-ins for neuron-ls and neuron-monitor answer as processes do, well and badly."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.stand_in import Settings, stand_in_environment


def run(*command: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end."""
    return subprocess.run(
        command,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def environment(**settings: Any) -> dict[str, str]:
    chosen: Settings = {"neuron_monitor_seconds": 0.01, **settings}  # type: ignore[typeddict-item]
    return {**os.environ, **stand_in_environment(**chosen)}


@pytest.mark.parametrize(
    ("answer", "instance_type", "cores"),
    [("idle", "trn2.3xlarge", 4), ("busy", "trn2.3xlarge", 4), ("trn1", "trn1.2xlarge", 2)],
)
def test_neuron_ls_tells_of_one_device(answer: str, instance_type: str, cores: int) -> None:
    (device,) = json.loads(run("neuron-ls", "--json-output", neuron_ls=answer).stdout)
    assert (device["instance_type"], device["nc_count"]) == (instance_type, cores)
    holders = [(each["pid"], each["command"]) for each in device["neuron_processes"]]
    expected = [(4242, "python3 train.py --config llama-1b.yaml")] if answer == "busy" else []
    assert holders == expected


def test_neuron_ls_without_a_device_fails_silently() -> None:
    done = run("neuron-ls", "--json-output", neuron_ls="none")
    assert (done.returncode, done.stdout) == (1, "")


def test_neuron_ls_can_answer_rubbish() -> None:
    with pytest.raises(json.JSONDecodeError):
        json.loads(run("neuron-ls", neuron_ls="rubbish").stdout)


def test_an_unknown_answer_is_refused() -> None:
    assert run("neuron-ls", neuron_ls="bussy").returncode == 64
    assert run("neuron-monitor", neuron_monitor="god").returncode == 2


@pytest.mark.parametrize("tool", ["neuron-ls", "neuron-monitor"])
def test_a_tool_can_hang(tool: Literal["neuron-ls", "neuron-monitor"]) -> None:
    settings = {tool.replace("-", "_"): "hangs"}
    process = subprocess.Popen([tool], env=environment(**settings), stdout=subprocess.PIPE)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=0.3)
    finally:
        process.kill()
        process.communicate()


def test_neuron_monitor_writes_a_record_a_line_for_ever(tmp_path: Path) -> None:
    configuration = tmp_path / "monitor.json"
    configuration.write_text(
        json.dumps({"period": "1s", "neuron_runtimes": [{"tag_filter": "rank1$", "metrics": []}]})
    )
    process = subprocess.Popen(
        ["neuron-monitor", "-c", configuration],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        records = [json.loads(process.stdout.readline()) for _ in range(6)]
        assert process.poll() is None
    process.kill()
    process.wait()
    runtimes = [[each["pid"] for each in record["neuron_runtime_data"]] for record in records]
    assert runtimes == [[], *[[4201]] * 5]
    assert records[5]["neuron_hardware_info"]["neuron_device_type"] == "trainium2"


def test_neuron_monitor_can_die() -> None:
    done = run("neuron-monitor", neuron_monitor="dies")
    assert done.returncode == 1
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 2
    assert done.stderr


def test_neuron_monitor_can_stop_within_a_record() -> None:
    first, second = run("neuron-monitor", neuron_monitor="torn").stdout.splitlines()
    assert json.loads(first)
    with pytest.raises(json.JSONDecodeError):
        json.loads(second)


def test_neuron_monitor_can_write_rubbish() -> None:
    process = subprocess.Popen(
        ["neuron-monitor"],
        env=environment(neuron_monitor="rubbish"),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "neuron-monitor: {not: JSON\n"
    process.kill()
    process.wait()
