"""Promise: 64 ranks cost the parent less than 5 ms of processor time a block, and no memory.

The ranks are real processes that speak the protocol and train nothing: they answer every command at
once, so that all of the time between two blocks is the parent's and the system's. Start, 1,000
timed blocks and end are those of `trnbench run`; telemetry and the look at other load are on.

    python -m benchmarks.ranks [--ranks 1 8 64] [--samples 1000]
"""

import argparse
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.common.figures import machine_line
from trnbench.cli.prepare import prepare, read_cases
from trnbench.protocol.orders import PROTOCOL_VERSION
from trnbench.run.case import Progress
from trnbench.run.session import Session
from trnbench.run.watch import Interruption
from trnbench.schema.plan import Plan
from trnbench.schema.result import Result

LIMIT_MS = 5.0

CONFIG = """
name: ranks
model: tiny-llama
workload: {{sequence_length: 64, global_batch_size: {ranks}, threads: 1}}
parallel: {{data_parallel_replicate_size: {ranks}}}
device: cpu
measure:
  relative_precision: 0.0000001
  min_seconds: 0
  max_samples: {samples}
  gate: false
  ceiling: false
"""

RANK = """\
import json, os, sys, time
document = json.loads(sys.stdin.readline())["task"]
out = os.fdopen(int(sys.argv[-1]), "w", buffering=1)

def send(kind, **fields):
    out.write(json.dumps(dict(kind=kind, at_seconds=0.0, **fields)) + "\\n")

device = dict(backend="cpu", device_name="a processor", device_count=1, proven=True)
versions = dict(torch="0.0", python="3.11")
if document["kind"] == "inventory":
    send("inventory", wire_version={version}, python="3.11", versions=versions, neuron=None,
         processor=device, entry_points={{}})
elif document["kind"] == "probe":
    send("probe", wire_version={version}, devices=[device], versions=versions)
else:
    rank, ranks = document["seat"]["rank"], document["seat"]["world_size"]
    send("phase", name="probe")
    send("environment", wire_version={version}, backend="cpu", device_name="a processor",
         device_count=ranks, asynchronous=False, proven=True, threads=1, versions=versions,
         settings={{}})
    send("phase", name="build")
    send("built", parameter_count={parameters}, parameter_bytes=4 * {parameters},
         embeddings_are_tied=False)
    if ranks > 1:
        send("seated", rank=rank, node=0, device="cpu", device_id=None, process_group="gloo",
             program="ab" * 16)
    send("phase", name="train")
    line = ('{{"kind":"block","at_seconds":%r,"purpose":"%s","first_step":%d,"steps":1,'
            '"seconds":%r,"prepare_seconds":0.001,"losses":[%r],"gradient_norms":[1.25],'
            '"oracle_losses":[0.75]}}\\n')
    step = 0
    for command in sys.stdin:
        if "finish" in command:
            break
        purpose = "measure" if "measure" in command else "warmup"
        loss = 0.73 + 6.95 / (1 + step) + 1e-6 * rank
        seconds = 0.25 + 1e-4 * (step * 7919 % 100)  # never precise: all samples are taken
        out.write(line % (0.3 * (step + 1), purpose, step, seconds, loss))
        step += 1
    send("phase", name="teardown")
    send("memory", peak_bytes=2**27, counted="process_rss")
    if ranks > 1:
        send("replica", rank=rank, steps=step, digest="ab" * 16)
    send("finished", steps=step)
    sys.exit()
send("finished", steps=0)
"""


class Clockings:
    """An observer that notes the parent's processor time and memory at each block."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.resident_bytes: list[int] = []
        self.train_began: float | None = None
        self._process = psutil.Process()

    def run_begins(self, folder: Path, plans: Sequence[Plan]) -> None:
        """Nothing is measured yet."""

    def case_begins(self, number: int, plan: Plan, launch: int) -> None:
        """The ranks are about to be started."""
        self.began = time.perf_counter()

    def case_moves(self, plan: Plan, progress: Progress) -> None:
        """Note the costs so far, once blocks are timed."""
        if progress.phase == "train":
            self.train_began = time.perf_counter()
        if progress.phase == "measure":
            self.seconds.append(time.process_time())
            self.resident_bytes.append(self._process.memory_info().rss)

    def case_ends(self, number: int, result: Result, *, was_measured_before: bool) -> None:
        """Keep how it ended."""
        self.ended = time.perf_counter()
        self.outcome = result.outcome


def main() -> None:
    """Measure each number of ranks and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--samples", type=int, default=1000)
    arguments = parser.parse_args()
    print(machine_line())
    for ranks in arguments.ranks:
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), ranks, arguments.samples)


def measure(folder: Path, ranks: int, samples: int) -> None:
    """Run one job of so many ranks, and print what a block cost the parent."""
    config = folder / "ranks.yaml"
    config.write_text(CONFIG.format(ranks=ranks, samples=samples))
    prepared = prepare(read_cases([str(config)], {}), scripted_python(folder))
    seen = Clockings()
    Session(
        prepared.plans,
        folder=folder / "run",
        python=prepared.python,
        machine=prepared.machine,
        devices=prepared.devices,
        observer=seen,
        interruption=Interruption(),
    ).run()
    blocks = [1e3 * (b - a) for a, b in zip(seen.seconds, seen.seconds[1:], strict=False)]
    tenth = max(len(seen.resident_bytes) // 10, 1)
    early = statistics.median(seen.resident_bytes[tenth : 2 * tenth])
    late = statistics.median(seen.resident_bytes[-tenth:])
    mean = statistics.fmean(blocks)
    print(
        f"{ranks} ranks, {len(blocks) + 1} blocks, {seen.outcome.status}: {mean:.2f} ms of the "
        f"parent's processor time a block (median {statistics.median(blocks):.2f}), limit "
        f"{LIMIT_MS:g} ms: ratio {mean / LIMIT_MS:.2f}; parent {early / 2**20:.1f} MiB in the "
        f"second tenth, {late / 2**20:.1f} MiB in the last, ratio {late / early:.3f}; start to end "
        f"{seen.ended - seen.began:.1f} s wall"
    )


def scripted_python(folder: Path) -> str:
    """Write a program that `--python` can name, whose worker is the script above."""
    script = folder / "rank.py"
    script.write_text(RANK.format(version=PROTOCOL_VERSION, parameters=893_568))
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -S "{script}" "$@"\n')
    path.chmod(0o755)
    return str(path)


if __name__ == "__main__":
    main()
