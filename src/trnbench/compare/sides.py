"""One side of a case: which launches count, at which price, and where two sides cost the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from trnbench.analysis.idle import idle_note
from trnbench.analysis.metrics import scaled, unknown
from trnbench.compare.launches import Launch
from trnbench.compare.matching import Group
from trnbench.schema.comparison import BreakEven, ComparedLaunch, ComparedSide, Ratio, SideValue
from trnbench.schema.price import Price
from trnbench.schema.result import MetricValue
from trnbench.units import SECONDS_PER_DAY, say_usd

LONG_APART_DAYS = 2.0
"""From here on the time between two sides is noted: launches of one hour do not see its drift."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """The launches of one side of a case."""

    label: Literal["BASE", "CAND"]
    group: Group

    @property
    def usable(self) -> tuple[Launch, ...]:
        """Launches that count."""
        return tuple(launch for launch in self.group.launches if launch.is_usable)

    @property
    def price(self) -> Price | str:
        """What an hour costs, or why no one price holds for all usable launches."""
        return side_price(self.usable)

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
        return tuple(one for one in self.group.launches if one.result.standing == "invalid")

    @property
    def doubts(self) -> dict[str, list[str]]:
        """Evidence of each check that found a usable launch doubtful, by its name."""
        found: dict[str, list[str]] = {}
        for launch in self.usable:
            for check in launch.result.checks:
                if check.verdict == "doubtful":
                    found.setdefault(check.name, []).append(check.evidence)
        return found

    @property
    def seeds(self) -> set[int]:
        """Of the usable launches, as far as is known."""
        return {launch.plan.order.seed for launch in self.usable if launch.plan is not None}


def side_price(launches: Sequence[Launch]) -> Price | str:
    """Return the one price that holds for all launches, the newest of equal rates; or why none."""
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
        listed = ", ".join(say_usd(rate) for rate, _ in sorted(rates))
        return (
            f"its launches have several rates ({listed}); give one with --base-usd-per-hour or "
            "--cand-usd-per-hour"
        )
    return max(prices, key=lambda price: price.date)


def describe_side(side: Side) -> ComparedSide:
    """Return what reports show of a side."""
    launches, last = side.group.launches, side.group.launches[-1].result
    device = last.device
    versions: dict[str, list[str]] = {}
    for launch in launches:
        for package, version in launch.result.versions.items():
            versions.setdefault(package, []).append(version)
    return ComparedSide(
        launches=tuple(map(_describe_launch, launches)),
        device=last.device_name or device.backend,
        backend=device.backend,
        device_count=last.device_count,
        accelerator=device.accelerator,
        instance=device.instance,
        instances_billed=device.instances_billed,
        versions={name: ", ".join(dict.fromkeys(found)) for name, found in versions.items()},
        price=None if isinstance(side.price, str) else side.price,
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
        why_not=launch.why_not,
        is_verified=launch.is_verified,
        doubts=tuple(
            f"{check.verdict}, {check.name}: {check.evidence}"
            for check in result.checks
            if check.verdict in ("doubtful", "invalid")
        ),
    )


def notes_of_sides(base: Side, cand: Side) -> list[str]:
    """Return what must be read beside the figures of two sides."""
    prices = price_differences(base.price, cand.price)
    notes = [] if prices is None else [prices]
    notes += [f"{side.label}: {note}" for side in (base, cand) for note in _notes_of_side(side)]
    days = _days_apart(base.usable, cand.usable)
    if days is not None and days >= LONG_APART_DAYS:
        notes.append(
            f"{days:.0f} days lie between the two sides: whatever changed on the machine "
            "meanwhile counts as a difference"
        )
    return notes


def _notes_of_side(side: Side) -> list[str]:
    notes = []
    launches, count = side.group.launches, len(side.group.launches)
    if side.unusable:
        why = dict.fromkeys(f"{one.result.standing}, {one.why_not}" for one in side.unusable)
        notes.append(f"{len(side.unusable)} of {count} launches left out: {'; '.join(why)}")
    for name, evidence in side.doubts.items():
        which = f"{len(evidence)} of {count} launches" if count > 1 else "it"
        verb = "are" if len(evidence) > 1 else "is"
        notes.append(f"{which} {verb} doubtful, {name}: {evidence[-1]}")
    unverified = sum(not launch.is_verified for launch in side.usable)
    if unverified:
        notes.append(
            f"{unverified} of {count} launches taken as stored: their raw records were "
            "not kept, so their figures are not verified"
        )
    notes += dict.fromkeys(
        note for one in launches if (note := idle_note(one.result.device)) is not None
    )
    notes += dict.fromkeys(launch.note for launch in side.usable if launch.note is not None)
    return notes


def _days_apart(base: Sequence[Launch], cand: Sequence[Launch]) -> float | None:
    """Return the days from the last launch of the earlier side to the first of the later one."""
    spans = []
    for side in (base, cand):
        moments = [moment for one in side if (moment := _moment(one.result.started_at)) is not None]
        if not moments:
            return None
        spans.append((min(moments), max(moments)))
    (first, first_end), (second, second_end) = spans
    gap = max((second - first_end).total_seconds(), (first - second_end).total_seconds())
    return gap / SECONDS_PER_DAY


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def price_differences(base: Price | str, cand: Price | str) -> str | None:
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
    return f"the prices differ (BASE / CAND): {'; '.join(unlike)}"


def rate_ratio(base: Price | str, cand: Price | str, billed: tuple[int, int]) -> float | None:
    """Return the cost of an hour of CAND over that of BASE, all instances; None if unknown."""
    if isinstance(base, str) or isinstance(cand, str):
        return None
    return float(cand.usd_per_hour) * billed[1] / (float(base.usd_per_hour) * billed[0])


def break_even(
    speed: Ratio,
    base_speed: SideValue,
    base: Price | str,
    cand: Price | str,
    billed: tuple[int, int],
) -> BreakEven:
    """Return the rate of CAND's instance, and CAND's speed, at which a token costs the same.

    Prices are of one instance, and `billed` says how many each side pays for. Prices are constants:
    the intervals are those of the ratio of the speeds and of BASE's speed.

    Source: docs/metrics.md, "Comparison".
    """
    if isinstance(base, str):
        usd = tokens = unknown(f"BASE has no price: {base}")
    else:
        usd = scaled(_as_metric(speed), float(base.usd_per_hour) * billed[0] / billed[1])
        rates = rate_ratio(base, cand, billed)
        tokens = unknown(f"CAND has none: {cand}")
        if rates is not None:
            tokens = scaled(_as_metric(base_speed), rates)
    return BreakEven(
        usd_per_hour=usd.value,
        low=usd.low,
        high=usd.high,
        reason=usd.reason if usd.value is None else speed.reason,
        tokens_per_second=tokens.value,
        tokens_per_second_low=tokens.low,
        tokens_per_second_high=tokens.high,
        tokens_per_second_reason=tokens.reason,
    )


def _as_metric(of: Ratio | SideValue) -> MetricValue:
    return MetricValue(value=of.value, low=of.low, high=of.high, reason=of.reason)
