"""A comparison as CSV: a row for each metric of each case, safe to open in a spreadsheet."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass

from trnbench.reports.as_csv import safe
from trnbench.reports.columns import Cell
from trnbench.reports.document import Page
from trnbench.schema.comparison import CaseComparison, Comparison, MetricComparison

Read = Callable[[Comparison, CaseComparison, MetricComparison], Cell]


@dataclass(frozen=True, slots=True)
class Column:
    """One named figure or text; None is unknown."""

    name: str
    meaning: str
    read: Read


def _joined(texts: list[str]) -> str | None:
    return "; ".join(texts) or None


COLUMNS: tuple[Column, ...] = (
    Column(
        "case", "model, batch and precision; no two cases have one name", lambda _, c, m: c.name
    ),
    Column("metric", "what is compared", lambda _, c, m: m.metric),
    Column("better", "which of two values is better", lambda _, c, m: m.better),
    Column("base", "geometric mean over BASE's launches", lambda _, c, m: m.base.value),
    Column("base_ci95_low", "lower end of its 95 % interval", lambda _, c, m: m.base.low),
    Column("base_ci95_high", "upper end of its 95 % interval", lambda _, c, m: m.base.high),
    Column("base_launches", "launches that it rests on", lambda _, c, m: len(m.base.launches)),
    Column("cand", "geometric mean over CAND's launches", lambda _, c, m: m.cand.value),
    Column("cand_ci95_low", "lower end of its 95 % interval", lambda _, c, m: m.cand.low),
    Column("cand_ci95_high", "upper end of its 95 % interval", lambda _, c, m: m.cand.high),
    Column("cand_launches", "launches that it rests on", lambda _, c, m: len(m.cand.launches)),
    Column("ratio", "cand / base", lambda _, c, m: m.ratio.value),
    Column("ratio_ci95_low", "lower end of its 95 % interval", lambda _, c, m: m.ratio.low),
    Column("ratio_ci95_high", "upper end of its 95 % interval", lambda _, c, m: m.ratio.high),
    Column("verdict", "better, worse, same, cannot_tell", lambda _, c, m: m.verdict),
    Column("verdict_reason", "why", lambda _, c, m: m.reason),
    Column("margin", "the relative change that does not matter", lambda x, c, m: x.margin),
    Column(
        "least_change",
        "the least relative change that would have been found 95 times in 100",
        lambda _, c, m: m.ratio.least_change,
    ),
    Column(
        "launches_needed",
        "launches a side that tell a change of the margin's size from none",
        lambda _, c, m: m.ratio.launches_needed,
    ),
    Column("method", "where the spread is from", lambda _, c, m: m.ratio.method),
    Column(
        "launch_deviation",
        "relative standard deviation between launches",
        lambda _, c, m: m.ratio.launch_deviation,
    ),
    Column("p_value", "two-sided, for no difference", lambda _, c, m: m.ratio.p_value),
    Column("p_adjusted", "the same, corrected", lambda _, c, m: m.ratio.p_adjusted),
    Column("correction", "by which", lambda x, c, m: x.correction),
    Column(
        "permutation_p",
        "the same by exact permutation of the launches",
        lambda _, c, m: m.ratio.permutation_p,
    ),
    Column(
        "break_even_usd_per_hour",
        "rate for CAND's instance at which a token costs the same",
        lambda _, c, m: c.break_even.usd_per_hour,
    ),
    Column(
        "break_even_tokens_per_second",
        "speed of CAND at which, at the prices that are paid, a token costs the same",
        lambda _, c, m: c.break_even.tokens_per_second,
    ),
    Column(
        "differences",
        "in what the sides differ, beside what is measured",
        lambda _, c, m: _joined(
            [f"{d.key}: {d.base} / {d.cand} ({d.kind})" for d in c.differences]
        ),
    ),
    Column("notes", "what must be read beside it", lambda _, c, m: _joined(list(c.notes))),
)


def render(comparison: Comparison, _page: Page) -> str:
    """Return a header and a row for each metric of each case; an unknown figure is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in COLUMNS])
    for case in comparison.cases:
        for metric in case.metrics:
            writer.writerow([safe(column.read(comparison, case, metric)) for column in COLUMNS])
    return text.getvalue()


def describe_columns() -> str:
    """Return the column set as a Markdown table."""
    lines = ["| column | meaning |", "|---|---|"]
    lines += [f"| `{column.name}` | {column.meaning} |" for column in COLUMNS]
    return "\n".join(lines) + "\n"
