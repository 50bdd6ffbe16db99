"""A comparison for the tools of continuous integration: a step summary, JUnit XML, three trackers.

A tracker holds figures alone. Those that are not known are left out; what is doubtful is counted.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import get_args
from xml.etree import ElementTree

from trnbench import __version__
from trnbench.compare.metrics import COMPARABLES, Unit
from trnbench.reports.as_json import as_text
from trnbench.reports.as_markdown import block, bullets
from trnbench.reports.clean import escaped_markdown, one_line
from trnbench.reports.comparison import (
    LABELS,
    gates_of,
    general_notes,
    notes_of,
    say_evidence,
    say_launches,
    say_ratio,
    say_value,
    say_verdict,
    sides_of,
    summary_of,
    table_of,
)
from trnbench.reports.document import Page
from trnbench.schema.comparison import (
    CaseComparison,
    ComparedSide,
    Comparison,
    ComparisonVerdict,
    GateOutcome,
    GateState,
    MetricComparison,
    SideValue,
)
from trnbench.schema.result import Validity

# --- GitHub's step summary: what was decided first, the rest folded away -------------------------
# Source: GitHub Docs, "Workflow commands for GitHub Actions", "Adding a job summary": GitHub
# flavoured Markdown of at most 1 MiB a step, past which nothing of it is shown (read 2026-11).

MOST_BYTES = 900_000
"""Under GitHub's limit, with room for what other commands of the same step append."""

SHORTENED = "*The rest was too long for a step summary; other formats have all of it.*"


def as_github(comparison: Comparison, page: Page) -> str:
    """Return Markdown that GitHub shows on the page of the run."""
    blocks = [f"## trnbench compare: {escaped_markdown(summary_of(comparison))}"]
    if comparison.gates:
        blocks.append(block(gates_of(comparison)))
    for case in comparison.cases:
        blocks.append(f"### {escaped_markdown(case.name)}\n\n{block(table_of(case))}")
        blocks.append(
            _folded("What to read beside it", [block(sides_of(case)), bullets(notes_of(case))])
        )
        blocks.append(_folded("Each launch", [_launches(case)]))
    blocks.append(bullets(general_notes(comparison)))
    return _shortened(blocks)


def _folded(title: str, blocks: list[str]) -> str:
    inside = "\n\n".join(filter(None, blocks))
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
    for each in blocks:
        size += len(each.encode(errors="replace")) + 2
        if size > MOST_BYTES:
            kept.append(SHORTENED)
            break
        if each:
            kept.append(each)
    return "\n\n".join(kept) + "\n"


# --- JUnit XML: a suite a case, a test a gate, and a test a metric -------------------------------
# A gate that failed is a failure, one that could not be judged an error, one that is undecided is
# skipped. A metric never fails: only a gate says what must not happen.
# Source: the XML Schema of Jenkins' xUnit plugin, `junit-10.xsd` (read 2026-11), which the readers
# of GitLab, GitHub's actions and Azure follow.

CLASS = "trnbench"

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, however it is written. Source: W3C, XML 1.0, section 2.2."""


def as_junit(comparison: Comparison, page: Page) -> str:
    """Return a document of test suites."""
    root = ElementTree.Element("testsuites", {"name": "trnbench compare"})
    for name in _suites(comparison):
        suite = ElementTree.SubElement(root, "testsuite", {"name": _xml_text(name)})
        for case in comparison.cases:
            if case.name == name:
                _add_properties(suite, case)
        for gate in comparison.gates:
            if gate.case == name:
                _add_gate(suite, gate)
        for case in comparison.cases:
            if case.name == name:
                _add_case(suite, case)
        _write_counts(suite, [suite])
    _write_counts(root, list(root))
    ElementTree.indent(root)
    declaration = '<?xml version="1.0" encoding="utf-8"?>\n'
    return declaration + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suites(comparison: Comparison) -> Iterable[str]:
    names = [case.name for case in comparison.cases] + [gate.case for gate in comparison.gates]
    return dict.fromkeys(names)


def _add_gate(suite: ElementTree.Element, gate: GateOutcome) -> None:
    test = _test(suite, f"{CLASS}.gates", gate.gate)
    told = {"message": _xml_text(say_evidence(gate))}
    if gate.state == "failed":
        ElementTree.SubElement(test, "failure", {**told, "type": "gate"}).text = _xml_text(
            f"{gate.gate}: {say_evidence(gate)}"
        )
    elif gate.state == "not_judged":
        ElementTree.SubElement(test, "error", {**told, "type": "not_judged"}).text = _xml_text(
            f"{say_evidence(gate)} {gate.advice or ''}"
        )
    elif gate.state == "undecided":
        why = f"undecided: {say_evidence(gate)} {gate.advice or ''}"
        ElementTree.SubElement(test, "skipped", {"message": _xml_text(why)})
    else:
        ElementTree.SubElement(test, "system-out").text = _xml_text(say_evidence(gate))


def _add_case(suite: ElementTree.Element, case: CaseComparison) -> None:
    for metric in case.metrics:
        test = _test(suite, f"{CLASS}.metrics", metric.metric)
        ElementTree.SubElement(test, "system-out").text = _xml_text(_metric_text(metric))


def _add_properties(suite: ElementTree.Element, case: CaseComparison) -> None:
    """Say of both sides how many launches count, and what is doubtful or wrong about them."""
    properties = ElementTree.SubElement(suite, "properties")
    for label, side in (("BASE", case.base), ("CAND", case.cand)):
        doubts = dict.fromkeys(doubt for launch in side.launches for doubt in launch.doubts)
        standings = dict.fromkeys(launch.standing for launch in side.launches)
        for name, value in (
            ("launches", say_launches(side)),
            ("standing", ", ".join(standings)),
            ("doubts", "; ".join(doubts)),
        ):
            told = {"name": f"{label} {name}", "value": _xml_text(value)}
            ElementTree.SubElement(properties, "property", told)


def _metric_text(metric: MetricComparison) -> str:
    base, cand = (say_value(metric.metric, side.value) for side in (metric.base, metric.cand))
    ratio = say_ratio(metric.ratio)
    return f"BASE {base}, CAND {cand}, ratio {ratio}: {say_verdict(metric)}: {metric.reason}"


def _test(suite: ElementTree.Element, group: str, name: str) -> ElementTree.Element:
    case = f"{group}.{suite.get('name')}"
    attributes = {"classname": case, "name": _xml_text(name), "time": "0"}
    return ElementTree.SubElement(suite, "testcase", attributes)


def _write_counts(element: ElementTree.Element, suites: list[ElementTree.Element]) -> None:
    """Write how many tests there are, and how they ended; the root has no place for `skipped`."""
    names = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}
    for name, tag in names.items():
        if name != "skipped" or element.tag == "testsuite":
            element.set(name, str(sum(1 for suite in suites for _ in suite.iter(tag))))
    element.set("time", "0")


def _xml_text(text: str) -> str:
    return _NO_XML.sub("·", one_line(text))


# --- benchmark-action/github-action-benchmark, `customSmallerIsBetter` ---------------------------
# A file of that action's is of figures that are all better smaller, or all better larger. These are
# the smaller ones: the time of a step says what tokens a second would, turned over.
# Source: the action's README, "customSmallerIsBetter", and the type `BenchmarkResult` of its
# `src/extract.ts` (read 2026-11): name, unit and value, with `range` and `extra` as texts.

TRACKER_UNITS: dict[Unit, str] = {
    "seconds": "s",
    "bytes": "bytes",
    "usd": "USD",
    "tokens": "tokens",
}


def as_github_action_benchmark(comparison: Comparison, page: Page) -> str:
    """Return a list of entries, one for each figure of CAND's that is better smaller."""
    entries = [
        _benchmark(case, metric)
        for case in comparison.cases
        for metric in case.metrics
        if metric.better == "lower" and metric.cand.value is not None
    ]
    return as_text(entries)


def _benchmark(case: CaseComparison, metric: MetricComparison) -> dict[str, str | float | None]:
    side = metric.cand
    entry: dict[str, str | float | None] = {
        "name": f"{case.name}: {metric.metric}",
        "unit": TRACKER_UNITS[COMPARABLES[metric.metric].unit],
        "value": side.value,
        "extra": f"CAND / BASE {say_ratio(metric.ratio)}: {say_verdict(metric)}\n"
        f"{say_launches(case.cand)}",
    }
    if side.low is not None and side.high is not None:
        entry["range"] = f"± {(side.high - side.low) / 2:.6g}"
    return entry


# --- Bencher Metric Format ------------------------------------------------------------------------
# Source: Bencher, "Bencher Metric Format (BMF)", bencher.dev/docs/reference/bencher-metric-format
# and its JSON Schema, bencher.dev/bmf.json (read 2026-11): benchmark, measure, and a value with a
# lower and an upper one; it has no null, and no place for a state.


def as_bmf(comparison: Comparison, page: Page) -> str:
    """Return a document of each case's measures."""
    document = {
        case.name: {
            metric.metric: _bmf_value(metric.cand)
            for metric in case.metrics
            if metric.cand.value is not None
        }
        | _bmf_standings(case.cand)
        for case in comparison.cases
    }
    return as_text(document)


def _bmf_standings(side: ComparedSide) -> dict[str, dict[str, float | None]]:
    doubtful = sum(launch.standing == "doubtful" for launch in side.launches)
    unusable = len(side.launches) - side.used
    return {"doubtful_launches": {"value": doubtful}, "unusable_launches": {"value": unusable}}


def _bmf_value(side: SideValue) -> dict[str, float | None]:
    found = {"value": side.value, "lower_value": side.low, "upper_value": side.high}
    return {name: value for name, value in found.items() if value is not None}


# --- OpenMetrics text ---------------------------------------------------------------------------
# Source: OpenMetrics 1.0, github.com/prometheus/OpenMetrics, specification/OpenMetrics.md (read
# 2026-11): a family's name ends in its unit, a state set has a label of the family's own name, and
# the text ends in `# EOF`.

PREFIX = "trnbench"
UNITS = ("seconds", "bytes", "ratio")
"""Units that the end of a name tells, as the specification wants them."""


def as_openmetrics(comparison: Comparison, page: Page) -> str:
    """Return one exposition; a figure that is not known has no line."""
    lines = [
        f"# TYPE {PREFIX}_comparison info",
        f"# HELP {PREFIX}_comparison What was compared.",
        _sample(f"{PREFIX}_comparison_info", {"version": __version__}, 1),
    ]
    for name in COMPARABLES:
        lines += _figures(comparison, name)
    lines += _launch_counts(comparison)
    lines += _ratios(comparison)
    lines += _verdicts(comparison)
    lines += _gates(comparison)
    return "\n".join([*lines, "# EOF"]) + "\n"


def _figures(comparison: Comparison, name: str) -> Iterable[str]:
    family = f"{PREFIX}_{name}"
    samples = [
        _sample(family, {"case": case.name, "side": side, "estimate": which}, value)
        for case in comparison.cases
        for metric, side, found in _side_values(case)
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


def _launch_counts(comparison: Comparison) -> Iterable[str]:
    family = f"{PREFIX}_launches"
    if not comparison.cases:
        return
    yield f"# TYPE {family} gauge"
    yield f"# HELP {family} Launches of a side by their standing; sound and doubtful ones count."
    for case in comparison.cases:
        for side, found in (("base", case.base), ("cand", case.cand)):
            for standing in get_args(Validity):
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


def _side_values(case: CaseComparison) -> Iterable[tuple[MetricComparison, str, SideValue]]:
    """Yield every figure of a case with the name of its side."""
    for metric in case.metrics:
        yield metric, "base", metric.base
        yield metric, "cand", metric.cand


FORMATS: Mapping[str, Callable[[Comparison, Page], str]] = {
    "github": as_github,
    "junit": as_junit,
    "github-action-benchmark": as_github_action_benchmark,
    "bmf": as_bmf,
    "openmetrics": as_openmetrics,
}
