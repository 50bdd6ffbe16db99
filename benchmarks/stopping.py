"""Promise: ±1 % costs half the steps of a fixed hundred where it is quiet, more only where needed.

The product's own stopping rule is fed seeded series, block by block as `trnbench run` feeds it, and
asked for ±1 %. Beside it stands what other tools do: a hundred steps, whatever they look like.
Told are the steps taken, how often the 95 % interval holds the truth, and how often the mean is
within 1 % of it.

    python -m benchmarks.stopping [--repeats 1000]
"""

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from tests.unit.analysis.series import Series, steady, true_mean
from trnbench.analysis.statistics import LOOKING_INFLATION, mean_interval
from trnbench.analysis.steady_state import find_steady_state
from trnbench.run.pace import Pacer
from trnbench.schema.config import MeasureConfig
from trnbench.wire import Block, RunBlock

SEED = 20261123
TARGET = 0.01
FIXED_STEPS = 100
LONGEST = 1000
QUIET = ((0.0025, 0.0), (0.005, 0.0), (0.005, 0.3), (0.01, 0.0))
LOUD = ((0.01, 0.6), (0.02, 0.0), (0.02, 0.3), (0.03, 0.3))
"""Standard deviation of a step, and correlation with the step before it."""
LOWEST, HIGHEST = 0.92, 0.985
"""Coverage that is kept while looking at the data (docs/metrics.md, "Statistics")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one kind of series came to."""

    sd: float
    phi: float
    median_steps: float
    p90_steps: float
    covered: float
    within: float
    fixed_covered: float
    fixed_within: float


def adaptive_run(run: Series, *, target: float) -> int:
    """Return how many samples of a series the stopping rule takes for this precision.

    Args:
        run: seconds of each sample, about one second each.
        target: relative half-width that is asked for.
    """
    measure = MeasureConfig(relative_precision=target, max_samples=len(run))
    pacer = Pacer(measure, "max_minutes")
    taken = 0
    while isinstance(command := pacer.next_command(is_out_of_budget=False), RunBlock):
        is_measured = command.purpose == "measure"
        pacer.observe(
            Block(
                at_seconds=0.0, purpose=command.purpose, first_step=0, steps=command.steps,
                seconds=float(run[taken] if is_measured else run[0]) * command.steps,
                prepare_seconds=0.0, losses=[], gradient_norms=[], oracle_losses=[],
            )
        )  # fmt: skip
        taken += is_measured
    return taken


def measure(task: tuple[float, float, int]) -> Found:
    """Stop many series of one kind, and hold each against the fixed number."""
    sd, phi, repeats = task
    truth = true_mean(sd, "lognormal")
    steps, covered, within, fixed_covered, fixed_within = [], 0, 0, 0, 0
    runs = steady(SEED + round(1e5 * sd + 10 * phi), runs=repeats, n=LONGEST, sd=sd, phi=phi)
    for run in runs:
        taken = adaptive_run(run, target=TARGET)
        kept = run[:taken]
        kept = kept[find_steady_state(kept).start :]
        interval = mean_interval(kept).widened(LOOKING_INFLATION)
        steps.append(taken)
        covered += interval.low <= truth <= interval.high
        within += abs(interval.value / truth - 1) <= TARGET
        fixed = mean_interval(run[:FIXED_STEPS])
        fixed_covered += fixed.low <= truth <= fixed.high
        fixed_within += fixed.high / fixed.value - 1 <= TARGET
    return Found(
        sd=sd,
        phi=phi,
        median_steps=float(np.median(steps)),
        p90_steps=float(np.percentile(steps, 90)),
        covered=covered / repeats,
        within=within / repeats,
        fixed_covered=fixed_covered / repeats,
        fixed_within=fixed_within / repeats,
    )


def main() -> None:
    """Measure every kind of series, and say what was promised and kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000)
    repeats = parser.parse_args().repeats
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, "
        f"numpy {np.__version__}, seed {SEED}, {repeats} series a row, asked for ±{TARGET:.0%}"
    )
    print(
        "\n   sd  corr.  steps: median  p90   interval holds  mean within 1 %   "
        f"{FIXED_STEPS} steps: interval holds  reaches ±1 %"
    )
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(measure, [(*kind, repeats) for kind in (*QUIET, *LOUD)]))
    for row in found:
        print(
            f" {row.sd:5.2%}  {row.phi:4.1f}  {row.median_steps:13.0f} {row.p90_steps:4.0f}"
            f"   {row.covered:14.1%}  {row.within:15.1%}   "
            f"{row.fixed_covered:25.1%}  {row.fixed_within:12.1%}"
        )
    sys.exit(0 if _is_kept(found, repeats) else 1)


def _is_kept(found: Sequence[Found], repeats: int) -> bool:
    quiet = found[: len(QUIET)]
    most = max(row.median_steps for row in quiet) / FIXED_STEPS
    slack = 2 * (LOWEST * (1 - LOWEST) / repeats) ** 0.5
    lowest, highest = min(row.covered for row in found), max(row.covered for row in found)
    is_covered = LOWEST - slack <= lowest and highest <= HIGHEST + slack
    print(
        f"\nwhere it is quiet: {most:.2f} of the fixed {FIXED_STEPS} steps "
        f"({'kept' if most <= 0.5 else 'NOT KEPT'}: at most 0.50); intervals hold in "
        f"{lowest:.1%} to {highest:.1%} ({'kept' if is_covered else 'NOT KEPT'}: "
        f"{LOWEST:.0%} to {HIGHEST:.1%})"
    )
    return most <= 0.5 and is_covered


if __name__ == "__main__":
    main()
