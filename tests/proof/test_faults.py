"""A few of the faults of `benchmarks/faults.py`, which makes 500: none breaks what is promised."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import uncounted_environment

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "faults.py"
COUNT = 15


@pytest.mark.parametrize("kind", ["", "loss of power", "a file damaged"])
def test_no_fault_loses_leaves_or_keeps_from_completing(kind: str, tmp_path: Path) -> None:
    log = tmp_path / "faults.jsonl"
    done = subprocess.run(
        [sys.executable, SCRIPT, "--seed", "39", "--count", str(COUNT), "--only", kind,
         "--log", log],
        capture_output=True, text=True, check=False, env=uncounted_environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(made) == COUNT
    assert [each for each in made if each["violations"]] == []
    assert sum(each["skipped"] is None for each in made) >= COUNT - 4
