"""Ranks that do not train one model together make the result invalid, by the run's own checks.

A copy of the package has one text of its training replaced; `trnbench run` of two gloo ranks from
that copy must refuse its own figure.
"""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import trnbench
from tests.command import environment_of_copy, only_case, records_of

CONFIG = """
name: mutated
model: tiny-llama
workload: {sequence_length: 64, global_batch_size: 4, micro_batch_size: 1, threads: 1}
parallel: {data_parallel_replicate_size: REPLICAS, data_parallel_shard_size: SHARDS}
device: cpu
measure: {min_samples: 8, max_samples: 10, min_seconds: 0, ceiling: false, telemetry: false}
"""
RANK_1 = '__import__("os").environ["RANK"] == "1"'


@dataclass(frozen=True)
class Mutation:
    """One text of the package, what stands there instead, and the checks that must notice."""

    file: str
    before: str
    after: str
    checks: frozenset[str]
    replicas: int = 2

    def config(self) -> str:
        """Return the config of its job of two ranks."""
        shards = 2 // self.replicas
        return CONFIG.replace("REPLICAS", str(self.replicas)).replace("SHARDS", str(shards))


NOTHING = Mutation("train/loop.py", "class TrainingStep:", "class TrainingStep:", frozenset())

MUTATIONS = {
    "ranks keep their gradients to themselves": Mutation(
        "train/parallel/data.py",
        "    made: nn.Module = DistributedDataParallel(\n",
        "    return objective\n    made: nn.Module = DistributedDataParallel(\n",
        frozenset({"parity", "agreement"}),
    ),
    "the mean over ranks is taken twice": Mutation(
        "train/loop.py",
        "        self._parts.sum_gradients()\n        return entropies",
        "        self._parts.sum_gradients()\n"
        "        for each in self._parts.parameters:\n"
        "            each.grad.div_(2)\n"
        "        return entropies",
        frozenset({"parity"}),
    ),
    "every rank is given the same tokens": Mutation(
        "train/parallel/data.py",
        "* ranks + mesh.data_index\n",
        "* ranks\n",
        frozenset({"parity", "agreement"}),
    ),
    "one rank skips a step": Mutation(
        "train/loop.py",
        "        self._optimizer.step()\n",
        f"        if not ({RANK_1} and self.steps_done == 9):\n"
        "            self._optimizer.step()\n",
        frozenset({"agreement"}),
    ),
    "each rank clips by the norm of its own shard": Mutation(
        "train/parallel/norm.py",
        "            dist.all_reduce(squares, group=group)\n",
        "            pass\n",
        frozenset({"agreement"}),
        replicas=1,
    ),
}


def run_mutated(mutation: Mutation, folder: Path) -> tuple[int, dict[str, str]]:
    """Run a job from a copy of the package that has the fault; return its checks' verdicts."""
    done = run_copy(mutation, folder)
    result = json.loads((only_case(folder / "run") / "result.json").read_text())
    assert result["outcome"]["status"] == "finished", done.stderr
    return done.returncode, {each["name"]: each["verdict"] for each in result["checks"]}


def run_copy(
    mutation: Mutation, folder: Path, *settings: str
) -> "subprocess.CompletedProcess[str]":
    """Run a job from a copy of the package that has the fault, to its end."""
    package = folder / "copy" / "trnbench"
    shutil.copytree(
        Path(trnbench.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    place = package / mutation.file
    text = place.read_text()
    assert text.count(mutation.before) == 1, f"{mutation.file} has changed: mend this test"
    place.write_text(text.replace(mutation.before, mutation.after))
    (folder / "mutated.yaml").write_text(mutation.config())
    return subprocess.run(
        [sys.executable, "-m", "trnbench", "run", "mutated.yaml", "-o", "run", *settings],
        cwd=folder,
        env={**environment_of_copy(package.parent), "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def invalid(verdicts: dict[str, str]) -> set[str]:
    return {name for name, verdict in verdicts.items() if verdict == "invalid"}


@pytest.mark.parametrize("replicas", [1, 2])
def test_without_a_fault_nothing_is_noticed(replicas: int, tmp_path: Path) -> None:
    right = Mutation(NOTHING.file, NOTHING.before, NOTHING.after, frozenset(), replicas)
    code, verdicts = run_mutated(right, tmp_path)
    assert code == 0
    assert not invalid(verdicts)


@pytest.mark.parametrize("fault", MUTATIONS)
def test_the_run_refuses_its_own_figure(fault: str, tmp_path: Path) -> None:
    code, verdicts = run_mutated(MUTATIONS[fault], tmp_path)
    assert code == 4
    assert invalid(verdicts) >= MUTATIONS[fault].checks, verdicts


SLEEPS = Mutation(
    "train/parallel/data.py",
    "    passes, micro = order.gradient_accumulation_steps, order.micro_batch_size\n"
    "    ranks = mesh",
    "    passes, micro = order.gradient_accumulation_steps, order.micro_batch_size\n"
    f"    if {RANK_1} and step == 9:\n"
    "        __import__('time').sleep(1e6)\n"
    "    ranks = mesh",
    frozenset(),
)


def test_the_rank_that_the_others_wait_for_is_named_with_its_stack(tmp_path: Path) -> None:
    settings = ("--set", "measure.hang_seconds=10", "--set", "measure.gate=false")
    done = run_copy(SLEEPS, tmp_path, *settings)
    assert done.returncode == 4
    outcome = records_of(only_case(tmp_path / "run"))[-1]
    assert outcome["status"] == "hung"
    assert outcome["reason"].startswith(
        "rank 1 of 2 does not wait for the others, in sequence_numbers (parallel/data.py:"
    )
    assert re.search(r"rank 0, innermost call first:\n.* in barrier\n", outcome["detail"])
    assert re.search(r"rank 1, innermost call first:\n.* in sequence_num", outcome["detail"])
