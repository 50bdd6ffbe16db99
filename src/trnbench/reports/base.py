"""What every report format is given, and what it answers: text, never a file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from trnbench.schema.result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the text is made for; formats that are files take no note of it."""

    width: int = 120
    """Columns of the terminal."""
    is_coloured: bool = False
    today: date | None = None
    """The day on which it is read, to tell how old prices are; None tells nothing of it."""


Render = Callable[[Sequence[Result], Page], str]
