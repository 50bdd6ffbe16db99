"""Fits the estimate of a step to published runs, and writes the tables that ship.

    python -m benchmarks.fit_estimate

Shares of datasheet rates that are common to all chips are chosen so that rows of one publication on
one chip lie closest together; then each chip's slowness, for each kind of step, is the mean of its
publications' medians (in logarithms), so that a long table counts as one voice. The 80 % range
comes from how far rows are off when their publication is left out.
"""

import csv
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass, fields, replace
from pathlib import Path

from trnbench.catalog.published import published_results
from trnbench.estimate.calibration import Calibrated, Calibration, Shares
from trnbench.estimate.published import PublishedSetup, published_setup
from trnbench.estimate.step import data_of
from trnbench.estimate.terms import terms_of

CATALOG = Path(__file__).resolve().parents[1] / "src" / "trnbench" / "catalog"

GRID: dict[str, tuple[float, ...]] = {
    "attention": (0.3, 0.4, 0.5, 0.6, 0.75),
    "traffic": (1.0, 1.5, 2.0, 3.0, 4.0),
    "exposed": (0.25, 0.5, 0.75, 1.0),
    "links": (0.5, 0.7, 0.9),
    "overlap": (0.5, 0.8, 0.95),
}
"""Values that each share may have; finer ones change no error by a hundredth."""

BETWEEN, WITHIN = 0.2, 0.2
"""Spreads of log slowness between publications and within one, by which their medians are weighted:
a publication of one row counts half as much as one of many."""

ONE_SOURCE = 1.1
"""By which a range is wider at each end where all rows are of one publication."""

FEW_ROWS = 20

TAIL = 0.1
"""Of the errors beyond each end of a range."""


@dataclass(frozen=True, slots=True)
class Published:
    """A published step, by what rows are grouped by."""

    published: PublishedSetup

    @property
    def chip(self) -> str:
        """Of which it is a row."""
        return self.published.setup.machine.chip.name

    @property
    def kind(self) -> str:
        """Of steps."""
        return self.published.setup.kind

    @property
    def source(self) -> str:
        """Its publication."""
        return self.published.run.publication


@dataclass(frozen=True, slots=True)
class Row(Published):
    """A published step, and what it took over physics."""

    log_slowness: float


def read_rows() -> tuple[list[PublishedSetup], dict[str, int]]:
    """Return the published runs that can be setups, and how many cannot by their reason."""
    found: dict[tuple[object, ...], PublishedSetup] = {}
    reasons: dict[str, int] = defaultdict(int)
    for run in published_results():
        setup, reason = published_setup(run, Calibration())
        if setup is None:
            reasons[(reason or "").split(": ")[-1]] += 1
            continue
        # The same figure of the same machine in two tables is one measurement, published again.
        same = (run.accelerator, run.accelerators, run.sequence_length, run.model, setup.setup.kind)
        key = (*same, round(setup.setup.tokens / setup.seconds, -2))
        if key in found:
            reasons["published before with the same figure"] += 1
        found[key] = setup
    return list(found.values()), dict(reasons)


def over_physics(setups: Iterable[PublishedSetup], shares: Shares) -> list[Row]:
    """Return each run with the logarithm of its time over that of physics."""
    known = Calibration(shares=shares)
    return [
        Row(each, math.log(each.seconds / terms_of(each.setup, known).seconds)) for each in setups
    ]


def fit_shares(setups: Sequence[PublishedSetup]) -> Shares:
    """Return the shares under which each publication's rows on a chip lie closest together."""
    shares = Shares()
    least = scatter(over_physics(setups, shares))
    for _ in range(2):
        for name, values in GRID.items():
            for value in values:
                tried = replace(shares, **{name: value})
                found = scatter(over_physics(setups, tried))
                if found < least - 1e-6:
                    shares, least = tried, found
    return shares


def scatter(rows: Sequence[Row]) -> float:
    """Return the mean distance from the median of the same publication, chip and kind."""
    groups = defaultdict(list)
    for row in rows:
        groups[row.chip, row.kind, row.source].append(row.log_slowness)
    off = [abs(value - statistics.median(found)) for found in groups.values() for value in found]
    return statistics.fmean(off)


def middles(rows: Sequence[Row]) -> dict[tuple[str, str], Calibrated]:
    """Return each chip's slowness by kind of step; ranges come later."""
    groups: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    largest: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        chips = row.published.setup.chips
        largest[row.chip, row.kind] = max(chips, largest[row.chip, row.kind])
        groups[row.chip, row.kind][row.source].append(row.log_slowness)
    found = {}
    for (chip, kind), sources in groups.items():
        weights = [1 / (BETWEEN**2 + WITHIN**2 / len(each)) for each in sources.values()]
        medians = [statistics.median(each) for each in sources.values()]
        middle = math.exp(statistics.fmean(medians, weights))
        count = sum(map(len, sources.values()))
        names = "|".join(sorted(sources))
        found[chip, kind] = Calibrated(
            chip, kind, middle, middle, middle, count, largest[chip, kind], names
        )
    return found


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One publication left out: what the others are fitted to, and its own errors."""

    source: str
    rows: list[Row]
    """Of the others."""
    shares: Shares
    errors: list[tuple[PublishedSetup, float | None]]
    """Of its own runs log(measured / estimated); None without data for the chip."""


def left_out(setups: Sequence[PublishedSetup]) -> list[LeftOut]:
    """Leave out each publication in turn."""
    found = []
    for source in sorted({each.run.publication for each in setups}):
        rest = [each for each in setups if each.run.publication != source]
        shares = fit_shares(rest)
        rows = over_physics(rest, shares)
        known = Calibration(shares=shares, rows=middles(rows))
        own = [each for each in setups if each.run.publication == source]
        errors = [(each, error_of(each, known)) for each in own]
        found.append(LeftOut(source, rows, shares, errors))
    return found


def error_of(each: PublishedSetup, known: Calibration) -> float | None:
    """Return log(measured / estimated) of a run; None without data for its chip."""
    data, _ = data_of(each.setup, known)
    if data is None:
        return None
    return math.log(each.seconds / (terms_of(each.setup, known).seconds * data.slowness))


def spreads(left: Iterable[LeftOut]) -> dict[str, tuple[float, float]]:
    """Return the ends of the 80 % range over the middle, by kind of step.

    A kind with few rows that can be left out has the range of all rows.
    """
    by_kind = defaultdict(list)
    errors = [each for one in left for each in one.errors]
    for each, error in errors:
        if error is not None:
            by_kind[each.setup.kind].append(error)
    everything = [error for found in by_kind.values() for error in found]
    kinds = {each.setup.kind for each, _ in errors}
    few = {kind for kind in kinds if len(by_kind[kind]) < FEW_ROWS}
    return {kind: ends(everything if kind in few else by_kind[kind]) for kind in kinds}


def ends(errors: Sequence[float]) -> tuple[float, float]:
    """Return the factors between which all but a tail at each end lie."""
    cuts = statistics.quantiles(errors, n=round(1 / TAIL), method="inclusive")
    return math.exp(cuts[0]), math.exp(cuts[-1])


def calibrated(
    rows: Sequence[Row], ranges: dict[str, tuple[float, float]]
) -> dict[tuple[str, str], Calibrated]:
    """Return the rows of the table: middles with their ranges.

    A range is never narrower than what the chip's own rows show, and wider where they are of one
    publication. Where none is of more than one chip, it spans all kinds of steps of the chip.
    """
    own = defaultdict(list)
    for each in rows:
        own[each.chip, each.kind].append(math.exp(each.log_slowness))
    found: dict[tuple[str, str], Calibrated] = {}
    for key, row in middles(rows).items():
        low, high = (row.slowness * end for end in ranges[row.kind])
        values = own[key]
        if len(values) > 1:
            cuts = statistics.quantiles(values, n=round(1 / TAIL), method="inclusive")
            low, high = min(low, cuts[0]), max(high, cuts[-1])
        if "|" not in row.sources:
            low, high = low / ONE_SOURCE, high * ONE_SOURCE
        found[key] = replace(row, low=low, high=high)
    for key, row in found.items():
        same = [each for each in found.values() if each.chip == row.chip]
        if all(each.chips == 1 for each in same):
            low, high = min(each.low for each in same), max(each.high for each in same)
            found[key] = replace(row, low=low, high=high)
    for kind in ranges:
        same = [row for row in found.values() if row.kind == kind]
        middle = statistics.median(row.slowness for row in same)
        low, high = min(row.low for row in same), max(row.high for row in same)
        found["any", kind] = Calibrated("any", kind, middle, low, high, 0, 0, "all chips")
    return found


def write(name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table of the catalog."""
    with (CATALOG / name).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def main() -> None:
    """Fit, and write both tables."""
    setups, reasons = read_rows()
    print(f"{len(setups)} of {sum(reasons.values()) + len(setups)} published runs are fitted")
    for reason, count in sorted(reasons.items(), key=lambda item: -item[1]):
        print(f"  {count:4} not: {reason}")
    shares = fit_shares(setups)
    print(shares)
    rows = over_physics(setups, shares)
    table = calibrated(rows, spreads(left_out(setups)))
    write("estimate_shares.csv", ("name", "value"), asdict(shares).items())
    header = [field.name for field in fields(Calibrated)]
    cells = [[_cell(value) for value in astuple(table[key])] for key in sorted(table)]
    write("calibration.csv", header, cells)
    for each in cells:
        print("{:12} {:12} {:>6} {:>6} {:>6} {:>4} {:>6}  {}".format(*each))


def _cell(value: object) -> object:
    return f"{value:.3f}" if isinstance(value, float) else value


if __name__ == "__main__":
    main()
