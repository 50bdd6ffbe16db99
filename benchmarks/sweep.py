"""Promise: a sweep of 10,000 cases costs the parent less than 20 ms a case, and no memory.

A report of its 10,000 results takes less than 2 s of processor time. The workers are real processes
that speak the protocol and train nothing (those of `benchmarks/ranks.py`); reading the config,
planning, launching, deriving and storing are those of `trnbench run`, and telemetry is on. Writing
to the disk is waited for, which takes no processor time.

    python -m benchmarks.sweep [--cases 10000] [--folder KEPT]
"""

import argparse
import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.common.figures import machine_line
from benchmarks.ranks import scripted_python
from trnbench.cli.prepare import prepare, read_cases
from trnbench.run.case import Progress
from trnbench.run.session import Session
from trnbench.run.watch import Interruption
from trnbench.schema.plan import Plan
from trnbench.schema.result import Result

LIMIT_MS = 20.0
REPORT_LIMIT = 2.0
FEW = 1000

CONFIG = """
name: sweep
model: tiny-llama
device: cpu
workload: {{sequence_length: 64, global_batch_size: 4, threads: 1}}
measure:
  relative_precision: 0.0000001
  min_seconds: 0
  max_samples: 20
  gate: false
  ceiling: false
sweep:
  workload.global_batch_size: {batches}
  workload.sequence_length: {lengths}
  workload.seed: {seeds}
"""


class Clockings:
    """An observer that notes the parent's processor time and memory after each case."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.resident_bytes: list[int] = []
        self._process = psutil.Process()

    def run_begins(self, folder: Path, plans: Sequence[Plan]) -> None:
        """Note what planning took."""
        self._note()

    def case_begins(self, number: int, plan: Plan, launch: int) -> None:
        """A case costs from the end of the last one to its own."""

    def case_moves(self, plan: Plan, progress: Progress) -> None:
        """Blocks are those of `benchmarks/ranks.py`."""

    def case_ends(self, number: int, result: Result, *, was_measured_before: bool) -> None:
        """Note the costs so far."""
        assert result.outcome.status == "finished", result.outcome
        self._note()

    def _note(self) -> None:
        self.seconds.append(time.process_time())
        self.resident_bytes.append(self._process.memory_info().rss)


def main() -> None:
    """Measure a sweep, and reports of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument(
        "--folder", type=Path, help="keeps the results; reports alone if it is there"
    )
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print(machine_line())
    with tempfile.TemporaryDirectory() as temporary:
        run = arguments.folder or Path(temporary) / "run"
        if not run.exists():
            measure(Path(temporary), run, arguments.cases)
        few = Path(temporary) / "few"
        few.mkdir()
        cases = [path for path in sorted(run.iterdir()) if path.is_dir()]
        for case in cases[:FEW]:
            (few / case.name).symlink_to(case.resolve())
        for folder, count in ((few, min(FEW, len(cases))), (run, len(cases))):
            for form in ("terminal", "csv", "json"):
                print_report(folder, count, form, arguments.repeats)


def measure(folder: Path, run: Path, cases: int) -> None:
    """Run a sweep, and print what a case cost the parent."""
    seeds = max(cases // 100, 1)
    batches = min(cases, 10)
    config = folder / "sweep.yaml"
    config.write_text(
        CONFIG.format(
            batches=[*range(1, batches + 1)],
            lengths=[*range(64, 64 + 8 * max(cases // batches // seeds, 1), 8)],
            seeds=[*range(1, seeds + 1)],
        )
    )
    began = time.process_time()
    configs = read_cases([str(config)], {})
    read = time.process_time()
    prepared = prepare(configs, scripted_python(folder))
    planned = time.process_time()
    resident = psutil.Process().memory_info().rss
    seen = Clockings()
    wall = time.perf_counter()
    Session(
        prepared.plans,
        folder=run,
        python=prepared.python,
        machine=prepared.machine,
        devices=prepared.devices,
        observer=seen,
        interruption=Interruption(),
    ).run()
    ended, wall = time.process_time(), time.perf_counter() - wall
    count = len(seen.seconds) - 1

    def of_a_case(seconds: float) -> str:
        return f"{1e3 * seconds / count:.2f}"

    each = 1e3 * (ended - began) / count
    of_each = [b - a for a, b in zip(seen.seconds, seen.seconds[1:], strict=False)]
    middle = len(seen.resident_bytes) // 2
    sizes = (resident, *(seen.resident_bytes[at] for at in (1, middle, -1)))
    said = ", ".join(f"{size / 2**20:.1f}" for size in sizes)
    print(
        f"{count} cases: {each:.2f} ms of the parent's processor time a case, limit {LIMIT_MS:g} "
        f"ms: ratio {each / LIMIT_MS:.2f}; of it reading the config {of_a_case(read - began)}, "
        f"planning {of_a_case(planned - read)}, running {of_a_case(ended - planned)} (median "
        f"{1e3 * statistics.median(of_each):.2f}); parent {said} MiB when planned, after the "
        f"first case, in the middle and at the end: ratio {sizes[3] / sizes[1]:.3f}; "
        f"{1e3 * wall / count:.0f} ms wall a case"
    )


def print_report(folder: Path, count: int, form: str, repeats: int) -> None:
    """Print what a report takes, in a process of its own."""
    seconds = []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "trnbench", "report", str(folder), "--format", form]
        if form == "terminal":
            run_on_a_terminal(command)
        else:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    middle = statistics.median(seconds)
    print(
        f"report of {count} results as {form}: {middle:.2f} s of processor time (median of "
        f"{repeats})"
        + (f"; limit {REPORT_LIMIT:g} s: ratio {middle / REPORT_LIMIT:.2f}" if count > FEW else "")
    )


def run_on_a_terminal(command: Sequence[str]) -> None:
    """Run a command whose output is a terminal of 200 columns, and read what it writes."""
    ours, theirs = os.openpty()
    with subprocess.Popen(
        command, stdout=theirs, env={**os.environ, "COLUMNS": "200", "TERM": "xterm"}
    ) as process:
        os.close(theirs)
        with contextlib.suppress(OSError):  # how Linux says that the other end is closed
            while os.read(ours, 2**16):
                pass
    os.close(ours)
    assert process.returncode == 0


if __name__ == "__main__":
    main()
