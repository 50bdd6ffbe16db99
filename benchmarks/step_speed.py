"""Promise: our step is at least as fast as the best peer's on the same shape, device and run.

Ours, a minimal loop, Hugging Face's class in an own loop and in its Trainer, litgpt and, on a GPU,
torchtitan, each a process of its own at its best settings, train a Llama from random weights with
AdamW. Those that are compared stand ready at once and make bursts of steps in turns, the order
reversed each round, so that heat and neighbours fall on all alike: on a CPU all of one setting, on
a GPU, whose memory they share, ours with one other after another. What is compared are rounds: the
ratio is the median over rounds of a peer's median step over ours, with a 95 % interval by the order
statistics of those ratios.

Ours clips gradients; none of the others does. What is compiled is compiled in a first start, into
an empty cache of this run's own; a second start, which finds all made, is the one that is measured.

    python -m benchmarks.step_speed                       # 7,358,720 weights on a CPU, 6 minutes
    python -m benchmarks.step_speed --device cuda --job llama3.2-1b
    python -m benchmarks.step_speed --device cuda --job llama3.2-1b --sequences 1 --tokens 8192
    python -m benchmarks.step_speed --device cuda --job llama3-8b --layers 8

Other trainers live in environments of their own, made by `scripts/setup_peers.sh` (1 GB is
downloaded); with `--peers here` they are those that this interpreter has. A burst in which others
took more than a tenth of the processors is made again.
"""

import argparse
import contextlib
import importlib.util
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from scipy.stats import binom

from benchmarks.common.figures import machine_line
from benchmarks.peers.bursts import Job, add_job_options, job_of
from benchmarks.peers.contestants import PEER_TRAINERS, ROOT, Contestant, Trainer
from trnbench.units import say_flops_per_second

PEERS = ROOT / ".venv-peers"
FOREIGN_SHARE = 0.1
TRIES = 6

OURS = "trnbench"
OURS_IN_BF16 = "trnbench in bf16"


Setting = tuple[str, str]
SETTINGS: Mapping[str, tuple[Setting, ...]] = {
    "cpu": (("fp32", "eager"), ("fp32", "compile"), ("bf16", "eager"), ("bf16", "compile")),
    "cuda": (("bf16", "eager"), ("bf16", "compile"), ("fp8", "compile")),
}


@dataclass(frozen=True, slots=True)
class Match:
    """What is compared, and where."""

    job: Job
    device: str
    arguments: tuple[str, ...]
    """That say both to a trainer's process."""
    peers: Mapping[str, Trainer]
    is_here: bool
    """Whether the peers are those of this interpreter."""
    is_paired: bool
    """Whether ours meets them one by one."""
    rounds: int
    steps: int
    cache: Path
    """Where what is compiled is kept, for this run alone."""

    def start(self, trainer: Trainer, precision: str, execution: str) -> Contestant:
        """Start a trainer's process."""
        python = sys.executable
        if trainer.environment is not None and not self.is_here:
            python = str(PEERS / trainer.environment / "bin" / "python")
        precision = trainer.precision or precision
        setting = ("--precision", precision, "--execution", execution)
        variables = {"TORCHINDUCTOR_CACHE_DIR": str(self.cache)}
        return Contestant(trainer.module, python, [*self.arguments, *setting], variables)


@dataclass(slots=True)
class Yardstick:
    """The job's FLOPs and the chip's peak, at one setting."""

    flops_per_token: float
    peak: Mapping[str, Any]
    ceiling: Mapping[str, Any]

    def say(self, tokens_per_second: float) -> str:
        """Return the parts that this throughput is of both."""
        said: list[str] = []
        for name, figure in (("MFU", self.peak), ("of ceiling", self.ceiling)):
            if figure["flops_per_second"] and not (said and self.ceiling == self.peak):
                part = tokens_per_second * self.flops_per_token / figure["flops_per_second"]
                said.append(f"{part:5.1%} {name}")
        return "  ".join(said)


@dataclass(slots=True)
class Seen:
    """What one trainer has shown at one setting."""

    first_step_seconds: float = math.nan
    cold_step_seconds: float | None = None
    """The same of a start that had to compile."""
    seconds: list[float] = field(default_factory=list)
    """Median step of each round."""
    peak_bytes: int = 0
    ratios: list[float] = field(default_factory=list)
    """Its median step over ours in the same round."""


def main() -> None:
    """Measure every setting and print a table of each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_job_options(parser)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--steps", type=int, default=6, help="of one burst")
    parser.add_argument("--peers", choices=("own", "here"), default="own")
    parser.add_argument("--settings", help="only these, as in bf16-compile,fp8-compile")
    parser.add_argument("--in-pairs", action="store_true", help="as on a GPU")
    parser.add_argument("--no-optimum", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        compare(options, make_match(options, Path(cache)))


def compare(options: argparse.Namespace, match: Match) -> None:
    """Print what is compared, and measure every setting that was asked for."""
    print(
        f"{machine_line()}, torch {metadata.version('torch')}, "
        f"load average {os.getloadavg()[0]:.1f}"
    )
    print(
        f"{options.job}, {match.job.weights:,} weights, {match.job.sequences} x "
        f"{match.job.tokens} tokens; {match.rounds} rounds of bursts of {match.steps} steps, "
        f"{'in pairs' if match.is_paired else 'in turns'}",
        flush=True,
    )
    wanted = options.settings and options.settings.split(",")
    for precision, execution in SETTINGS[options.device]:
        if not wanted or f"{precision}-{execution}" in wanted:
            measure(match, precision, execution)
    if options.device == "cpu" and not match.is_here and not options.no_optimum:
        measure_optimum(match)


def make_match(options: argparse.Namespace, cache: Path) -> Match:
    """Return what is compared: peers that are not here are left out, and it is said."""
    is_here = options.peers == "here"
    peers = {
        name: trainer
        for name, trainer in PEER_TRAINERS.items()
        if options.device == "cuda" or not trainer.is_for_gpus
    }
    if is_here:
        for name, trainer in list(peers.items()):
            if trainer.library is not None and importlib.util.find_spec(trainer.library) is None:
                print(f"left out: {name}, for {trainer.library} is not here")
                del peers[name]
    else:
        subprocess.run(
            ["sh", "scripts/setup_peers.sh"], cwd=ROOT, check=True,
            env={**os.environ, "PYTHON": sys.executable},
        )  # fmt: skip
    job = job_of(options)
    changes = [f"--{name}={getattr(job, name)}" for name in ("layers", "sequences", "tokens")]
    return Match(
        job=job,
        device=options.device,
        arguments=("--job", options.job, "--device", options.device, *changes),
        peers=peers,
        is_here=is_here,
        is_paired=options.in_pairs or options.device != "cpu",
        rounds=options.rounds,
        steps=options.steps,
        cache=cache,
    )


def measure(match: Match, precision: str, execution: str) -> None:
    """Measure all trainers at one setting, and print a line of each."""
    peers = {OURS_IN_BF16: Trainer("ours", precision="bf16")} if precision == "fp8" else match.peers
    yardstick = measure_yardstick(match, precision, execution)
    seen = {name: Seen() for name in (OURS, *peers)}
    groups = [[name] for name in peers] if match.is_paired else [list(peers)]
    loud = 0
    for group in groups:
        trainers = {OURS: Trainer("ours"), **{name: peers[name] for name in group}}
        with all_ready(match, trainers, precision, execution, seen) as contestants:
            loud += measure_rounds(match, contestants, seen)
    print(f"\n{precision}, {execution} ({loud} bursts made again because of others' load)")
    print(f"  {yardstick.flops_per_token:.4g} FLOP a token; peak {say_peak(yardstick.peak)}")
    if yardstick.ceiling != yardstick.peak:
        print(f"  ceiling {say_peak(yardstick.ceiling)}")
    for name, one in seen.items():
        median = statistics.median(one.seconds)
        rate = match.job.sequences * match.job.tokens / median
        line = (
            f"  {name:<24}{median * 1e3:7.1f} ms  {rate:7,.0f} tokens/s  {yardstick.say(rate)}  "
            f"peak {one.peak_bytes / 2**20:6.0f} MiB  first step {one.first_step_seconds:5.1f} s"
        )
        if one.cold_step_seconds is not None:
            line += f", cold {one.cold_step_seconds:5.1f} s"
        if one.ratios:
            line += f"  ours is {statistics.median(one.ratios):.3f} times as fast"
            line += say_interval(one.ratios)
        print(line, flush=True)


def say_peak(figure: Mapping[str, Any]) -> str:
    """Return a peak with where it is from."""
    rate = figure["flops_per_second"]
    said = "none" if rate is None else say_flops_per_second(rate)
    return f"{said} ({figure['source']})"


def measure_yardstick(match: Match, precision: str, execution: str) -> Yardstick:
    """Measure what matmuls alone reach, in a process that ends before the trainers start."""
    process = match.start(Trainer("yardstick"), precision, execution)
    told = process.hear()
    process.end()
    return Yardstick(told["flops_per_token"], told["peak"], told["ceiling"])


def measure_rounds(
    match: Match, contestants: Mapping[str, Contestant], seen: Mapping[str, Seen]
) -> int:
    """Let all make bursts in turns; return how many were made again."""
    loud = 0
    for number in range(match.rounds):
        medians: dict[str, float] = {}
        names = list(contestants)
        for name in names if number % 2 == 0 else reversed(names):
            for _ in range(TRIES):
                answer, foreign = quiet_burst(contestants[name], match.steps)
                if foreign <= FOREIGN_SHARE:
                    break
                loud += 1
            medians[name] = statistics.median(answer["seconds"])
            seen[name].peak_bytes = answer["peak_bytes"]
        for name, median in medians.items():
            seen[name].seconds.append(median)
            if name != OURS:
                seen[name].ratios.append(median / medians[OURS])
    return loud


@contextlib.contextmanager
def all_ready(
    match: Match,
    trainers: Mapping[str, Trainer],
    precision: str,
    execution: str,
    seen: Mapping[str, Seen],
) -> Iterator[dict[str, Contestant]]:
    """Start them one after the other, hold each to the same number of weights, end them all."""
    contestants: dict[str, Contestant] = {}
    try:
        for name, trainer in trainers.items():
            if execution == "compile" and seen[name].cold_step_seconds is None:
                seen[name].cold_step_seconds = compile_cold(match, trainer, precision)
            contestants[name] = match.start(trainer, precision, execution)
            ready = contestants[name].hear()
            if ready["weights"] != match.job.weights:
                raise SystemExit(
                    f"{name}: has {ready['weights']:,} weights, not {match.job.weights:,}"
                )
            if math.isnan(seen[name].first_step_seconds):
                seen[name].first_step_seconds = ready["first_step_seconds"]
        yield contestants
    finally:
        for contestant in contestants.values():
            contestant.end()


def compile_cold(match: Match, trainer: Trainer, precision: str) -> float:
    """Start a trainer once so that all is compiled and kept; return what its first step took."""
    contestant = match.start(trainer, precision, "compile")
    seconds: float = contestant.hear()["first_step_seconds"]
    contestant.end()
    return seconds


def quiet_burst(contestant: Contestant, steps: int) -> tuple[dict[str, Any], float]:
    """Return a burst's answer, and the share of the processors that others took meanwhile."""
    busy, total = _machine_ticks()
    own = contestant.cpu_seconds()
    answer = contestant.burst(steps)
    busy_after, total_after = _machine_ticks()
    own_ticks = (contestant.cpu_seconds() - own) * os.sysconf("SC_CLK_TCK")
    return answer, (busy_after - busy - own_ticks) / max(1, total_after - total)


def _machine_ticks() -> tuple[int, int]:
    """Return the ticks in which the processors were busy, and all of them."""
    with Path("/proc/stat").open() as stat:
        ticks = [int(field) for field in stat.readline().split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def say_interval(values: Sequence[float]) -> str:
    """Return what holds the median with at least 95 %, or that there are too few of them."""
    interval = median_interval(values)
    if interval is None:
        return f" (no interval from {len(values)} rounds)"
    return " [{:.3f}, {:.3f}]".format(*interval)


def median_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return order statistics that hold the median with at least 95 %: binomial, both sides."""
    ordered, count = sorted(values), len(values)
    rank = int(binom.ppf(0.025, count, 0.5))
    return (ordered[rank - 1], ordered[count - rank]) if rank else None


def measure_optimum(match: Match) -> None:
    """Print optimum-benchmark's own figure of the same work, and the true one."""
    contestant = match.start(Trainer("optimum", environment="optimum"), "fp32", "eager")
    told = contestant.hear()
    contestant.end()
    true = match.job.sequences / told["mean_seconds"]
    printed = told["printed_samples_per_second"]
    print(
        f"\noptimum-benchmark, fp32, eager, by itself: prints {printed:.2f} samples/s; its mean "
        f"step of {told['mean_seconds'] * 1e3:.1f} ms makes {true:.2f}: {printed / true:.1f} times "
        f"less, after {told['steps']} timed steps ({true * match.job.tokens:,.0f} tokens/s)"
    )


if __name__ == "__main__":
    main()
