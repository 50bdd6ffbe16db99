"""A comparison as Markdown: a table a case, what must be read beside it, and the gates."""

from collections.abc import Iterable, Sequence

from trnbench.reports.clean import escaped_markdown
from trnbench.reports.comparison.view import (
    HEADINGS,
    STATES,
    gate_lines,
    general_notes,
    notes_of,
    rows_of,
    sides_of,
    summary_of,
)
from trnbench.reports.document import Page
from trnbench.schema.comparison import CaseComparison, Comparison

RULE = "|---|--:|--:|--:|--:|---|"


def render(comparison: Comparison, _page: Page) -> str:
    """Return GitHub-flavoured tables and lists."""
    blocks = [f"**{escaped_markdown(summary_of(comparison))}**"]
    if comparison.gates:
        blocks.append(gates_table(comparison))
    for case in comparison.cases:
        blocks += [f"### {escaped_markdown(case.name)}", sides_list(case), case_table(case)]
        blocks += listed(notes_of(case))
    blocks += listed(general_notes(comparison))
    return "\n\n".join(blocks) + "\n"


def case_table(case: CaseComparison) -> str:
    """Return a case's rows as a table."""
    heads = ["metric", *HEADINGS[1:]]
    return "\n".join([row(heads), RULE, *(row(line.cells) for line in rows_of(case))])


def gates_table(comparison: Comparison) -> str:
    """Return the gates as a table."""
    lines = [row([STATES[state], gate, seen]) for state, gate, seen in gate_lines(comparison.gates)]
    return "\n".join([row(["", "gate", "seen"]), "|---|---|---|", *lines])


def sides_list(case: CaseComparison) -> str:
    """Return what each side is, as a list."""
    return "\n".join(f"- {label}: {escaped_markdown(text)}" for label, text in sides_of(case))


def listed(notes: Iterable[str]) -> list[str]:
    """Return notes as one list, or nothing where there are none."""
    lines = [f"- {escaped_markdown(note)}" for note in notes]
    return ["\n".join(lines)] if lines else []


def row(cells: Sequence[str]) -> str:
    """Return cells as a row of a table."""
    return f"| {' | '.join(escaped_markdown(cell) for cell in cells)} |"
