"""A device and a family are each one file and one row: shown on a copy of the package."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import trnbench
from tests.command import environment_of_copy

VENDOR = '''"""A device of a made-up vendor, which is the processor under another name."""

from typing import ClassVar

import torch

from trnbench.train.backends.base import Backend
from trnbench.protocol.records import FoundDevice


class AcmeBackend(Backend):
    """Trains on one Acme."""

    name: ClassVar[str] = "acme"

    @classmethod
    def find(cls) -> FoundDevice | None:
        return FoundDevice(backend="acme", device_name="Acme 1", device_count=2, proven=False)

    def _device(self, index: int | None) -> torch.device:
        return torch.device("cpu")

    def synchronize(self) -> None:
        pass

    def device_name(self) -> str:
        return "Acme 1"
'''
ROW = '    Backend(name="acme", default_variables={"ACME_MODE": "train"}),\n'
FAMILY = '''"""A made-up family, which is GPT-2 under another name."""

from trnbench.train.models.gpt2 import Gpt2


class Twin(Gpt2):
    """Builds one."""
'''
FAMILY_ROW = """    Family(
        name="twin",
        mlp_matrices=PLAIN_MATRICES,
        norms_and_biases=_layer_norms_and_biases,
        outside=_gpt2_outside,
        norm_bytes=2,
        mlp_bytes=4,
        joins_attention=True,
    ),
"""
SUITE = """
name: new vendor
model: {family: twin, layers: 1, hidden_size: 32, heads: 2, intermediate_size: 48,
        vocabulary_size: 128, max_positions: 64}
workload: {sequence_length: 16, global_batch_size: 2, precision: fp32}
device: acme:1
measure: {min_samples: 8, max_samples: 8, min_seconds: 0, relative_precision: 0.9}
"""


def test_one_file_and_one_row_make_a_device_and_a_family(tmp_path: Path) -> None:
    package = tmp_path / "copy" / "trnbench"
    shutil.copytree(Path(trnbench.__file__).parent, package)
    (package / "train" / "backends" / "acme.py").write_text(VENDOR)
    (package / "train" / "models" / "twin.py").write_text(FAMILY)
    mark = "ROWS = (\n"
    for table, row in (("catalog/backends.py", ROW), ("model/families.py", FAMILY_ROW)):
        text = (package / table).read_text()
        assert text.count(mark) == 1
        (package / table).write_text(text.replace(mark, mark + row))
    (tmp_path / "suite.yaml").write_text(SUITE)
    done = subprocess.run(
        [sys.executable, "-m", "trnbench", "run", "suite.yaml", "-o", "out", "--json"],
        cwd=tmp_path,
        env=environment_of_copy(package.parent),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert (result["backend"], result["device_name"]) == ("acme", "Acme 1")
    assert result["model_family"] == "twin"
    verdicts = {check["name"]: check["verdict"] for check in result["checks"]}
    assert verdicts["parity"] == verdicts["parameters"] == "sound"
    # The row decides what the worker is started with.
    (records,) = (tmp_path / "out").rglob("measurement.jsonl")
    assert "ACME_MODE" in records.read_text()
    # Its weights lie on the processor, and that is told: no figure goes under another's name.
    (placement,) = [check for check in result["checks"] if check["name"] == "placement"]
    assert placement["verdict"] == "invalid"
    assert placement["evidence"] == "weights on cpu float32; acme in float32 was asked for"
