"""A plain table on stdout, for the commands that list things."""

import sys
from collections.abc import Sequence

from trnbench.cli.output import page_of_stdout


def show_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], figures: Sequence[int] = ()
) -> None:
    """Print rows under headings; columns in `figures` are right-aligned."""
    from trnbench.reports.tables import table_as_text

    sys.stdout.write(table_as_text(headings, rows, page_of_stdout().width, figures))
