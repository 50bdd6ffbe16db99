"""Promise: what a vendor's software says of a failure gets its reason, and none of it is a `bug`.

Each sample is what a worker leaves behind: the exception, and the end of its log. The samples are
put together from what public reports and the vendors' sources have, in their shape and not in the
words of `catalog/faults.csv`; most vendors have one that no row knows.

    python -m benchmarks.texts
"""

import csv
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from trnbench.protocol.records import Failed
from trnbench.run.outcomes import of_death, of_failure


@dataclass(frozen=True, slots=True)
class Sample:
    """One failed worker."""

    vendor: str
    backend: str
    reason: str
    kind: str
    """Of the exception."""
    error: str
    """The exception's text; empty: the process died."""
    log: str


def read_samples() -> list[Sample]:
    """Read the samples, in which a backslash and n are the end of a line."""
    with (Path(__file__).parent / "texts.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [Sample(**{key: cell.replace("\\n", "\n") for key, cell in row.items()}) for row in rows]


def reason_of(sample: Sample) -> tuple[str, bool]:
    """Return what a worker's end is called, and whether its text was known."""
    if not sample.error:
        end = of_death(sample.backend, -6, sample.log, "measure")
        return end.status, end.status != "died"
    failed = Failed(
        at_seconds=1.0,
        reason="bug",
        message=sample.error.splitlines()[0],
        hint=None,
        detail=f"Traceback (most recent call last):\n{sample.kind}: {sample.error}",
        error=sample.kind,
        raised_in="trnbench",
    )
    end = of_failure(sample.backend, failed, sample.log)
    return end.status, "does not know its words" not in end.reason


def main() -> None:
    """Print, for each vendor, how many samples get their reason."""
    right: dict[str, list[bool]] = defaultdict(list)
    known: dict[str, int] = defaultdict(int)
    for sample in read_samples():
        reason, is_known = reason_of(sample)
        right[sample.vendor].append(reason == sample.reason)
        known[sample.vendor] += is_known
        if reason != sample.reason:
            said = (sample.error or sample.log).splitlines()[0]
            print(f"  told as {reason}, is {sample.reason}: {said[:90]}")
    for vendor, each in right.items():
        print(f"{vendor}: {sum(each)} of {len(each)} right, {known[vendor]} by a known text")
    every = [each for vendor in right.values() for each in vendor]
    print(f"all: {sum(every)} of {len(every)} right, {sum(known.values())} by a known text")


if __name__ == "__main__":
    main()
