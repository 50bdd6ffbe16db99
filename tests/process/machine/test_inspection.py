"""All looks together: a whole machine made of files, a real interpreter, and how long it takes."""

import sys
import time
from datetime import date
from functools import partial
from pathlib import Path

import pytest

from tests.fake_python import fake_python
from tests.process.machine.metadata_service import metadata_service
from tests.pure.machine import places
from tests.pure.machine.test_nvidia import FakeNvml
from trnbench.errors import ConfigError
from trnbench.machine.describe import inspect
from trnbench.machine.doctor import diagnose
from trnbench.run.questions import try_inventory
from trnbench.schema.price import Price

TODAY = date(2026, 8, 1)
HERE = partial(try_inventory, sys.executable)


@pytest.fixture
def trn2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the files of a trn2.48xlarge."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    root = tmp_path / "root"
    places.write_firmware(root, "Amazon EC2", "trn2.48xlarge")
    places.write_neuron_ls(root / "opt/aws/neuron/bin", "trn2.48xlarge")
    places.write_tool(root / "opt/amazon/efa/bin", "fi_info", "echo provider: efa")
    (root / "sys/class/infiniband/efa_0").mkdir(parents=True)
    for number in range(16):
        places.write(root, f"dev/neuron{number}")
    places.write(root, "proc/meminfo", "HugePages_Total: 5128\nHugepagesize: 2048 kB\n")
    return root


def test_a_trn2_is_seen_in_full(trn2: Path) -> None:
    with metadata_service() as service:
        seen = inspect(
            HERE,
            TODAY,
            root=trn2,
            metadata_url=service.url,
            environment={"NEURON_LOGICAL_NC_CONFIG": "2", "HOME": "/home/somebody"},
        )
    assert seen.chips.neuron.logical_cores == 64
    assert seen.chips.network.has_provider
    assert seen.machine.ec2.zone == "us-east-2c"
    assert seen.machine.variables == {"NEURON_LOGICAL_NC_CONFIG": "2"}
    assert isinstance(seen.price, Price)
    assert (seen.price.option, seen.price.region) == ("capacity_block", "us-east-2")
    standing = {finding.name: finding.verdict for finding in diagnose(seen)}
    assert standing["holders"] == "problem"
    assert standing["neuron_missing"] == "problem"
    for name in ("efa", "huge_pages", "ec2", "price", "logical_cores"):
        assert standing[name] == "ok"


def test_off_ec2_the_metadata_service_is_not_asked(tmp_path: Path) -> None:
    with metadata_service() as service:
        inspect(HERE, TODAY, root=tmp_path, metadata_url=service.url)
    assert service.asked == []


def test_gpus_are_seen(tmp_path: Path) -> None:
    seen = inspect(HERE, TODAY, root=tmp_path, nvml=FakeNvml())
    assert len(seen.chips.nvidia.gpus) == 2
    assert seen.machine.to_json()["nvidia"]["cuda_version"] == "13.1"


def test_an_interpreter_that_cannot_be_started_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be started"):
        inspect(partial(try_inventory, str(tmp_path / "python")), TODAY, root=tmp_path)


def test_nothing_on_this_machine_takes_a_second() -> None:
    began = time.process_time()  # whoever else is at work on the machine
    inspect(HERE, TODAY)
    assert time.process_time() - began < 1.0


# --- the interpreter ------------------------------------------------------------------------------


def test_an_interpreter_says_what_it_has(tmp_path: Path) -> None:
    inventory, reason = try_inventory(fake_python(tmp_path))
    assert inventory is not None
    assert (inventory.versions, reason) == ({"torch": "0.0"}, "")


@pytest.mark.parametrize("script", ["exec tail -f {path}", "tail -f {path} & wait"])
def test_an_interpreter_that_hangs_is_given_up(tmp_path: Path, script: str) -> None:
    followed = places.write(tmp_path, "followed")
    python = places.write_tool(tmp_path, "python", script.format(path=followed))
    inventory, reason = try_inventory(str(python), seconds=0.1)
    assert inventory is None
    assert reason == "…/python: is not a Python interpreter with torch"


def test_what_is_no_python_is_told_by_its_own_words(tmp_path: Path) -> None:
    python = places.write_tool(tmp_path, "python", "echo /home/somebody/lib is broken; exit 1")
    inventory, reason = try_inventory(str(python))
    assert inventory is None
    assert "is broken" in reason
    assert "somebody" not in reason
