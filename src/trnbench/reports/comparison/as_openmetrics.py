"""A comparison as OpenMetrics text: both sides' figures, the ratios, the verdicts and the gates.

Source: OpenMetrics 1.0, github.com/prometheus/OpenMetrics, specification/OpenMetrics.md (read
2026-11): a family's name ends in its unit, a state set has a label of the family's own name, and
the text ends in `# EOF`.
"""

from collections.abc import Iterable, Mapping
from typing import get_args

from trnbench import __version__
from trnbench.compare.metrics import COMPARABLES
from trnbench.reports.clean import one_line
from trnbench.reports.comparison.view import side_values
from trnbench.reports.document import Page
from trnbench.schema.comparison import Comparison, ComparisonVerdict, GateState
from trnbench.schema.result import Standing

PREFIX = "trnbench"
UNITS = ("seconds", "bytes", "ratio")
"""Units that the end of a name tells, as the specification wants them."""


def render(comparison: Comparison, _page: Page) -> str:
    """Return one exposition; a figure that is not known has no line."""
    lines = [
        f"# TYPE {PREFIX}_comparison info",
        f"# HELP {PREFIX}_comparison What was compared.",
        _sample(f"{PREFIX}_comparison_info", {"version": __version__}, 1),
    ]
    for name in COMPARABLES:
        lines += _figures(comparison, name)
    lines += _launches(comparison)
    lines += _ratios(comparison)
    lines += _verdicts(comparison)
    lines += _gates(comparison)
    return "\n".join([*lines, "# EOF"]) + "\n"


def _figures(comparison: Comparison, name: str) -> Iterable[str]:
    family = f"{PREFIX}_{name}"
    samples = [
        _sample(family, {"case": case.name, "side": side, "estimate": which}, value)
        for case in comparison.cases
        for metric, side, found in side_values(case)
        if metric.metric == name
        for which, value in (
            ("value", found.value),
            ("ci95_low", found.low),
            ("ci95_high", found.high),
        )
        if value is not None
    ]
    if samples:
        yield f"# TYPE {family} gauge"
        unit = name.rpartition("_")[2]
        if unit in UNITS:
            yield f"# UNIT {family} {unit}"
        yield f"# HELP {family} Geometric mean over the launches of a side, and its 95 % interval."
        yield from samples


def _launches(comparison: Comparison) -> Iterable[str]:
    family = f"{PREFIX}_launches"
    if not comparison.cases:
        return
    yield f"# TYPE {family} gauge"
    yield f"# HELP {family} Launches of a side by their standing; sound and doubtful ones count."
    for case in comparison.cases:
        for side, found in (("base", case.base), ("cand", case.cand)):
            for standing in get_args(Standing):
                count = sum(launch.standing == standing for launch in found.launches)
                labels = {"case": case.name, "side": side, "standing": standing}
                yield _sample(family, labels, count)


def _ratios(comparison: Comparison) -> Iterable[str]:
    family = f"{PREFIX}_comparison_ratio"
    samples = [
        _sample(family, {"case": case.name, "metric": metric.metric, "estimate": which}, value)
        for case in comparison.cases
        for metric in case.metrics
        for which, value in (
            ("value", metric.ratio.value),
            ("ci95_low", metric.ratio.low),
            ("ci95_high", metric.ratio.high),
        )
        if value is not None
    ]
    if samples:
        yield f"# TYPE {family} gauge"
        yield f"# UNIT {family} ratio"
        yield f"# HELP {family} CAND / BASE, and its 95 % interval."
        yield from samples


def _verdicts(comparison: Comparison) -> Iterable[str]:
    family = f"{PREFIX}_verdict"
    yield f"# TYPE {family} stateset"
    yield f"# HELP {family} What can be said of CAND against BASE."
    for case in comparison.cases:
        for metric in case.metrics:
            for state in get_args(ComparisonVerdict):
                labels = {"case": case.name, "metric": metric.metric, family: state}
                yield _sample(family, labels, metric.verdict == state)


def _gates(comparison: Comparison) -> Iterable[str]:
    family = f"{PREFIX}_gate"
    if not comparison.gates:
        return
    yield f"# TYPE {family} stateset"
    yield f"# HELP {family} What became of each gate on each case."
    seen: set[tuple[str, str]] = set()
    for gate in comparison.gates:
        if (gate.case, gate.gate) in seen:
            continue  # the same gate written twice: one series
        seen.add((gate.case, gate.gate))
        for state in get_args(GateState):
            labels = {"case": gate.case, "gate": gate.gate, family: state}
            yield _sample(family, labels, gate.state == state)


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{told}}} {float(value)!r}"


def _escaped(text: str) -> str:
    return one_line(text).replace("\\", "\\\\").replace('"', '\\"')
