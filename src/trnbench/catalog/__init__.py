"""Facts with their sources. Tables ship as CSV: rows of text, an empty cell is unknown."""

import csv
import io
from importlib import resources


def read_table(name: str) -> list[dict[str, str]]:
    """Return the rows of `catalog/<name>` as column → text."""
    return list(csv.DictReader(io.StringIO(read_text(name))))


def read_text(name: str) -> str:
    """Return the text of `catalog/<name>`."""
    return resources.files("trnbench.catalog").joinpath(name).read_text(encoding="utf-8")


def number(cell: str) -> float | None:
    """Read a number; an empty cell is unknown, never zero."""
    return float(cell) if cell else None
