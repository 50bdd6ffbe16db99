"""Promise: 95 % intervals hold the truth in 93 to 97 % of cases; where none can, a flag is raised.

Seeded series with known means and medians go through the product's own functions: its intervals,
its search for the steady part, its flag for a mean that a few stalls decide, and its stopping
rule, block by block. Then a real series, the steps of a small model trained here and now, is
replayed: stretches of it in a random order, whose mean and median are those of the whole.

Each share has a Monte Carlo error, of which two are allowed beyond the bounds.

    python -m benchmarks.coverage [--repeats 2000] [--real-steps 3000]
"""

import argparse
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import torch

from benchmarks.stopping import adaptive_run
from tests.unit.analysis.series import Noise, Series, steady, true_mean, true_median
from tests.unit.run.plans import plan_case
from trnbench.analysis.statistics import (
    LOOKING_INFLATION,
    is_tail_dominated,
    mean_interval,
    median_interval,
)
from trnbench.analysis.steady_state import find_steady_state
from trnbench.run.machine import describe_machine
from trnbench.train.assemble import build_objective
from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.loop import StepOutcomes, TrainingStep, prepare_tokens
from trnbench.train.streams import stream_of

SEED = 20261123
LOWEST, HIGHEST = 0.93, 0.97
PHIS = (0.0, 0.3, 0.6)
LENGTHS = (50, 100, 200)
SD = 0.01

WARMUP_STEPS, READY_STEPS = 20, 64
STRETCH = 20
"""Neighbours of the real series that stay together, so that their correlation does."""

Held = tuple[int, int]
"""In how many cases it held, of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One share that is promised to lie between two bounds."""

    name: str
    held: Held
    low: float = 0.0
    high: float = 1.0

    @property
    def share(self) -> float:
        """The share; not a number where there was no case."""
        return self.held[0] / self.held[1] if self.held[1] else math.nan

    @property
    def is_kept(self) -> bool:
        """Whether the share lies within the bounds, or no further off than chance explains."""
        if not self.held[1]:
            return False
        low, high = (
            bound + sign * 2 * math.sqrt(bound * (1 - bound) / self.held[1])
            for bound, sign in ((self.low, -1), (self.high, 1))
        )
        return low <= self.share <= high


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Cells that prove one promise together."""

    title: str
    cells: Sequence[Cell]
    mean_bounds: tuple[float, float] | None = None
    """Of the mean over the cells, where that is promised too."""


# --- generated series -----------------------------------------------------------------------------


def intervals_hold(task: tuple[str, Noise, float, int, int]) -> Cell:
    """Return how often an interval of generated samples holds what it estimates."""
    which, noise, phi, n, repeats = task
    interval, truth = (
        (mean_interval, true_mean) if which == "mean" else (median_interval, true_median)
    )
    runs = steady(_seed(task), runs=repeats, n=n, sd=SD, phi=phi, noise=noise)
    found = [interval(run) for run in runs]
    true = truth(SD, noise)
    held = sum(each.low <= true <= each.high for each in found)
    return Cell(
        name=f"{which}, {noise}, phi {phi}, n {n}", held=(held, repeats), low=LOWEST, high=HIGHEST
    )


def flag_is_raised(task: tuple[Noise, int, int]) -> Cell:
    """Return how often a mean is called tail-dominated: where it stalls, and where it does not."""
    noise, n, repeats = task
    runs = steady(_seed(task), runs=repeats, n=n, sd=SD, noise=noise)
    low, high = {"stalls": (0.98, 1.0), "lognormal": (0.0, 0.01), "gamma": (0.0, 0.08)}[noise]
    if noise == "stalls":
        runs = runs[runs.max(axis=1) > 1.10 * np.median(runs, axis=1)]
    raised = sum(is_tail_dominated(run) for run in runs)
    return Cell(name=f"{noise}, n {n}", held=(raised, len(runs)), low=low, high=high)


def steady_part_is_found(task: tuple[str, float, float, int, int]) -> Cell:
    """Return how often a history is judged as it should be."""
    history, sd, phi, n, repeats = task
    shape, low, judged = HISTORIES[history]
    runs = steady(_seed(task), runs=repeats, n=n, sd=sd, phi=phi) * shape(n)
    right = sum(judged(run) for run in runs)
    if history == "steady" and phi >= 0.6:
        low = 0.85
    return Cell(name=f"{history}, sd {sd:.1%}, phi {phi}, n {n}", held=(right, repeats), low=low)


def _is_accepted(run: Series) -> bool:
    return find_steady_state(run).verdict == "steady"


def _is_flagged(run: Series) -> bool:
    return not _is_accepted(run)


def _begins_at_15(run: Series) -> bool:
    # The search leaves out half as much again as it found: 15 becomes 23.
    return abs(find_steady_state(run).start / 1.5 - 15) <= 2


HISTORIES: dict[str, tuple[Callable[[int], Series], float, Callable[[Series], bool]]] = {
    "steady": (np.ones, 0.90, _is_accepted),
    "25 % slower for 15 samples, found where it ends": (
        lambda n: np.where(np.arange(n) < 15, 1.25, 1.0), 0.90, _begins_at_15,
    ),
    "5 % slower from 60 % on, flagged": (
        lambda n: np.where(np.arange(n) >= 0.6 * n, 1.05, 1.0), 0.90, _is_flagged,
    ),
}  # fmt: skip


def stopped_runs_hold(task: tuple[float, float, float, int]) -> tuple[Cell, Cell, float]:
    """Return how often mean and median are held when the product itself chose when to stop."""
    target, sd, phi, repeats = task
    held_mean = held_median = 0
    samples = []
    for run in steady(_seed(task), runs=repeats, n=1000, sd=sd, phi=phi):
        taken = adaptive_run(run, target=target)
        kept = run[:taken][find_steady_state(run[:taken]).start :]
        for estimate, truth in (
            (mean_interval(kept), true_mean(sd, "lognormal")),
            (median_interval(kept), true_median(sd, "lognormal")),
        ):
            widened = estimate.widened(LOOKING_INFLATION)
            is_held = widened.low <= truth <= widened.high
            held_mean += is_held and estimate.method == "ess-t mean"
            held_median += is_held and estimate.method == "ess-t median"
        samples.append(taken)
    name = f"to {target:.2%}, sd {sd:.1%}, phi {phi}"
    cells = [
        Cell(name=f"{what}, {name}", held=(held, repeats), low=0.92, high=0.985)
        for what, held in (("mean", held_mean), ("median", held_median))
    ]
    return cells[0], cells[1], float(np.median(samples))


def _seed(task: tuple[object, ...]) -> int:
    return SEED + sum(ord(letter) * (place + 1) for place, letter in enumerate(repr(task)))


# --- a real series --------------------------------------------------------------------------------


def record_step_seconds(steps: int) -> Series:
    """Train a tiny GPT-2 on one thread, and return the seconds of each step, in order."""
    plan = plan_case(
        {
            "model": "tiny-gpt2",
            "workload.sequence_length": "32",
            "workload.global_batch_size": "2",
        }
    )
    order = plan.order
    torch.manual_seed(order.seed)
    backend = CpuBackend.open(Claim(precision="fp32", execution="eager", threads=1))
    training = TrainingStep(build_objective(order, backend), order, backend)
    stream = stream_of(order.own_shape, order.sequence_length, order.stream)
    ready = prepare_tokens(stream, order, 0, READY_STEPS, backend)
    seconds = []
    for step in range(WARMUP_STEPS + steps):
        began = time.perf_counter()
        training.run(ready[step % READY_STEPS], StepOutcomes())
        seconds.append(time.perf_counter() - began)
    return np.asarray(seconds[WARMUP_STEPS:])


def replay(real: Series, n: int, repeats: int, stretch: int) -> tuple[Section, int]:
    """Replay stretches of a real series; return what held, and how many replays were flagged.

    Args:
        real: step times in order.
        n: samples of one replay.
        repeats: replays.
        stretch: neighbours that stay together, so that their correlation does.
    """
    generator = np.random.default_rng(SEED)
    ring = np.concatenate((real, real[:stretch]))
    true = {"mean": float(real.mean()), "median": float(np.median(real))}
    held, kept, flagged = {"mean": 0, "median": 0}, 0, 0
    held_or_flagged = 0
    for _ in range(repeats):
        starts = generator.integers(0, len(real), size=math.ceil(n / stretch))
        run = np.concatenate([ring[at : at + stretch] for at in starts])[:n]
        state = find_steady_state(run)
        if state.verdict != "steady":
            flagged += 1
            held_or_flagged += 1
            continue
        part = run[state.start :]
        mean, median = mean_interval(part), median_interval(part)
        kept += 1
        held["median"] += median.low <= true["median"] <= median.high
        is_held = mean.low <= true["mean"] <= mean.high
        held["mean"] += is_held
        held_or_flagged += is_held or is_tail_dominated(part)
    cells = (
        Cell(name=f"median, n {n}", held=(held["median"], kept), low=LOWEST, high=1.0),
        Cell(
            name=f"mean, n {n}, or flagged",
            held=(held_or_flagged, repeats), low=LOWEST, high=1.0,
        ),
    )  # fmt: skip
    return Section(title="", cells=cells), flagged


# --- what is printed ------------------------------------------------------------------------------


def main() -> None:
    """Simulate every cell and print what each promise came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--real-steps", type=int, default=3000)
    asked = parser.parse_args()
    repeats = asked.repeats
    machine = describe_machine()
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, "
        f"numpy {np.__version__}, seed {SEED}; the real series on {machine.processor}, {machine.logical_cpus} logical CPUs"
    )
    real = record_step_seconds(asked.real_steps)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        sections = _generated_sections(pool, repeats)
    sections.append(_real_section(real, repeats))
    broken = 0
    for section in sections:
        broken += _show(section)
    print("every promise was kept" if not broken else f"{broken} shares are outside their bounds")
    sys.exit(1 if broken else 0)


def _generated_sections(pool: ProcessPoolExecutor, repeats: int) -> list[Section]:
    noises: tuple[Noise, ...] = ("lognormal", "gamma", "stalls")
    median = [
        ("median", noise, phi, n, repeats) for noise in noises for phi in PHIS for n in LENGTHS
    ]
    mean = [
        ("mean", noise, phi, n, repeats)
        for noise in noises[:2] for phi in PHIS for n in LENGTHS[1:]
    ]  # fmt: skip
    flags = [(noise, n, repeats) for noise in noises for n in LENGTHS]
    shapes = [
        (history, sd, phi, n, repeats // 10)
        for history in HISTORIES for n in (100, 200) for sd, phi in ((0.005, 0.0), (0.01, 0.3))
    ] + [("steady", 0.01, 0.6, n, repeats // 10) for n in (100, 200)]  # fmt: skip
    stops = [
        (target, sd, phi, repeats // 4)
        for target in (0.005, 0.0025) for sd in (0.005, 0.01, 0.02) for phi in PHIS
    ]  # fmt: skip
    stopped = list(pool.map(stopped_runs_hold, stops))
    return [
        Section(
            title="95 % intervals of the median hold it (stalls included)",
            cells=list(pool.map(intervals_hold, median)),
        ),
        Section(
            title="95 % intervals of the mean hold it (where nothing stalls)",
            cells=list(pool.map(intervals_hold, mean)),
        ),
        Section(
            title="a mean that rare stalls decide is flagged, others are not",
            cells=list(pool.map(flag_is_raised, flags)),
        ),
        Section(
            title="the steady part is found",
            cells=list(pool.map(steady_part_is_found, shapes)),
        ),
        Section(
            title="intervals hold after the stopping rule has chosen when to stop",
            cells=[cell for two in stopped for cell in two[:2]],
            mean_bounds=(0.94, 0.98),
        ),
    ]


def _real_section(real: Series, repeats: int) -> Section:
    cells: list[Cell] = []
    flagged = 0
    for n in (100, 200):
        found, unsteady = replay(real, n, repeats, stretch=STRETCH)
        cells += found.cells
        flagged += unsteady
    return Section(
        title=(
            f"replays of {len(real)} real steps of {np.median(real) * 1e3:.1f} ms "
            f"({flagged / 2 / repeats:.0%} of them were told not to be steady)"
        ),
        cells=cells,
    )


def _show(section: Section) -> int:
    """Print a promise with its cells; return how many of them are broken."""
    shares = [cell.share for cell in section.cells]
    broken = [cell for cell in section.cells if not cell.is_kept]
    print(f"\n{section.title}: {len(shares)} cells, {min(shares):.1%} to {max(shares):.1%}")
    if section.mean_bounds is not None:
        low, high = section.mean_bounds
        middle = float(np.mean(shares))
        is_kept = low <= middle <= high
        print(f"  their mean {middle:.1%} (promised {low:.0%} to {high:.0%})")
        if not is_kept:
            broken.append(section.cells[0])
    for cell in section.cells:
        mark = "" if cell.is_kept else "   OUTSIDE"
        print(f"  {cell.name:<74}{cell.share:6.1%}  of {cell.low:.0%} to {cell.high:.1%}{mark}")
    return len(broken)


if __name__ == "__main__":
    main()
