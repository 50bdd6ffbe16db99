"""What torch could train on, told without importing it where the answer does not depend on it."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.command import trnbench
from tests.pure.machine.inspections import PLAIN
from trnbench.config.device import read_device
from trnbench.errors import UnavailableError
from trnbench.machine.describe import Accelerators, look_at_accelerators
from trnbench.protocol.orders import PROTOCOL_VERSION
from trnbench.run.questions import (
    probe_devices,
    processor_alone,
    require_device,
    take_inventory,
)

FORBIDDEN = "raise ImportError('torch was imported')\n"


@pytest.fixture
def nothing(tmp_path: Path) -> Accelerators:
    """What is seen of a machine without an accelerator."""
    return look_at_accelerators(tmp_path)


def test_a_plain_linux_machine_has_its_processor_alone(
    nothing: Accelerators, tmp_path: Path
) -> None:
    devices = processor_alone(PLAIN, nothing, tmp_path, "Linux")
    assert devices is not None
    assert devices.found == (PLAIN.processor,)
    assert devices.versions == {"python": PLAIN.python, "torch": "2.13.0+cpu"}


def test_it_is_what_torch_finds_here() -> None:
    inventory = take_inventory(sys.executable)
    alone = processor_alone(inventory, look_at_accelerators())
    probed = probe_devices(sys.executable, inventory=inventory)
    if alone is None:
        pytest.skip("something here might be an accelerator: torch is asked")
    assert alone == probed


@pytest.mark.parametrize(
    "file", ["kfd", "dri/renderD128", "accel/accel0", "nvidia0", "nvidiactl", "dxg", "neuron0"]
)
def test_a_device_file_of_an_accelerator_has_torch_asked(file: str, tmp_path: Path) -> None:
    path = tmp_path / "dev" / file
    path.parent.mkdir(parents=True)
    path.touch()
    seen = look_at_accelerators(tmp_path)
    assert processor_alone(PLAIN, seen, tmp_path, "Linux") is None


def test_a_package_that_adds_a_device_has_torch_asked(
    nothing: Accelerators, tmp_path: Path
) -> None:
    for inventory in (
        replace(PLAIN, versions={}),
        replace(PLAIN, versions={**PLAIN.versions, "torch-xla": "2.8"}),
        replace(PLAIN, neuron="native"),
        replace(PLAIN, neuron="stub"),
        replace(PLAIN, entry_points={"torch.backends": ["torch_npu"]}),
    ):
        assert processor_alone(inventory, nothing, tmp_path, "Linux") is None


def test_another_system_than_linux_has_torch_asked(nothing: Accelerators, tmp_path: Path) -> None:
    assert processor_alone(PLAIN, nothing, tmp_path, "Darwin") is None


def test_a_dry_run_imports_torch_only_where_the_answer_depends_on_it(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(FORBIDDEN)
    done = trnbench("run", "--dry-run", PYTHONPATH=str(tmp_path))
    assert done.code == 0, done.err
    if processor_alone(take_inventory(sys.executable), look_at_accelerators()) is None:
        assert "torch was imported" in done.err
    else:
        assert "looking for devices" not in done.err
        assert "-cpu-" in done.out


def test_a_run_still_asks_torch_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text(FORBIDDEN)
    done = trnbench("run", "-o", tmp_path / "run", PYTHONPATH=str(tmp_path))
    assert done.code == 3
    assert "torch was imported" in done.err
    assert not (tmp_path / "run").exists()


EXTENSION = """
import json, os, sys
task = json.loads(sys.stdin.readline())["task"]["kind"]
out = os.fdopen(int(sys.argv[-1]), "w")
def send(kind, **fields):
    out.write(json.dumps(dict(kind=kind, at_seconds=0.0, **fields)) + chr(10))
cpu = dict(backend="cpu", device_name="x", device_count=1, proven=True)
if task == "inventory":
    send("inventory", wire_version=VERSION, python="3.11", versions=dict(torch="0.0"), neuron=None,
         processor=cpu, entry_points={"torch.backends": ["torch_far"]})
elif os.environ.get("TORCH_DEVICE_BACKEND_AUTOLOAD") != "0":
    send("failed", reason="bug", hint=None, detail="",
         message="Failed to load the backend extension: torch_far. You can disable it")
else:
    send("probe", wire_version=VERSION, devices=[cpu], versions={})
send("finished", steps=0)
"""
"""An interpreter in which `import torch` raises, as long as torch loads its extensions."""


def test_an_extension_that_cannot_be_loaded_hides_itself_alone(tmp_path: Path) -> None:
    python = tmp_path / "python"
    program = EXTENSION.replace("VERSION", str(PROTOCOL_VERSION))
    python.write_text(f"#!{sys.executable}\n{program}")
    python.chmod(0o755)
    devices = probe_devices(str(python))
    assert [(each.backend, each.supported) for each in devices.found] == [
        ("torch_far", False), ("cpu", True),
    ]  # fmt: skip
    assert require_device(read_device("cpu"), devices).backend == "cpu"
    with pytest.raises(UnavailableError, match=r"torch_far.*cannot be imported") as refused:
        require_device(read_device("auto"), devices)
    assert "--device cpu" in (refused.value.problems[0].hint or "")
