"""One case on both sides: its figures, their ratios, and what must be read beside them."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trnbench.analysis.statistics import LEAST_LAUNCHES, exp_of, interval_of, middle_of
from trnbench.compare.gates import Terms
from trnbench.compare.matching import (
    SETUP,
    Group,
    differences_of,
    is_same_device,
)
from trnbench.compare.metrics import (
    COMPARABLES,
    Comparable,
    steps_to_target,
)
from trnbench.compare.ratio import (
    LogDifference,
    Sample,
    find_difference,
    judge,
    launches_needed,
    permutation_p,
    planning_deviation,
)
from trnbench.compare.sides import (
    Side,
    break_even,
    describe_side,
    make_side,
    notes_of_sides,
    rate_ratio,
    seeds_of,
    why_not,
    why_unusable,
)
from trnbench.schema.comparison import (
    CaseComparison,
    ComparisonVerdict,
    MetricComparison,
    Ratio,
    SideValue,
    TargetLoss,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One metric of one case, before it is judged among the others."""

    comparable: Comparable
    base: SideValue
    cand: SideValue
    ratio: float | None
    difference: LogDifference | None
    reason: str | None
    """Why there is no ratio, or no interval for it."""
    rate_ratio: float
    """Of the prices that are in it; 1 where none is."""
    permutation_p: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One case on both sides."""

    base: Side
    cand: Side
    measured: dict[str, Measured]


def make_pair(base: Group, cand: Group, terms: Terms) -> Pair:
    """Read every metric of a case on both sides and find the ratios."""
    first, second = make_side(base), make_side(cand)
    measured = {name: _measure(COMPARABLES[name], first, second, terms) for name in terms.looked_at}
    return Pair(base=first, cand=second, measured=measured)


def _measure(comparable: Comparable, base: Side, cand: Side, terms: Terms) -> Measured:
    samples = [_sample(comparable, side, terms.target_excess_nats) for side in (base, cand)]
    seeds_known = not comparable.needs_seeds or _seeds_tried(base, cand) >= LEAST_LAUNCHES
    values = [_side_value(sample, has_interval=seeds_known) for sample in samples]
    missing = [sample for sample in samples if isinstance(sample, str)]
    ratio, difference, reason, permuted = None, None, None, None
    if missing:
        which = "BASE" if isinstance(samples[0], str) else "CAND"
        reason = missing[0] if len(set(missing)) == 1 < len(missing) else f"{which}: {missing[0]}"
    else:
        first, second = (sample for sample in samples if not isinstance(sample, str))
        ratio = exp_of(math.log(middle_of(second.values)) - math.log(middle_of(first.values)))
        found = _difference(comparable, base, cand, first, second, terms)
        if isinstance(found, str):
            reason = found
        else:
            difference = found
            permuted = permutation_p(first, second)
    rates = None
    if comparable.needs_price:
        rates = rate_ratio(base.price, cand.price, (base.billed, cand.billed))
    return Measured(
        comparable=comparable,
        base=values[0],
        cand=values[1],
        ratio=ratio,
        difference=difference,
        reason=reason,
        rate_ratio=1.0 if rates is None else rates,
        permutation_p=permuted,
    )


def _difference(
    comparable: Comparable, base: Side, cand: Side, first: Sample, second: Sample, terms: Terms
) -> LogDifference | str:
    if comparable.needs_seeds:
        seeds = _seeds_tried(base, cand)
        if seeds < LEAST_LAUNCHES:
            return (
                f"how many steps it takes hangs on the seed, and {seeds or 'no'} "
                f"{'seed was' if seeds == 1 else 'seeds were'} tried a side: "
                f"{LEAST_LAUNCHES} tell"
            )
    return find_difference(
        first,
        second,
        is_alike=is_same_device(base.group, cand.group),
        is_paired=terms.is_paired and not base.unusable and not cand.unusable,
    )


def _sample(comparable: Comparable, side: Side, target: float) -> Sample | str:
    """Read a metric of every usable launch; one that lacks it leaves the side without."""
    if not side.usable:
        return why_unusable(side)
    if comparable.needs_price and isinstance(side.price, str):
        return side.price
    readings = [comparable.read(launch, target) for launch in side.usable]
    lacking = [reading.reason for reading in readings if reading.value is None]
    if lacking:
        return lacking[0] or "it has no figure"
    return Sample(
        values=tuple(reading.value for reading in readings if reading.value is not None),
        errors=tuple(reading.error for reading in readings),
    )


def _side_value(sample: Sample | str, *, has_interval: bool) -> SideValue:
    if isinstance(sample, str):
        return SideValue(value=None, reason=sample)
    interval = interval_of(sample.values, sample.errors) if has_interval else None
    if interval is None:
        return SideValue(value=middle_of(sample.values), launches=sample.values)
    value, low, high = interval
    return SideValue(value=value, low=low, high=high, launches=sample.values)


def _seeds_tried(base: Side, cand: Side) -> int:
    """Return how many seeds the side with fewer of them was made with."""
    return min(len(seeds_of(base)), len(seeds_of(cand)))


def describe_case(
    pair: Pair, name: str, terms: Terms, p_adjusted: Mapping[str, float | None]
) -> CaseComparison:
    """Judge every metric of a case among all that were compared, and say what goes with it.

    `p_adjusted` has each metric's corrected probability of its difference if there were none.
    """
    base, cand = pair.base.group, pair.cand.group
    speed = pair.measured.get("tokens_per_second") or _measure(
        COMPARABLES["tokens_per_second"], pair.base, pair.cand, terms
    )
    return CaseComparison(
        name=name,
        base=describe_side(pair.base),
        cand=describe_side(pair.cand),
        differences=differences_of(base, cand, terms.allowed),
        metrics=tuple(
            _describe_metric(measured, pair, terms, p_adjusted[metric])
            for metric, measured in pair.measured.items()
        ),
        break_even=break_even(
            ratio_of(speed, terms),
            speed.base,
            pair.base.price,
            pair.cand.price,
            (pair.base.billed, pair.cand.billed),
        ),
        target=_target(pair, terms.target_excess_nats),
        notes=tuple(_notes(pair, terms)),
    )


def ratio_of(measured: Measured, terms: Terms, p_adjusted: float | None = None) -> Ratio:
    """Return the ratio with its interval and all that it rests on."""
    found = measured.difference
    if found is None:
        return Ratio(value=measured.ratio, reason=measured.reason)
    return Ratio(
        value=exp_of(found.value),
        low=exp_of(found.low()),
        high=exp_of(found.high()),
        method=found.method,
        standard_error=found.standard_error,
        degrees_of_freedom=found.degrees_of_freedom,
        launch_deviation=found.launch_deviation,
        p_value=found.p_value(),
        p_adjusted=p_adjusted,
        permutation_p=measured.permutation_p,
        least_change=found.least_change(),
        launches_needed=needed(found, terms.margin),
    )


def needed(difference: LogDifference, change: float) -> int | None:
    """Return how many launches a side tell this change from none; None where there is none."""
    if change <= 0:
        return None
    is_paired = difference.method == "paired"
    return launches_needed(planning_deviation(difference), change, is_paired=is_paired)


def _describe_metric(
    measured: Measured, pair: Pair, terms: Terms, p_adjusted: float | None
) -> MetricComparison:
    verdict: ComparisonVerdict = "cannot_tell"
    reason = measured.reason or ""
    wrong = [side for side in (pair.base, pair.cand) if side.invalid]
    if wrong:
        which = "BASE" if wrong[0] is pair.base else "CAND"
        launches = wrong[0].group.launches
        reason = (
            f"{len(wrong[0].invalid)} of {which}'s {len(launches)} launches trained wrong: "
            f"{why_not(wrong[0].invalid[-1])}"
        )
    elif measured.difference is not None and p_adjusted is not None:
        better = measured.comparable.better
        verdict, reason = judge(measured.difference, terms.margin, better, p_adjusted)
    return MetricComparison(
        metric=measured.comparable.name,
        better=measured.comparable.better,
        base=measured.base,
        cand=measured.cand,
        ratio=ratio_of(measured, terms, p_adjusted),
        verdict=verdict,
        reason=reason,
    )


def _target(pair: Pair, target: float) -> TargetLoss:
    steps: list[float | None] = []
    reasons = []
    for side, label in ((pair.base, "BASE"), (pair.cand, "CAND")):
        readings = [steps_to_target(launch, target) for launch in side.usable]
        values = [reading.value for reading in readings if reading.value is not None]
        is_known = bool(readings) and len(values) == len(readings)
        steps.append(statistics.geometric_mean(values) if is_known else None)
        if not is_known:
            why = next((r.reason for r in readings if r.reason), "no launch of it can be used")
            reasons.append(f"{label}: {why}")
    return TargetLoss(
        excess_nats=target,
        base_steps=steps[0],
        cand_steps=steps[1],
        reason="; ".join(reasons) or None,
    )


def _notes(pair: Pair, terms: Terms) -> list[str]:
    """Say what must be read beside a case's figures."""
    notes = notes_of_sides(pair.base, pair.cand)
    if terms.is_paired and (pair.base.unusable or pair.cand.unusable):
        notes.append("a launch is left out, so launches are not taken as pairs")
    return notes


def unique_names(pairs: Sequence[Pair]) -> list[str]:
    """Name every case so that no two have one name: by what sets those of one work apart."""
    names = [pair.cand.group.name for pair in pairs]
    told = []
    for pair, name in zip(pairs, names, strict=True):
        same = [other for other, its in zip(pairs, names, strict=True) if its == name]
        keys = [
            key for key in SETUP if len({str(other.cand.group.setup[key]) for other in same}) > 1
        ]
        more = ", ".join(f"{key} {pair.cand.group.setup[key]}" for key in keys)
        told.append(f"{name}, {more}" if more else name)
    return [
        name if told.count(name) == 1 else f"{name} #{told[:place].count(name) + 1}"
        for place, name in enumerate(told)
    ]
