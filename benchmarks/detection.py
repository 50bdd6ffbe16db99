"""Promise: everything that `trnbench doctor` finds without torch is found in less than a second.

Each look is timed by itself in one process; then all of them side by side, as doctor does; then
the command itself, a fresh process each time. The figures are medians over several.

    python -m benchmarks.detection [--repeats 15]
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from benchmarks.common.figures import machine_line
from trnbench.machine.describe import describe_machine, inspect, look_at_accelerators
from trnbench.machine.doctor import diagnose
from trnbench.machine.host import look_at_host
from trnbench.machine.network import look_at_network
from trnbench.machine.neuron import look_at_neuron
from trnbench.machine.nvidia import look_at_nvidia
from trnbench.run.questions import try_inventory

LIMIT_SECONDS = 1.0


def main() -> None:
    """Time each look and all together."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    today = datetime.now(UTC).date()
    print(machine_line())
    seen = inspect(partial(try_inventory, sys.executable), today)
    here = [f.evidence for f in diagnose(seen) if f.name in ("accelerator", "efa", "ec2")]
    print(f"what is here: {'; '.join(here)}")
    looks: tuple[tuple[str, Callable[[], object]], ...] = (
        ("host", look_at_host),
        ("Neuron", look_at_neuron),
        ("NVIDIA", look_at_nvidia),
        ("network", look_at_network),
        ("packages of the interpreter", lambda: try_inventory(sys.executable)),
        (
            "all of these, the price and every finding",
            lambda: diagnose(inspect(partial(try_inventory, sys.executable), today)),
        ),
        ("what a run waits for", describe_machine),
        ("what a run does beside its probe", look_at_accelerators),
    )
    for name, look in looks:
        print(f"{name}: {_median_seconds(look, repeats):.4f} s")
    command = [sys.executable, "-m", "trnbench", "doctor", "--no-torch", "--json"]
    seconds = _median_seconds(lambda: subprocess.run(command, capture_output=True), repeats)
    print(
        f"trnbench doctor --no-torch: {seconds:.3f} s (median of {repeats}); "
        f"limit {LIMIT_SECONDS} s: ratio {seconds / LIMIT_SECONDS:.2f}"
    )


def _median_seconds(look: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        look()
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])  # the first warms disks


if __name__ == "__main__":
    main()
