"""Promise: a gate alarms in at most 5 % of comparisons of the same thing, and finds a loss of 2 %.

Launches are simulated: each has a level of its own, and fifty samples about it that are correlated
with each other. They go through the product's own estimate of a launch, of a difference and of the
launches needed, and through its gates, as `trnbench compare --gate` reads them.

How much launches differ on this machine is measured first: the same small job in fresh processes.

    python -m benchmarks.gate [--pairs 2000] [--launches 8]
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from tests.unit.analysis.series import steady
from trnbench.analysis.comparison.gates import judge_gate, parse_gates
from trnbench.analysis.comparison.ratio import (
    LogDifference,
    Sample,
    adjust,
    find_difference,
    launches_needed,
)
from trnbench.analysis.statistics import CONFIDENCE, mean_interval
from trnbench.run.machine import describe_machine

SEED = 20261123
SAMPLES = 50
WITHIN_SD = 0.01
WORKLOADS = 10
LOSS = 0.02
DRIFT = 0.03
MOST_ALARMS = 1 - CONFIDENCE
ABBA = (0, 1, 1, 0)

JOB = """\
name: how launches differ
model: tiny-gpt2
workload: {sequence_length: 128, global_batch_size: 8}
device: cpu
measure: {launches: %d, gate: false, min_seconds: 5, relative_precision: 0.01, max_minutes: 20}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of comparison, to be made many times."""

    name: str
    deviation: float
    """Relative standard deviation of launches' means: of their levels and of their own noise."""
    launches: int
    """Of each side."""
    phi: float = 0.3
    change: float = 0.0
    """Of CAND's true throughput."""
    drift: float = 0.0
    """Of the step time over the whole experiment, in ABBA order."""
    workloads: int = 1
    pairs: int = 2000

    @property
    def level_sd(self) -> float:
        """What of the deviation is between launches: the rest is in their own samples."""
        within = WITHIN_SD**2 * (1 + self.phi) / (1 - self.phi) / SAMPLES
        return math.sqrt(max(0.0, self.deviation**2 - within))


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Shares of the comparisons of one kind, and what came out in the middle."""

    kind: Kind
    different: float
    """Intervals that leave out no change at all."""
    failed: float
    """Comparisons in which a gate at -2 % said no."""
    passed: float
    bias: float
    covered: float
    """Intervals that hold the true change."""


def compare_many(kind: Kind) -> Found:
    """Make every comparison of a kind, and count."""
    (gate,) = parse_gates(["tokens_per_second > -2%"])
    true = math.log1p(kind.change)
    different = failed = passed = covered = 0
    values = []
    generator = np.random.default_rng(SEED + len(kind.name) + kind.launches)
    for _ in range(kind.pairs):
        differences = [_difference(kind, generator) for _ in range(kind.workloads)]
        p_values = adjust([found.p_value() for found in differences], "holm")
        gate_p = adjust(
            [found.p_value(math.log1p(gate.reference)) for found in differences], "holm"
        )
        states = [judge_gate(gate, d, p) for d, p in zip(differences, gate_p, strict=True)]
        different += any(p < MOST_ALARMS for p in p_values)
        failed += "failed" in states
        passed += all(state == "passed" for state in states)
        first = differences[0]
        covered += first.low() <= true <= first.high()
        values.append(first.value)
    return Found(
        kind=kind,
        different=different / kind.pairs,
        failed=failed / kind.pairs,
        passed=passed / kind.pairs,
        bias=float(np.mean(values)) - true,
        covered=covered / kind.pairs,
    )


def _difference(kind: Kind, generator: np.random.Generator) -> LogDifference:
    """Simulate the launches of both sides and estimate by how much CAND's throughput differs."""
    count = 2 * kind.launches
    sides = [ABBA[place % 4] for place in range(count)]
    levels = np.exp(kind.level_sd * generator.standard_normal(count))
    levels *= 1 + kind.drift * np.arange(count) / (count - 1)
    runs = steady(
        int(generator.integers(2**31)), runs=count, n=SAMPLES, sd=WITHIN_SD, phi=kind.phi
    )  # fmt: skip
    rates: tuple[list[float], list[float]] = ([], [])
    errors: tuple[list[float], list[float]] = ([], [])
    for side, level, run in zip(sides, levels, runs, strict=True):
        interval = mean_interval(run * level / (1 + kind.change * side))
        rates[side].append(1 / interval.value)
        errors[side].append(interval.standard_error / interval.value)
    base, cand = (
        Sample(values=tuple(r), errors=tuple(e)) for r, e in zip(rates, errors, strict=True)
    )
    found = find_difference(base, cand, is_alike=True)
    assert isinstance(found, LogDifference)
    return found


def measure_between_launches(launches: int) -> tuple[float, float, float]:
    """Return the relative deviation between launches here, with its 95 % interval."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "job.yaml")
        config.write_text(JOB % launches)
        subprocess.run(
            [sys.executable, "-m", "trnbench", "run", str(config), "-o", str(Path(folder, "out"))],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "trnbench", "report", str(Path(folder, "out")),
             "--format", "json"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
    (row,) = json.loads(done.stdout)["results"]
    return (
        row["launch_deviation"],
        row["launch_deviation_ci95_low"],
        row["launch_deviation_ci95_high"],
    )


def main() -> None:
    """Measure the noise here, simulate every kind of comparison, and say what was kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument(
        "--launches", type=int, default=8, help="to measure this machine's noise by"
    )
    asked = parser.parse_args()
    machine = describe_machine()
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {machine.processor}, {machine.logical_cpus} logical CPUs, "
        f"Python {platform.python_version()}, seed {SEED}, {asked.pairs} comparisons a row, "
        f"{SAMPLES} samples a launch"
    )
    here, low, high = measure_between_launches(asked.launches)
    print(
        f"launches of tiny-gpt2 differ here by {here:.2%} [{low:.2%}, {high:.2%}] "
        f"({asked.launches} launches)\n"
    )
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(compare_many, _kinds(here, asked.pairs)))
    broken = [line for line in map(_show, found) if not line]
    print("\nevery promise was kept" if not broken else f"\n{len(broken)} promises were not kept")
    sys.exit(1 if broken else 0)


def _kinds(here: float, pairs: int) -> Sequence[Kind]:
    kinds = [
        Kind(name="same", deviation=sd, launches=6, phi=phi, pairs=pairs)
        for sd in (0.003, 0.005, 0.01) for phi in (0.0, 0.6)
    ]  # fmt: skip
    for sd, of in ((0.003, ""), (0.005, ""), (0.01, ""), (here, " (this machine's)")):
        needed = launches_needed(sd, LOSS)
        if needed is None:
            print(f"at a deviation of {sd:.2%} no number of launches shows a loss of {LOSS:.0%}")
            continue
        kinds.append(
            Kind(name=f"same{of}", deviation=sd, launches=needed, pairs=pairs)
        )  # fmt: skip
        kinds.append(
            Kind(name=f"2 % slower{of}", deviation=sd, launches=needed, change=-LOSS, pairs=pairs)
        )
    kinds.append(
        Kind(name=f"{WORKLOADS} workloads, same", deviation=0.005, launches=6,
             workloads=WORKLOADS, pairs=max(1, pairs // 4))
    )  # fmt: skip
    kinds.append(
        Kind(name="same, ABBA, drifting by 3 %", deviation=0.005, launches=6, drift=DRIFT,
             pairs=pairs)
    )  # fmt: skip
    return kinds


def _show(found: Found) -> bool:
    """Print one kind's shares; return whether what is promised of it holds."""
    kind = found.kind
    slack = 2 * math.sqrt(MOST_ALARMS * (1 - MOST_ALARMS) / kind.pairs)
    if kind.change:
        is_kept = found.failed >= CONFIDENCE - slack
    else:
        is_kept = max(found.different, found.failed) <= MOST_ALARMS + slack
    if kind.drift:
        is_kept = is_kept and abs(found.bias) < 0.001
    print(
        f"{kind.name:<32} launches differ by {kind.deviation:5.2%}, phi {kind.phi}, "
        f"{kind.launches:>3} a side: told different {found.different:6.1%}, "
        f"gate at -2 % failed {found.failed:6.1%} passed {found.passed:6.1%}, "
        f"interval holds {found.covered:6.1%}, bias {found.bias:+.2%}"
        f"{'' if is_kept else '   NOT KEPT'}"
    )
    return is_kept


if __name__ == "__main__":
    main()
