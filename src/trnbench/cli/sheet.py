"""A sheet on stdout: sections of labelled lines, wrapped to the terminal, no word ever cut."""

import sys
import textwrap
from collections.abc import Sequence

from rich.cells import cell_len

from trnbench.cli.output import page_of_stdout

INDENT = "  "
LEAST_TEXT_WIDTH = 24


def show_section(title: str, rows: Sequence[tuple[str, str]]) -> None:
    """Print a title and under it, indented, each label beside its text."""
    width = max((cell_len(label) for label, _ in rows), default=0)
    sys.stdout.write(f"{title}\n")
    for label, text in rows:
        beside = f"{INDENT}{label}{' ' * (width - cell_len(label))}{INDENT}"
        show_text(text, first=beside, then=" " * cell_len(beside))
    sys.stdout.write("\n")


def show_text(text: str, first: str = "", then: str = "") -> None:
    """Print a text with what stands before its first line and before the others."""
    room = max(LEAST_TEXT_WIDTH, page_of_stdout().width - cell_len(then))
    lines = textwrap.wrap(text, room, break_on_hyphens=False, break_long_words=False) or [""]
    starts = [first, *[then] * (len(lines) - 1)]
    for start, line in zip(starts, lines, strict=True):
        sys.stdout.write(f"{start}{line}".rstrip() + "\n")
