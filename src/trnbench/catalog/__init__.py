"""Facts with their sources. Tables ship as CSV files, in which an empty cell is unknown."""

import csv
import io
import re
from datetime import date
from importlib import resources
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


def read_text(name: str) -> str:
    """Return the text of `catalog/<name>`."""
    return resources.files("trnbench.catalog").joinpath(name).read_text(encoding="utf-8")


def read_table(name: str) -> list[dict[str, str]]:
    """Return the rows of `catalog/<name>` as column → text."""
    return list(csv.DictReader(io.StringIO(read_text(name))))


def read_rows(kind: type[T], table: str, /, **columns: str) -> list[T]:
    """Return the rows of `catalog/<table>` as dataclasses; a field's annotation says how to read.

    `columns` names the column of a field whose column has another name. A list is separated by `|`.
    """
    types = get_type_hints(kind)
    return [
        kind(**{field: _read(row[columns.get(field, field)], types[field]) for field in types})
        for row in read_table(table)
    ]


def number(cell: str) -> float | None:
    """Read a number; an empty cell is unknown, never zero."""
    return float(cell) if cell else None


def _read(cell: str, annotation: Any) -> Any:
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    if not cell and NoneType in kinds:
        return None
    kind = get_origin(kinds[0]) or kinds[0]
    if kind is Literal:
        return cell  # a test checks it
    if kind in (tuple, frozenset):
        return kind(filter(None, cell.split("|")))
    readers = {date: date.fromisoformat, re.Pattern: re.compile}
    return readers.get(kind, kind)(cell)
