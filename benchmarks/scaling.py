"""Promise: from 1 to 2 ranks our efficiency is at least that of the best peer on the same job.

Ours, plain torchrun and Hugging Face's accelerate train the same model (our objective, its AdamW,
clipping) on this processor with one thread a rank, as replicas that share gradients over gloo; they
differ in who starts the ranks, where these meet and how gradients are shared. Each rank has as many
tokens, whatever the number of ranks, so that the efficiency is a step's time of one rank over that
of two. All six jobs stand ready at once and make blocks of steps in turns, in another order each
round: one that is last in a round and first in the next finds its weights in the cache. A ratio is
the median over rounds of two blocks of the same round, with a 95 % interval by the order statistics
of those ratios. A process keeps for its life what memory it was given, and some are given a slower
part: so all six are started anew several times, and a single launch says nothing of the others.

    python -m benchmarks.scaling --accelerate PYTHON      # 10 minutes on two quiet cores

PYTHON is an interpreter of an environment that has torch and accelerate; without it, accelerate is
left out. A block in which others took more than a tenth of the processors is made again.
"""

import argparse
import contextlib
import json
import math
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Protocol

import psutil

from benchmarks.common.figures import machine_line
from benchmarks.peers.bursts import JOBS, Asked
from benchmarks.peers.contestants import ROOT
from benchmarks.peers.plan import make_job_plan
from benchmarks.step_speed import FOREIGN_SHARE, say_interval
from trnbench.catalog.backends import GLIBC, UNFRAGMENTED
from trnbench.protocol.codec import encode
from trnbench.protocol.orders import RunBlock, Train, WorkOrder
from trnbench.protocol.parallel import Layout
from trnbench.protocol.records import Block, Phase
from trnbench.run.environment import environment_of_rank, user_cache_folder
from trnbench.run.meeting import Meeting
from trnbench.run.worker import converse

OURS = "trnbench"
WARMUP_STEPS = 6
SIZES = (1, 2)


class Team(Protocol):
    """The ranks of one job, which make blocks of steps on command."""

    pids: Sequence[int]
    """Of its processes, or of those that started them."""

    def block(self, steps: int) -> float:
        """Let them make so many steps; return the seconds of the slowest rank."""
        ...

    def end(self) -> None:
        """End them."""


class Ours:
    """Our own workers, started and commanded as `trnbench run` does."""

    def __init__(self, order: WorkOrder, ranks: int) -> None:
        work = replace(order, layout=Layout(data_parallel_replicate_size=ranks))
        meeting = Meeting(ranks)
        variables = [
            environment_of_rank(work, seat, os.environ, user_cache_folder())
            for seat in meeting.seats
        ]
        tasks = [Train(order=work, seat=seat) for seat in meeting.seats]
        self._job = meeting.start(sys.executable, tasks, variables)
        self._records = converse(self._job, backend="cpu")
        self.pids: Sequence[int] = self._job.pids
        training = 0
        while training < ranks:
            _, record = next(self._records)
            training += isinstance(record, Phase) and record.name == "train"
        self.block(WARMUP_STEPS)

    def block(self, steps: int) -> float:
        """Command a block."""
        self._job.send(RunBlock(steps=steps, purpose="warmup"))
        seconds: list[float] = []
        while len(seconds) < self._job.ranks:
            _, record = next(self._records)
            if isinstance(record, Block):
                seconds.append(record.seconds)
        return max(seconds)

    def end(self) -> None:
        """End the workers."""
        self._job.end()


class Peer:
    """Ranks that torchrun starts, on torch alone or with accelerate."""

    def __init__(self, command: Sequence[str], ranks: int, order: Path, log: Path) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        with log.open("w") as said:
            self._process = subprocess.Popen(
                [*command, "--order", str(order), "--driver", str(port)],
                stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=ROOT,
                env={
                    **os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "OMP_NUM_THREADS": "1",
                    "GLOO_SOCKET_IFNAME": "lo", GLIBC: UNFRAGMENTED,
                },
            )  # fmt: skip
        self.pids: Sequence[int] = [self._process.pid]
        listening.settimeout(1.0)
        while True:
            with contextlib.suppress(TimeoutError):
                self._socket, _ = listening.accept()
                break
            if self._process.poll() is not None:
                raise SystemExit(f"a peer ended: {' '.join(command)}\n{log.read_text()[-3000:]}")
        listening.close()
        self._socket.settimeout(None)
        self._lines = self._socket.makefile("rw")
        met = json.loads(self._lines.readline())
        if met != ranks:
            raise SystemExit(f"{' '.join(command)}: {met} ranks met, not {ranks}")

    def block(self, steps: int) -> float:
        """Tell rank 0 how many steps."""
        self._lines.write(f"{steps}\n")
        self._lines.flush()
        return float(json.loads(self._lines.readline()))

    def end(self) -> None:
        """Close rank 0's socket, at which all ranks end."""
        self._lines.close()
        self._socket.close()
        self._process.wait()


@dataclass(slots=True)
class Seen:
    """What one contestant has shown, round by round."""

    seconds: dict[int, list[float]]
    """Of a step, by the number of ranks."""

    @property
    def efficiencies(self) -> list[float]:
        """A step of one rank over one of two, in the same round."""
        return [one / two for one, two in zip(*(self.seconds[n] for n in SIZES), strict=True)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--accelerate", metavar="PYTHON", help="an interpreter that has accelerate")
    parser.add_argument("--launches", type=int, default=3, help="of all jobs, one after another")
    parser.add_argument("--rounds", type=int, default=6, help="of one launch")
    parser.add_argument("--steps", type=int, default=6, help="of one block")
    parser.add_argument("--tries", type=int, default=6, help="of a block beside others' load")
    options = parser.parse_args()
    asked = Asked(
        job=JOBS["small"], device="cpu", precision="fp32", execution="eager", threads=1,
        records_fd=1,
    )  # fmt: skip
    order = replace(
        make_job_plan(asked).order, threads=1, gate=None, measure_ceiling=False, execution="eager"
    )
    say_what(asked, options)
    seen: dict[str, Seen] = {}
    for launch in range(options.launches):
        with tempfile.TemporaryDirectory() as folder, ready(order, options, Path(folder)) as teams:
            measure(teams, options, seen, launch)
    report(seen, asked.job.sequences * asked.job.tokens, options.launches)


def say_what(asked: Asked, options: argparse.Namespace) -> None:
    """Print the machine and the job."""
    job = asked.job
    print(
        f"{machine_line()}, torch {metadata.version('torch')}, "
        f"load average {os.getloadavg()[0]:.1f}"
    )
    print(
        f"{job.weights:,} weights, {job.sequences} x {job.tokens} tokens a rank, fp32, eager, one "
        f"thread a rank, replicas over gloo; {options.launches} launches, in each {options.rounds} "
        f"rounds of blocks of {options.steps} steps, in turns",
        flush=True,
    )


@contextlib.contextmanager
def ready(
    order: WorkOrder, options: argparse.Namespace, folder: Path
) -> Iterator[dict[tuple[str, int], Team]]:
    """Start every contestant with one rank and with two, and end them all."""
    written = folder / "order.json"
    written.write_text(encode(order))
    peers = {"torchrun": sys.executable}
    if options.accelerate:
        peers["accelerate"] = options.accelerate
    teams: dict[tuple[str, int], Team] = {}
    try:
        for ranks in SIZES:
            teams[OURS, ranks] = Ours(order, ranks)
            for how, python in peers.items():
                # accelerate's own launcher starts one process on a CPU, however many are asked for.
                command = [python, "-m", "torch.distributed.run", "--standalone"]
                command += [f"--nproc-per-node={ranks}", "-m", "benchmarks.peers.ranks"]
                command += ["--how", how]
                teams[how, ranks] = Peer(command, ranks, written, folder / f"{how}-{ranks}")
        yield teams
    finally:
        for team in teams.values():
            team.end()


def measure(
    teams: Mapping[tuple[str, int], Team],
    options: argparse.Namespace,
    seen: dict[str, Seen],
    launch: int,
) -> None:
    """Let all make blocks in turns and add their steps; print what others' load did to them."""
    for name, _ in teams:
        seen.setdefault(name, Seen({n: [] for n in SIZES}))
    again = loud = 0
    order = random.Random(launch)
    for _ in range(options.rounds):
        for name, ranks in order.sample(list(teams), len(teams)):
            for _ in range(options.tries):
                seconds, foreign = quiet_block(teams[name, ranks], options.steps)
                if foreign <= FOREIGN_SHARE:
                    break
                again += 1
            else:
                again -= 1
                loud += 1
            seen[name].seconds[ranks].append(seconds / options.steps)
    print(
        f"launch {launch + 1}: {again} blocks made again because of others' load, {loud} of "
        f"{options.rounds * len(teams)} taken beside it",
        flush=True,
    )


def quiet_block(team: Team, steps: int) -> tuple[float, float]:
    """Return a block's seconds, and the share of the processors that others took meanwhile."""
    busy, total, own = *machine_seconds(), team_seconds(team.pids)
    seconds = team.block(steps)
    busy_after, total_after = machine_seconds()
    others = busy_after - busy - (team_seconds(team.pids) - own)
    return seconds, others / max(total_after - total, 1e-3)


def machine_seconds() -> tuple[float, float]:
    """Return the seconds in which processors were busy, and all of them."""
    times = psutil.cpu_times()
    every = math.fsum(times) - times.guest - times.guest_nice
    return every - times.idle - times.iowait, every


def team_seconds(pids: Sequence[int]) -> float:
    """Return the processor time of processes and of all below them."""
    total = 0.0
    for pid in pids:
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            times = each.cpu_times()
            total += times.user + times.system
    return total


def report(seen: Mapping[str, Seen], tokens: int, launches: int) -> None:
    """Print each contestant's steps and efficiency, of all launches and of each, and ours over its.

    The least of all contestants' single ranks is every one's reference too: the efficiency of one
    whose single rank is slow is no merit of its two.
    """
    best = min(statistics.median(one.seconds[1]) for one in seen.values())
    ours = seen[OURS]
    for name, one in seen.items():
        alone, both = (statistics.median(one.seconds[n]) for n in SIZES)
        efficiency = statistics.median(one.efficiencies)
        print(
            f"  {name:<12}1 rank {alone * 1e3:6.1f} ms {tokens / alone:7,.0f} tokens/s  2 ranks "
            f"{both * 1e3:6.1f} ms {2 * tokens / both:7,.0f} tokens/s  efficiency "
            f"{efficiency:.3f}{say_interval(one.efficiencies)}; over the best single rank "
            f"{best / both:.3f}; by launch {_by_launch(one.efficiencies, launches)}"
        )
        if name != OURS:
            pairs = zip(ours.efficiencies, one.efficiencies, strict=True)
            ratios = [a / b for a, b in pairs]
            steps = [b / a for a, b in zip(ours.seconds[2], one.seconds[2], strict=True)]
            print(
                f"{'':14}ours / {name}: efficiency {statistics.median(ratios):.3f}"
                f"{say_interval(ratios)}, tokens/s of 2 ranks {statistics.median(steps):.3f}"
                f"{say_interval(steps)}"
            )


def _by_launch(values: Sequence[float], launches: int) -> str:
    rounds = len(values) // launches
    parts = [values[at : at + rounds] for at in range(0, len(values), rounds)]
    return ", ".join(f"{statistics.median(part):.3f}" for part in parts)


if __name__ == "__main__":
    main()
