"""Promise: measuring ends when enough is known: within 1 % after half of the usual 100 steps.

The product's own `StoppingRule` is given seeded steps until it says that it is enough. On quiet
series the samples that it took are compared with the 100 that benchmarks of a fixed length take;
and over eighteen kinds of noise and precision the intervals of the steady samples, as wide as the
stopping rule makes them and before anything is added for other launches, against the truth.

A step of 1 s is a sample by itself. `measure.min_seconds` asks for 30 s of timed steps: below 0.6 s
a step more than 50 are taken, however quiet they are, and that is not counted here.

    python -m benchmarks.stopping [--runs 300]
"""

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import Pool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for the worker of the tests

import numpy as np

from tests.pure.analysis.series import Series, steady, true_mean, true_median
from tests.pure.run.scripted_worker import make_block
from trnbench.analysis.statistics import LOOKING_INFLATION, Interval, mean_interval, median_interval
from trnbench.analysis.steady_state import find_steady_state
from trnbench.protocol.orders import RunBlock
from trnbench.protocol.records import Block
from trnbench.run.stopping import StoppingRule
from trnbench.schema.plan import MeasureConfig

PEERS_STEPS = 100
QUIET = ((0.0025, 0.0), (0.005, 0.0), (0.005, 0.3), (0.01, 0.0), (0.01, 0.3))
"""Standard deviation of a step, and lag-one correlation."""
PRECISIONS, DEVIATIONS, PHIS = (0.005, 0.0025), (0.005, 0.01, 0.02), (0.0, 0.3, 0.6)
STEP_SECONDS = 1.0
LOWEST, HIGHEST = 0.92, 0.985


@dataclass(frozen=True, slots=True)
class Cell:
    """Many runs of one kind of noise that were asked for one precision."""

    sd: float
    phi: float
    precision: float
    fewest: int
    """The least samples before the first look."""
    runs: int
    samples: tuple[int, ...]
    steps: tuple[int, ...]
    """Warm-up included."""
    mean_held: float
    median_held: float
    precise: float
    """The share of runs that ended because they were precise enough."""

    def is_covered(self) -> bool:
        """Tell whether both intervals held as promised, give or take twice the noise of that."""
        low = LOWEST - 2 * math.sqrt(LOWEST * (1 - LOWEST) / self.runs)
        high = HIGHEST + 2 * math.sqrt(HIGHEST * (1 - HIGHEST) / self.runs)
        return all(low <= held <= high for held in (self.mean_held, self.median_held))


def main() -> int:
    """Print each cell; return 1 if a promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    runs = parser.parse_args().runs
    least = MeasureConfig().min_samples
    asked = [(sd, phi, 0.01, least, runs) for sd, phi in QUIET]
    asked += [(sd, phi, 0.01, 40, runs) for sd, phi in QUIET]
    asked += [
        (sd, phi, precision, least, runs)
        for precision in PRECISIONS
        for sd in DEVIATIONS
        for phi in PHIS
    ]
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, seeded; {runs} runs a cell, steps of {STEP_SECONDS:g} s, "
        f"the rule as it is by default but for the precision"
    )
    with Pool() as pool:
        cells = list(pool.imap(_measure, asked))
    quiet, early, wide = cells[:5], cells[5:10], cells[10:]
    kept = list(_quiet_lines(quiet))
    print("\nwith min_samples 40, which is not the default:")
    for cell in early:
        _print(cell, is_kept=cell.is_covered())
    kept += [cell.is_covered() for cell in early]
    print(f"\ncoverage over precisions and noises, each within {LOWEST:.1%} to {HIGHEST:.1%}:")
    for cell in wide:
        _print(cell, is_kept=cell.is_covered())
        kept.append(cell.is_covered())
    held = [share for cell in wide for share in (cell.mean_held, cell.median_held)]
    middle = float(np.mean(held))
    kept.append(0.94 <= middle <= 0.97)
    print(f"over all of these {100 * middle:.1f} %, promised 94 to 97: {_word(kept[-1])}")
    print(f"{sum(kept)} of {len(kept)} kept: {_word(all(kept)).strip()}")
    return 0 if all(kept) else 1


def _quiet_lines(cells: list[Cell]) -> Iterator[bool]:
    print(f"\nquiet steps, to within 1 %, beside {PEERS_STEPS} steps:")
    for cell in cells:
        share = sum(taken <= PEERS_STEPS / 2 for taken in cell.samples) / cell.runs
        is_kept = share >= 0.95 and cell.is_covered()
        _print(cell, is_kept=is_kept)
        print(f"      measured {PEERS_STEPS // 2} steps or fewer in {100 * share:.1f} % of runs")
        yield is_kept


def _print(cell: Cell, *, is_kept: bool) -> None:
    samples, steps = int(np.median(cell.samples)), int(np.median(cell.steps))
    print(
        f"{_word(is_kept)}  sd {100 * cell.sd:<4g} % phi {cell.phi:<3g} to "
        f"{100 * cell.precision:g} %: {samples:4} samples, {steps:4} steps in all (medians); "
        f"mean holds {100 * cell.mean_held:5.1f} %, median {100 * cell.median_held:5.1f} %; "
        f"precise {100 * cell.precise:5.1f} %"
    )


def _word(is_kept: bool) -> str:
    return "pass" if is_kept else "FAIL"


def _measure(asked: tuple[float, float, float, int, int]) -> Cell:
    sd, phi, precision, fewest, runs = asked
    limits = MeasureConfig(relative_precision=precision, min_samples=fewest)
    seed = round(1e5 * sd + 10 * phi + 1e6 * precision)
    rows = steady(seed, runs=runs, n=limits.max_samples + 50, sd=sd, phi=phi)
    ended = [_run(limits, row * STEP_SECONDS) for row in rows]
    truths = (true_mean(sd, "lognormal"), true_median(sd, "lognormal"))
    held: list[tuple[bool, bool]] = []
    for samples, _, _ in ended:
        tail = samples[find_steady_state(samples).start :]
        held.append(
            (_holds(mean_interval(tail), truths[0]), _holds(median_interval(tail), truths[1]))
        )
    return Cell(
        sd=sd,
        phi=phi,
        precision=precision,
        fewest=fewest,
        runs=runs,
        samples=tuple(len(samples) for samples, _, _ in ended),
        steps=tuple(steps for _, steps, _ in ended),
        mean_held=float(np.mean([mean for mean, _ in held])),
        median_held=float(np.mean([median for _, median in held])),
        precise=float(np.mean([is_precise for _, _, is_precise in ended])),
    )


def _holds(interval: Interval, truth: float) -> bool:
    """Tell whether an interval holds the truth, as wide as the stopping rule makes it."""
    widened = interval.widened(LOOKING_INFLATION)
    return widened.low <= truth <= widened.high


def _run(limits: MeasureConfig, times: Series) -> tuple[Series, int, bool]:
    """Return the samples until the rule stops, all steps, and whether it was precise."""
    rule = StoppingRule(limits, "max_minutes")
    steps, samples = 0, []
    while isinstance(command := rule.next_command(is_out_of_budget=False), RunBlock):
        block: Block = make_block(
            command, steps, float(np.sum(times[steps : steps + command.steps]))
        )
        steps += command.steps
        rule.observe(block)
        if block.purpose == "measure":
            samples.append(block.seconds / block.steps)
    stop = [choice for choice in rule.take_decisions() if choice.what == "stop"]
    return np.array(samples), steps, stop[-1].why.startswith("precise")


if __name__ == "__main__":
    sys.exit(main())
