"""A document as GitHub-flavoured Markdown."""

from collections.abc import Iterator, Sequence
from typing import Any

from trnbench.reports import document as doc


def render(report: doc.Report[Any], of: Any, page: doc.Page) -> str:
    """Return what was decided, then the rest in order."""
    document: doc.Document = report.document(of, page)
    return markdown([*document.conclusion, *document.parts])


def markdown(parts: Sequence[doc.Part]) -> str:
    """Return parts with a blank line between two."""
    blocks = (block(part) for part in parts)
    return "\n\n".join(each for each in blocks if each) + "\n"


def block(part: doc.Part) -> str:
    """Return one part; "" where it says nothing."""
    match part:
        case doc.Heading():
            text = escaped_markdown(f"{part.text} {part.beside}")
            return f"{'#' * part.level} {text}" if part.level else f"**{text}**"
        case doc.Table():
            return "\n".join(_table(part))
        case doc.Facts():
            labelled = (f"{escaped_markdown(n)}: " if n else "" for n, _ in part.rows)
            facts = zip(labelled, part.rows, strict=True)
            return "\n".join(f"- {label}{escaped_markdown(text)}" for label, (_, text) in facts)
        case doc.Notes():
            return bullets(part.labelled)
        case doc.Lines():
            return bullets(part.texts)


def bullets(texts: Sequence[str]) -> str:
    """Return texts as a list."""
    return "\n".join(f"- {escaped_markdown(text)}" for text in texts)


def _table(table: doc.Table) -> Iterator[str]:
    yield _row([column.heading for column in table.columns])
    yield f"|{'|'.join('--:' if column.is_figure else '---' for column in table.columns)}|"
    for row in table.rows:
        yield _row([cell.text if isinstance(cell, doc.Cell) else cell for cell in row])
    if table.notes is not None:
        yield from ("", *(f"- {escaped_markdown(note)}" for note in table.notes))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(escaped_markdown, cells))} |"


def escaped_markdown(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    text = doc.one_line(text).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for character in "|`*_[]$~":
        text = text.replace(character, f"\\{character}")
    return text
