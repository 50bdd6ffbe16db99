"""What a page of results or of rankings has beside its table: the answer, charts, what it rests on.

The answer ranks as `trnbench rank` does: like work alone, and neither invalid nor failed results.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from trnbench.cost.ranked_runs import ranked_run
from trnbench.cost.ranking import HIGHER_IS_BETTER, Ranking, Row, rank
from trnbench.reports import document as doc
from trnbench.reports import figures, texts
from trnbench.reports.columns import COLUMNS
from trnbench.reports.figures import TraceFinder, case_name, price_of
from trnbench.reports.results import STYLES, device_cell
from trnbench.schema.result import NORMAL_975, MetricValue, Result
from trnbench.units import say_change, say_count, say_rate

MOST_WORKS = 5
"""Kinds of work that the answer names, and that have charts of their own."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """Results of one work by their tokens per dollar."""

    ranking: Ranking
    results: Sequence[Result]
    """In the order of the ranking's rows."""


def backing_of(results: Sequence[Result], traces: TraceFinder | None = None) -> doc.Backing:
    """Return all of it; what has no figures is left out, as is what is in no result's traces."""
    ranked = _ranked(results)
    answer = [_answer(each) for each in ranked[:MOST_WORKS]]
    if len(ranked) > MOST_WORKS:
        answer.append(
            f"{len(ranked) - MOST_WORKS} more kinds of work are below; `trnbench rank` ranks each."
        )
    charts = figures.of_results(results, traces)
    for each in ranked[:MOST_WORKS]:
        charts += figures.of_ranking(each.ranking, [case_name(result) for result in each.results])
    parts = [*_doubts(results), *_environment(results), *_provenance(results)]
    return doc.Backing(answer=answer, charts=charts, parts=parts)


# --- the answer -----------------------------------------------------------------------------------


def _ranked(results: Sequence[Result]) -> list[Ranked]:
    runs = [ranked_run(result) for result in results]
    result_of = {id(run): result for run, result in zip(runs, results, strict=True)}
    return [
        Ranked(ranking, [result_of[id(row.run)] for row in ranking.rows])
        for ranking in rank(runs, "tokens_per_usd")
        if ranking.rows
    ]


def _answer(ranked: Ranked) -> str:
    """Say what trains the most tokens per dollar, by how much, how sure, at which price."""
    (best, *others), rows = ranked.results, ranked.ranking.rows
    value = best.metrics["tokens_per_usd"]
    ends = (
        f" [{say_count(value.low)}, {say_count(value.high)}]"
        if value.low is not None and value.high is not None
        else ""
    )
    amount, at = f"{say_count(value.value or 0.0)}{ends}", price_of(rows[0].run)
    sentence = f"{ranked.ranking.work}: {case_name(best)} trains "
    if others:
        sentence += f"the most tokens per dollar: {amount}{at}."
        next_ = case_name(others[0]) + price_of(rows[1].run)
        if case_name(others[0]) == case_name(best):
            next_ += f", {rows[1].run.source}"
        sentence += f" {_lead(value, rows[1].value, next_)}"
    else:
        sentence += f"{amount} tokens per dollar{at}. No other result of this work can be compared."
    launches = len(best.launches) or 1
    sentence += f" It rests on {texts.plural(launches, 'launch')}"
    sentence += "; what differs between launches is not in its interval." if launches < 2 else "."
    return f"{sentence} It is {rows[0].run.doubt}." if rows[0].run.doubt else sentence


def _lead(best: MetricValue, next_: MetricValue, name: str) -> str:
    """Compare the first with the second by the intervals of both.

    They are measured apart, so that the variances of their logarithms add.
    """
    ratio = (best.value or 0.0) / (next_.value or 1.0)
    errors = (best.relative_error, next_.relative_error)
    if errors[0] is None or errors[1] is None:
        return (
            f"The lead over the next, {name}, is {say_change(ratio - 1)}; "
            "one of the two has no interval, so that how sure it is is not known."
        )
    half = NORMAL_975 * math.hypot(errors[0], errors[1])
    low, high = ratio * math.exp(-half) - 1, ratio * math.exp(half) - 1
    ends = f"{say_change(ratio - 1)} [{say_change(low)}, {say_change(high)}]"
    if low <= 0:
        return f"The next, {name}, cannot be told apart from it: the lead is {ends}."
    return f"The lead over the next, {name}, is {ends} (95 % interval)."


# --- rankings -------------------------------------------------------------------------------------


def backing_of_rankings(
    rankings: Sequence[Ranking], metric: str, name: Callable[[Row], str], say: Callable[[Row], str]
) -> doc.Backing:
    """Return the first of each ranking, its lead, and cost against speed, by each row's name."""
    answer: list[str] = []
    charts: list[doc.Chart] = []
    for ranking in [each for each in rankings if each.rows][:MOST_WORKS]:
        best, *others = ranking.rows
        sentence = f"{ranking.work}: {name(best)} is first by {metric}: {say(best)}"
        sentence += f"{price_of(best.run)}."
        if others:
            pair = (best.value, others[0].value)
            is_high = metric in HIGHER_IS_BETTER
            sentence += f" {_lead(*(pair if is_high else pair[::-1]), name(others[0]))}"
        doubt = f" It is {best.run.doubt}." if best.run.doubt else ""
        answer.append(sentence + doubt)
        charts += figures.of_ranking(ranking, [name(row) for row in ranking.rows])
    return doc.Backing(answer=answer, charts=charts)


# --- what it rests on -----------------------------------------------------------------------------

DOUBT_COLUMNS = doc.columns("case", "check", "verdict", "what it saw", "what to do")


def _doubts(results: Sequence[Result]) -> Iterator[doc.Part]:
    rows = [
        (
            case_name(result), check.name, doc.Cell(check.verdict, STYLES[check.verdict]),
            check.evidence, check.advice or "",
        )
        for result in results
        for check in result.checks
        if check.name != "finished"
        if check.verdict == "doubtful" or check.verdict == "invalid"
    ]  # fmt: skip
    if rows:
        yield doc.Heading("Doubts", 2)
        yield doc.Table(DOUBT_COLUMNS, rows)


ENVIRONMENT_COLUMNS = doc.columns("device", "backend", "versions", "settings", "state", ">results")


def _environment(results: Sequence[Result]) -> Iterator[doc.Part]:
    counts: dict[tuple[str, ...], int] = {}
    for result in results:
        found = result.environment
        if found is None:
            continue
        key = (
            device_cell(result),
            found.backend,
            ", ".join(f"{name} {version}" for name, version in found.versions.items()),
            ", ".join(f"{name} {value}" for name, value in found.settings.items()),
            "proven on such a device" if found.proven else "not proven on such a device",
        )
        counts[key] = counts.get(key, 0) + 1
    if counts:
        yield doc.Heading("Environment", 2)
        rows = [(*key, str(count)) for key, count in counts.items()]
        yield doc.Table(ENVIRONMENT_COLUMNS, rows)


def _provenance(results: Sequence[Result]) -> Iterator[doc.Part]:
    if not results:
        return
    meanings = {column.name: column.meaning for column in COLUMNS}
    rules = _distinct(result.timing.rules for result in results)
    intervals = _distinct(result.timing.interval_method for result in results)
    peaks = _distinct(result.utilization.peak_source for result in results)
    conventions = _distinct(result.utilization.convention for result in results)
    prices = _distinct(
        f"{' '.join(texts.price_terms(price))}: {price.source}"
        for result in results
        if (price := result.price) is not None
    )
    seconds = sum(result.timing.total_seconds for result in results)
    steps = sum(result.timing.measured_steps for result in results)
    rows = [
        ("tokens/s", f"{meanings['tokens_per_second']}; statistics by {rules}"),
        ("95 % intervals", intervals or "none could be made"),
        ("peak memory", meanings["peak_memory_bytes"]),
        ("MFU", f"model FLOPs utilization of the devices driven, FLOPs by {conventions}"),
        ("peak of the MFU", peaks or "not known"),
        ("$ per M tokens", "the price of an hour over the tokens that an hour trains"),
        ("prices", prices or "none"),
        ("measured", f"{say_rate(steps)} steps that count, in {say_rate(seconds)} s of cases"),
        ("runs", _distinct(f"{result.run_id} ({result.started_at})" for result in results)),
        ("trnbench", _distinct(result.trnbench_version for result in results)),
    ]
    yield doc.Heading("How each number was made", 2)
    yield doc.Facts(rows)


def _distinct(found: Iterable[str | None], most: int = 12) -> str:
    each = [*dict.fromkeys(text for text in found if text)]
    more = f"; and {len(each) - most} more" if len(each) > most else ""
    return "; ".join(each[:most]) + more
