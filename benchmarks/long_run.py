"""Promise: the memory of parent and child is flat in the number of steps.

A model that is next to nothing makes a real step fast, so that 100,000 of them take minutes. The
resident sets of both processes are read from outside, once a second.

    python -m benchmarks.long_run [--steps 100000]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.common.figures import machine_line

CONFIG = """
name: long run
model:
  family: llama
  layers: 1
  hidden_size: 16
  heads: 1
  intermediate_size: 16
  vocabulary_size: 64
  max_positions: 16
workload: {{sequence_length: 8, global_batch_size: 1, threads: 1, learning_rate: 0.003}}
device: cpu
measure:
  relative_precision: 0.0000001
  max_samples: {samples}
  max_minutes: 60
"""

STEPS_PER_SAMPLE = 100
"""About what a sample of 0.2 s comes to; the print says how many steps there really were."""


def main() -> None:
    """Run, watch, and print the growth between the first and the last tenth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000)
    steps = parser.parse_args().steps
    print(machine_line())
    with tempfile.TemporaryDirectory() as folder:
        config, run = Path(folder) / "long.yaml", Path(folder) / "run"
        config.write_text(CONFIG.format(samples=max(8, steps // STEPS_PER_SAMPLE)))
        parent = subprocess.Popen(
            [sys.executable, "-m", "trnbench", "run", str(config), "-o", str(run)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        sets = watch(parent)
        (records,) = run.glob("*/measurement.jsonl")
        lines = [json.loads(line) for line in records.read_text().splitlines()]
    made = sum(line["steps"] for line in lines if line["kind"] == "block")
    status = lines[-1]["status"]
    print(f"{made:,} steps, {len(lines):,} records, outcome {status}, {len(sets['child'])} looks")
    for name, seen in sets.items():
        tenth = max(1, len(seen) // 10)
        # The first tenth is start-up; the rest is compared with the second.
        early = statistics.median(seen[tenth : 2 * tenth])
        late = statistics.median(seen[-tenth:])
        print(
            f"{name}: {early / 2**20:.1f} MiB early, {late / 2**20:.1f} MiB late, "
            f"ratio {late / early:.3f}"
        )


def watch(parent: "subprocess.Popen[bytes]") -> dict[str, list[int]]:
    """Return the resident sets of parent and training child until the parent ends."""
    sets: dict[str, list[int]] = {"parent": [], "child": []}
    process = psutil.Process(parent.pid)
    while parent.poll() is None:
        try:
            child = [c for c in process.children() if "entry.py" in " ".join(c.cmdline())]
            if child and "train" in child[0].cmdline():
                sets["child"].append(child[0].memory_info().rss)
                sets["parent"].append(process.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(1.0)
    return sets


if __name__ == "__main__":
    main()
