"""Measured ceilings to terminal, Markdown, CSV and JSON."""

import csv
import io
import json
from dataclasses import asdict
from typing import NamedTuple

from trnbench.analysis.ceilings import (
    Ceiling,
    Line,
    Rate,
    ceilings_of,
    lines_of,
    load_of_others,
    rate_of,
)
from trnbench.reports.clean import escaped_json, escaped_markdown, one_line
from trnbench.reports.document import Page
from trnbench.reports.lines import wrapped
from trnbench.reports.tables import table_as_markdown, table_as_text
from trnbench.schema.peak import Group, PeakDocument, PeakReading
from trnbench.schema.units import say_bytes, say_flops_per_second, say_percent
from trnbench.wire import AttentionTask, CollectiveTask, MoveTask, ProductTask

TITLES: dict[Group, str] = {
    "square": "Square products",
    "model": "Products of {model}, {tokens:,} tokens a pass",
    "memory": "Memory",
    "attention": "Attention of {model}, one layer, causal mask",
    "collective": "Collectives on fp32, bus bandwidth",
}
HEADINGS = (
    "what", "pass", "in", "rate", "lowest to highest", "of best", "of datasheet", "size",
)  # fmt: skip
FIGURES = ("rate", "lowest to highest", "of best", "of datasheet")
PASS_OF_LAYOUT = {"nt": "forward", "nn": "dX", "tn": "dW"}
ALONE = (
    "of six repeats: the median, and the lowest and highest, which hold it 97 times in 100 "
    "whatever the distribution"
)


def reading_as_line(reading: PeakReading) -> str:
    """Say one reading in a line, as it comes."""
    rate = rate_of(reading)
    said = _why_none(reading) if rate is None else _rate(rate)
    words = filter(None, (_arithmetic(reading), reading.label, _pass(reading)))
    return f"{' '.join(words)}, {_size(reading)}: {said}"


def peak_as_text(document: PeakDocument, page: Page) -> str:
    """Return what was found first, then a table of each kind of thing, for a terminal."""
    facts = [_device(document), *_facts(document)]
    head = "".join(f"{line}\n" for fact in facts for line in wrapped(one_line(fact), page.width))
    sections = [head]
    for title, headings, rows, figures in _tables(document):
        under = "".join(f"{line}\n" for line in wrapped(title, page.width))
        sections.append(under + table_as_text(headings, rows, page.width, figures))
    return "\n".join(sections)


def peak_as_markdown(document: PeakDocument, page: Page) -> str:
    """Return the same in Markdown."""
    facts = "".join(f"- {escaped_markdown(fact)}\n" for fact in _facts(document))
    sections = [f"### {escaped_markdown(_device(document))}\n\n{facts}"]
    sections += [
        f"#### {escaped_markdown(title)}\n\n{table_as_markdown(headings, rows, figures)}"
        for title, headings, rows, figures in _tables(document)
    ]
    return "\n".join(sections)


def peak_as_csv(document: PeakDocument, page: Page) -> str:
    """Return a line for each reading, figures in base units."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    device = document.environment.device_name if document.environment else None
    for line in lines_of(document):
        reading, rate = line.reading, line.rate
        cells = (
            document.started_at,
            device,
            reading.group,
            reading.task.name,
            _arithmetic(reading),
            _size(reading),
            reading.count,
            reading.ranks,
            reading.source,
            rate.value if rate else None,
            rate.low if rate else None,
            rate.high if rate else None,
            rate.unit if rate else None,
            line.of_best,
            line.of_datasheet,
            reading.reason,
        )
        writer.writerow("" if cell is None else cell for cell in cells)
    return stream.getvalue()


COLUMNS = (
    "started_at", "device_name", "group", "name", "precision", "size", "count", "ranks", "source",
    "rate", "rate_lowest", "rate_highest", "unit", "of_best", "of_datasheet", "reason",
)  # fmt: skip


def peak_as_json(document: PeakDocument, page: Page) -> str:
    """Return the document as it is kept, and what it comes to."""
    whole = json.loads(document.model_dump_json())
    whole["ceilings"] = [
        {
            "precision": each.precision,
            "best": each.best.reading.task.name if each.best else None,
            "best_rate": asdict(each.best.rate) if each.best and each.best.rate else None,
            "together": asdict(each.together) if each.together else None,
            "together_of_best": each.together_of_best,
            "together_of_datasheet": each.together_of_datasheet,
            "datasheet_flops_per_second": each.datasheet,
        }
        for each in ceilings_of(document)
    ]
    return escaped_json(json.dumps(whole, indent=1)) + "\n"


def _device(document: PeakDocument) -> str:
    seen = document.environment
    if seen is None:
        return "no device answered"
    threads = f", {seen.threads} threads" if seen.threads else ""
    return (
        f"{seen.device_name} ({seen.backend}){threads}, torch {seen.versions.get('torch', '?')}, "
        f"{document.started_at[:10]}"
    )


def _facts(document: PeakDocument) -> list[str]:
    facts = [_fact(ceiling, document) for ceiling in ceilings_of(document)]
    if document.status != "finished":
        facts.append(f"not finished: {document.status}: {document.reason or 'nobody wrote more'}")
    if document.environment is not None and not document.environment.proven:
        facts.append("nobody has proven this backend on such a device")
    facts += filter(None, [load_of_others(document)])
    return [*facts, ALONE]


def _fact(ceiling: Ceiling, document: PeakDocument) -> str:
    best = ceiling.best
    if best is None or best.rate is None:
        return f"{ceiling.precision}: no product could be timed"
    words = filter(None, (best.reading.label, _pass(best.reading)))
    said = (
        f"{ceiling.precision}: at best {say_flops_per_second(best.rate.value)} "
        f"({' '.join(words)}, {_size(best.reading, is_alone=True)})"
    )
    if best.of_datasheet is not None:
        said += f", {say_percent(best.of_datasheet)} of the datasheet"
    if ceiling.together is None:
        return f"{said}; not all products of {document.model} could be timed"
    said += (
        f"; all products of {document.model} together {_rate(ceiling.together)}, "
        f"{say_percent(ceiling.together_of_best or 0.0)} of that"
    )
    return said


class _Table(NamedTuple):
    title: str
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    figures: tuple[int, ...]


def _tables(document: PeakDocument) -> list[_Table]:
    """Return a table of each kind of thing, without the columns that say nothing of it."""
    lines = lines_of(document)
    tables = []
    for group, title in TITLES.items():
        rows = [_row(line) for line in lines if line.reading.group == group]
        if not rows:
            continue
        kept = [n for n in range(len(HEADINGS)) if any(row[n] for row in rows)]
        tables.append(
            _Table(
                title.format(model=document.model, tokens=document.tokens),
                tuple(HEADINGS[n] for n in kept),
                [tuple(row[n] for n in kept) for row in rows],
                tuple(place for place, n in enumerate(kept) if HEADINGS[n] in FIGURES),
            )
        )
    return tables


def _row(line: Line) -> tuple[str, ...]:
    reading, rate = line.reading, line.rate
    size = _size(reading)
    return (
        reading.label,
        _pass(reading),
        _arithmetic(reading),
        "none" if rate is None else _rate(rate),
        "" if rate is None or len(reading.seconds) == 1 else _range(rate),
        _percent(line.of_best),
        _percent(line.of_datasheet),
        size if rate is not None else f"{size}: {_why_none(reading)}",
    )


def _why_none(reading: PeakReading) -> str:
    return reading.reason or "no time was seen to pass"


def _percent(part: float | None) -> str:
    return "" if part is None else say_percent(part)


def _arithmetic(reading: PeakReading) -> str:
    return getattr(reading.task, "precision", "fp32")


def _pass(reading: PeakReading) -> str:
    task = reading.task
    if isinstance(task, ProductTask):
        return "" if reading.group == "square" else PASS_OF_LAYOUT[task.layout]
    return task.passes if isinstance(task, AttentionTask) else ""


def _size(reading: PeakReading, *, is_alone: bool = False) -> str:
    """Say how large a thing is and, unless it stands alone, how many of it a step makes."""
    task = reading.task
    times = f", {reading.count} times" if reading.count > 1 and not is_alone else ""
    match task:
        case ProductTask():
            return f"{task.m} x {task.n} x {task.k}{times}"
        case MoveTask():
            return f"{2 if task.motion == 'copy' else 3} arrays of {say_bytes(task.array_bytes)}"
        case AttentionTask():
            heads = f"{task.heads} heads on {task.kv_heads} of {task.head_dim}"
            return f"{task.batch} x {task.tokens} tokens, {heads}{times}"
        case CollectiveTask():
            by = "" if reading.source == "torch" else f", by {reading.source}"
            return f"{say_bytes(task.whole_bytes)}, {reading.ranks} ranks{by}"


def _rate(rate: Rate) -> str:
    return say_flops_per_second(rate.value) if rate.unit == "FLOP/s" else _bytes(rate.value)


def _range(rate: Rate) -> str:
    """Write the ends; each has the rate's unit, or says its own."""
    say = say_flops_per_second if rate.unit == "FLOP/s" else _bytes
    unit = say(rate.value).split()[-1]
    low, high = (say(end).removesuffix(f" {unit}") for end in (rate.low, rate.high))
    return f"{low} to {high}"


def _bytes(value: float) -> str:
    """Write a rate of bytes in decimal units, as datasheets do."""
    return say_flops_per_second(value).replace("FLOP/s", "B/s")
