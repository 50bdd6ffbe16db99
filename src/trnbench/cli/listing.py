"""A plain table on stdout, for the commands that list things."""

import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trnbench.cli.screen import page_of_stdout


def show_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], figures: Sequence[int] = ()
) -> None:
    """Print rows under headings; the last column takes what width is left."""
    page = page_of_stdout()
    console = Console(
        file=sys.stdout, width=page.width, highlight=False, emoji=False, markup=False,
        no_color=not page.is_coloured,
    )  # fmt: skip
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(
            Text(heading),
            justify="right" if number in figures else "left",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
