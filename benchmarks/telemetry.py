"""Promise: reading telemetry beside a run costs its throughput nothing that can be seen.

The same suite with `measure.telemetry` on and off, in fresh processes, in the order ABBA.

    python -m benchmarks.telemetry [--pairs 10]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.common.figures import machine_line, paired_ratio

CONFIG = """
name: telemetry
model: tiny-llama
workload: {sequence_length: 128, global_batch_size: 8, learning_rate: 0.003}
device: cpu
measure: {relative_precision: 0.000001, min_samples: 8, max_samples: 30, min_seconds: 0}
"""


def main() -> None:
    """Measure the pairs and print the ratio with its 95 % interval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10, help="an even number")
    pairs = parser.parse_args().pairs
    print(machine_line())
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        config = work / "telemetry.yaml"
        config.write_text(CONFIG)
        for pair in range(pairs):
            rates = {}
            for is_on in (pair % 2 == 0, pair % 2 == 1):
                rates[is_on] = tokens_per_second(config, work / f"{pair}-{is_on}", is_on=is_on)
            ratios.append(rates[True] / rates[False])
            print(
                f"pair {pair + 1:2d}: off {rates[False]:9,.0f}, on {rates[True]:9,.0f} tokens/s, "
                f"ratio {ratios[-1]:.4f}",
                flush=True,
            )
    ratio, low, high = paired_ratio(ratios)
    print(
        f"tokens/s with telemetry / without: {ratio:.4f} [{low:.4f}, {high:.4f}] from "
        f"{len(ratios) // 2} times two pairs of opposite order"
    )


def tokens_per_second(config: Path, folder: Path, *, is_on: bool) -> float:
    """Return tokens/s over all timed samples of one run."""
    subprocess.run(
        [
            *(sys.executable, "-m", "trnbench", "run", str(config), "-o", str(folder)),
            *("--set", f"measure.telemetry={str(is_on).lower()}"),
        ],
        check=True,
        capture_output=True,
    )
    (records,) = folder.glob("*/measurement.jsonl")
    blocks = [json.loads(line) for line in records.read_text().splitlines()]
    timed = [b for b in blocks if b["kind"] == "block" and b["purpose"] == "measure"]
    plan = json.loads((records.parent / "plan.json").read_text())
    steps, seconds = sum(b["steps"] for b in timed), sum(b["seconds"] for b in timed)
    return float(steps * plan["workload"]["tokens_per_step"] / seconds)


if __name__ == "__main__":
    main()
