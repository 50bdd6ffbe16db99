"""The whole of `trnbench run` on the stand-in for a Trainium, and what must be caught there.

It proves our calls, their order, placement and the handling of errors. It proves nothing of a
Trainium: every result of it is doubtful for its backend.
"""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tests.command import Done, in_process, only_case, records_of, trnbench
from tests.stand_in import stand_in_environment
from trnbench.units import GIB

pytest.importorskip("torch.utils.backend_registration")

SUITE = """\
name: stand-in
model: {family: llama, layers: 1, hidden_size: 32, heads: 2, intermediate_size: 48,
        vocabulary_size: 128, max_positions: 64, tied_embeddings: true}
workload: {sequence_length: 16, global_batch_size: 4, learning_rate: 0.01, precision: fp32}
device: neuron:0
measure: {min_samples: 8, max_samples: 8, min_seconds: 0, relative_precision: 0.9}
"""


def run(folder: Path, *arguments: str, **stand_in: Any) -> tuple[Done, dict[str, Any]]:
    """Run the suite on the stand-in; return how it ended and its one result."""
    suite = folder / "suite.yaml"
    suite.write_text(SUITE)
    environment = {**stand_in_environment(**stand_in), "XDG_CACHE_HOME": str(folder / "cache")}
    done = trnbench("run", suite, "-o", folder / "out", *arguments, cwd=folder, **environment)
    result: dict[str, Any] = json.loads((only_case(folder / "out") / "result.json").read_text())
    return done, result


def checks_of(result: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["verdict"] for check in result["checks"]}


def test_a_case_is_trained_compiled_and_measured_on_the_device(tmp_path: Path) -> None:
    done, result = run(tmp_path)
    assert done.code == 0, done.err
    records = records_of(only_case(tmp_path / "out"))
    (built,) = [record for record in records if record["kind"] == "built"]
    assert built["placement"] == ["neuron:0 float32"]
    (launch,) = [record for record in records if record["kind"] == "launch"]
    assert launch["variables"]["TORCH_NEURONX_DISABLE_FALLBACK_EXECUTION"] == "1"
    assert launch["variables"]["NEURON_RT_VISIBLE_CORES"] == "0"
    assert str(tmp_path) not in json.dumps(records)
    checks = checks_of(result)
    sound = ("placement", "fallback", "recompiled", "parameters", "finite", "initial_loss")
    assert {name: checks[name] for name in sound} == dict.fromkeys(sound, "sound")
    assert checks["proven"] == "doubtful"
    assert result["environment"]["device_name"] == "trn2 (stand-in)"
    assert "+standin" in done.out, "a stand-in's figures must not pass for a Trainium's"
    assert result["environment"]["settings"]["execution"] == "compile"
    assert result["metrics"]["peak_memory_bytes"]["value"] > 0
    activity = next(record for record in records if record["kind"] == "activity")
    assert activity["compilations"] == 2, "a forward and a backward program, cold"
    assert {r["source"] for r in records if r["kind"] == "reading" and r["is_valid"]} >= {"host"}


def test_a_step_that_fell_back_to_the_processor_is_invalid(tmp_path: Path) -> None:
    done, result = run(tmp_path, fallback="aten::mm")
    assert done.code == 4
    assert result["standing"] == "invalid"
    assert checks_of(result)["fallback"] == "invalid"
    assert "aten::mm" in done.out + done.err


def test_a_vendor_s_error_is_told_in_our_words_with_its_fix(tmp_path: Path) -> None:
    """One, through torch and the worker; `test_vendor_faults.py` has the others."""
    done, result = run(tmp_path, fault="memory@50")
    assert done.code == 4
    assert result["outcome"]["status"] == "out_of_memory"
    assert "micro_batch_size" in done.err
    assert "Traceback" not in done.err


def test_without_a_chip_nothing_is_trained_under_its_name(tmp_path: Path) -> None:
    suite = tmp_path / "suite.yaml"
    suite.write_text(SUITE)
    environment = stand_in_environment(neuron_ls="none")
    done = trnbench("run", suite, "-o", tmp_path / "out", cwd=tmp_path, **environment)
    assert done.code == 3
    assert "no Neuron chip is plugged in" in done.err


def test_an_index_out_of_range_is_refused(tmp_path: Path) -> None:
    suite = tmp_path / "suite.yaml"
    suite.write_text(SUITE)
    environment = stand_in_environment()
    done = trnbench(
        "run", suite, "--device", "neuron:4", "-o", tmp_path / "out", cwd=tmp_path, **environment
    )
    assert done.code == 3
    assert "device neuron:4 is not here: there are 4, counted from 0" in done.err


def test_a_config_for_64_cores_is_planned_for_those_that_the_tool_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That `run` would take the plan is what `--strict` says: more ranks than can be tried here."""
    environment = stand_in_environment(neuron_ls="whole")
    words = ("run", "llama3-8b-trn2.48xlarge", "--dry-run", "--strict", "--format", "json")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=8 * GIB))
    small = in_process(*words, cwd=tmp_path, **environment)
    assert small.code == 3
    assert "8 GiB of memory; before the first step the ranks need at least 17.9 GiB" in small.err
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=2048 * GIB))
    done = in_process(*words, cwd=tmp_path, **environment)
    assert done.code == 0, done.err
    (plan,) = json.loads(done.out)["plans"]
    sizes = {name: size for name, size in plan["parallel"].items() if name.endswith("_size")}
    assert {name: size for name, size in sizes.items() if size not in (1, 64)} == {
        "data_parallel_shard_size": 16,
        "tensor_parallel_size": 4,
    }
    fewer = trnbench(*words, cwd=tmp_path, **stand_in_environment())
    assert fewer.code == 3
