"""The suite that waits for a Trainium passes on the stand-in: on the day, it is not what fails.

Its proofs of time need a device that is slower than the host; the rest takes no device time at all.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stand_in import stand_in_environment

ROOT = Path(__file__).resolve().parents[2]
PROOFS_OF_TIME = "waiting_waits"


def run_suite(folder: Path, chosen: str, op_seconds: float) -> str:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-m", "neuron", "-k", chosen),
            *("-p", "no:cacheprovider", "-p", "no:cov", "--basetemp", folder / "tests"),
            "tests/device/test_neuron.py",
        ],
        cwd=ROOT,
        env={
            **os.environ,
            **stand_in_environment(op_seconds=op_seconds),
            "XDG_CACHE_HOME": str(folder / "cache"),
        },
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_the_proofs_of_time_pass_on_a_device_that_is_slower_than_its_host(tmp_path: Path) -> None:
    assert re.search(r"\b1 passed", run_suite(tmp_path, PROOFS_OF_TIME, op_seconds=2e-3))


@pytest.mark.slow
def test_all_other_proofs_pass_and_none_is_skipped(tmp_path: Path) -> None:
    told = run_suite(tmp_path, f"not {PROOFS_OF_TIME}", op_seconds=0.0)
    assert re.search(r"\b12 passed", told), told
    assert "skipped" not in told
