"""One side of a case: which launches count, at which price, and where two sides cost the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from trnbench.compare.launches import Launch
from trnbench.compare.matching import Group
from trnbench.cost.break_even import Between, even_price, even_speed
from trnbench.schema.comparison import BreakEven, ComparedLaunch, ComparedSide, Ratio, SideValue
from trnbench.schema.price import Price
from trnbench.units import say_usd

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
    launches, last = side.group.launches, side.group.launches[-1].result
    device = last.device
    versions: dict[str, list[str]] = {}
    for launch in launches:
        for package, version in launch.result.versions.items():
            versions.setdefault(package, []).append(version)
    price = None if isinstance(side.price, str) else side.price
    return ComparedSide(
        launches=tuple(map(_describe_launch, launches)),
        device=last.device_name or device.backend,
        backend=device.backend,
        device_count=last.device_count,
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


def side_price(launches: Sequence[Launch]) -> Price | str:
    """Return the one price that holds for all launches of a side, the newest of equal rates.

    Returns:
        The price, or why there is none.
    """
    if not launches:
        return "no launch of this side can be used"
    prices = []
    for launch in launches:
        if launch.result.price is None:
            return launch.result.price_reason or "no price is known"
        prices.append(launch.result.price)
    rates = {
        (price.usd_per_hour, launch.result.device.instances_billed)
        for price, launch in zip(prices, launches, strict=True)
    }
    if len(rates) > 1:
        told = ", ".join(say_usd(rate) for rate, _ in sorted(rates))
        return (
            f"its launches have several rates ({told}); give one with --base-usd-per-hour or "
            "--cand-usd-per-hour"
        )
    return max(prices, key=lambda price: price.date)


def rate_ratio(base: Price | str, cand: Price | str, billed: tuple[int, int]) -> float | None:
    """Return the cost of an hour of CAND over that of BASE, all instances; None if unknown."""
    if isinstance(base, str) or isinstance(cand, str):
        return None
    return float(cand.usd_per_hour) * billed[1] / (float(base.usd_per_hour) * billed[0])


def tell_prices(base: Price | str, cand: Price | str) -> str | None:
    """Say in what two prices differ beside their rate: such costs compare more than the chips."""
    if isinstance(base, str) or isinstance(cand, str):
        return None
    pairs = {
        "option": (base.option, cand.option),
        "region": (base.region or "none named", cand.region or "none named"),
        "date": (base.date.isoformat(), cand.date.isoformat()),
        "source": (base.source, cand.source),
    }
    unlike = [
        f"{key} {first} / {second}" for key, (first, second) in pairs.items() if first != second
    ]
    if not unlike:
        return None
    return f"costs are at prices of unlike terms (BASE / CAND): {'; '.join(unlike)}"


def break_even(
    speed: Ratio,
    base_speed: SideValue,
    base: Price | str,
    cand: Price | str,
    billed: tuple[int, int],
) -> BreakEven:
    """Return the rate of CAND's instance, and CAND's speed, at which a token costs the same.

    Prices are of one instance, and `billed` says how many each side pays for.

    Source: docs/metrics.md, "Comparison": the rate of BASE times the ratio of the speeds; the speed
    of BASE times the ratio of the rates.
    """
    return _even_rate(speed, base, billed).model_copy(
        update=_even_speed(base_speed, base, cand, billed)
    )


def _even_rate(speed: Ratio, base: Price | str, billed: tuple[int, int]) -> BreakEven:
    if isinstance(base, str):
        return BreakEven(usd_per_hour=None, reason=f"BASE has no price: {base}")
    if speed.value is None:
        return BreakEven(usd_per_hour=None, reason=speed.reason)
    of_base = float(base.usd_per_hour) * billed[0] / billed[1]
    even = even_price(of_base, Between(speed.value, speed.low, speed.high))
    return BreakEven(usd_per_hour=even.value, low=even.low, high=even.high, reason=speed.reason)


def _even_speed(
    base_speed: SideValue, base: Price | str, cand: Price | str, billed: tuple[int, int]
) -> dict[str, object]:
    """Return the fields of the speed."""
    rates = rate_ratio(base, cand, billed)
    if rates is None:
        said = f"BASE has no price: {base}" if isinstance(base, str) else f"CAND has none: {cand}"
        return {"tokens_per_second_reason": said}
    if base_speed.value is None:
        return {"tokens_per_second_reason": base_speed.reason}
    even = even_speed(Between(base_speed.value, base_speed.low, base_speed.high), rates)
    return {
        "tokens_per_second": even.value,
        "tokens_per_second_low": even.low,
        "tokens_per_second_high": even.high,
    }
