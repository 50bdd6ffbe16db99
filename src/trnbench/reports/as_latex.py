r"""A document as LaTeX, for `\input` in a paper that has the packages booktabs and longtable.

Ten characters have a meaning; after `\\` and `\item` a bracket begins an option, two hyphens are a
dash. Source: The LaTeX Project, "LaTeX2e for authors" (read 2026-12).
"""

from collections.abc import Iterator, Sequence
from typing import Any

from trnbench.reports import document as doc

PREAMBLE = "% trnbench; the preamble needs: \\usepackage{booktabs,longtable}"

LONG = 30
"""Rows from which a table may break over pages."""
WIDE = 40
"""Characters from which a column of texts breaks its lines."""

_ESCAPED = str.maketrans(
    {
        **{each: f"\\{each}" for each in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "`": r"\textasciigrave{}",
        '"': r"\textquotedbl{}",
    }
)


def render(report: doc.Report[Any], of: Any, page: doc.Page) -> str:
    """Return what was decided, then the rest in order."""
    document: doc.Document = report.document(of, page)
    blocks = [PREAMBLE, *map(block, [*document.conclusion, *document.parts])]
    return "\n\n".join(filter(None, blocks)) + "\n"


def block(part: doc.Part) -> str:
    """Return one part; "" where it says nothing."""
    match part:
        case doc.Heading():
            text = escaped(f"{part.text} {part.beside}".strip())
            return f"\\subsection*{{{text}}}" if 0 < part.level < 3 else f"\\paragraph{{{text}}}"
        case doc.Table():
            return "\n".join([*_table(part), *_list(part.notes or ())])
        case doc.Facts():
            return "\n".join(_facts(part.rows))
        case doc.Notes():
            return "\n".join(_list(part.labelled))
        case _:
            return "\n".join(_list(part.texts))


def _table(table: doc.Table) -> Iterator[str]:
    rows = [[cell.text if isinstance(cell, doc.Cell) else cell for cell in r] for r in table.rows]
    kind = "longtable" if len(rows) > LONG else "tabular"
    yield f"\\begin{{{kind}}}{{{''.join(_alignments(table, rows))}}}"
    yield r"\toprule"
    yield _row([column.heading for column in table.columns])
    yield r"\midrule"
    if kind == "longtable":
        yield r"\endhead"
    yield from map(_row, rows)
    yield r"\bottomrule"
    yield f"\\end{{{kind}}}"


def _alignments(table: doc.Table, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for place, column in enumerate(table.columns):
        is_wide = any(len(row[place]) > WIDE for row in rows)
        yield "r" if column.is_figure else r"p{0.3\linewidth}" if is_wide else "l"


def _row(cells: Sequence[str]) -> str:
    return f"{' & '.join(map(escaped, cells))} \\\\"


def _facts(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    if rows:
        yield r"\begin{description}"
        yield from (f"\\item[{{{escaped(label)}}}] {escaped(text)}" for label, text in rows)
        yield r"\end{description}"


def _list(texts: Sequence[str]) -> Iterator[str]:
    if texts:
        yield r"\begin{itemize}"
        yield from (f"\\item {escaped(text)}" for text in texts)
        yield r"\end{itemize}"


def escaped(text: str) -> str:
    """Return a text that LaTeX typesets as it is."""
    line = doc.one_line(text).translate(_ESCAPED).replace("--", "-{}-").replace("--", "-{}-")
    return f"{{[}}{line[1:]}" if line.startswith("[") else line
