"""What a page of results or of rankings has beside its table: the answer, charts, what it rests on.

The answer ranks as `trnbench rank` does: like work alone, and neither invalid nor failed results.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from trnbench.cost.ranking import HIGHER_IS_BETTER, RankedRun, Ranking, Row, rank, ranked_run
from trnbench.reports import document as doc
from trnbench.reports import texts
from trnbench.reports.columns import COLUMNS
from trnbench.reports.results import STYLES, device_cell, figure, model_cell
from trnbench.schema.result import NORMAL_975, MetricValue, Result
from trnbench.units import say_change, say_count, say_rate

MOST_WORKS = 5
"""Kinds of work that the answer names, and that have a chart of cost."""
MOST_BARS = 40
"""Points of a chart with a line for each."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """Results of one work by their tokens per dollar."""

    ranking: Ranking
    results: Sequence[Result]
    """In the order of the ranking's rows."""


def backing_of(results: Sequence[Result]) -> doc.Backing:
    """Return all of it; what has no figures is left out."""
    ranked = _ranked(results)
    answer = [_answer(each) for each in ranked[:MOST_WORKS]]
    if len(ranked) > MOST_WORKS:
        answer.append(
            f"{len(ranked) - MOST_WORKS} more kinds of work are below; `trnbench rank` ranks each."
        )
    charts = [each for each in (_speeds(results), _launches(results)) if len(each.points) > 1]
    costs = [
        cost_chart(each.ranking, [_case(result) for result in each.results])
        for each in ranked[:MOST_WORKS]
        if len(each.results) > 1
    ]
    parts = [*_doubts(results), *_environment(results), *_provenance(results)]
    return doc.Backing(answer=answer, charts=[*charts, *costs], parts=parts)


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
    amount, at = f"{say_count(value.value or 0.0)}{ends}", _at(rows[0].run)
    sentence = f"{ranked.ranking.work}: {_case(best)} trains "
    if others:
        sentence += f"the most tokens per dollar: {amount}{at}."
        next_ = _case(others[0]) + _at(rows[1].run)
        if _case(others[0]) == _case(best):
            next_ += f", {rows[1].run.source}"
        sentence += f" {_lead(value, rows[1].value, next_)}"
    else:
        sentence += f"{amount} tokens per dollar{at}. No other result of this work can be compared."
    launches = len(best.launches) or 1
    sentence += f" It rests on {texts.plural(launches, 'launch')}"
    sentence += "; what differs between launches is not in its interval." if launches < 2 else "."
    return f"{sentence} It is {rows[0].run.doubt}." if rows[0].run.doubt else sentence


def _at(run: RankedRun) -> str:
    if run.price is None:
        return ""
    return f", at ${run.price.usd_per_hour}/h {' '.join(texts.price_terms(run.price))}"


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


def _case(result: Result) -> str:
    return f"{model_cell(result)} on {device_cell(result)}"


# --- charts ---------------------------------------------------------------------------------------


def _speeds(results: Sequence[Result]) -> doc.Chart:
    usable = [
        each
        for each in results
        if each.standing in ("sound", "doubtful") and figure(each, "tokens_per_second") is not None
    ]
    usable.sort(key=lambda each: -(figure(each, "tokens_per_second") or 0.0))
    cut = f" The {MOST_BARS} fastest of {len(usable)}." if len(usable) > MOST_BARS else ""
    points = []
    for each in usable[:MOST_BARS]:
        value = each.metrics["tokens_per_second"]
        points.append(
            doc.Point(
                label=_case(each), x=value.value or 0.0, x_low=value.low, x_high=value.high,
                style=STYLES[each.standing],
            )
        )  # fmt: skip
    return doc.Chart(
        title="Speed",
        sentence=f"Tokens per second of a whole job with its 95 % interval; right is faster.{cut}",
        x_title="tokens/s",
        points=points,
    )


def _launches(results: Sequence[Result]) -> doc.Chart:
    """Show each launch of the cases that were measured in more than one."""
    points = []
    for result in results:
        launches = [each for each in result.launches if each.step_time_mean_seconds is not None]
        for number, launch in enumerate(launches if len(launches) > 1 else [], 1):
            mean, error = launch.step_time_mean_seconds or 0.0, launch.standard_error
            half = None if error is None else NORMAL_975 * error * mean
            points.append(
                doc.Point(
                    label=f"{_case(result)}, launch {number}",
                    x=mean,
                    x_low=None if half is None else mean - half,
                    x_high=None if half is None else mean + half,
                    style=STYLES[launch.standing],
                )
            )
    cut = f" The first {MOST_BARS} of {len(points)}." if len(points) > MOST_BARS else ""
    return doc.Chart(
        title="Step time of each launch",
        sentence="Mean of one optimizer step with the 95 % interval of its own steps; left "
        f"is faster, and how much launches differ is what one launch cannot show.{cut}",
        x_title="seconds",
        points=points[:MOST_BARS],
    )


def cost_chart(ranking: Ranking, labels: Sequence[str]) -> doc.Chart:
    """Return cost against speed of the runs that have both, with the labels of all rows."""
    points = []
    for row, label in zip(ranking.rows, labels, strict=True):
        metrics = row.run.metrics
        speed, cost = metrics["tokens_per_second"], metrics["usd_per_million_tokens"]
        if speed.value is None or cost.value is None:
            continue
        points.append(
            doc.Point(
                label=label + _at(row.run),
                x=speed.value, x_low=speed.low, x_high=speed.high,
                y=cost.value, y_low=cost.low, y_high=cost.high,
                style="doubtful" if row.run.doubt else "good", is_best=row.is_pareto,
            )
        )  # fmt: skip
    return doc.Chart(
        title=f"Cost against speed: {ranking.work}",
        sentence="Dollars per million tokens against tokens per second, both with the 95 % "
        "interval; lower is cheaper, right is faster. The line joins those that no other beats on "
        "both.",
        x_title="tokens/s",
        y_title="$ per million tokens",
        points=points,
    )


def backing_of_rankings(
    rankings: Sequence[Ranking], metric: str, name: Callable[[Row], str], say: Callable[[Row], str]
) -> doc.Backing:
    """Return the first of each ranking, its lead, and cost against speed, by each row's name."""
    answer, charts = [], []
    for ranking in [each for each in rankings if each.rows][:MOST_WORKS]:
        best, *others = ranking.rows
        sentence = f"{ranking.work}: {name(best)} is first by {metric}: {say(best)}"
        sentence += f"{_at(best.run)}."
        if others:
            pair = (best.value, others[0].value)
            is_high = metric in HIGHER_IS_BETTER
            sentence += f" {_lead(*(pair if is_high else pair[::-1]), name(others[0]))}"
        doubt = f" It is {best.run.doubt}." if best.run.doubt else ""
        answer.append(sentence + doubt)
        chart = cost_chart(ranking, [name(row) for row in ranking.rows])
        charts += [chart] if len(chart.points) > 1 else []
    return doc.Backing(answer=answer, charts=charts)


# --- what it rests on -----------------------------------------------------------------------------

DOUBT_COLUMNS = doc.columns("case", "check", "verdict", "what it saw", "what to do")


def _doubts(results: Sequence[Result]) -> Iterator[doc.Part]:
    rows = [
        (
            _case(result), check.name, doc.Cell(check.verdict, STYLES[check.verdict]),
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
