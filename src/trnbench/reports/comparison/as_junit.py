"""A comparison as JUnit XML: a suite a case, a test a gate, and a test a metric.

A gate that failed is a failure, one that could not be judged an error, one that is undecided is
skipped. A metric never fails: only a gate says what must not happen.

Source: the XML Schema of Jenkins' xUnit plugin, `junit-10.xsd` (read 2026-11), which the readers
of GitLab, GitHub's actions and Azure follow.
"""

import re
from collections.abc import Iterable
from xml.etree import ElementTree

from trnbench.reports.clean import one_line
from trnbench.reports.comparison.view import (
    say_evidence,
    say_launches,
    say_ratio,
    say_value,
    say_verdict,
)
from trnbench.reports.document import Page
from trnbench.schema.comparison import CaseComparison, Comparison, GateOutcome, MetricComparison

CLASS = "trnbench"

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, however it is written. Source: W3C, XML 1.0, section 2.2."""


def render(comparison: Comparison, _page: Page) -> str:
    """Return a document of test suites."""
    root = ElementTree.Element("testsuites", {"name": "trnbench compare"})
    for name in _suites(comparison):
        suite = ElementTree.SubElement(root, "testsuite", {"name": _clean(name)})
        for case in comparison.cases:
            if case.name == name:
                _add_properties(suite, case)
        for gate in comparison.gates:
            if gate.case == name:
                _add_gate(suite, gate)
        for case in comparison.cases:
            if case.name == name:
                _add_case(suite, case)
        _count(suite, [suite])
    _count(root, list(root))
    ElementTree.indent(root)
    declaration = '<?xml version="1.0" encoding="utf-8"?>\n'
    return declaration + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suites(comparison: Comparison) -> Iterable[str]:
    names = [case.name for case in comparison.cases] + [gate.case for gate in comparison.gates]
    return dict.fromkeys(names)


def _add_gate(suite: ElementTree.Element, gate: GateOutcome) -> None:
    test = _test(suite, f"{CLASS}.gates", gate.gate)
    told = {"message": _clean(say_evidence(gate))}
    if gate.state == "failed":
        ElementTree.SubElement(test, "failure", {**told, "type": "gate"}).text = _clean(
            f"{gate.gate}: {say_evidence(gate)}"
        )
    elif gate.state == "not_judged":
        ElementTree.SubElement(test, "error", {**told, "type": "not_judged"}).text = _clean(
            f"{say_evidence(gate)} {gate.advice or ''}"
        )
    elif gate.state == "undecided":
        why = f"undecided: {say_evidence(gate)} {gate.advice or ''}"
        ElementTree.SubElement(test, "skipped", {"message": _clean(why)})
    else:
        ElementTree.SubElement(test, "system-out").text = _clean(say_evidence(gate))


def _add_case(suite: ElementTree.Element, case: CaseComparison) -> None:
    for metric in case.metrics:
        test = _test(suite, f"{CLASS}.metrics", metric.metric)
        ElementTree.SubElement(test, "system-out").text = _clean(_said(metric))


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
            told = {"name": f"{label} {name}", "value": _clean(value)}
            ElementTree.SubElement(properties, "property", told)


def _said(metric: MetricComparison) -> str:
    base, cand = (say_value(metric.metric, side.value) for side in (metric.base, metric.cand))
    ratio = say_ratio(metric.ratio)
    return f"BASE {base}, CAND {cand}, ratio {ratio}: {say_verdict(metric)}: {metric.reason}"


def _test(suite: ElementTree.Element, group: str, name: str) -> ElementTree.Element:
    case = f"{group}.{suite.get('name')}"
    attributes = {"classname": case, "name": _clean(name), "time": "0"}
    return ElementTree.SubElement(suite, "testcase", attributes)


def _count(element: ElementTree.Element, suites: list[ElementTree.Element]) -> None:
    """Write how many tests there are, and how they ended; the root has no place for `skipped`."""
    names = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}
    for name, tag in names.items():
        if name != "skipped" or element.tag == "testsuite":
            element.set(name, str(sum(1 for suite in suites for _ in suite.iter(tag))))
    element.set("time", "0")


def _clean(text: str) -> str:
    return _NO_XML.sub("·", one_line(text))
