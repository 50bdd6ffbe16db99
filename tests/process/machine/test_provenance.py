"""The machine as it is recorded: what decides speed, and nothing that tells whose it is."""

import getpass
import json
import os
import platform
import socket
from dataclasses import replace
from datetime import date
from pathlib import Path

import psutil
import pytest

from tests.process.machine.metadata_service import ANSWERS, metadata_service
from tests.pure.machine import places
from trnbench.machine.describe import (
    describe_machine,
    kept_variables,
    look_at_accelerators,
)
from trnbench.machine.host import firmware_instance

TODAY = date(2026, 11, 30)


def write_firmware(folder: Path, vendor: str, product: str) -> Path:
    (folder / "sys_vendor").write_text(f"{vendor}\n")
    (folder / "product_name").write_text(f"{product}\n")
    return folder


def test_what_decides_speed_is_recorded() -> None:
    machine = describe_machine()
    assert machine.host.logical_cpus == psutil.cpu_count()
    assert machine.host.memory_bytes == psutil.virtual_memory().total
    assert machine.host.architecture == platform.machine()
    assert machine.host.operating_system.startswith(platform.system())
    assert machine.host.processor


def test_no_name_of_the_host_or_the_user_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "alice.b")
    monkeypatch.setattr(socket, "gethostname", lambda: "ip-10-0-0-7")
    monkeypatch.setenv("NCCL_DEBUG", "INFO for alice.b on ip-10-0-0-7")
    monkeypatch.setenv("HOME", "/home/alice.b")
    assert getpass.getuser() == "alice.b"
    machine = describe_machine()
    assert machine.variables["NCCL_DEBUG"] == "INFO for … on …"
    text = json.dumps(machine.to_json())
    assert "alice" not in text
    assert "ip-10-0-0-7" not in text
    assert platform.node() not in text.split('"')


def test_what_is_kept_of_a_machine_is_plain_json() -> None:
    machine = describe_machine()
    assert json.loads(json.dumps(machine.to_json())) == machine.to_json()
    assert set(machine.to_json()) == {
        "operating_system", "architecture", "processor", "logical_cpus", "memory_bytes",
        "instance", "variables", "physical_cores", "cpu_flags", "numa_nodes", "governor",
        "huge_pages", "huge_page_bytes", "region", "zone", "life_cycle", "image", "neuron",
        "nvidia", "efa", "zone_id", "instance_reason",
    }  # fmt: skip


def test_only_variables_that_decide_how_training_runs_are_kept() -> None:
    kept = kept_variables(
        {
            "OMP_NUM_THREADS": "2",
            "NEURON_RT_NUM_CORES": "8",
            "NKI_DEBUG_INFO": "1",
            "FI_PROVIDER": "efa",
            "AWS_SECRET_ACCESS_KEY": "abc",
            "PATH": "x",
            "MY_OMP_THREADS": "3",
        }
    )
    assert kept == {
        "FI_PROVIDER": "efa",
        "NEURON_RT_NUM_CORES": "8",
        "NKI_DEBUG_INFO": "1",
        "OMP_NUM_THREADS": "2",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NEURON_API_KEY", "abc"),
        ("TORCH_HUB_TOKEN", "abc"),
        ("CUDA_SECRET", "abc"),
        ("XLA_PASSWORD", "abc"),
        ("NEURON_RT_ROOT_COMM_ID", "10.0.0.7:8990"),
        ("NCCL_HOSTID", "ip-10-0-0-7"),
        ("PJRT_MASTER_ADDR", "10.0.0.7"),
        ("NEURON_COMPILE_CACHE_URL", "s3:bucket"),
        ("TORCH_HOME", "/home/alice/torch"),
        ("FI_OPX_HOST", "node-7"),
        ("XLA_FLAGS", "--xla_dump_to=/home/alice/dump"),
    ],
)
def test_secrets_addresses_and_paths_are_removed_and_that_is_told(name: str, value: str) -> None:
    assert kept_variables({name: value}) == {name: "(removed)"}


def test_the_variables_of_this_process_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "17")
    assert describe_machine().variables["OMP_NUM_THREADS"] == "17"
    assert set(describe_machine().variables) <= set(os.environ)


@pytest.mark.parametrize(
    ("vendor", "product", "instance"),
    [
        ("Amazon EC2", "trn2.48xlarge", "trn2.48xlarge"),
        ("Amazon EC2", "HVM domU", None),
        ("Xen", "HVM domU", None),
        ("Some Maker", "x570.pro", None),
        ("", "", None),
    ],
)
def test_the_instance_is_what_the_firmware_of_ec2_says(
    tmp_path: Path, vendor: str, product: str, instance: str | None
) -> None:
    assert firmware_instance(write_firmware(tmp_path, vendor, product)) == instance


def test_a_machine_whose_firmware_says_nothing_has_no_instance(tmp_path: Path) -> None:
    assert firmware_instance(tmp_path / "none") is None


# --- on EC2, with chips ---------------------------------------------------------------------------


def test_place_and_life_cycle_are_kept_and_nothing_that_tells_whose_it_is(tmp_path: Path) -> None:
    places.write_firmware(tmp_path, "Amazon EC2", "trn2.48xlarge")
    answers = {**ANSWERS, "instance-id": "i-0123456789abcdef0", "local-ipv4": "10.0.12.34"}
    with metadata_service(answers) as service:
        machine = describe_machine(tmp_path, service.url)
    kept = machine.to_json()
    assert (kept["instance"], kept["region"], kept["zone"]) == (
        "trn2.48xlarge",
        "us-east-2",
        "us-east-2c",
    )
    assert (kept["life_cycle"], machine.price_request(TODAY).option) == (
        "capacity-block",
        "capacity_block",
    )
    assert "i-0123" not in json.dumps(kept)
    assert "10.0.12" not in json.dumps(kept)


def test_a_metadata_service_that_hangs_holds_no_run_up(tmp_path: Path) -> None:
    places.write_firmware(tmp_path, "Amazon EC2", "trn2.48xlarge")
    with metadata_service(hangs_at="token") as service:
        machine = describe_machine(tmp_path, service.url)  # it would never answer
    assert (machine.instance, machine.ec2.region) == ("trn2.48xlarge", None)


def test_chips_are_kept_without_whoever_holds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places.write_neuron_ls(tmp_path / "bin", "trn2.48xlarge")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    places.write(tmp_path, "sys/module/neuron/version", "2.31.7.0\n")
    machine = replace(describe_machine(tmp_path), chips=look_at_accelerators(tmp_path))
    kept = machine.to_json()
    assert kept["neuron"]["logical_cores"] == 64
    assert kept["neuron"]["driver_version"] == "2.31.7.0"
    assert (kept["nvidia"], kept["efa"]) == (None, None)
    assert json.loads(json.dumps(kept)) == kept
    assert "4242" not in json.dumps(kept)


def test_the_instance_that_the_tools_name_serves_where_the_firmware_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places.write_neuron_ls(tmp_path / "bin", "trn2.3xlarge")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    machine = replace(describe_machine(tmp_path), chips=look_at_accelerators(tmp_path))
    assert machine.instance == "trn2.3xlarge"
