"""A comparison for the tools of continuous integration: a step summary, JUnit XML, three trackers.

A tracker holds figures alone: unknown ones are left out, and doubtful launches are counted.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import get_args
from xml.etree import ElementTree

from trnbench import __version__
from trnbench.compare.metrics import COMPARABLES, Unit
from trnbench.reports import comparison as view
from trnbench.reports.as_json import as_text
from trnbench.reports.as_markdown import block, bullets, escaped_markdown
from trnbench.reports.document import Page, one_line
from trnbench.schema import comparison as schema
from trnbench.schema.result import Validity

# --- GitHub's step summary: what was decided first, the rest folded away -------------------------
# Source: GitHub Docs, "Workflow commands for GitHub Actions", "Adding a job summary": GitHub
# flavoured Markdown of at most 1 MiB a step, past which nothing of it is shown (read 2026-11).

MOST_BYTES = 900_000
"""Under GitHub's limit, with room for what other commands of the same step append."""

SHORTENED = "*The rest was too long for a step summary; other formats have all of it.*"


def as_github(comparison: schema.Comparison, page: Page) -> str:
    """Return Markdown that GitHub shows on the page of the run."""
    blocks = [f"## trnbench compare: {escaped_markdown(view.summary_of(comparison))}"]
    if comparison.gates:
        blocks.append(block(view.gates_of(comparison)))
    for case in comparison.cases:
        beside = [block(view.sides_of(case)), bullets(view.notes_of(case))]
        blocks += [
            f"### {escaped_markdown(case.name)}\n\n{block(view.table_of(case))}",
            _folded("What to read beside it", beside),
            _folded("Each launch", [bullets([*_launches(case)]) or "- none"]),
        ]
    blocks.append(bullets(view.general_notes(comparison)))
    return _shortened(blocks)


def _folded(title: str, blocks: list[str]) -> str:
    inside = "\n\n".join(filter(None, blocks))
    return f"<details><summary>{title}</summary>\n\n{inside}\n\n</details>"


def _launches(case: schema.CaseComparison) -> Iterator[str]:
    for metric in case.metrics:
        for label, side in (("BASE", metric.base), ("CAND", metric.cand)):
            if side.launches:
                figures = ", ".join(view.say_value(metric.metric, value) for value in side.launches)
                yield f"{COMPARABLES[metric.metric].label}, {label}: {figures}"


def _shortened(blocks: list[str]) -> str:
    """Leave out whole blocks from the end where there are too many."""
    kept: list[str] = []
    size = 0
    for each in filter(None, blocks):
        size += len(each.encode(errors="replace")) + 2
        if size > MOST_BYTES:
            kept.append(SHORTENED)
            break
        kept.append(each)
    return "\n\n".join(kept) + "\n"


# --- JUnit XML: a suite a case, a test a gate, and a test a metric -------------------------------
# A gate that failed is a failure, one that could not be judged an error, one that is undecided is
# skipped. A metric never fails: only a gate says what must not happen.
# Source: the XML Schema of Jenkins' xUnit plugin, `junit-10.xsd` (read 2026-11), which the readers
# of GitLab, GitHub's actions and Azure follow.

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, however it is written. Source: W3C, XML 1.0, section 2.2."""


def as_junit(comparison: schema.Comparison, page: Page) -> str:
    """Return a document of test suites."""
    root = ElementTree.Element("testsuites", {"name": "trnbench compare"})
    names = [case.name for case in comparison.cases] + [gate.case for gate in comparison.gates]
    for name in dict.fromkeys(names):
        suite = ElementTree.SubElement(root, "testsuite", {"name": _xml_text(name)})
        cases = [case for case in comparison.cases if case.name == name]
        for case in cases:
            _add_properties(suite, case)
        for gate in comparison.gates:
            if gate.case == name:
                _add_gate(suite, gate)
        for metric in (metric for case in cases for metric in case.metrics):
            test = _add_test(suite, "metrics", metric.metric)
            _add(test, "system-out", _say_metric(metric))
        _write_counts(suite)
    _write_counts(root)
    ElementTree.indent(root)
    declaration = '<?xml version="1.0" encoding="utf-8"?>\n'
    return declaration + ElementTree.tostring(root, encoding="unicode") + "\n"


def _add_properties(suite: ElementTree.Element, case: schema.CaseComparison) -> None:
    """Say of both sides how many launches count, and what is doubtful or wrong about them."""
    properties = ElementTree.SubElement(suite, "properties")
    for label, side in (("BASE", case.base), ("CAND", case.cand)):
        doubts = dict.fromkeys(doubt for launch in side.launches for doubt in launch.doubts)
        standings = dict.fromkeys(launch.standing for launch in side.launches)
        for name, value in (
            ("launches", view.say_launches(side)),
            ("standing", ", ".join(standings)),
            ("doubts", "; ".join(doubts)),
        ):
            _add(properties, "property", name=f"{label} {name}", value=value)


def _add_gate(suite: ElementTree.Element, gate: schema.GateOutcome) -> None:
    test = _add_test(suite, "gates", gate.gate)
    seen, advice = view.say_evidence(gate), gate.advice or ""
    match gate.state:
        case "passed":
            _add(test, "system-out", seen)
        case "failed":
            _add(test, "failure", f"{gate.gate}: {seen}", message=seen, type="gate")
        case "not_judged":
            _add(test, "error", f"{seen} {advice}", message=seen, type="not_judged")
        case "undecided":
            _add(test, "skipped", message=f"undecided: {seen} {advice}")


def _say_metric(metric: schema.MetricComparison) -> str:
    base, cand = (view.say_value(metric.metric, side.value) for side in (metric.base, metric.cand))
    ratio = view.say_ratio(metric.ratio)
    return f"BASE {base}, CAND {cand}, ratio {ratio}: {view.say_verdict(metric)}: {metric.reason}"


def _add_test(suite: ElementTree.Element, group: str, name: str) -> ElementTree.Element:
    classname = f"trnbench.{group}.{suite.get('name')}"
    return _add(suite, "testcase", classname=classname, name=name, time="0")


def _add(
    parent: ElementTree.Element, tag: str, text: str | None = None, **attributes: str
) -> ElementTree.Element:
    """Add an element, its texts on one line and without what XML cannot hold."""
    safe = {name: _xml_text(value) for name, value in attributes.items()}
    element = ElementTree.SubElement(parent, tag, safe)
    element.text = None if text is None else _xml_text(text)
    return element


def _write_counts(element: ElementTree.Element) -> None:
    """Write how many tests there are, and how they ended; the root has no place for `skipped`."""
    names = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}
    for name, tag in names.items():
        if name != "skipped" or element.tag == "testsuite":
            element.set(name, str(sum(1 for _ in element.iter(tag))))
    element.set("time", "0")


def _xml_text(text: str) -> str:
    return _NO_XML.sub("·", one_line(text))


# --- benchmark-action/github-action-benchmark, `customSmallerIsBetter` ---------------------------
# A file of that action's is of figures that are all better smaller, or all better larger. These are
# the smaller ones: the time of a step says what tokens a second would, turned over.
# Source: the action's README, "customSmallerIsBetter", and the type `BenchmarkResult` of its
# `src/extract.ts` (read 2026-11): name, unit and value, with `range` and `extra` as texts.

TRACKER_UNITS: dict[Unit, str] = {
    "seconds": "s", "bytes": "bytes", "usd": "USD", "tokens": "tokens",
}  # fmt: skip


def _figure(metric: schema.MetricComparison, value: float) -> float:
    """Return a figure; bytes are whole, and a mean of launches is rounded to them."""
    is_bytes = COMPARABLES[metric.metric].unit == "bytes"
    return round(value) if is_bytes else value


def as_github_action_benchmark(comparison: schema.Comparison, page: Page) -> str:
    """Return a list of entries, one for each figure of CAND's that is better smaller."""
    entries = [
        _benchmark(case, metric)
        for case in comparison.cases
        for metric in case.metrics
        if metric.better == "lower" and metric.cand.value is not None
    ]
    return as_text(entries)


def _benchmark(
    case: schema.CaseComparison, metric: schema.MetricComparison
) -> dict[str, str | float | None]:
    side = metric.cand
    entry: dict[str, str | float | None] = {
        "name": f"{case.name}: {metric.metric}",
        "unit": TRACKER_UNITS[COMPARABLES[metric.metric].unit],
        "value": None if side.value is None else _figure(metric, side.value),
        "extra": f"CAND / BASE {view.say_ratio(metric.ratio)}: {view.say_verdict(metric)}\n"
        f"{view.say_launches(case.cand)}",
    }
    if side.low is not None and side.high is not None:
        entry["range"] = f"± {(side.high - side.low) / 2:.6g}"
    return entry


# --- Bencher Metric Format ------------------------------------------------------------------------
# Source: Bencher, "Bencher Metric Format (BMF)", bencher.dev/docs/reference/bencher-metric-format
# and its JSON Schema, bencher.dev/bmf.json (read 2026-11): benchmark, measure, and a value with a
# lower and an upper one; it has no null, and no place for a state.


def as_bmf(comparison: schema.Comparison, page: Page) -> str:
    """Return a document of each case's measures."""
    return as_text({case.name: _bmf_measures(case) for case in comparison.cases})


def _bmf_measures(case: schema.CaseComparison) -> dict[str, dict[str, float]]:
    measures = {}
    for metric in case.metrics:
        if metric.cand.value is not None:
            side = metric.cand
            ends = {"value": side.value, "lower_value": side.low, "upper_value": side.high}
            known = {
                name: _figure(metric, value) for name, value in ends.items() if value is not None
            }
            measures[metric.metric] = known
    doubtful = sum(launch.standing == "doubtful" for launch in case.cand.launches)
    measures["doubtful_launches"] = {"value": doubtful}
    measures["unusable_launches"] = {"value": len(case.cand.launches) - case.cand.used}
    return measures


# --- OpenMetrics text ---------------------------------------------------------------------------
# Source: OpenMetrics 1.0, github.com/prometheus/OpenMetrics, specification/OpenMetrics.md (read
# 2026-11): a family's name ends in its unit, a state set has a label of the family's own name, and
# the text ends in `# EOF`.

UNITS = ("seconds", "bytes", "ratio")
"""Units that the end of a name tells, as the specification wants them."""

FIGURE = "Geometric mean over the launches of a side, and its 95 % interval."
FAMILIES = {
    "comparison": ("info", "What was compared."),
    **dict.fromkeys(COMPARABLES, ("gauge", FIGURE)),
    "launches": ("gauge", "Launches of a side by their standing; sound and doubtful ones count."),
    "comparison_ratio": ("gauge", "CAND / BASE, and its 95 % interval."),
    "verdict": ("stateset", "What can be said of CAND against BASE."),
    "gate": ("stateset", "What became of each gate on each case."),
}
"""Each family's type and meaning, in the order of the text."""

Labels = dict[str, str]
Samples = Iterator[tuple[str, Labels, float | None]]
"""Each with its family; None is unknown."""


def as_openmetrics(comparison: schema.Comparison, page: Page) -> str:
    """Return one exposition; an unknown figure has no line, nor has a family without figures."""
    samples: dict[str, list[tuple[Labels, float]]] = {name: [] for name in FAMILIES}
    for name, labels, value in _samples(comparison):
        if value is not None:
            samples[name].append((labels, value))
    lines = []
    for name, (kind, meaning) in FAMILIES.items():
        family, unit = f"trnbench_{name}", name.rpartition("_")[2]
        if samples[name]:
            lines.append(f"# TYPE {family} {kind}")
            lines += [f"# UNIT {family} {unit}"] if unit in UNITS else []
            lines.append(f"# HELP {family} {meaning}")
        for labels, value in samples[name]:
            texts = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
            lines.append(f"{family}{'_info' if kind == 'info' else ''}{{{texts}}} {float(value)!r}")
    return "\n".join([*lines, "# EOF"]) + "\n"


def _samples(comparison: schema.Comparison) -> Samples:
    yield "comparison", {"version": __version__}, 1
    for case in comparison.cases:
        of_case = {"case": case.name}
        for side, compared in (("base", case.base), ("cand", case.cand)):
            standings = [launch.standing for launch in compared.launches]
            for standing in get_args(Validity):
                labels = {**of_case, "side": side, "standing": standing}
                yield "launches", labels, standings.count(standing)
        for metric in case.metrics:
            of_metric = {**of_case, "metric": metric.metric}
            yield from _estimate(metric.metric, {**of_case, "side": "base"}, metric.base)
            yield from _estimate(metric.metric, {**of_case, "side": "cand"}, metric.cand)
            yield from _estimate("comparison_ratio", of_metric, metric.ratio)
            yield from _states(
                "verdict", of_metric, get_args(schema.ComparisonVerdict), metric.verdict
            )
    gates = {(gate.case, gate.gate): gate for gate in comparison.gates}
    for gate in gates.values():  # the same gate written twice is one series
        labels = {"case": gate.case, "gate": gate.gate}
        yield from _states("gate", labels, get_args(schema.GateState), gate.state)


def _estimate(family: str, labels: Labels, found: schema.SideValue | schema.Ratio) -> Samples:
    ends = {"value": found.value, "ci95_low": found.low, "ci95_high": found.high}
    for which, value in ends.items():
        yield family, {**labels, "estimate": which}, value


def _states(family: str, labels: Labels, states: Iterable[str], held: str) -> Samples:
    """Yield a sample for each state: 1 for the one that holds."""
    for state in states:
        yield family, {**labels, f"trnbench_{family}": state}, state == held


def _escaped(text: str) -> str:
    return one_line(text).replace("\\", "\\\\").replace('"', '\\"')


FORMATS: Mapping[str, Callable[[schema.Comparison, Page], str]] = {
    "github": as_github,
    "junit": as_junit,
    "github-action-benchmark": as_github_action_benchmark,
    "bmf": as_bmf,
    "openmetrics": as_openmetrics,
}
