"""What every backend must do, on each that is present; and what it says where it is not."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from trnbench.catalog.backends import BACKENDS
from trnbench.catalog.facts import diagnose
from trnbench.protocol.codec import encode, from_json
from trnbench.protocol.orders import Precision
from trnbench.protocol.records import FoundDevice
from trnbench.train import backends
from trnbench.train.backends import backend_class, find_devices
from trnbench.train.backends.base import Backend, Claim, Unavailable
from trnbench.train.external import autocast
from trnbench.train.precision import matmul_dtype, parameter_dtype

PRESENT = [name for name in BACKENDS if backend_class(name).find() is not None]
ABSENT = [name for name in BACKENDS if name not in PRESENT]
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "pure_bf16")
SHARED_FILES = {"__init__", "base"}


@pytest.fixture(params=PRESENT)
def backend(request: pytest.FixtureRequest) -> Backend:
    return backend_class(request.param).open(Claim(threads=None))


def assert_texts(mapping: Mapping[str, str]) -> None:
    """Whatever a vendor's library returns, records take texts alone."""
    assert {type(part) for pair in mapping.items() for part in pair} <= {str}
    assert all(all(pair) for pair in mapping.items())


def test_each_file_of_the_folder_is_registered_and_each_registered_file_is_there() -> None:
    folder = Path(backends.__path__[0])
    files = {path.stem for path in folder.glob("*.py")} - SHARED_FILES
    assert files == set(BACKENDS)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_registered_name_leads_to_the_class_of_that_name(name: str) -> None:
    found = backend_class(name)
    assert found.name == name
    assert isinstance(found.is_asynchronous, bool)
    assert isinstance(found.is_proven, bool)


def test_a_name_that_is_not_registered_is_refused_with_those_that_are() -> None:
    with pytest.raises(Unavailable, match="'abacus'") as refused:
        backend_class("abacus")
    assert all(name in refused.value.hint for name in BACKENDS)


@pytest.mark.parametrize("name", ABSENT)
def test_a_device_that_is_not_here_is_not_opened_and_the_hint_says_what_to_do(name: str) -> None:
    with pytest.raises(Unavailable) as refused:
        backend_class(name).open(Claim(precision="bf16"))
    assert "--device" in refused.value.hint


def test_the_cpu_is_always_found_and_comes_last() -> None:
    found = find_devices()
    assert found[-1].backend == "cpu"
    driven = [device.backend for device in found if device.supported]
    assert driven == PRESENT
    assert [from_json(FoundDevice, json.loads(encode(device))) for device in found] == found


@pytest.mark.parametrize("name", PRESENT)
def test_a_device_that_is_found_is_described_as_it_opens(name: str) -> None:
    found = backend_class(name).find()
    assert found is not None
    opened = backend_class(name).open(Claim(threads=None))
    assert found.backend == name
    # One that must not be touched by looking goes by its backend's name until it is opened.
    assert found.device_name in (name, opened.device_name())
    assert opened.device_name() != ""
    assert found.device_count >= 1
    assert found.proven == opened.is_proven


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", PRESENT)
def test_a_step_s_work_is_done_on_the_device_when_it_is_waited_for(
    name: str, precision: Precision
) -> None:
    backend = backend_class(name).open(Claim(precision=precision))
    weight = torch.ones(64, 64, device=backend.device, dtype=parameter_dtype(precision))
    with autocast(backend.device, precision):
        product = weight @ weight
    backend.synchronize()
    assert product.dtype == matmul_dtype(precision)
    assert product.device.type == backend.device.type
    assert product.flatten()[:3].tolist() == [64.0] * 3


def test_opening_undoes_a_shortcut_in_fp32_products(backend: Backend) -> None:
    torch.set_float32_matmul_precision("medium")
    opened = type(backend).open(Claim(threads=None))
    assert torch.get_float32_matmul_precision() == "highest"
    assert opened.settings()["float32_matmul_precision"] == "highest"


def test_settings_and_versions_are_texts(backend: Backend) -> None:
    assert_texts(backend.settings())
    assert_texts(backend.versions())
    assert backend.settings()


def test_the_peak_of_memory_rises_when_memory_is_used_and_says_what_it_counts(
    backend: Backend,
) -> None:
    backend.reset_peak_memory()
    before, counted = backend.peak_memory_bytes()
    used = torch.ones(64 * 2**20, device=backend.device)
    used_bytes = used.nbytes
    backend.synchronize()
    del used
    after, still_counted = backend.peak_memory_bytes()
    assert counted == still_counted != ""
    assert before is not None
    assert after is not None
    assert after - before >= 0.9 * used_bytes


def test_an_error_that_is_not_the_vendor_s_is_left_alone(backend: Backend) -> None:
    assert backend.explain(RuntimeError("mat1 and mat2 shapes cannot be multiplied")) is None
    assert backend.explain(KeyError("family")) is None


def test_a_refusal_of_memory_is_told_as_one(backend: Backend) -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**50, dtype=torch.uint8, device=backend.device)
    explained = backend.explain(refused.value)
    known = diagnose(backend.name, [str(refused.value)])
    if explained is None and known is not None:  # told by its text alone: the parent knows it
        explained = known.fault.reason, known.fault.meaning
    assert explained is not None
    reason, meaning = explained
    assert reason == "out_of_memory"
    assert "memory" in meaning
