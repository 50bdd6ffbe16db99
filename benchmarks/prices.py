"""Promise: a price look-up takes less than 5 ms, re-costing 1,000 results under 6 options 1 s.

Look-ups are of every bundled instance in every way of renting, the table being loaded. The one with
the largest median over the repeats is compared with the limit, so that what the machine does in
between is not taken for it; the single longest of all is printed too. Results are copies of one
real result; the six rates come from a file, because the bundled table has six ways of renting for
no instance. Intervals are of the mean over the repeats (Student's t).

    python -m benchmarks.prices [--repeats 20]
"""

import argparse
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from scipy.special import stdtrit

from benchmarks.common.figures import machine_line
from trnbench.catalog.prices import price_rows_by_instance
from trnbench.cli.price_options import PriceChoice
from trnbench.cli.reprice import PriceFinder
from trnbench.prices import find_price
from trnbench.prices.base import PriceRequest
from trnbench.run.results import load_result
from trnbench.schema.rent import RENT_OPTIONS
from trnbench.schema.result import Result

RESULTS = 1000
LOOKUP_LIMIT_SECONDS = 0.005
RECOST_LIMIT_SECONDS = 1.0

INSTANCE = "trn1.32xlarge"
OPTIONS = RENT_OPTIONS[:6]

TINY = [
    "--device", "cpu", "--set", "sweep={model: [tiny-gpt2]}", "--set", "measure.min_seconds=0",
    "--set", "measure.relative_precision=0.5",
]  # fmt: skip


def main() -> None:
    """Time look-ups and re-costing, and print each beside its limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    repeats = parser.parse_args().repeats
    print(machine_line())
    began = time.perf_counter()
    requests = make_requests()
    loaded = time.perf_counter() - began
    print(f"load of the bundled table: {1000 * loaded:.1f} ms, once")
    look_up(requests)  # the first one imports
    rounds = [look_up(requests) for _ in range(repeats)]
    medians = [statistics.median(each) for each in zip(*rounds, strict=True)]
    longest = max(map(max, rounds))
    print(
        f"one look-up of {len(requests)}: "
        f"mean {say([1e6 * statistics.fmean(each) for each in rounds])} us; the slowest takes "
        f"{1e6 * max(medians):.3g} us (median of {repeats}), the longest of all took "
        f"{1e6 * longest:.3g} us; limit {1e6 * LOOKUP_LIMIT_SECONDS:.0f} us: "
        f"ratio {max(medians) / LOOKUP_LIMIT_SECONDS:.4f}"
    )
    with tempfile.TemporaryDirectory() as folder:
        results, finder = make_results(Path(folder)), make_finder(Path(folder))
        recost(results, finder)
        walls, processors = zip(*(recost(results, finder) for _ in range(repeats)), strict=True)
    print(
        f"{RESULTS} results under {len(OPTIONS)} options: {say(walls)} s wall, "
        f"{say(processors)} s processor; limit {RECOST_LIMIT_SECONDS} s: "
        f"ratio {statistics.fmean(walls) / RECOST_LIMIT_SECONDS:.2f}, "
        f"of the slowest {max(walls) / RECOST_LIMIT_SECONDS:.2f}"
    )


def make_requests() -> list[PriceRequest]:
    """Return a request for every bundled instance in every way of renting, and in none named."""
    today = datetime.now(UTC).date()
    return [
        PriceRequest(instance=name, option=option, region=region, today=today)
        for name, rows in price_rows_by_instance().items()
        for option in (None, *RENT_OPTIONS)
        for region in (None, rows[0].region)
    ]


def look_up(requests: Sequence[PriceRequest]) -> list[float]:
    """Return the seconds of each look-up."""
    seconds = []
    for request in requests:
        began = time.perf_counter()
        find_price(request)
        seconds.append(time.perf_counter() - began)
    return seconds


def make_results(folder: Path) -> list[Result]:
    """Measure one small case and return copies of its result, each a case of its own.

    Whether its checks pass plays no part: the same is derived anew of every result.
    """
    subprocess.run(
        [sys.executable, "-m", "trnbench", "run", "quick", "-o", str(folder / "one"), *TINY],
        check=False,
        capture_output=True,
    )
    (plan,) = (folder / "one").glob("*/plan.json")
    result = load_result(plan.parent)
    device = result.device.model_copy(
        update={"instance": INSTANCE, "is_instance_recognised": False}
    )
    return [
        result.model_copy(update={"case_id": f"{result.case_id}-{number}", "device": device})
        for number in range(RESULTS)
    ]


def make_finder(folder: Path) -> PriceFinder:
    """Return a finder with a rate for each way of renting; their amounts play no part."""
    lines = [f"{INSTANCE},{option},{10 + number}" for number, option in enumerate(OPTIONS)]
    path = folder / "rates.csv"
    path.write_text("\n".join(["instance_type,option,usd_per_hour", *lines]) + "\n")
    return PriceFinder.of(PriceChoice(file=path))


def recost(results: Sequence[Result], finder: PriceFinder) -> tuple[float, float]:
    """Return the wall and processor seconds for every result at every rate."""
    began, used = time.perf_counter(), time.process_time()
    offered = [each for result in results for each in finder.reprice_all(result)]
    seconds = (time.perf_counter() - began, time.process_time() - used)
    priced = sum(each.result.price is not None for each in offered)
    if priced != len(results) * len(OPTIONS):
        raise SystemExit(f"{priced} priced results, not {len(results) * len(OPTIONS)}")
    return seconds


def say(values: Sequence[float]) -> str:
    """Write a mean with its 95 % interval over the repeats."""
    mean = statistics.fmean(values)
    t = float(stdtrit(len(values) - 1, 0.975))
    half = t * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:.3g} [{mean - half:.3g}, {mean + half:.3g}] from {len(values)} repeats"


if __name__ == "__main__":
    main()
