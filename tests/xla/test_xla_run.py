"""The whole of `trnbench run` on the real torch-xla: refused on its CPU client, else sound.

The Neuron packages and `neuron-ls` are made up; a copy of the package that is content with the CPU
client shows the path to its end.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch_xla", reason="torch-xla is not here: `make test-xla`")

import trnbench
from tests.stand_in import FOLDER as STAND_IN

pytestmark = pytest.mark.xla

SUITE = """\
name: xla
model: {family: llama, layers: 1, hidden_size: 32, heads: 2, intermediate_size: 48,
        vocabulary_size: 128, max_positions: 64, tied_embeddings: true}
workload: {sequence_length: 16, global_batch_size: 2, learning_rate: 0.01, precision: fp32}
device: xla
measure: {min_samples: 8, max_samples: 8, min_seconds: 0, relative_precision: 0.9}
"""

NAMES = {"torch_neuronx": "2.9.0.2.15", "libneuronxla": "2.2.12677"}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of metadata that says that the Neuron packages are installed."""
    folder = tmp_path / "site"
    for name, version in NAMES.items():
        metadata = folder / f"{name}-{version}.dist-info" / "METADATA"
        metadata.parent.mkdir(parents=True)
        metadata.write_text(
            f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n"
        )
    return folder


def run(folder: Path, *pythonpath: Path) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    (folder / "suite.yaml").write_text(SUITE)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "trnbench", "run", "suite.yaml", "-o", "out"],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, pythonpath)),
            "PATH": os.pathsep.join([str(STAND_IN / "bin"), os.environ["PATH"]]),
            "STAND_IN_NEURON_LS": "trn1",
            "STAND_IN_NEURON_MONITOR": "good",
            "PJRT_DEVICE": "CPU",
            "XDG_CACHE_HOME": str(folder / "cache"),
        },
        capture_output=True,
        text=True,
        timeout=280,
    )
    (path,) = (folder / "out").glob("*/result.json")
    return done, json.loads(path.read_text())


def test_a_cpu_client_under_trainium_s_name_gives_no_figure(tmp_path: Path, site: Path) -> None:
    done, result = run(tmp_path, site)
    assert done.returncode == 4
    assert result["outcome"]["status"] == "unavailable"
    assert "runs on its CPU client and not on NEURON" in done.stderr
    assert result["metrics"]["tokens_per_second"]["value"] is None


def test_where_the_client_is_the_one_that_is_wanted_the_run_is_right(
    tmp_path: Path, site: Path
) -> None:
    package = tmp_path / "copy" / "trnbench"
    shutil.copytree(Path(trnbench.__file__).parent, package)
    backend = package / "train" / "backends" / "xla.py"
    mark = 'client: ClassVar[str] = "NEURON"'
    assert mark in backend.read_text()
    backend.write_text(backend.read_text().replace(mark, 'client: ClassVar[str] = "CPU"'))
    done, result = run(tmp_path, package.parent, site)
    assert done.returncode == 0, done.stderr
    checks = {check["name"]: check["verdict"] for check in result["checks"]}
    for name in ("placement", "parity", "movement", "parameters", "recompiled", "initial_loss"):
        assert checks[name] == "sound", (name, result["checks"])
    assert checks["proven"] == "doubtful"
    assert result["compilation"]["programs"] >= 2, "the optimizer's state makes a second graph"
    assert result["metrics"]["tokens_per_second"]["value"] > 0
