"""Thousands of results on a terminal: how they ended, what each setting came to, the best ones."""

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from trnbench.reports import document as doc
from trnbench.reports import texts
from trnbench.reports.distinct import SETTINGS
from trnbench.schema.result import Result

MANY = 200
"""Of more results a terminal shows a summary."""

BEST = 50
"""Rows that it then shows."""

MOST_VALUES = 12
"""Of a setting whose values are compared; of more, each has too few results."""

COMPARED = (
    "model=model.name", "device=device_name", "precision=workload.precision",
    "global_batch_size=workload.global_batch_size", "sequence_length=workload.sequence_length",
    *SETTINGS,
)  # fmt: skip
"""What may have been swept."""

COLUMNS = doc.columns(
    "setting", "value", ">results", ">usable", ">best tokens/s", ">median tokens/s",
    ">best $/M tokens",
)  # fmt: skip


def shorten(
    results: Sequence[Result], page: doc.Page
) -> tuple[Sequence[Result], list[doc.Part], list[doc.Part]]:
    """Return the results to show, and what stands before and after them.

    All are shown but where so many are for a terminal that nobody reads every row.
    """
    if page.all_rows is None or len(results) <= MANY:
        return results, [], []
    by, best = best_of(results)
    said = f"the {len(best)} of {len(results):,} with the {by}; all of them: {page.all_rows}"
    return best or results[:BEST], summary_of(results), [doc.Lines([said])] if best else []


def summary_of(results: Sequence[Result]) -> list[doc.Part]:
    """Return how all results ended, and a table of the settings that differ."""
    rows: list[list[str]] = []
    seen = set[tuple[int, ...]]()
    for setting in COMPARED:
        heading, path = doc.name_and_path(setting)
        values = [*map(doc.reader_of(path), results)]
        places = {value: place for place, value in enumerate(dict.fromkeys(values))}
        groups = tuple(map(places.__getitem__, values))
        # Another setting that divides the results alike says nothing new.
        if 1 < len(places) <= MOST_VALUES and groups not in seen:
            seen.add(groups)
            rows += _rows_of(heading, values, results)
    return [doc.Lines([_say_ends(results)]), *([doc.Table(COLUMNS, rows)] if rows else [])]


def best_of(results: Sequence[Result]) -> tuple[str, list[Result]]:
    """Return the best results, best first, and by what: dollars a token where all have a price."""
    usable = [each for each in results if each.standing in ("sound", "doubtful")]
    if usable and all(_usd(each) is not None for each in usable):
        return "fewest $ per M tokens", sorted(usable, key=lambda each: _usd(each) or 0.0)[:BEST]
    by_rate = sorted(usable, key=lambda each: -(_rate(each) or 0.0))
    return "most tokens/s", by_rate[:BEST]


def _say_ends(results: Sequence[Result]) -> str:
    """Write how many there are of each standing, and of what failed why."""
    standings = Counter(each.standing for each in results)
    why = Counter(each.failure for each in results if each.standing == "failed")
    parts = []
    for standing in ("sound", "doubtful", "invalid", "failed"):
        if standings[standing]:
            reasons = ", ".join(f"{text} {count:,}" for text, count in why.most_common())
            more = f" ({reasons})" if standing == "failed" else ""
            parts.append(f"{standings[standing]:,} {standing}{more}")
    return f"{len(results):,} results: {', '.join(parts)}"


def _rows_of(
    heading: str, values: Sequence[doc.Value], results: Sequence[Result]
) -> Iterator[list[str]]:
    """Yield a row for each value of a setting."""
    of_value: dict[doc.Value, list[Result]] = {}
    for value, result in zip(values, results, strict=True):
        of_value.setdefault(value, []).append(result)
    in_order = sorted(of_value, key=lambda value: (isinstance(value, str), value or 0))
    for number, value in enumerate(in_order):
        own = of_value[value]
        usable = [each for each in own if each.standing in ("sound", "doubtful")]
        rates = [rate for each in usable if (rate := _rate(each)) is not None]
        usd = [cost for each in usable if (cost := _usd(each)) is not None]
        yield [
            heading if not number else "",
            doc.UNKNOWN if value is None else str(value),
            f"{len(own):,}",
            f"{len(usable):,}",
            _say(max, rates, texts.RATE.alone),
            _say(statistics.median, rates, texts.RATE.alone),
            _say(min, usd, texts.USD.alone),
        ]


def _say(
    of: Callable[[Sequence[float]], float], values: Sequence[float], write: Callable[[float], str]
) -> str:
    return write(of(values)) if values else doc.UNKNOWN


def _rate(result: Result) -> float | None:
    return result.metrics["tokens_per_second"].value


def _usd(result: Result) -> float | None:
    return result.metrics["usd_per_million_tokens"].value
