"""The variables that a worker is started with are decided before it loads anything."""

from pathlib import Path

import pytest

from tests.unit.train.orders import make_order
from trnbench.run.environment import (
    NEFF_CACHE,
    PROFILING,
    environment_of_probe,
    environment_of_worker,
)
from trnbench.schema.errors import ConfigError

HOME = Path("caches")


def test_a_graph_that_fails_to_compile_must_not_run_eagerly_under_its_name() -> None:
    told = {"TORCH_NEURONX_DISABLE_FALLBACK_EXECUTION": "0"}
    decided = environment_of_worker(make_order(backend="neuron"), told, HOME)
    assert decided["TORCH_NEURONX_DISABLE_FALLBACK_EXECUTION"] == "1"


def test_the_cache_is_a_named_one_or_the_user_s() -> None:
    order = make_order(backend="neuron")
    assert environment_of_worker(order, {}, HOME)[NEFF_CACHE] == "caches/trnbench/neff"
    assert environment_of_worker(order, {NEFF_CACHE: "/mine"}, HOME)[NEFF_CACHE] == "/mine"


@pytest.mark.parametrize("backend", ["neuron", "xla"])
@pytest.mark.parametrize(
    ("index", "told", "core"),
    [
        (None, {}, "0"),
        (3, {}, "3"),
        (2, {"NEURON_RT_VISIBLE_CORES": "2"}, "2"),
        (None, {"NEURON_RT_VISIBLE_CORES": "4-7"}, "4-7"),
    ],
)
def test_one_core_is_made_visible_unless_the_user_named_some(
    backend: str, index: int | None, told: dict[str, str], core: str
) -> None:
    order = make_order(backend=backend, device_index=index)
    assert environment_of_worker(order, told, HOME)["NEURON_RT_VISIBLE_CORES"] == core


def test_a_core_named_twice_in_different_ways_is_refused() -> None:
    order = make_order(backend="neuron", device_index=1)
    with pytest.raises(ConfigError, match="NEURON_RT_VISIBLE_CORES=0 and device neuron:1"):
        environment_of_worker(order, {"NEURON_RT_VISIBLE_CORES": "0"}, HOME)


def test_a_flag_that_the_native_compiler_refuses_is_refused_before_it_runs() -> None:
    told = {"NEURON_CC_FLAGS": "-O1 --cache_dir=/tmp/x"}
    with pytest.raises(ConfigError, match="NCC_EARG002"):
        environment_of_worker(make_order(backend="neuron"), told, HOME)


@pytest.mark.parametrize("backend", ["neuron", "xla"])
def test_profiling_is_switched_off(backend: str) -> None:
    decided = environment_of_worker(make_order(backend=backend), {PROFILING[0]: "1"}, HOME)
    assert decided[PROFILING[0]] == "0"
    assert PROFILING[1] not in decided


def test_torch_xla_is_told_its_device_or_it_would_take_the_processor() -> None:
    assert environment_of_worker(make_order(backend="xla"), {}, HOME)["PJRT_DEVICE"] == "NEURON"


def test_a_processor_s_worker_and_a_probe_without_neuron_need_nothing() -> None:
    assert environment_of_worker(make_order(), {}, HOME) == {}
    assert environment_of_probe(None) == environment_of_probe("xla") == {}


def test_a_probe_must_not_load_the_native_runtime() -> None:
    assert environment_of_probe("native") == {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}


def test_gpus_are_counted_as_the_driver_s_tools_count_them() -> None:
    order = make_order(backend="cuda")
    assert environment_of_worker(order, {}, HOME) == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
