"""Promise: `--help` takes less than 0.3 s of processor time, a report of 1,000 results below 1 s.

A page of 50 results has less than 1 MB; one of 1,000 less than 5 MB, and is made in less than 3 s.

The results are copies of one real result, each with a name of its own; every command is a fresh
process, and the figures are medians over several. Once they are read, 10,000 results become CSV in
less than 2 s of processor time.

    python -m benchmarks.startup [--repeats 9]
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common.figures import machine_line

RESULTS = 1000

TINY = [
    "--device", "cpu", "--set", "sweep={model: [tiny-gpt2]}", "--set", "measure.min_seconds=0",
    "--set", "measure.relative_precision=0.5",
]  # fmt: skip


def main() -> None:
    """Time the commands and print each beside its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    print(machine_line())
    with tempfile.TemporaryDirectory() as folder:
        many = make_results(Path(folder))
        rows = (
            (["--help"], 0.3, "processor"),
            (["run", "--help"], 0.3, "processor"),
            (["report", str(many), "--format", "csv"], 1.0, "wall"),
            (["report", str(many), "--format", "terminal"], 1.0, "wall"),
            (["report", str(many), "--format", "csv", "--usd-per-hour", "2"], 1.0, "wall"),
        )
        for arguments, limit, kind in rows:
            wall, processor = time_command(arguments, repeats)
            seconds = processor if kind == "processor" else wall
            shown = " ".join(
                a if not a.startswith("/") else f"<{RESULTS} results>" for a in arguments
            )
            print(
                f"trnbench {shown}: {wall:.3f} s wall, {processor:.3f} s processor "
                f"(median of {repeats}); {kind} limit {limit} s: ratio {seconds / limit:.2f}"
            )
        print(time_csv(many, repeats))
        for count, limit_mb in PAGES:
            print_page(many, Path(folder) / "page.html", count, limit_mb, repeats)


PAGES = ((50, 1.0), (RESULTS, 5.0))
"""Results on a page, and the most that it may have, in MB."""
MAKING_LIMIT = 3.0


def print_page(many: Path, page: Path, count: int, limit_mb: float, repeats: int) -> None:
    """Make a page of so many results; print its size and how long that took."""
    runs = [str(many)] if count == RESULTS else [*map(str, sorted(many.iterdir())[:count])]
    wall, processor = time_command(
        ["report", *runs, "--format", "html", "--output", str(page)], repeats
    )
    size_mb = page.stat().st_size / 1e6
    print(
        f"page of {count} results: {size_mb:.2f} MB (limit {limit_mb:g} MB: ratio "
        f"{size_mb / limit_mb:.2f}), {wall:.3f} s wall, {processor:.3f} s processor (median of "
        f"{repeats}); limit {MAKING_LIMIT:g} s: ratio {processor / MAKING_LIMIT:.2f}"
    )


def time_csv(many: Path, repeats: int) -> str:
    """Write ten times as many results as CSV, and say what it took."""
    from trnbench.reports import render
    from trnbench.reports.document import Page
    from trnbench.reports.results import REPORT
    from trnbench.run.results import load_results

    read = list(load_results([many], []))
    results = [
        each.model_copy(update={"run_id": f"{each.run_id}-{copy}"})
        for copy in range(10)
        for each in read
    ]
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        text = render(REPORT, results, "csv", Page())
        seconds.append(time.process_time() - began)
    assert text.count("\n") == len(results) + 1
    middle, limit = statistics.median(seconds), 2.0
    return (
        f"{len(results)} results to CSV, {len(text) / 1e6:.1f} MB: {middle:.3f} s processor "
        f"(median of {repeats}); processor limit {limit} s: ratio {middle / limit:.2f}"
    )


def make_results(folder: Path) -> Path:
    """Make one real result and many copies of it, each in a run folder of its own."""
    subprocess.run(
        [sys.executable, "-m", "trnbench", "run", "quick", "-o", str(folder / "one"), *TINY],
        check=True,
        capture_output=True,
    )
    many = folder / "many"
    for number in range(RESULTS):
        shutil.copytree(folder / "one", many / f"run-{number:04d}")
    return many


def time_command(arguments: list[str], repeats: int) -> tuple[float, float]:
    """Return the median wall and processor seconds of a command."""
    walls, processors = [], []
    for _ in range(repeats + 1):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "trnbench", *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "COLUMNS": "200"},
        )
        walls.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processors.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(walls[1:]), statistics.median(processors[1:])  # the first warms disks


if __name__ == "__main__":
    main()
