"""Faults that would make every figure wrong are each caught by a test: shown on changed copies.

A copy of the package has one text replaced; the tests that must notice are run against it, on the
stand-in for a Trainium where it takes a device to notice.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import trnbench
from tests.command import environment_of_copy
from tests.stand_in import FOLDER as STAND_IN
from tests.stand_in import stand_in_environment

ROOT = Path(__file__).resolve().parents[2]
SUITE = "tests/device/test_neuron.py::TestNeuron::"
TWO_RANKS = f"{SUITE}test_two_ranks_train_what_one_device_trains"
RANK_1 = '__import__("os").environ.get("RANK") == "1"'
AT_ONCE = 2


@dataclass(frozen=True)
class Mutation:
    """One text of the package, what stands there instead, and the test that must notice."""

    file: str
    before: str
    after: str
    test: str
    says: str
    """In what the failing test prints: it fails for this, and for nothing else."""
    stand_in: dict[str, Any] = field(default_factory=dict)


MUTATIONS = {
    "the clock is read without waiting for the device": Mutation(
        "train/loop.py",
        "    synchronize()\n    seconds = clock() - started\n",
        "    seconds = clock() - started\n",
        f"{SUITE}test_waiting_waits_for_the_work",
        "twice_over_once",
        {"op_seconds": 2e-3},
    ),
    "waiting does not wait": Mutation(
        "train/backends/base.py",
        "        self._module.synchronize()\n",
        "        self._module.synchronize  # noqa: B018\n",
        f"{SUITE}test_waiting_waits_for_the_work",
        "twice_over_once",
        {"op_seconds": 2e-3},
    ),
    "the weights stay on the processor": Mutation(
        "train/build.py",
        "model = model.to(backend.device)",
        'model = model.to("cpu")',
        f"{SUITE}test_two_jobs_run_side_by_side_on_two_devices",
        "Expected all tensors to be on the same device",
    ),
    "the tokens stay on the processor": Mutation(
        "train/loop.py",
        "if part.dtype == torch.int64 else part).to(backend.device)",
        "if part.dtype == torch.int64 else part)",
        f"{SUITE}test_weights_lie_on_the_device_once_and_move",
        "Expected all tensors to be on the same device",
    ),
    "the first step is timed": Mutation(
        "analysis/step_time.py",
        '[block for block in blocks if block.purpose == "measure"]',
        "list(blocks)",
        "tests/pure/analysis/test_step_time.py",
        "AssertionError",
    ),
    "a fallback is not asked for": Mutation(
        "train/backends/neuron.py",
        "return counted(ask()) if ask is not None else None",
        "return {}",
        "tests/process/cli/test_stand_in.py::test_a_step_that_fell_back_to_the_processor_is_invalid",
        "assert 0 == 4",
    ),
    "a fallback is not heeded": Mutation(
        "analysis/checks/device.py",
        "    if not any(told):\n",
        "    if told:\n",
        "tests/pure/analysis/test_checks.py",
        "'fallback'",
    ),
    "a rank touches its device before the group is made": Mutation(
        "train/worker.py",
        "    mesh = Mesh.join(seat, layout, kind, claim.index)\n    backend = kind.open(claim)\n",
        "    backend = kind.open(claim)\n    backend.synchronize()\n"
        "    mesh = Mesh.join(seat, layout, kind, claim.index)\n",
        TWO_RANKS,
        "the device was touched before the process group",
    ),
    "two ranks are on one core": Mutation(
        "run/environment.py",
        '"LOCAL_RANK": str(seat.local_rank),',
        '"LOCAL_RANK": "0",',
        TWO_RANKS,
        "another process holds the NeuronCores",
    ),
    "one rank is on another device than the others": Mutation(
        "train/build.py",
        "model = model.to(backend.device)",
        f'model = model.to("cpu" if {RANK_1} else backend.device)',
        TWO_RANKS,
        "No backend type associated with device type cpu",
    ),
    "a group is made twice": Mutation(
        "train/parallel/mesh.py",
        '    if library == "gloo":\n',
        "    dist.init_process_group(library, store=store, rank=seat.rank)\n"
        '    if library == "gloo":\n',
        TWO_RANKS,
        "trying to initialize the default process group twice",
    ),
    "a collective is not waited for": Mutation(
        "train/parallel/norm.py",
        "            dist.all_reduce(squares, group=group)\n",
        "            dist.all_reduce(squares, group=group, async_op=True)\n",
        TWO_RANKS,
        "gradient norm not finite",
    ),
    "every core is claimed": Mutation(
        "run/environment.py",
        "    if backend.device_variable is not None:\n",
        "    if False:\n",
        f"{SUITE}test_two_jobs_run_side_by_side_on_two_devices",
        "Requested:lnc0-lnc3 Available:0",
    ),
}


def run_mutated(mutation: Mutation, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the test against a copy of the package that has the fault."""
    package = folder / "copy" / "trnbench"
    shutil.copytree(
        Path(trnbench.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    place = package / mutation.file
    text = place.read_text()
    assert text.count(mutation.before) == 1, f"{mutation.file} has changed: mend this test"
    place.write_text(text.replace(mutation.before, mutation.after))
    environment = environment_of_copy(package.parent)
    if "neuron" in mutation.test:
        places = f"{STAND_IN / 'site'}{os.pathsep}{environment['PYTHONPATH']}"
        environment |= stand_in_environment(cores=str(folder / "cores"), **mutation.stand_in)
        environment["PYTHONPATH"] = places
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"),
            *("--require-device", "--basetemp", folder / "tests", mutation.test),
        ],
        cwd=ROOT,
        env={**environment, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        timeout=280,
    )


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[subprocess.CompletedProcess[str]]]]:
    """All of them, some at once: nothing of it is timed but by the stand-in's own slow clock."""
    asked = {
        item.callspec.params["fault"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == Path(__file__)
    }
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            name: pool.submit(run_mutated, MUTATIONS[name], tmp_path_factory.mktemp("mutated"))
            for name in MUTATIONS
            if name in asked
        }


@pytest.mark.parametrize("fault", MUTATIONS)
def test_it_is_noticed(
    runs: dict[str, Future[subprocess.CompletedProcess[str]]], fault: str
) -> None:
    done = runs[fault].result()
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-3000:]
    assert "1 failed" in done.stdout
    assert MUTATIONS[fault].says in done.stdout, done.stdout[-3000:]
