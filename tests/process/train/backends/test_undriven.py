"""An accelerator that torch sees and no backend drives is told first, and never passed over."""

import json
import subprocess
import sys

import pytest
import torch

from trnbench.catalog.backends import BACKENDS, best_first
from trnbench.protocol.codec import from_json
from trnbench.protocol.records import FoundDevice
from trnbench.train.backends import find_devices, find_undriven

# A vendor's torch plug-in renames PrivateUse1, once in a process: hence one of its own.
FINDS = """
import json, sys, types
try:
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend
except ImportError:
    sys.exit("this torch cannot register a device from Python")
vendor = types.ModuleType("vendor")
vendor.is_available = lambda: True
vendor.device_count = lambda: 1
vendor._is_in_bad_fork = lambda: False
vendor.manual_seed_all = lambda seed: None
_setup_privateuseone_for_python_backend("vendorchip", backend_module=vendor)
from trnbench.train.backends import backend_class, find_devices
from trnbench.protocol.codec import encode
print(json.dumps([json.loads(encode(device)) for device in find_devices()]))
"""


def test_it_comes_before_the_cpu_and_says_that_it_cannot_be_used() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FINDS], capture_output=True, text=True, timeout=120
    )
    if "cannot register" in ended.stderr:
        pytest.skip(ended.stderr.strip())
    assert ended.returncode == 0, ended.stderr
    found = [from_json(FoundDevice, document) for document in json.loads(ended.stdout)]
    found.sort(key=lambda device: best_first(device.backend))
    assert found[0] == FoundDevice(
        backend="vendorchip",
        device_name="vendorchip",
        device_count=1,
        proven=False,
        supported=False,
        note="this version has no backend for it",
    )
    assert found[-1].backend == "cpu"
    assert [device.supported for device in found[1:]] == [True] * (len(found) - 1)


def test_on_a_machine_without_one_only_what_can_be_driven_is_found() -> None:
    assert {device.backend for device in find_devices()} <= set(BACKENDS)


def test_a_torch_from_before_its_general_accelerator_has_none_to_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(torch, "accelerator")
    assert find_undriven() is None
