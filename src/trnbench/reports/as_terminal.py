"""Results for a terminal: a table where it fits, else a card for each."""

import io
from collections.abc import Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from trnbench.reports.base import Page
from trnbench.reports.clean import one_line
from trnbench.reports.view import HEADINGS, Line, lines_of, notes_of
from trnbench.schema.result import Result

STYLES = {"sound": "green", "doubtful": "yellow", "invalid": "bold red", "failed": "red"}

LEAST_TABLE_WIDTH = 150
"""Narrower than this, nine columns break their figures; cards do not."""


def render(results: Sequence[Result], page: Page) -> str:
    """Return the results as text of the page's width."""
    lines = lines_of(results)
    body = _table(lines) if page.width >= LEAST_TABLE_WIDTH else _cards(lines)
    text = io.StringIO()
    console = Console(
        file=text,
        width=page.width,
        force_terminal=page.is_coloured,
        color_system="standard" if page.is_coloured else None,
        highlight=False,
        emoji=False,
        markup=False,
    )
    console.print(body)
    for note in notes_of(results):
        console.print(Padding(Text(f"· {one_line(note)}", style="dim"), (0, 0, 0, 1)))
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _table(lines: Sequence[Line]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    figures = {"tokens/s [95 %]", "step time [95 %]", "MFU", "peak memory", "$ per M tokens [95 %]"}
    for heading in HEADINGS:
        is_figure = heading in figures
        table.add_column(Text(heading), justify="right" if is_figure else "left", no_wrap=is_figure)
    for line in lines:
        table.add_row(*(_cell(line, number) for number in range(len(HEADINGS))))
    return table


def _cards(lines: Sequence[Line]) -> RenderableType:
    """Draw each result as headings and cells in two columns, under its model's name."""
    parts: list[RenderableType] = []
    for line in lines:
        card = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
        card.add_column(no_wrap=True)
        card.add_column()
        for number, heading in enumerate(HEADINGS[1:], start=1):
            card.add_row(Text(f"  {heading}", style="dim"), _cell(line, number))
        parts += [Text(one_line(line.cells[0]), style="bold"), card, Text("")]
    return Group(*parts)


def _cell(line: Line, number: int) -> Text:
    is_last = number == len(HEADINGS) - 1
    return Text(one_line(line.cells[number]), style=STYLES[line.standing] if is_last else "")
