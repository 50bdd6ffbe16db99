"""What TorchNeuron may tell in one form or another, and where it may tell it."""

import sys
import types
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from trnbench.train.backends.neuron import (
    compile_seconds,
    count_programs,
    counted,
    pair_problem,
    undocumented,
)


@dataclass
class Record:
    """One graph's metrics as the native package's early public source has them."""

    torch_neuronx_compile_us: object


@pytest.mark.parametrize(
    ("record", "seconds"),
    [
        (Record(2_500_000), 2.5),
        ({"torch_neuronx_compile_us": 2_500_000}, 2.5),
        (Record(None), 0.0),
        ({"graph_id": "a"}, 0.0),
        ("rubbish", 0.0),
    ],
)
def test_compile_times_are_read_from_objects_and_mappings_and_never_stop_a_case(
    record: object, seconds: float
) -> None:
    assert compile_seconds(record) == seconds


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (["aten::mm", "aten::sort", "aten::mm"], {"aten::mm": 0, "aten::sort": 0}),
        ({"aten::mm": 3}, {"aten::mm": 3}),
        ([], {}),
    ],
)
def test_fallbacks_come_as_a_list_or_with_counts(told: object, expected: dict[str, int]) -> None:
    assert counted(told) == expected


def test_a_function_is_found_in_the_package_where_torch_neuron_has_it_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "neuron", types.SimpleNamespace(synchronize=len), raising=False)
    package = types.ModuleType("torch_neuronx")
    package.get_fallback_ops = list  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_neuronx", package)
    assert undocumented("synchronize") is len
    assert undocumented("get_fallback_ops") is list
    assert undocumented("get_dynamo_metrics") is None


def test_programs_are_counted_wherever_they_lie_in_a_known_folder(tmp_path: Path) -> None:
    assert count_programs(None) is None
    assert count_programs(tmp_path / "not made yet") == 0
    for name in ("ab/cd/abcd.neff", "1234/1234.neff", "1234/locks/compile.lock"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert count_programs(tmp_path) == 2


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        ({"torch": "2.14.0+cpu", "torch-neuronx": "2.14.3.0.1"}, None),
        ({"torch": "2.15.0", "torch-neuronx": "2.14.3.0.1"}, "was not built for torch 2.15.0"),
        ({"torch-neuronx": "2.14.3.0.1"}, "torch is not"),
    ],
)
def test_a_torch_that_does_not_fit_is_told(versions: dict[str, str], words: str | None) -> None:
    problem = pair_problem(versions)
    assert (problem is None) == (words is None)
    assert words is None or words in (problem or "")
