"""What tells the rows of one table of results apart: their runs, and the settings that differ."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from trnbench.reports import document as doc
from trnbench.schema.result import Result

T = TypeVar("T")

SETTINGS = (
    "run=run_id", "execution=compilation.execution", "micro_batch_size=workload.micro_batch_size",
    "optimizer=workload.optimizer", "recompute=workload.step.recompute",
    "loss_chunk_rows=workload.step.loss_chunk_rows", "adamw=workload.step.adamw",
    "document_length=workload.step.document_length", "lora rank=workload.step.lora.rank",
    "lora targets=workload.step.lora.targets", "expert_capacity=workload.step.expert_capacity",
    "layout=parallel.in_words", "torch=environment.versions.torch",
)  # fmt: skip
"""Columns of a result that its name does not have; the ones that every reader expects first."""

GENERAL = ("run", "execution")
"""Shown where they differ at all; the others where rows of one name differ in them."""

LAST_RESORTS = ("started=started_at", "case=case_id")
"""One after the other, where rows look the same even so."""


class Difference(NamedTuple):
    """A column that tells rows apart, with its cell for each."""

    heading: str
    cells: Sequence[str]


def differences(results: Sequence[Result], names: Sequence[tuple[str, ...]]) -> list[Difference]:
    """Return the columns that tell results of these names apart; none where the names do."""
    found = [
        difference for setting in SETTINGS if _differs(difference := _read(setting, results), names)
    ]
    for setting in LAST_RESORTS:
        looks = [*zip(names, *(each.cells for each in found), strict=True)]
        if len(set(looks)) == len(looks):
            break
        last = _read(setting, results)
        if _differs(last, looks):
            found.append(last)
    return found


def _differs(difference: Difference, names: Sequence[object]) -> bool:
    cells = set(difference.cells)
    if len(cells) == 1 or difference.heading in GENERAL:
        return len(cells) > 1
    return len(set(zip(names, difference.cells, strict=True))) > len(set(names))


def _read(setting: str, results: Sequence[Result]) -> Difference:
    heading, path = doc.name_and_path(setting)
    read = doc.reader_of(path)
    write: Callable[[doc.Value], str] = _day_and_minute if heading == "started" else _plain
    return Difference(heading, [write(read(result)) for result in results])


def _plain(value: doc.Value) -> str:
    return doc.UNKNOWN if value is None else str(value)


def _day_and_minute(value: doc.Value) -> str:
    return str(value)[:16].replace("T", " ")


# --- a table of them ------------------------------------------------------------------------------


Row = Sequence[doc.Cell | str]

NAMING = 2
"""Columns of a table of results that name a row: its model and its device. The last column is the
verdict."""


def _cell(place: int, difference: Difference) -> doc.Cell | str:
    return difference.cells[place]


def unfolded(
    columns: Sequence[doc.Column],
    rows: Sequence[Row],
    found: Sequence[Difference],
    marks: Sequence[str],
) -> doc.Table:
    """Return a table with differences as columns, the run as the first, and notes as the last."""
    runs = [each for each in found if each.heading == "run"]
    settings = [each for each in found if each.heading != "run"]
    noted = [Difference("notes", marks)] if any(marks) else []

    def inserted(row: Sequence[T], of: Callable[[Difference], T]) -> list[T]:
        before, named, after = map(of, runs), map(of, settings), map(of, noted)
        return [*before, *row[:NAMING], *named, *row[NAMING:], *after]

    return doc.Table(
        inserted(columns, lambda each: doc.Column(each.heading)),
        [inserted(row, partial(_cell, place)) for place, row in enumerate(rows)],
        is_even=True,
    )


def folded(
    columns: Sequence[doc.Column],
    rows: Sequence[Row],
    found: Sequence[Difference],
    marks: Sequence[str],
) -> doc.Table:
    """Return a table whose first column has all that names a row, and whose last has its notes."""
    made = []
    for place, (*cells, last) in enumerate(rows):
        named = [
            *map(str, cells[:NAMING]),
            *(f"{each.heading} {each.cells[place]}" for each in found),
        ]
        verdict = last if isinstance(last, doc.Cell) else doc.Cell(last)
        if marks[place]:
            verdict = doc.Cell(f"{verdict.text} [{marks[place]}]", verdict.style)
        made.append([", ".join(named), *cells[NAMING:], verdict])
    heading = ", ".join(column.heading for column in columns[:NAMING])
    return doc.Table([doc.Column(heading), *columns[NAMING:]], made, is_even=True)
