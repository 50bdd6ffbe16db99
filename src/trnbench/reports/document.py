"""What a report is: headings, facts, tables and notes for people, rows and a record for programs.

A report is one `Report`; a format (`as_….py`) is one function over it, and knows no report.
"""

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import zip_longest
from operator import attrgetter
from typing import Any, Generic, Literal, NamedTuple, TypeVar, cast

from trnbench.schema.base import Strict

Style = Literal["good", "doubtful", "bad"]

UNKNOWN = "—"
"""What stands for a figure that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a text is made for; formats for files ignore it."""

    width: int = 120
    """Columns of the terminal."""
    is_coloured: bool = False
    all_rows: str | None = None
    """The command that shows all rows of a table where a terminal shows the first alone; None: all
    are shown."""
    today: date | None = None
    """The day of reading, for the age of prices; None: their age is not judged."""
    traces: Callable[[Any], Any] | None = None
    """Finds the `Trace` of a result, for figures of its steps; None: none are drawn."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A line above other parts; level 0 is a bold line instead of a heading."""

    text: str
    level: int = 3
    beside: str = ""
    """On the same line, set off from the text."""


@dataclass(frozen=True, slots=True)
class Lines:
    """Sentences, each on a new line."""

    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Notes:
    """What must be read beside a figure."""

    texts: Sequence[str]
    indent: int = 0
    numbered: int = 0
    """So many of the first have a number, counted from 1, that rows of a table name."""
    is_mark_plain: bool = False
    """A terminal with colours dims the text alone, and not the mark before it."""

    @property
    def labelled(self) -> list[str]:
        """The texts, behind their numbers where they have one."""
        numbers = [f"[{number}] " for number in range(1, self.numbered + 1)]
        return [*map("".join, zip_longest(numbers, self.texts, fillvalue=""))]


@dataclass(frozen=True, slots=True)
class Facts:
    """Labels, and a text beside each; an empty label continues the one above."""

    rows: Sequence[tuple[str, str]]
    label_width: int = 0
    """Least number of columns for the labels."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A text of a table, with a style where it is a verdict."""

    text: str
    style: Style | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    heading: str
    is_figure: bool = False
    """Right-aligned, and never broken over lines."""
    least_width: int = 0
    is_spare: bool = False
    """A terminal with too little room leaves it out, and says so."""
    is_obvious: bool = False
    """Its cells say what they are: a terminal leaves its heading out."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings.

    On a terminal the last column takes the width that is left or, where there is too little, goes
    under its row; the others give way only where the page is too narrow even so. Where a figure or
    a word would have to be broken, each row becomes a card: a line for each cell.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell | str]]
    notes: Sequence[str] | None = None
    """Directly under it, a line each."""
    indent: int = 0
    is_even: bool = False
    """All columns of text give way alike, and not the last one first."""
    narrow: "Table | None" = None
    """What a terminal shows instead that has no room for this one."""
    is_list: bool = False
    """A terminal writes no headings, and the last column always under its row."""
    blank_repeats: bool = False
    """An empty first cell stands for the one above it."""


Part = Heading | Lines | Notes | Facts | Table


Value = str | int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A figure: data, and a Vega-Lite specification that draws them; `charts.py` makes both.

    A page draws it and has its data as a table; `--plots` writes it to files.
    """

    name: str
    """Of its files: small letters, digits and `-`."""
    title: str
    sentence: str
    """What it shows and how to read it."""
    headings: Mapping[str, str]
    """Of the fields that a reader of the data sees."""
    data: Sequence[Mapping[str, Value]]
    drawing: Mapping[str, Any]
    """The specification without data, title, width and config; its colours are variables of the
    page's style sheet, as `var(--blue)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backing:
    """What a page that is kept has beside the document: it need not be short."""

    answer: Sequence[str] = ()
    """The decisive figures in sentences; it comes first."""
    charts: Sequence[Chart] = ()
    parts: Sequence[Part] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """A report for people."""

    parts: Sequence[Part]
    conclusion: Sequence[Part] = ()
    """What was decided, the decisive part first: a page begins with it; a terminal ends with it in
    reverse, so that the decisive part is directly above the prompt."""
    backing: Callable[[], Backing] = Backing
    """Made only where a format shows it."""


Kind = Literal["text", "int", "float", "flag", "day", "time"]
"""What a column holds. flag: 1 is true and 0 is false; day and time: ISO 8601, a time in UTC; a
float in a column of `int` is rounded where it is written."""


class Rows(NamedTuple):
    """A report as a table for programs: one name and one meaning a column; None is unknown."""

    names: Sequence[str]
    rows: Sequence[Sequence[Value]]
    kinds: Sequence[Kind]

    def records(self) -> list[dict[str, Any]]:
        """Return each row as column → cell."""
        return [dict(zip(self.names, row, strict=True)) for row in self.rows]


T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Generic[T]):
    """One kind of report: what each kind of reader gets."""

    title: str
    """Of a page that has one."""
    document: Callable[[T, Page], Document]
    """For people: terminal, Markdown."""
    rows: Callable[[T], Rows]
    """For tables: CSV."""
    record: Callable[[T, Page], Any]
    """For programs: JSON; figures in base units."""


@dataclass(frozen=True, slots=True)
class Format:
    """How any report is written."""

    render: Callable[[Report[Any], Any, Page], str | bytes]
    """Writes a report of something for a page."""
    suffix: str | None = None
    """Of a file's name; it chooses the format where none is named."""
    packages: tuple[str, ...] = ()
    """That it needs, each with its extra in `frame.EXTRAS`."""
    is_binary: bool = False
    """It goes to a file or a pipe, and not to a terminal."""


def columns(*headings: str) -> tuple[Column, ...]:
    """Return columns by their headings: `>` before one for figures, `?` before that for spare."""
    return tuple(
        Column(each.lstrip("?>"), each.startswith((">", "?>")), is_spare=each.startswith("?"))
        for each in headings
    )


def reader_of(path: str) -> Callable[[Any], Value]:
    """Return a function that reads the value at `a.b.c`, made once for many rows."""
    first, _, rest = path.partition(".")
    read_first, steps = _reader_of_step(first), rest.split(".")
    read_rest = attrgetter(rest) if rest else None
    last_part: Any = None
    last_value: Value = None

    def read(of: Any) -> Value:
        nonlocal last_part, last_value
        value = part = read_first(of)
        if read_rest is not None and part is not None:
            if part is last_part:  # thousands of results have one model, one device
                return last_value
            try:
                value = read_rest(part)
            except AttributeError:
                value = _read_step_by_step(part, steps)
        # Nearly always: one look instead of four.
        found = value if type(value) in _PLAIN else _plain(value)
        if isinstance(part, Strict):  # what cannot change
            last_part, last_value = part, found
        return found

    return read


def _reader_of_step(name: str) -> Callable[[Any], Any]:
    read = attrgetter(name)
    return lambda of: of.get(name) if isinstance(of, dict) else read(of)


_PLAIN = (str, float, int, type(None))


def _read_step_by_step(of: Any, steps: Sequence[str]) -> Any:
    """Read what `attrgetter` cannot: keys of a dictionary, and nothing below what is unknown."""
    for step in steps:
        if of is None:
            return None
        of = of.get(step) if isinstance(of, dict) else getattr(of, step)
    return of


def _plain(value: Any) -> Value:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, Decimal):
        return float(value)
    found: Value = value.isoformat() if isinstance(value, date) else value
    return found


def name_and_path(column: str) -> tuple[str, str]:
    """Read `name=path`, or a path that ends in its name."""
    name, _, path = column.rpartition("=")
    return name or path.rpartition(".")[2], path


def rows_at(items: Iterable[Any], *columns: str) -> Rows:
    """Return a row for each item, with the columns that `name_and_path` reads.

    A column that holds no text ends in its kind: `train_usd=row.trained.cost.usd:float`.
    """
    parted = [each.partition(":") for each in columns]
    names, paths = zip(*(name_and_path(column) for column, _, _ in parted), strict=True)
    kinds = [cast(Kind, kind or "text") for _, _, kind in parted]
    readers = [reader_of(path) for path in paths]
    return Rows(names, [[read(item) for read in readers] for item in items], kinds)


_STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of control, format and surrogate characters, and of line breaks."""


_JOINERS = ("\u200c", "\u200d")
"""Of the format characters those that only join or part their neighbours, in emoji and scripts."""


def is_steering(character: str) -> bool:
    """Tell whether a character could steer a terminal or a page."""
    return unicodedata.category(character) in _STEERING and character not in _JOINERS


def one_line(text: str) -> str:
    """Return a text, which may come from anyone, on one line, with dots for what would steer."""
    line = " ".join(text.split())
    if line.isprintable():  # so it is nearly always, and no character steers
        return line
    return "".join("·" if is_steering(each) else each for each in line)
