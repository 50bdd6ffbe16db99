"""Noise floors as a report: how the same work differs, and what gates cost."""

from collections.abc import Sequence
from dataclasses import asdict

from trnbench.compare.noise import GateCost, NoiseFloor
from trnbench.reports import document as doc

COLUMNS = doc.columns(">gate at", ">launches a side", ">at the noise's upper end", ">in turns")
MORE = "over 1,000"


def _document(floors: Sequence[NoiseFloor], page: doc.Page) -> doc.Document:
    parts: list[doc.Part] = []
    for floor in floors:
        parts += [
            doc.Heading(f"{floor.name} on {floor.device}"),
            doc.Lines(_facts(floor)),
            doc.Table(COLUMNS, [_row(gate) for gate in floor.gates]),
        ]
    return doc.Document(parts)


def _facts(floor: NoiseFloor) -> list[str]:
    doubts = f", {floor.doubtful} of them doubtful" if floor.doubtful else ""
    between = floor.between
    within = "how much of it their own steps explain is not known"
    if floor.within is not None:
        within = f"their own steps explain {floor.within:.2%} of it"
    verdict = "no alarm, as it should be"
    if floor.is_alarm:
        verdict = (
            "an alarm: the same work differs from itself, by chance 5 times in 100, or because the "
            "machine changed meanwhile"
        )
    return [
        f"{floor.launches} launches in turns{doubts}: "
        f"{floor.middle_tokens_per_second:,.0f} tokens/s",
        f"launches differ by {between.value:.2%} [{between.low:.2%}, {between.high:.2%}]; {within}",
        f"A against A: ratio {floor.ratio:.4f} [{floor.ratio_low:.4f}, {floor.ratio_high:.4f}], "
        f"p {floor.p_value:.2g}: {verdict}",
    ]


def _row(gate: GateCost) -> tuple[str, ...]:
    counts = (gate.apart, gate.apart_most, gate.in_turns)
    return (f"{gate.change:.0%}", *(MORE if count is None else str(count) for count in counts))


def _rows(floors: Sequence[NoiseFloor]) -> doc.Rows:
    gates = [{"floor": floor, "gate": gate} for floor in floors for gate in floor.gates]
    return doc.rows_at(
        gates, "case=floor.name", "floor.device", "gate=gate.change:float",
        "launches=gate.apart:int", "launches_at_upper_end=gate.apart_most:int",
        "launches_in_turns=gate.in_turns:int",
    )  # fmt: skip


REPORT: doc.Report[Sequence[NoiseFloor]] = doc.Report(
    title="Noise of this machine",
    document=_document,
    rows=_rows,
    record=lambda floors, page: {
        "noise": [{**asdict(floor), "is_alarm": floor.is_alarm} for floor in floors]
    },
)
