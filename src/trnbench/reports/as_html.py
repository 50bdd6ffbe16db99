"""A report as one HTML file that needs no network: the answer, charts, tables, and every figure.

All texts are escaped. The page's policy allows its own scripts by their hashes and nothing else, so
that nothing is loaded from outside and no text of a result can run; styles may be inline, as Vega
writes them. Tables and charts are drawn by the libraries of `html/libraries.json`, which lie packed
in the page.
Source: W3C, Content Security Policy Level 3, section 6.7.3, "Hashes" (read 2026-11).
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from trnbench.reports import document as doc

MARKS: dict[doc.Style, str] = {"good": "g", "doubtful": "d", "bad": "b"}
"""Each style's class; the style sheet gives it a colour and a mark of its own shape."""

_FIGURE = re.compile(
    r"[^\d+-]{0,2}([+-]?\d[\d,]*\.?\d*(?:e[+-]?\d+)?) ?(?:\[[^\]]*\])? ?([^\s\[\]]*)"
)
_UNITS = {
    "µs": 1e-6, "ms": 1e-3, "min": 60, "h": 3600, "d": 86_400,
    "k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30,
    "MFLOP/s": 1e6, "GFLOP/s": 1e9, "TFLOP/s": 1e12, "PFLOP/s": 1e15,
    "MB/s": 1e6, "GB/s": 1e9, "TB/s": 1e12,
}  # fmt: skip


def render(report: doc.Report[Any], of: Any, page: doc.Page) -> str:
    """Return the page: what was decided, charts, the document, what it rests on, every figure."""
    document: doc.Document = report.document(of, page)
    backing = document.backing()
    verdict, basis = document.conclusion[:1], document.conclusion[1:]
    main: list[str] = [f"<h1>{_text(report.title)}</h1>", *map(block, verdict)]
    main += [f'<p class="answer">{_prose(sentence)}</p>' for sentence in backing.answer]
    main += map(block, basis)
    if backing.charts:
        charts = "\n".join(map(figure, backing.charts))
        main.append(f'<div class="charts">\n{charts}\n</div>')
    main += map(block, document.parts)
    main += map(block, backing.parts)
    main += _every_figure(report.rows(of))
    text = "\n".join(each for each in main if each)
    libraries = TABLE_LIBRARIES if "<table" in text else ()
    return _page(report.title, text, (*libraries, *(CHART_LIBRARIES if backing.charts else ())))


TABLE_LIBRARIES = ("datatables",)
CHART_LIBRARIES = ("vega", "vega-lite", "vega-embed")
"""In the order in which they must be started."""


def _page(title: str, main: str, names: Sequence[str]) -> str:
    known: dict[str, dict[str, str]] = json.loads(_asset("libraries.json"))
    style, script = _asset("page.css"), _asset("page.js")
    hashes = [_hash(script), *(f"sha256-{known[name]['sha256']}" for name in names)]
    allowed = " ".join(f"'{each}'" for each in hashes)
    policy = (
        f"default-src 'none'; script-src {allowed}; "
        "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    )
    notices = "".join(f"<!-- {known[name]['notice']} -->\n" for name in names)
    packed = "".join(
        f'<script type="text/plain" class="library">{_packed(name)}</script>\n' for name in names
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{_text(title)} · trnbench</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f"<main>\n{main}\n</main>\n{notices}{packed}<script>{script}</script>\n</body>\n</html>\n"
    )


FOLDER = Path(__file__).with_name("html")


def _asset(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _packed(name: str) -> str:
    return b64encode((FOLDER / f"{name}.js.gz").read_bytes()).decode()


def _hash(text: str) -> str:
    from hashlib import sha256

    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


# --- charts ---------------------------------------------------------------------------------------


def figure(chart: doc.Chart) -> str:
    """Return a chart with its caption, its specification, and its data as a table."""
    from trnbench.reports.specification import CONFIG, keys_of, specification

    spec = {
        "config": CONFIG,
        "width": "container",
        "padding": {"left": 4, "right": 16, "top": 4, "bottom": 4},
        **specification(chart),
    }
    columns = [
        doc.Column(each, is_figure=name not in TEXTS) for name, each in chart.headings.items()
    ]
    rows = [[f"<td>{_value(row.get(name))}" for name in chart.headings] for row in chart.data]
    keys = _notes([label for _, label in keys_of(chart)])
    return (
        f"<figure>\n<figcaption><b>{_text(chart.title)}</b> {_text(chart.sentence)}</figcaption>\n"
        '<div class="chart"></div>\n'
        f'<script type="application/json">{_json(spec)}</script>{keys}\n'
        f"<details><summary>Its figures</summary>\n{_grid(columns, rows, 'wide')}\n</details>\n"
        "</figure>"
    )


TEXTS = frozenset({"label", "part", "series", "kind", "said"})
"""Fields of a chart's data that are no figures."""

_UNSAFE = {ord(each): f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"}


def _json(value: Any) -> str:
    """Return JSON that can end no element; outside of strings JSON has none of these letters."""
    return json.dumps(value, separators=(",", ":")).translate(_UNSAFE)


_DAY = re.compile(r"\b\d{4}-\d\d-\d\d\b")


def _text(text: str) -> str:
    return escape(doc.one_line(text))


def _prose(text: str) -> str:
    """Return a text whose days are never broken over lines."""
    return _DAY.sub(r"<time>\g<0></time>", _text(text))


# --- parts ----------------------------------------------------------------------------------------


def block(part: doc.Part) -> str:
    """Return one part; "" where it says nothing."""
    match part:
        case doc.Heading():
            beside = f" <small>{_text(part.beside)}</small>" if part.beside else ""
            text = f"{_text(part.text)}{beside}"
            level = max(2, part.level)
            return f"<h{level}>{text}</h{level}>" if part.level else f'<p class="answer">{text}</p>'
        case doc.Lines():
            return "\n".join(f"<p>{_prose(text)}</p>" for text in part.texts)
        case doc.Notes():
            return _notes(part.texts)
        case doc.Facts():
            return _facts(part.rows)
        case doc.Table():
            return _table(part)


def _notes(texts: Sequence[str]) -> str:
    items = "\n".join(f"<li>{_prose(text)}</li>" for text in texts)
    return f'<ol class="notes">\n{items}\n</ol>' if items else ""


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    lines = [
        f"<dt>{_text(label)}</dt><dd>{_prose(text)}</dd>" if label else f"<dd>{_prose(text)}</dd>"
        for label, text in rows
    ]
    items = "\n".join(lines)
    return f"<dl>\n{items}\n</dl>" if lines else ""


def _table(table: doc.Table) -> str:
    rows: list[Iterable[str]] = []
    first: doc.Cell | str = ""
    for row in table.rows:
        cells = [*row]
        if table.blank_repeats and not cells[0]:
            cells[0] = first
        first = cells[0]
        rows.append(map(_cell, table.columns, cells))
    notes = _notes(table.notes or ())
    return _grid(table.columns, rows, "cards") + (f"\n{notes}" if notes else "")


def _cell(column: doc.Column, cell: doc.Cell | str) -> str:
    text, style = (cell.text, cell.style) if isinstance(cell, doc.Cell) else (cell, None)
    classes = [*(["n"] if column.is_figure else []), *([MARKS[style]] if style else [])]
    classes += ["s"] if not column.heading else []
    named = f' class="{" ".join(classes)}"' if classes else ""
    value = sort_value(text) if column.is_figure else None
    order = "" if value is None else f' data-v="{value:.9g}"'
    return f"<td{named}{order}>{_prose(text)}"


def sort_value(text: str) -> float | None:
    """Return the figure that a text begins with in base units, so that 2 s is above 27 ms."""
    found = _FIGURE.match(text.strip())
    if found is None:
        return None
    return float(found[1].replace(",", "")) * _UNITS.get(found[2], 1.0)


def _grid(columns: Sequence[doc.Column], rows: Iterable[Iterable[str]], kind: str) -> str:
    """Return a table that scrolls alone; the script adds sorting and the filter."""
    heads = "".join(
        f'<th scope="col"{" class=n" if column.is_figure else ""}>{_text(column.heading)}</th>'
        for column in columns
    )
    body = "\n".join(f"<tr>{''.join(cells)}" for cells in rows)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="table">\n'
        f'<table class="{kind}">\n<thead><tr>{heads}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table>\n</div>"
    )


# --- every figure ---------------------------------------------------------------------------------


def _every_figure(found: doc.Rows) -> Iterator[str]:
    """Show the columns of the CSV in full digits: once what all rows share, then a table."""
    if not found.rows:
        return
    columns = [*zip(*found.rows, strict=True)]
    is_same = [len({*column}) == 1 for column in columns]
    shared = [
        (name, str(column[0]))
        for name, column, same in zip(found.names, columns, is_same, strict=True)
        if same and column[0] is not None
    ]
    unknown = [
        name
        for name, column, same in zip(found.names, columns, is_same, strict=True)
        if same and column[0] is None
    ]
    yield '<details class="all"><summary>Every figure, in full digits and base units</summary>'
    if shared:
        yield _facts(shared)
    if not all(is_same):
        yield _differing(found, is_same)
    if unknown:
        yield f"<p>Not known or not asked for: {_text(', '.join(unknown))}.</p>"
    yield "</details>"


def _differing(found: doc.Rows, is_same: Sequence[bool]) -> str:
    shown = [number for number, same in enumerate(is_same) if not same]
    heads = [
        doc.Column(found.names[n], all(isinstance(r[n], int | float | None) for r in found.rows))
        for n in shown
    ]
    rows = (("<td>" + _value(row[number]) for number in shown) for row in found.rows)
    return _grid(heads, rows, "wide")


def _value(value: doc.Value) -> str:
    return "" if value is None else _text(value) if isinstance(value, str) else str(value)
