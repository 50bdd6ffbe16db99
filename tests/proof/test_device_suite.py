"""The suite that waits for a Trainium passes on the stand-in: on the day, it is not what fails.

Its proofs of time need a device that is slower than the host; the rest takes no device time at all.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.stand_in import stand_in_environment

ROOT = Path(__file__).resolve().parents[2]
PROOFS_OF_TIME = "waiting_waits"
NO_FALLBACK = "nothing_falls_back"
CLAIMS = "side_by_side"
SEVERAL_RANKS = "two_ranks"
SECONDS = 1500
"""The whole suite in one test: 13 minutes on two cores at a load of nine."""

pytestmark = pytest.mark.timeout(SECONDS)


def run_suite(folder: Path, chosen: str, **stand_in: Any) -> subprocess.CompletedProcess[str]:
    """Run the tests of the suite whose names hold `chosen`, on a stand-in set as told."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-m", "neuron", "-k", chosen),
            *("-p", "no:cacheprovider", "-p", "no:cov", "--basetemp", folder / "tests"),
            *("--require-device", "tests/device/test_neuron.py"),
        ],
        cwd=ROOT,
        env={
            **os.environ,
            **stand_in_environment(cores=str(folder / "cores"), **stand_in),
            "XDG_CACHE_HOME": str(folder / "cache"),
            # Threads that spin for each other crawl where others use the machine.
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=SECONDS - 30,
    )


def passed(done: subprocess.CompletedProcess[str]) -> int:
    """Return how many passed, where all of them did."""
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "skipped" not in done.stdout
    found = re.search(r"\b(\d+) passed", done.stdout)
    return int(found[1]) if found else 0


def test_the_proofs_of_time_pass_on_a_device_that_is_slower_than_its_host(tmp_path: Path) -> None:
    assert passed(run_suite(tmp_path, PROOFS_OF_TIME, op_seconds=2e-3)) == 1


def test_all_other_proofs_pass_and_none_is_skipped(tmp_path: Path) -> None:
    done = run_suite(tmp_path, f"not {PROOFS_OF_TIME}", compile_seconds=0.2)
    assert passed(done) == 17


def test_a_device_that_hands_work_to_the_processor_does_not_pass(tmp_path: Path) -> None:
    done = run_suite(tmp_path, NO_FALLBACK, fallback="aten::mm")
    assert done.returncode == 1
    assert "aten::mm" in done.stdout


def test_a_process_group_that_is_quietly_another_does_not_pass(tmp_path: Path) -> None:
    done = run_suite(tmp_path, SEVERAL_RANKS, collectives="gloo")
    assert done.returncode == 1
    assert "in a process group of gloo and not of neuron" in done.stdout
