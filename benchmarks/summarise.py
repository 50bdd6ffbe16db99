"""Promise: 1,000,000 step records are read, checked and summarised in less than 2 seconds.

A case's records are written as a run writes them, a thousand steps to a timed block, and made a
result by what `trnbench report` uses: every line parsed and checked, every figure derived. Each
number of steps has a fresh process; its peak of memory is that of the process, less what it had
before it began to read. Seconds are of the processor, the least of several.

    python -m benchmarks.summarise [--repeats 3]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for the records of the tests

import numpy as np

from benchmarks.common.figures import machine_line
from tests.builders import learned, make_blocks
from tests.comparisons import write_launch
from trnbench.protocol.codec import encode
from trnbench.run.results import derive
from trnbench.run.store import MEASUREMENT_FILE

STEPS_PER_BLOCK = 1000
COUNTS = (100_000, 1_000_000)
LIMIT_SECONDS = 2.0
LIMIT_GROWTH = 1.1


def main() -> int:
    """Print time and memory of each number of steps; return 1 if a promise is not kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.read is not None:
        print(json.dumps(_read(asked.read)))
        return 0
    print(machine_line())
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in COUNTS:
            case = _write(Path(folder) / str(count), count)
            found[count] = _least([_fresh(case) for _ in range(asked.repeats)])
            size = (case / MEASUREMENT_FILE).stat().st_size
            seconds, peak, before = found[count]
            print(
                f"{count:9,} steps, {size / 1e6:6.1f} MB of records: {seconds:.2f} s; peak "
                f"{peak / 2**20:.0f} MiB, {(peak - before) / 2**20:.0f} MiB of it for these"
            )
    seconds, peak, _ = found[COUNTS[1]]
    growth = peak / found[COUNTS[0]][1]
    is_fast, is_flat = seconds < LIMIT_SECONDS, growth <= LIMIT_GROWTH
    print(f"{'pass' if is_fast else 'FAIL'}  {COUNTS[1]:,} steps in {seconds:.2f} s, promised 2")
    print(
        f"{'pass' if is_flat else 'FAIL'}  ten times the steps take {growth:.2f} times the memory, "
        f"promised {LIMIT_GROWTH:g}"
    )
    return 0 if is_fast and is_flat else 1


def _write(folder: Path, count: int) -> Path:
    """Write a case with so many steps; return its folder."""
    draw = np.random.default_rng(count)
    times = [float(t) for t in draw.normal(0.0002, 0.000002, count // STEPS_PER_BLOCK)]
    wobble = [float(x) for x in draw.normal(0, 0.01, count + 8)]
    case = write_launch(folder, 1.0)
    blocks = make_blocks(
        times, steps=STEPS_PER_BLOCK, loss=lambda step: learned(step) + abs(wobble[step])
    )
    path = case / MEASUREMENT_FILE
    lines = path.read_text().splitlines()
    is_block = ['"kind":"block"' in line for line in lines]
    first = is_block.index(True)
    others = [line for line, is_one in zip(lines, is_block, strict=True) if not is_one]
    others = [_with_count(line, len(times)) for line in others]
    kept = [*others[:first], *map(encode, blocks), *others[first:]]
    path.write_text("\n".join(kept) + "\n")
    (case / "result.json").unlink()
    return case


def _with_count(line: str, samples: int) -> str:
    """Return a record as it is, but for the decision to stop: it says after how many samples."""
    record = json.loads(line)
    if record["kind"] != "decision" or record["what"] != "stop":
        return line
    return json.dumps({**record, "value": samples})


def _fresh(case: Path) -> tuple[float, int, int]:
    ran = subprocess.run(
        [sys.executable, __file__, "--read", str(case)], capture_output=True, text=True, check=True
    )
    seconds, peak, before = json.loads(ran.stdout)
    return seconds, peak, before


def _least(runs: list[tuple[float, int, int]]) -> tuple[float, int, int]:
    return min(runs)


def _read(case: Path) -> tuple[float, int, int]:
    """Derive a case's result; return processor seconds, and peak bytes after and before."""
    before = _peak_bytes()
    began = time.process_time()
    derived = derive(case)
    seconds = time.process_time() - began
    if derived.result.metrics["tokens_per_second"].value is None:
        raise AssertionError("the records came to no throughput")
    return seconds, _peak_bytes(), before


def _peak_bytes() -> int:
    """Of this process alone: what getrusage tells is never less than the parent's."""
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    return 1024 * int(line.split()[1])


if __name__ == "__main__":
    sys.exit(main())
