"""Promise: tokens/s under `trnbench run` is at least 0.99 of the same step in a bare loop.

Both train the same model on the same tokens with the same threads in fresh processes, one after
the other, in the order ABBA. The bare loop has no parent, no records and no blocks: it reads the
clock, makes all its steps, and reads the clock. Both measure the processor's ceiling first, so that
both begin as warm.

    python -m benchmarks.overhead [--pairs 20]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.common.figures import machine_line, paired_ratio

CONFIG = """
name: overhead
model: tiny-llama
workload: {{sequence_length: 128, global_batch_size: 8, learning_rate: 0.003}}
device: cpu
measure:
  relative_precision: 0.000001
  min_samples: 8
  max_samples: {samples}
  min_seconds: 0
  max_minutes: 5
"""

STEPS = 130

BARE_LOOP = """
import json, sys, time
sys.path.insert(0, {source!r})
import torch
from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.build import build_objective, make_stream
from trnbench.train.microbench import measure_ceiling
from trnbench.train.precision import matmul_dtype
from trnbench.train.loop import StepOutcomes, TrainingStep, prepare_tokens
from trnbench.protocol.codec import from_json
from trnbench.protocol.orders import WorkOrder
from pathlib import Path

order = from_json(WorkOrder, json.loads(Path(sys.argv[1]).read_text())["order"])
backend = CpuBackend.open(Claim(precision=order.precision, threads=order.threads))
measure_ceiling(backend, matmul_dtype(order.precision))  # as the worker does
step = TrainingStep(build_objective(order, backend), order, backend)
stream = make_stream(order)
warm = prepare_tokens(stream, order, 0, 10, backend)
tokens = prepare_tokens(stream, order, 10, {steps}, backend)
outcomes = StepOutcomes()
for each in warm:
    step.run(each, outcomes)
started = time.perf_counter()
for each in tokens:
    step.run(each, outcomes)
seconds = time.perf_counter() - started
per_step = order.micro_batch_size * order.gradient_accumulation_steps * order.sequence_length
print(json.dumps({steps} * per_step / seconds))
"""


def main() -> None:
    """Measure the pairs and print the ratio with its 95 % interval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20, help="an even number")
    pairs = parser.parse_args().pairs
    print(machine_line())
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        config = work / "overhead.yaml"
        config.write_text(CONFIG.format(samples=STEPS // 5))
        under_trnbench(config, work / "plan-only")  # makes the plan that the bare loop reads
        plan = next((work / "plan-only").glob("*/plan.json"))
        for pair in range(pairs):
            if pair % 2:
                ours = under_trnbench(config, work / f"run-{pair}")
                bare = in_a_bare_loop(plan)
            else:
                bare = in_a_bare_loop(plan)
                ours = under_trnbench(config, work / f"run-{pair}")
            ratios.append(ours / bare)
            print(
                f"pair {pair + 1:2d}: bare {bare:9,.0f}, trnbench {ours:9,.0f} tokens/s, "
                f"ratio {ours / bare:.4f}",
                flush=True,
            )
    ratio, low, high = paired_ratio(ratios)
    print(
        f"tokens/s under trnbench / bare loop: {ratio:.4f} [{low:.4f}, {high:.4f}] "
        f"from {len(ratios) // 2} times two pairs of opposite order; promised: at least 0.99"
    )


def under_trnbench(config: Path, folder: Path) -> float:
    """Return tokens/s over all timed samples of one run, so that both sides count every step."""
    subprocess.run(
        [sys.executable, "-m", "trnbench", "run", str(config), "-o", str(folder)],
        check=True,
        capture_output=True,
    )
    (records,) = folder.glob("*/measurement.jsonl")
    blocks = [json.loads(line) for line in records.read_text().splitlines()]
    timed = [b for b in blocks if b["kind"] == "block" and b["purpose"] == "measure"]
    plan = json.loads((records.parent / "plan.json").read_text())
    steps, seconds = sum(b["steps"] for b in timed), sum(b["seconds"] for b in timed)
    return float(steps * plan["workload"]["tokens_per_step"] / seconds)


def in_a_bare_loop(plan: Path) -> float:
    """Return tokens/s of the same step in a process that does nothing else."""
    source = str(Path(__file__).resolve().parents[1] / "src")
    program = BARE_LOOP.format(source=source, steps=STEPS)
    done = subprocess.run(
        [sys.executable, "-c", program, str(plan)], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


if __name__ == "__main__":
    main()
