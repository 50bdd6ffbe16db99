"""One side of a case: its launches, which of them count, and what must be read beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from trnbench.analysis.comparison.costs import side_price, tell_prices
from trnbench.analysis.comparison.launch import Launch
from trnbench.analysis.comparison.work import Group
from trnbench.schema.comparison import ComparedLaunch, ComparedSide
from trnbench.schema.price import Price

LONG_APART_DAYS = 2.0
"""From here on the time between two sides is told: launches of one hour do not see its drift."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """The launches of one side of a case."""

    group: Group
    usable: tuple[Launch, ...]
    price: Price | str
    """Or why there is none that holds for all of them."""

    @property
    def billed(self) -> int:
        """How many instances a launch of this side is billed for."""
        return self.group.launches[0].result.device.instances_billed

    @property
    def unusable(self) -> tuple[Launch, ...]:
        """Launches that are left out."""
        return tuple(launch for launch in self.group.launches if not launch.is_usable)

    @property
    def invalid(self) -> tuple[Launch, ...]:
        """Launches whose training was wrong."""
        return tuple(
            launch for launch in self.group.launches if launch.result.standing == "invalid"
        )


def doubts_of(sides: Sequence[Side]) -> tuple[str, ...]:
    """Return the names of the checks that found any usable launch doubtful, each once."""
    names = (
        check.name
        for side in sides
        for launch in side.usable
        for check in launch.result.checks
        if check.verdict == "doubtful"
    )
    return tuple(dict.fromkeys(names))


def make_side(group: Group) -> Side:
    """Sort out which launches of a group count, and at what price."""
    usable = tuple(launch for launch in group.launches if launch.is_usable)
    return Side(group=group, usable=usable, price=side_price(usable))


def seeds_of(side: Side) -> set[int]:
    """Return the seeds that the usable launches of a side were made with, as far as is known."""
    return {launch.plan.order.seed for launch in side.usable if launch.plan is not None}


def why_unusable(side: Side) -> str:
    """Say why no launch of a side counts."""
    launch = side.group.launches[-1]
    return f"{launch.result.standing}: {why_not(launch)}"


def why_not(launch: Launch) -> str | None:
    """Say why a launch does not count; None if it does."""
    if launch.is_usable:
        return None
    wrong = [c for c in launch.result.checks if c.verdict == "invalid"]
    return f"{wrong[0].name}: {wrong[0].evidence}" if wrong else launch.result.outcome.reason


def describe_side(side: Side) -> ComparedSide:
    """Return what reports show of a side."""
    launches, device = side.group.launches, side.group.launches[-1].result.device
    versions: dict[str, list[str]] = {}
    for launch in launches:
        for package, version in launch.result.device.versions.items():
            versions.setdefault(package, []).append(version)
    price = None if isinstance(side.price, str) else side.price
    return ComparedSide(
        launches=tuple(map(_describe_launch, launches)),
        device=device.name or device.backend,
        backend=device.backend,
        device_count=device.device_count,
        accelerator=device.accelerator,
        instance=device.instance,
        instances_billed=device.instances_billed,
        versions={name: ", ".join(dict.fromkeys(found)) for name, found in versions.items()},
        price=price,
        price_reason=side.price if isinstance(side.price, str) else None,
    )


def _describe_launch(launch: Launch) -> ComparedLaunch:
    result = launch.result
    return ComparedLaunch(
        run_id=result.run_id,
        case_id=result.case_id,
        started_at=result.started_at,
        standing=result.standing,
        is_used=launch.is_usable,
        why_not=why_not(launch),
        is_verified=launch.is_verified,
        doubts=tuple(
            f"{check.verdict}, {check.name}: {check.evidence}"
            for check in result.checks
            if check.verdict in ("doubtful", "invalid")
        ),
    )


def notes_of_sides(base: Side, cand: Side) -> list[str]:
    """Say what must be read beside the figures of two sides."""
    notes = []
    prices = tell_prices(base.price, cand.price)
    if prices is not None:
        notes.append(prices)
    for side, label in ((base, "BASE"), (cand, "CAND")):
        notes += [f"{label}: {note}" for note in _notes_of_side(side)]
    days = _days_apart(base.usable, cand.usable)
    if days is not None and days >= LONG_APART_DAYS:
        notes.append(
            f"{days:.0f} days lie between the two sides: whatever changed on the machine "
            "meanwhile counts as a difference"
        )
    return notes


def _notes_of_side(side: Side) -> list[str]:
    notes = []
    launches = side.group.launches
    if side.unusable:
        notes.append(
            f"{len(side.unusable)} of {len(launches)} launches left out: "
            f"{_why_unusable_of(side.unusable)}"
        )
    doubts: dict[str, list[str]] = {}
    for launch in side.usable:
        for check in launch.result.checks:
            if check.verdict == "doubtful":
                doubts.setdefault(check.name, []).append(check.evidence)
    for name, evidence in doubts.items():
        count = f"{len(evidence)} of {len(launches)} launches" if len(launches) > 1 else "it"
        verb = "are" if len(evidence) > 1 else "is"
        notes.append(f"{count} {verb} doubtful, {name}: {evidence[-1]}")
    unverified = sum(not launch.is_verified for launch in side.usable)
    if unverified:
        notes.append(
            f"{unverified} of {len(launches)} launches taken as stored: their raw records were "
            "not kept, so nothing shows that their figures are theirs"
        )
    notes += dict.fromkeys(launch.note for launch in side.usable if launch.note is not None)
    return notes


def _why_unusable_of(launches: Sequence[Launch]) -> str:
    return "; ".join(dict.fromkeys(f"{x.result.standing}, {why_not(x)}" for x in launches))


def _days_apart(base: Sequence[Launch], cand: Sequence[Launch]) -> float | None:
    """Return the days between the sides, from the end of the one to the begin of the other."""
    spans = []
    for side in (base, cand):
        begun = [_moment(launch.result.started_at) for launch in side]
        known = [moment for moment in begun if moment is not None]
        if not known:
            return None
        spans.append((min(known), max(known)))
    (first, first_end), (second, second_end) = spans
    gap = max((second - first_end).total_seconds(), (first - second_end).total_seconds())
    return gap / 86_400


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
