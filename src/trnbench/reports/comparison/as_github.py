"""A comparison as a step summary of GitHub Actions: what was decided first, the rest folded away.

Source: GitHub Docs, "Workflow commands for GitHub Actions", "Adding a job summary": GitHub
flavoured Markdown of at most 1 MiB a step, past which nothing of it is shown (read 2026-11).
"""

from trnbench.reports.clean import escaped_markdown
from trnbench.reports.comparison.as_markdown import (
    case_table,
    gates_table,
    listed,
    sides_list,
)
from trnbench.reports.comparison.view import LABELS, general_notes, notes_of, say_value, summary_of
from trnbench.reports.document import Page
from trnbench.schema.comparison import CaseComparison, Comparison

MOST_BYTES = 900_000
"""Under GitHub's limit, with room for what other commands of the same step append."""

SHORTENED = "*The rest was too long for a step summary; other formats have all of it.*"


def render(comparison: Comparison, _page: Page) -> str:
    """Return Markdown that GitHub shows on the page of the run."""
    blocks = [f"## trnbench compare: {escaped_markdown(summary_of(comparison))}"]
    if comparison.gates:
        blocks.append(gates_table(comparison))
    for case in comparison.cases:
        blocks.append(f"### {escaped_markdown(case.name)}\n\n{case_table(case)}")
        blocks.append(
            _folded("What to read beside it", [sides_list(case), *listed(notes_of(case))])
        )
        blocks.append(_folded("Each launch", [_launches(case)]))
    blocks += listed(general_notes(comparison))
    return _shortened(blocks)


def _folded(title: str, blocks: list[str]) -> str:
    inside = "\n\n".join(blocks)
    return f"<details><summary>{title}</summary>\n\n{inside}\n\n</details>"


def _launches(case: CaseComparison) -> str:
    lines = []
    for metric in case.metrics:
        for label, side in (("BASE", metric.base), ("CAND", metric.cand)):
            if side.launches:
                told = ", ".join(say_value(metric.metric, value) for value in side.launches)
                lines.append(f"- {escaped_markdown(f'{LABELS[metric.metric]}, {label}: {told}')}")
    return "\n".join(lines) or "- none"


def _shortened(blocks: list[str]) -> str:
    """Leave out whole blocks from the end where there are too many."""
    kept, size = [], 0
    for block in blocks:
        size += len(block.encode(errors="replace")) + 2
        if size > MOST_BYTES:
            kept.append(SHORTENED)
            break
        kept.append(block)
    return "\n\n".join(kept) + "\n"
