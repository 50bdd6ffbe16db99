"""What torch's profiler is given for each kind of device."""

import sys
from types import ModuleType
from typing import Any, cast

import pytest
from torch.profiler import ProfilerActivity

from trnbench.catalog.backends import BACKENDS
from trnbench.train.backends import backend_class
from trnbench.train.backends.base import Backend
from trnbench.train.backends.neuron import NeuronBackend


def options(kind: type[Backend], capture: str = "capture") -> dict[str, Any]:
    return kind.profiler_options(cast("Any", None), capture)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_names_an_activity_that_torch_has(name: str) -> None:
    activity = backend_class(name).profiler_activity
    assert activity is None or hasattr(ProfilerActivity, activity)
    assert (activity is None) == (name in ("cpu", "mps", "xla"))


def test_a_neuron_package_without_a_profiler_leaves_torch_s_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert options(NeuronBackend) == {}, "there is no such package here"
    monkeypatch.setitem(sys.modules, "torch_neuronx.profiling", ModuleType("profiling"))
    assert options(NeuronBackend) == {}, "there is one without the config"


def test_neuron_explorer_s_files_are_asked_for_in_the_mode_that_reserves_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    package = ModuleType("torch_neuronx.profiling")
    modes = type("ProfileMode", (), {"DEVICE": "device", "RUNTIME": "runtime"})
    profiler = type("NeuronProfiler", (), {"__init__": lambda self, config: None,
                                           "export_trace": lambda self, trace: None})  # fmt: skip
    package.__dict__.update(ProfileMode=modes, NeuronConfig=dict, NeuronProfiler=profiler)
    monkeypatch.setitem(sys.modules, "torch_neuronx.profiling", package)
    found = options(NeuronBackend, "a folder")
    assert found["experimental_config"] == {"modes": ["runtime"], "profile_output_dir": "a folder"}
    assert callable(found["on_trace_ready"])


def test_others_need_nothing() -> None:
    assert options(Backend) == {}
