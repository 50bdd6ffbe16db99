"""What the terminal behind stdout and stderr can show."""

import os
import shutil
import sys
from datetime import UTC, datetime
from typing import TextIO

from trnbench.reports.document import Page

PIPE_WIDTH = 200
"""Columns for a table that goes to a file or a pipe, where nothing is cut off."""


def page_of_stdout() -> Page:
    """Return the page that a report for people is written on."""
    return Page(
        width=_width(sys.stdout),
        is_coloured=_is_coloured(sys.stdout),
        today=datetime.now(UTC).date(),
    )


def _width(stream: TextIO) -> int:
    fallback = (PIPE_WIDTH, 24)
    if not stream.isatty() and "COLUMNS" not in os.environ:
        return PIPE_WIDTH
    return max(20, shutil.get_terminal_size(fallback).columns)


def _is_coloured(stream: TextIO) -> bool:
    """Follow no-color.org: colour on a terminal, unless NO_COLOR is set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
