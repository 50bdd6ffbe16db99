"""Noise floors to terminal, Markdown and JSON: how the same work differs, and what gates cost."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from trnbench.analysis.spread import Deviation
from trnbench.compare.noise import GateCost, NoiseFloor
from trnbench.reports.base import Page
from trnbench.reports.clean import escaped_json, escaped_markdown, one_line
from trnbench.reports.lines import wrapped
from trnbench.reports.tables import table_as_markdown, table_as_text

HEADINGS = ("gate at", "launches a side", "at the noise's upper end", "in turns")
FIGURES = (0, 1, 2, 3)
MORE = "over 1,000"


def noise_as_text(floors: Sequence[NoiseFloor], page: Page) -> str:
    """Return a section for each case, for a terminal."""
    sections = []
    for floor in floors:
        lines = [_title(floor), *_facts(floor)]
        text = "".join(
            f"{line}\n" for each in lines for line in wrapped(one_line(each), page.width)
        )
        sections.append(text + "\n" + table_as_text(HEADINGS, _rows(floor), page.width, FIGURES))
    return "\n".join(sections)


def noise_as_markdown(floors: Sequence[NoiseFloor], page: Page) -> str:
    """Return a section for each case, in Markdown."""
    sections = []
    for floor in floors:
        facts = "".join(f"- {escaped_markdown(fact)}\n" for fact in _facts(floor))
        sections.append(
            f"### {escaped_markdown(_title(floor))}\n\n{facts}\n"
            + table_as_markdown(HEADINGS, _rows(floor), FIGURES)
        )
    return "\n".join(sections)


def noise_as_json(floors: Sequence[NoiseFloor], page: Page) -> str:
    """Return one document with the figures as they are."""
    documents = [{**asdict(floor), "is_alarm": floor.is_alarm} for floor in floors]
    return escaped_json(json.dumps({"noise": documents}, indent=1)) + "\n"


def _title(floor: NoiseFloor) -> str:
    return f"{floor.name} on {floor.device}"


def _facts(floor: NoiseFloor) -> list[str]:
    doubts = f", {floor.doubtful} of them doubtful" if floor.doubtful else ""
    within = (
        "nobody knows what their own steps explain of it"
        if floor.within is None
        else f"their own steps explain {floor.within:.2%} of it"
    )
    verdict = (
        "an alarm: the same thing was told from itself, which chance does 5 times in 100, or the "
        "machine changed meanwhile"
        if floor.is_alarm
        else "no alarm, as it should be"
    )
    return [
        f"{floor.launches} launches in turns{doubts}: "
        f"{floor.middle_tokens_per_second:,.0f} tokens/s",
        f"launches differ by {_deviation(floor.between)}; {within}",
        f"A against A: ratio {floor.ratio:.4f} [{floor.ratio_low:.4f}, {floor.ratio_high:.4f}], "
        f"p {floor.p_value:.2g}: {verdict}",
    ]


def _deviation(deviation: Deviation) -> str:
    return f"{deviation.value:.2%} [{deviation.low:.2%}, {deviation.high:.2%}]"


def _rows(floor: NoiseFloor) -> list[tuple[str, ...]]:
    return [_row(gate) for gate in floor.gates]


def _row(gate: GateCost) -> tuple[str, ...]:
    counts: Iterable[int | None] = (gate.apart, gate.apart_most, gate.in_turns)
    return (f"{gate.change:.0%}", *(MORE if count is None else str(count) for count in counts))
