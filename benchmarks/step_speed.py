"""Promise: our step is at least as fast as the best peer's on the same shape, device and run.

A Llama of 7,358,720 weights (4 layers of width 256, vocabulary 8192), 8 sequences of 128 tokens,
AdamW, on a CPU: ours, a minimal loop, Hugging Face's class in an own loop and in its Trainer, and
litgpt, each a process of its own at its best settings. All of one setting stand ready at once and
make bursts of steps in turns, the order reversed each round, so that heat and neighbours fall on
all alike. What is compared are rounds: the ratio is the median over rounds of a peer's median step
over ours, with a 95 % interval by the order statistics of those ratios.

Ours clips gradients; none of the others does.

    python -m benchmarks.step_speed [--rounds 11] [--steps 6] [--no-optimum]

Other trainers live in environments of their own, made by `scripts/setup_peers.sh` (1 GB is
downloaded). A burst in which others took more than a tenth of the processors is made again.
"""

import argparse
import contextlib
import json
import math
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scipy.stats import binom

from benchmarks.peers.bursts import SEQUENCES, TOKENS, WEIGHTS
from trnbench.run.environment import GLIBC, KEEP_TRACED, UNFRAGMENTED
from trnbench.run.machine import describe_machine

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / ".venv-peers"
FOREIGN_SHARE = 0.1
TRIES = 6

SETTINGS = (("fp32", "eager"), ("fp32", "compile"), ("bf16", "eager"), ("bf16", "compile"))
CONTESTANTS: Mapping[str, tuple[str, str]] = {
    "trnbench": ("ours", sys.executable),
    "minimal loop": ("minimal", sys.executable),
    "Hugging Face, own loop": ("hugging_face", "hugging_face"),
    "Hugging Face Trainer": ("hugging_face_trainer", "hugging_face"),
    "litgpt": ("litgpt_loop", "litgpt"),
}
"""By the name that is printed: module in `benchmarks/peers`, and the environment or interpreter."""


class Contestant:
    """A trainer's process, that makes bursts of steps when told to."""

    def __init__(self, module: str, environment: str, arguments: Sequence[str]) -> None:
        named = PEERS / environment / "bin" / "python"
        python = str(named) if environment.isidentifier() else environment
        self._module = module
        records, records_end = os.pipe()
        self._process = subprocess.Popen(
            [python, "-m", f"benchmarks.peers.{module}", "--records-fd", str(records_end),
             *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            pass_fds=(records_end,), cwd=ROOT,
            env={
                **os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "HF_HUB_OFFLINE": "1",
                # As `trnbench run` starts its workers; the same for all.
                KEEP_TRACED: "1", GLIBC: UNFRAGMENTED,
            },
        )  # fmt: skip
        os.close(records_end)
        self._records = os.fdopen(records)

    def hear(self) -> dict[str, Any]:
        """Return its next record."""
        line = self._records.readline()
        if not line:
            _, said = self._process.communicate()
            raise SystemExit(f"a peer ended: {self._module}\n{said}")
        heard: dict[str, Any] = json.loads(line)
        return heard

    def burst(self, steps: int) -> dict[str, Any]:
        """Let it make so many steps."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        return self.hear()

    def end(self) -> None:
        """Close its input, which ends it."""
        self._process.communicate()
        self._records.close()

    def cpu_seconds(self) -> float:
        """Return the processor time that it has had."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure every setting and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--steps", type=int, default=6, help="of one burst")
    parser.add_argument("--no-optimum", action="store_true")
    asked = parser.parse_args()
    subprocess.run(
        ["sh", "scripts/setup_peers.sh"], cwd=ROOT, check=True,
        env={**os.environ, "PYTHON": sys.executable},
    )  # fmt: skip
    machine = describe_machine()
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {machine.processor}, {machine.logical_cpus} logical CPUs, "
        f"{machine.operating_system}, Python {platform.python_version()}, torch "
        f"{_version_of('torch')}, load average {os.getloadavg()[0]:.1f}"
    )
    print(f"{asked.rounds} rounds of bursts of {asked.steps} steps, in turns", flush=True)
    for precision, execution in SETTINGS:
        measure(precision, execution, asked.rounds, asked.steps)
    if not asked.no_optimum:
        measure_optimum()


def measure(precision: str, execution: str, rounds: int, steps: int) -> None:
    """Measure all contestants at one setting, and print a line of each."""
    times: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    peaks: dict[str, int] = {}
    first: dict[str, float] = {}
    loud = 0
    with all_ready(precision, execution, first) as contestants:
        for number in range(rounds):
            names = list(contestants)
            for name in names if number % 2 == 0 else reversed(names):
                for _ in range(TRIES):
                    answer, foreign = quiet_burst(contestants[name], steps)
                    if foreign <= FOREIGN_SHARE:
                        break
                    loud += 1
                times[name].append(statistics.median(answer["seconds"]))
                peaks[name] = answer["peak_bytes"]
    print(f"\n{precision}, {execution} ({loud} bursts made again because of others' load)")
    for name in times:
        median = statistics.median(times[name])
        line = (
            f"  {name:<24}{median * 1e3:7.1f} ms  {SEQUENCES * TOKENS / median:7,.0f} tokens/s  "
            f"peak {peaks[name] / 2**20:5.0f} MiB  first step {first[name]:5.1f} s"
        )
        if name != "trnbench":
            ratios = [b / a for a, b in zip(times["trnbench"], times[name], strict=True)]
            low, high = median_interval(ratios)
            line += (
                f"  ours is {statistics.median(ratios):.3f} times as fast [{low:.3f}, {high:.3f}]"
            )
        print(line, flush=True)


@contextlib.contextmanager
def all_ready(
    precision: str, execution: str, first: dict[str, float]
) -> Iterator[dict[str, Contestant]]:
    """Start them one after the other, hold each to the same number of weights, end them all."""
    contestants: dict[str, Contestant] = {}
    arguments = ["--precision", precision, "--execution", execution]
    try:
        for name, (module, environment) in CONTESTANTS.items():
            contestants[name] = Contestant(module, environment, arguments)
            ready = contestants[name].hear()
            if ready["weights"] != WEIGHTS:
                raise SystemExit(f"{name}: has {ready['weights']:,} weights, not {WEIGHTS:,}")
            first[name] = ready["first_step_seconds"]
        yield contestants
    finally:
        for contestant in contestants.values():
            contestant.end()


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


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return order statistics that hold the median with at least 95 %: binomial, both sides."""
    ordered, count = sorted(values), len(values)
    rank = int(binom.ppf(0.025, count, 0.5))
    return (ordered[rank - 1], ordered[count - rank]) if rank else (-math.inf, math.inf)


def measure_optimum() -> None:
    """Print optimum-benchmark's own figure of the same work, and the true one."""
    contestant = Contestant("optimum", "optimum", [])
    told = contestant.hear()
    contestant.end()
    true = SEQUENCES / told["mean_seconds"]
    printed = told["printed_samples_per_second"]
    print(
        f"\noptimum-benchmark, fp32, eager, by itself: prints {printed:.2f} samples/s; its mean "
        f"step of {told['mean_seconds'] * 1e3:.1f} ms makes {true:.2f}: {printed / true:.1f} times "
        f"less, after {told['steps']} timed steps ({true * TOKENS:,.0f} tokens/s)"
    )


def _version_of(distribution: str) -> str:
    from importlib import metadata

    return metadata.version(distribution)


if __name__ == "__main__":
    main()
