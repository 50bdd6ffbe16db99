"""The figures of results and of rankings: speed, cost, steps, loss, memory, ranks, price."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from trnbench.analysis.scaling import find_scaling
from trnbench.analysis.traces import Trace, thinned
from trnbench.cost.ranked_runs import RankedRun
from trnbench.cost.ranking import Ranking
from trnbench.reports import axes, charts, texts
from trnbench.reports import document as doc
from trnbench.reports.axes import Axis
from trnbench.reports.charts import Point, say_ends
from trnbench.reports.results import device_cell, figure, model_cell
from trnbench.schema.result import NORMAL_975, Origin, Result
from trnbench.units import say_bytes, say_count, say_percent, say_rate, say_seconds, say_usd

TraceFinder = Callable[[Result], Trace | None]
"""Returns what was recorded of a result; None where its records are not there."""

MOST_ROWS = 40
"""Of a chart with a line for each result."""
MOST_TRACED = 6
"""Results whose steps are drawn."""
MOST_POINTS = 200
"""Of one series."""


def case_name(result: Result) -> str:
    """Say what was trained, and on what."""
    return f"{model_cell(result)} on {device_cell(result)}"


def price_of(run: RankedRun) -> str:
    """Say at which price, in the middle of a sentence; "" without one."""
    if run.price is None:
        return ""
    return f", at ${run.price.usd_per_hour}/h {' '.join(texts.price_terms(run.price))}"


def of_results(results: Sequence[Result], traces: TraceFinder | None) -> list[doc.Chart]:
    """Return the figures that results have; one with less than two points says nothing."""
    usable = [
        each
        for each in results
        if each.standing in ("sound", "doubtful") and figure(each, "tokens_per_second") is not None
    ]
    usable.sort(key=lambda each: -(figure(each, "tokens_per_second") or 0.0))
    names = names_of(usable)
    found = [
        (name, trace)
        for name, each in zip(names[:MOST_TRACED], usable, strict=False)
        if traces is not None and (trace := traces(each)) is not None
    ]
    made = (
        _speeds(usable, names),
        _launches(usable, names),
        _steps(found),
        _distribution(found),
        _losses(found),
        _parity(found),
        _memory(usable, names, found),
        _communication(usable, names),
        _scaling(usable, results),
    )
    return [chart for chart in made if chart is not None]


def names_of(results: Sequence[Result]) -> list[str]:
    """Name each result, with its run first where several have one name."""
    names = [*map(case_name, results)]
    counts = Counter(names)
    return [
        name if counts[name] == 1 else f"{each.run_id}: {name}"
        for name, each in zip(names, results, strict=True)
    ]


# --- speed ----------------------------------------------------------------------------------------


def _speeds(results: Sequence[Result], names: Sequence[str]) -> doc.Chart | None:
    points = [
        _point(name, each, "tokens_per_second", say_rate)
        for name, each in zip(names[:MOST_ROWS], results, strict=False)
    ]
    if len(points) < 2:
        return None
    return charts.dots(
        name="speed",
        title="Speed",
        sentence="Tokens per second of a whole job with its 95 % interval; right is faster."
        + charts.say_cut(len(results), MOST_ROWS, "fastest"),
        axis=axes.SPEED,
        points=points,
    )


def _point(name: str, result: Result, metric: str, say: Callable[[float], str]) -> Point:
    value = result.metrics[metric]
    point = Point(
        label=name, x=value.value or 0.0, x_low=value.low, x_high=value.high,
        is_doubtful=result.standing == "doubtful",
    )  # fmt: skip
    return point.saying(say_ends(point, say))


def _launches(results: Sequence[Result], names: Sequence[str]) -> doc.Chart | None:
    """Show each launch of the cases that were measured in more than one."""
    points = []
    for name, result in zip(names, results, strict=True):
        launches = [each for each in result.launches if each.step_time_mean_seconds is not None]
        for number, launch in enumerate(launches if len(launches) > 1 else [], 1):
            mean, error = launch.step_time_mean_seconds or 0.0, launch.standard_error
            half = None if error is None else NORMAL_975 * error * mean
            point = Point(
                label=f"{name}, launch {number}",
                x=mean,
                x_low=None if half is None else mean - half,
                x_high=None if half is None else mean + half,
                is_doubtful=launch.standing != "sound",
            )
            points.append(point.saying(say_ends(point, say_seconds)))
    if not points:
        return None
    return charts.dots(
        name="launches",
        title="Step time of each launch",
        sentence="Mean of one optimizer step with the 95 % interval of its own steps; left "
        "is faster, and how much launches differ is what one launch cannot show."
        + charts.say_cut(len(points), MOST_ROWS, "first"),
        axis=axes.seconds_axis("step time", [each.x for each in points]),
        points=points[:MOST_ROWS],
    )


# --- step after step ------------------------------------------------------------------------------

Traced = Sequence[tuple[str, Trace]]


def _steps(found: Traced) -> doc.Chart | None:
    series = {
        name: [(float(n + 1), trace.step_seconds[n]) for n in _thinned(trace.step_seconds)]
        for name, trace in found
        if len(trace.step_seconds) > 1
    }
    if not series:
        return None
    return charts.lines(
        name="step-times",
        title="Step times in order",
        sentence="Mean step time of each timed sample of the first launch. A level line is a "
        f"steady machine; jumps and drifts are other load, throttling or warm-up.{_some(found)}",
        x=Axis(title="sample", format="d", is_logarithmic=False),
        y=axes.seconds_axis("step time", (v for pairs in series.values() for _, v in pairs)),
        series=series,
    )


def _some(found: Traced) -> str:
    return f" The {MOST_TRACED} fastest." if len(found) >= MOST_TRACED else ""


def _thinned(values: Sequence[object]) -> Sequence[int]:
    return thinned(len(values), MOST_POINTS)


def _distribution(found: Traced) -> doc.Chart | None:
    series = {}
    for name, trace in found:
        if (count := len(trace.step_seconds)) > 1:
            ordered = sorted(trace.step_seconds)
            series[name] = [(ordered[n], 100 * (n + 1) / count) for n in _thinned(ordered)]
    if not series:
        return None
    return charts.lines(
        name="step-time-distribution",
        title="Distribution of step times",
        sentence="Share of the timed samples that took at most so long. A steep line is a steady "
        "machine; a long right end is what stalls cost.",
        x=axes.seconds_axis("step time", (v for pairs in series.values() for v, _ in pairs)),
        y=Axis(title="samples, %", format="d", is_logarithmic=False),
        series=series,
        is_stepped=True,
    )


def _losses(found: Traced) -> doc.Chart | None:
    series: dict[str, list[tuple[float, float]]] = {}
    for name, trace in found[:2]:
        for what, values in (("loss", trace.losses), ("best possible", trace.possible_losses)):
            finite = ((n, values[n]) for n in _thinned(values))
            pairs = [(float(n + 1), value) for n, value in finite if value is not None]
            if len(pairs) > 1:
                series[f"{what}: {name}"] = pairs
    if not series:
        return None
    return charts.lines(
        name="loss",
        title="Loss of each step, and the best possible",
        sentence="Nats a token. The data are a stream whose entropy is known: the second line is "
        "the loss of a model that knows it, on the same tokens; a model that learns comes nearer.",
        x=Axis(title="optimizer step", format="d", is_logarithmic=False),
        y=Axis(title="loss, nats a token", format=".3~r", is_logarithmic=False),
        series=series,
    )


def _parity(found: Traced) -> doc.Chart | None:
    """Show the parity gate's losses: a small model on the device and on the CPU."""
    series: dict[str, list[tuple[float, float]]] = {}
    for name, trace in found:
        pairs = zip(trace.parity_losses, trace.reference_losses, strict=False)
        ratios = [
            (float(number), 100 * (loss / reference - 1))
            for number, (loss, reference) in enumerate(pairs, 1)
            if loss is not None and reference
        ]
        if len(ratios) > 1:
            series[name] = ratios
    if not series:
        return None
    return charts.lines(
        name="loss-against-reference",
        title="Loss against its reference",
        sentence="The parity gate's small model of the same make, trained on the device: its "
        "loss over that of the same training in fp32 on the CPU, less 1. Zero is equal.",
        x=Axis(title="optimizer step", format="d", is_logarithmic=False),
        y=Axis(title="difference of the loss, %", format=".2~g", is_logarithmic=False),
        series=series,
        has_points=True,
    )


# --- memory, ranks --------------------------------------------------------------------------------


def _memory(results: Sequence[Result], names: Sequence[str], found: Traced) -> doc.Chart | None:
    predicted = {name: trace.predicted_memory_bytes for name, trace in found}
    rows = []
    for name, result in zip(names[:MOST_ROWS], results, strict=False):
        for part, value in (
            ("predicted", predicted.get(name)),
            ("measured", figure(result, "peak_memory_bytes")),
        ):
            if value is not None:
                rows.append((name, part, value, say_bytes(value)))
    if len(rows) < 2:
        return None
    of_plan = ""
    if any(part == "predicted" for _, part, _, _ in rows):
        of_plan = (
            " Predicted: the plan's arithmetic of weights, gradients, optimizer and activations, "
            "before anything ran; on a CPU the interpreter and torch itself come on top."
        )
    return charts.bars(
        name="memory",
        title="Peak memory",
        sentence=f"Of the fullest device; for a CPU the process's resident set.{of_plan}",
        axis=axes.bytes_axis("peak memory", [value for _, _, value, _ in rows]),
        rows=rows,
    )


def _communication(results: Sequence[Result], names: Sequence[str]) -> doc.Chart | None:
    rows = []
    for name, result in zip(names, results, strict=True):
        seen = result.ranks.communication if result.ranks else None
        if seen is None or seen.exposed_share is None or seen.overlapped_share is None:
            continue
        for part, share in (
            ("collectives alone", seen.exposed_share),
            ("collectives beside other work", seen.overlapped_share),
            ("other work alone", 1 - seen.share),
        ):
            rows.append((name, part, 100 * share, say_percent(share)))
    if not rows:
        return None
    return charts.bars(
        name="communication",
        title="Where the time of a step goes between ranks",
        sentence="Parts of a step's time, mean over ranks, from some steps under the profiler; "
        "what collectives take alone is what more overlap could save.",
        axis=Axis(title="of a step, %", format="d"),
        rows=rows[: 3 * (MOST_ROWS // 3)],
    )


def _scaling(usable: Sequence[Result], results: Sequence[Result]) -> doc.Chart | None:
    """Show a job's speed over its ranks beside that of as many times one device."""
    series: dict[str, list[tuple[float, float]]] = {}
    for result in usable:
        found = find_scaling(result, results)
        speed = figure(result, "tokens_per_second")
        if found is None or speed is None or result.parallel is None:
            continue
        name = f"{case_name(found.base)}, {found.kind} scaling"
        one = figure(found.base, "tokens_per_second") or 0.0
        ranks = float(result.parallel.world_size)
        series.setdefault(name, [(1.0, one)]).append((ranks, speed))
        series.setdefault(f"linear: {name}", [(1.0, one)]).append((ranks, one * ranks))
    if not series:
        return None
    return charts.lines(
        name="scaling",
        title="Speed over ranks",
        sentence="Tokens per second of a whole job against its ranks, and what as many times the "
        "speed of one device would be.",
        x=Axis(title="ranks", format="d"),
        y=axes.SPEED,
        series={name: sorted({*pairs}) for name, pairs in series.items()},
        has_points=True,
    )


# --- rankings -------------------------------------------------------------------------------------


def of_ranking(ranking: Ranking, labels: Sequence[str]) -> list[doc.Chart]:
    """Return cost against speed, and against its price, with the labels of the ranking's rows."""
    made = (_cost(ranking, labels), _break_even(ranking, labels))
    return [chart for chart in made if chart is not None]


def slug(text: str) -> str:
    """Return a text as a part of a file's name."""
    letters = "".join(each if each.isascii() and each.isalnum() else "-" for each in text.lower())
    return "-".join(filter(None, letters.split("-")))[:60]


RANGES: Mapping[Origin, str] = {
    "measured": "measured, the 95 % interval",
    "imported": "imported, the 95 % interval of the log's steps",
    "published": "published, from the slowest to the fastest source where there are several",
    "estimated": "estimated, what holds 80 % of what is expected",
}
"""What the bars of a point mean, by where it is from."""


def _cost(ranking: Ranking, labels: Sequence[str]) -> doc.Chart | None:
    points = []
    for row, label in zip(ranking.rows, labels, strict=True):
        metrics = row.run.metrics
        speed, cost = metrics["tokens_per_second"], metrics["usd_per_million_tokens"]
        if speed.value is None or cost.value is None:
            continue
        points.append(
            Point(
                label=label + price_of(row.run),
                x=speed.value, x_low=speed.low, x_high=speed.high,
                y=cost.value, y_low=cost.low, y_high=cost.high,
                said=f"{say_count(speed.value)} tokens/s, {say_usd(cost.value)} per million",
                origin=row.run.origin, is_doubtful=row.run.doubt is not None,
                is_best=row.is_pareto,
            )
        )  # fmt: skip
    if len(points) < 2:
        return None
    return charts.scatter(
        name=f"cost-against-speed-{slug(ranking.work)}",
        title=f"Cost against speed: {ranking.work}",
        sentence="Dollars per million tokens against tokens per second; lower is cheaper, right is "
        "faster. The dashed line joins those that no other beats on both. Bars: "
        + "; ".join(RANGES[each] for each in RANGES if each in {p.origin for p in points})
        + ".",
        x=axes.SPEED,
        y=axes.USD_PER_MILLION,
        points=points,
    )


def _break_even(ranking: Ranking, labels: Sequence[str]) -> doc.Chart | None:
    """Show the price of each beside the one at which it would be as good as the first."""
    rows = [*_prices(ranking, labels)][: 2 * (MOST_ROWS // 2)]
    if not any(part == "as good as the first" for _, part, _, _ in rows):
        return None
    return charts.bars(
        name=f"price-{slug(ranking.work)}",
        title=f"How far a price must move: {ranking.work}",
        sentence="Dollars an hour of one instance of each, as it is paid, and the rate at which "
        "it would be as good as the first. A small gap is a lead that a discount undoes.",
        axis=Axis(title="$ an hour of one instance", format="$,.3~r"),
        rows=rows,
    )


def _prices(ranking: Ranking, labels: Sequence[str]) -> Iterator[tuple[str, str, float, str]]:
    for row, label in zip(ranking.rows, labels, strict=True):
        price, even = row.run.price, row.break_even_usd_per_hour
        if price is None:
            continue
        paid = float(price.usd_per_hour)
        named = f"{row.place}. {label}"
        yield named, "paid", paid, f"{say_usd(paid)}/h"
        if even is not None and row.place > 1:
            yield named, "as good as the first", even, f"{say_usd(even)}/h"
