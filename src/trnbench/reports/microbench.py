"""Measured ceilings as a report."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from trnbench.analysis import microbench as analysis
from trnbench.protocol.orders import AttentionTask, CollectiveTask, MatmulTask, MoveTask
from trnbench.reports import document as doc
from trnbench.schema.microbench import Group, PeakDocument, PeakReading
from trnbench.units import say_bytes, say_flops_per_second, say_percent

TITLES: dict[Group, str] = {
    "square": "Square matmuls",
    "model": "Matmuls of {model}, {tokens:,} tokens a pass",
    "memory": "Memory",
    "attention": "Attention of {model}, one layer, causal mask",
    "collective": "Collectives on fp32",
}
COLUMNS = doc.columns(
    "what", "pass", "in", ">ranks", "where", ">algorithm", ">rate", ">lowest to highest",
    ">of best", ">of datasheet", "size",
)  # fmt: skip
PASS_OF_LAYOUT = {"nt": "forward", "nn": "dX", "tn": "dW"}
ALONE = (
    "of six repeats: the median, and the lowest and highest, which contain the true median 97 "
    "times in 100 for any distribution"
)

BANDWIDTHS = (
    "of collectives, `algorithm` is the bytes over the time, and `rate` is the bus bandwidth: that "
    "times 2 (n - 1) / n for all-reduce, (n - 1) / n for all-gather, reduce-scatter and "
    "all-to-all, 1 for broadcast and send-receive, between n ranks (nccl-tests, PERFORMANCE.md)"
)


def reading_as_line(reading: PeakReading) -> str:
    """Say one reading in a line, as it comes."""
    rate = analysis.rate_of(reading)
    said = _why_none(reading) if rate is None else _rate(rate)
    words = filter(None, (_arithmetic(reading), reading.label, _pass(reading)))
    return f"{' '.join(words)}, {_size(reading)}: {said}"


def _document(document: PeakDocument, page: doc.Page) -> doc.Document:
    parts: list[doc.Part] = [doc.Heading(_device(document)), doc.Lines([*_facts(document)])]
    lines = analysis.lines_of(document)
    for group, title in TITLES.items():
        rows = [_cells(line, document) for line in lines if line.reading.group == group]
        if not rows:
            continue
        kept = [n for n in range(len(COLUMNS)) if any(row[n] for row in rows)]
        table = doc.Table([COLUMNS[n] for n in kept], [[row[n] for n in kept] for row in rows])
        heading = title.format(model=document.model, tokens=document.tokens)
        parts += [doc.Heading(heading, level=4), table]
    return doc.Document(parts, backing=lambda: _backing(document))


def _backing(document: PeakDocument) -> doc.Backing:
    """Say the ceilings first; draw each group's rates, and collectives by their size."""
    answer = [f"{_fact(ceiling, document)}." for ceiling in analysis.ceilings_of(document)]
    lines = analysis.lines_of(document)
    made = [
        *(_rates(group, lines, document) for group in TITLES if group != "collective"),
        _collectives(lines),
    ]
    charts = [chart for chart in made if chart is not None]
    return doc.Backing(answer=answer[:MOST_ANSWERED], charts=charts)


MOST_ANSWERED = 3
"""Precisions that a page's answer names."""
MOST_RATES = 40


def _rates(
    group: Group, lines: Sequence[analysis.Line], document: PeakDocument
) -> doc.Chart | None:
    from trnbench.reports import charts
    from trnbench.reports.axes import Axis

    points = []
    for line in lines:
        reading, rate = line.reading, line.rate
        if reading.group == group and rate is not None:
            words = filter(None, (reading.label, _pass(reading), _arithmetic(reading)))
            of = (
                ""
                if line.of_datasheet is None
                else f", {say_percent(line.of_datasheet)} of the datasheet"
            )
            points.append(
                charts.Point(
                    label=f"{' '.join(words)}, {_size(reading)}",
                    x=rate.value, x_low=rate.low, x_high=rate.high,
                    said=f"{_rate(rate)}{of}",
                )
            )  # fmt: skip
    if len(points) < 2:
        return None
    return charts.dots(
        name=f"peak-{group}",
        title=TITLES[group].format(model=document.model, tokens=document.tokens),
        sentence="Median of six repeats, and the lowest and the highest of them; right is faster."
        + charts.say_cut(len(points), MOST_RATES),
        axis=Axis(title="bytes/s" if group == "memory" else "FLOP/s"),
        points=points[:MOST_RATES],
    )


def _collectives(lines: Sequence[analysis.Line]) -> doc.Chart | None:
    """Show the bus bandwidth of each collective over the size of its message."""
    from trnbench.reports import charts
    from trnbench.reports.axes import Axis

    series: dict[str, list[tuple[float | str, float]]] = {}
    for line in lines:
        task, rate = line.reading.task, line.rate
        if isinstance(task, CollectiveTask) and rate is not None:
            name = f"{line.reading.label}, {line.reading.ranks} ranks"
            series.setdefault(name, []).append((float(task.whole_bytes), rate.value))
    if not any(len(pairs) > 1 for pairs in series.values()):
        return None
    shown = {name: sorted(pairs) for name, pairs in series.items()}
    return charts.lines(
        name="peak-collective",
        title=TITLES["collective"],
        sentence="Bus bandwidth over the size of the whole message; up is faster."
        + charts.say_cut(len(shown), charts.MOST_LINES),
        x=Axis(title="message, bytes"),
        y=Axis(title="bus bandwidth, bytes/s"),
        series=shown,
        has_points=True,
    )


def _rows(document: PeakDocument) -> doc.Rows:
    """Return a row for each reading, figures in base units."""
    lines = [
        {
            "document": document,
            "line": line,
            "precision": _arithmetic(line.reading),
            "size": _size(line.reading),
            "algorithm": analysis.algorithm_rate_of(line.reading),
        }
        for line in analysis.lines_of(document)
    ]
    return doc.rows_at(
        lines, "document.started_at:time", "document.environment.device_name",
        "line.reading.group", "line.reading.task.name", "precision", "size",
        "line.reading.count:int", "line.reading.ranks:int", "line.reading.source",
        "algorithm_rate=algorithm:float", "rate=line.rate.value:float",
        "rate_lowest=line.rate.low:float", "rate_highest=line.rate.high:float", "line.rate.unit",
        "line.of_best:float", "line.of_datasheet:float", "line.reading.reason",
    )  # fmt: skip


def _record(document: PeakDocument, page: doc.Page) -> dict[str, Any]:
    """Return the document as it is kept, and what it comes to."""
    ceilings = [
        {
            "precision": each.precision,
            "best": each.best.reading.task.name if each.best else None,
            "best_rate": asdict(each.best.rate) if each.best and each.best.rate else None,
            "together": asdict(each.together) if each.together else None,
            "together_of_best": each.together_of_best,
            "together_of_datasheet": each.together_of_datasheet,
            "datasheet_flops_per_second": each.datasheet,
        }
        for each in analysis.ceilings_of(document)
    ]
    return {**document.model_dump(mode="json"), "ceilings": ceilings}


REPORT: doc.Report[PeakDocument] = doc.Report(
    title="How fast this machine could be", document=_document, rows=_rows, record=_record
)


def _device(document: PeakDocument) -> str:
    seen = document.environment
    if seen is None:
        return "no device answered"
    threads = f", {seen.threads} threads" if seen.threads else ""
    return (
        f"{seen.device_name} ({seen.backend}){threads}, torch {seen.versions.get('torch', '?')}, "
        f"{document.started_at[:10]}"
    )


def _facts(document: PeakDocument) -> Iterator[str]:
    for ceiling in analysis.ceilings_of(document):
        yield _fact(ceiling, document)
    if document.status != "finished":
        yield f"not finished: {document.status}: {document.reason or 'no more was written'}"
    if document.environment is not None and not document.environment.proven:
        yield "the project has not run this backend on such a device"
    yield from filter(None, [analysis.load_of_others(document)])
    yield ALONE
    if any(reading.group == "collective" for reading in document.readings):
        yield BANDWIDTHS


def _fact(ceiling: analysis.Ceiling, document: PeakDocument) -> str:
    best = ceiling.best
    if best is None or best.rate is None:
        return f"{ceiling.precision}: no matmul could be timed"
    words = filter(None, (best.reading.label, _pass(best.reading)))
    text = (
        f"{ceiling.precision}: at best {say_flops_per_second(best.rate.value)} "
        f"({' '.join(words)}, {_size(best.reading, is_alone=True)})"
    )
    if best.of_datasheet is not None:
        text += f", {say_percent(best.of_datasheet)} of the datasheet"
    if ceiling.together is None:
        return f"{text}; not all matmuls of {document.model} could be timed"
    return (
        f"{text}; all matmuls of {document.model} together {_rate(ceiling.together)}, "
        f"{say_percent(ceiling.together_of_best or 0.0)} of that"
    )


def _cells(line: analysis.Line, document: PeakDocument) -> tuple[str, ...]:
    reading, rate = line.reading, line.rate
    size = _size(reading, is_in_table=True)
    is_collective = reading.group == "collective"
    algorithm = analysis.algorithm_rate_of(reading)
    return (
        reading.label,
        _pass(reading),
        _arithmetic(reading) if not is_collective else "",
        str(reading.ranks) if is_collective else "",
        analysis.place_of(reading, document) if is_collective else "",
        "" if rate is None or algorithm is None else _say(rate, algorithm),
        "none" if rate is None else _rate(rate),
        "" if rate is None or len(reading.seconds) == 1 else _range(rate),
        "" if line.of_best is None else say_percent(line.of_best),
        "" if line.of_datasheet is None else say_percent(line.of_datasheet),
        size if rate is not None else f"{size}: {_why_none(reading)}",
    )


def _why_none(reading: PeakReading) -> str:
    return reading.reason or "the clock did not advance"


def _arithmetic(reading: PeakReading) -> str:
    return getattr(reading.task, "precision", "fp32")


def _pass(reading: PeakReading) -> str:
    task = reading.task
    if isinstance(task, MatmulTask):
        return "" if reading.group == "square" else PASS_OF_LAYOUT[task.layout]
    return task.passes if isinstance(task, AttentionTask) else ""


def _size(reading: PeakReading, *, is_alone: bool = False, is_in_table: bool = False) -> str:
    """Say how large an operation is and, unless it is alone, how often a step has it.

    A table has a column of a collective's ranks.
    """
    task = reading.task
    times = f", {reading.count} times" if reading.count > 1 and not is_alone else ""
    match task:
        case MatmulTask():
            return f"{task.m} x {task.n} x {task.k}{times}"
        case MoveTask():
            return f"{2 if task.motion == 'copy' else 3} arrays of {say_bytes(task.array_bytes)}"
        case AttentionTask():
            heads = f"{task.heads} heads on {task.kv_heads} of {task.head_dim}"
            return f"{task.batch} x {task.tokens} tokens, {heads}{times}"
        case CollectiveTask():
            by = "" if reading.source == "torch" else f", by {reading.source}"
            ranks = "" if is_in_table else f", {reading.ranks} ranks"
            return f"{say_bytes(task.whole_bytes)}{ranks}{by}"


def _rate(rate: analysis.Rate) -> str:
    return _say(rate, rate.value)


def _range(rate: analysis.Rate) -> str:
    """Write both ends, with their units where either unit is not the rate's."""
    unit = f" {_rate(rate).split()[-1]}"
    ends = [_say(rate, end) for end in (rate.low, rate.high)]
    if all(end.endswith(unit) for end in ends):
        ends = [end.removesuffix(unit) for end in ends]
    return " to ".join(ends)


def _say(rate: analysis.Rate, value: float) -> str:
    """Write a value in the rate's unit; bytes in decimal units, as datasheets do."""
    return say_flops_per_second(value).replace("FLOP/s", rate.unit)
