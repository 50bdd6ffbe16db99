"""A small transformer trains on the stand-in as it does on the CPU, eagerly and compiled."""

from pathlib import Path
from typing import Any

import pytest

from tests.process.stand_in.interpreter import ask, needs_python_devices
from tests.stand_in import stand_in_environment

pytestmark = needs_python_devices

COMPILE_SECONDS = 2.0


@pytest.fixture(scope="module")
def losses() -> dict[str, dict[str, list[float]]]:
    """The losses on each device, for each way to train."""
    found: dict[str, dict[str, list[float]]]
    found = ask("training", environment=stand_in_environment())["training"]
    return found


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What two processes find that train the same compiled model, and the cache they share."""
    cache = tmp_path_factory.mktemp("neff")
    environment = {
        **stand_in_environment(compile_seconds=COMPILE_SECONDS),
        "TORCH_NEURONX_NEFF_CACHE_DIR": str(cache),
    }
    first = ask("compiled_training", "dynamic_compile", "failing_compile", environment=environment)
    files = sorted(cache.rglob("*.neff"))
    warm = ask("compiled_training", environment=environment)["compiled_training"]
    return {
        "cold": first["compiled_training"],
        "warm": warm,
        "dynamic": first["dynamic_compile"],
        "failing": first["failing_compile"],
        "files": files,
        "files at the end": sorted(cache.rglob("*.neff")),
    }


@pytest.mark.parametrize(
    ("way", "tolerance"), [("for loop", 1e-5), ("foreach", 1e-5), ("fused", 1e-5), ("bf16", 5e-3)]
)
def test_losses_are_those_of_the_cpu(
    losses: dict[str, dict[str, list[float]]], way: str, tolerance: float
) -> None:
    on_cpu, on_neuron = losses["cpu"][way], losses["neuron"][way]
    assert on_neuron == pytest.approx(on_cpu, rel=tolerance)
    assert on_neuron[-1] < on_neuron[0] - 1


def test_a_compiled_model_has_the_same_losses(compiled: dict[str, Any]) -> None:
    for run in (compiled["cold"], compiled["warm"]):
        assert run["losses"] == pytest.approx(run["expected"], rel=1e-5)


def test_each_graph_is_written_into_the_cache(compiled: dict[str, Any]) -> None:
    assert len(compiled["files"]) == len(compiled["cold"]["metrics"]) == 2
    for file in map(Path, compiled["files"]):
        assert file.parts[-3:] == (file.stem[:2], file.stem[2:4], f"{file.stem}.neff")


def test_a_warm_cache_costs_nothing_and_gains_no_file(compiled: dict[str, Any]) -> None:
    assert compiled["files at the end"] == compiled["files"]
    cold, warm = (compile_seconds(compiled[which]) for which in ("cold", "warm"))
    assert min(cold) >= COMPILE_SECONDS > max(warm)


def test_the_metrics_tell_of_each_graph(compiled: dict[str, Any]) -> None:
    first, second = compiled["cold"]["metrics"]
    assert set(first) == {
        "graph_id", "graph_name", "model_name", "has_collectives", "graph_node_count", "timestamp",
        "torch_neuronx_compile_us",
    }  # fmt: skip
    assert (first["graph_id"], second["graph_id"]) == ("0", "1")
    assert min(first["graph_node_count"], second["graph_node_count"]) > 100
    assert not first["has_collectives"]


def test_shapes_that_change_are_refused(compiled: dict[str, Any]) -> None:
    assert "[NCC_EMOD025] Dynamic shape is not supported" in compiled["dynamic"]


def test_a_graph_can_fail_to_compile(compiled: dict[str, Any]) -> None:
    assert "RuntimeError: neuronx-cc failed with -9" in compiled["failing"]


def compile_seconds(run: dict[str, Any]) -> list[float]:
    return [record["torch_neuronx_compile_us"] / 1e6 for record in run["metrics"]]
