"""One case on both sides: its figures, their ratios, and what must be read beside them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from trnbench.analysis.statistics import LEAST_LAUNCHES, exp_of, interval_of
from trnbench.compare.gates import Terms
from trnbench.compare.matching import Group, differences_of, is_same_device
from trnbench.compare.metrics import COMPARABLES, Comparable, sample_of, steps_to_target
from trnbench.compare.ratio import (
    LogDifference,
    Sample,
    find_difference,
    judge,
    needed,
    permutation_p,
)
from trnbench.compare.sides import (
    Side,
    break_even,
    describe_side,
    notes_of_sides,
    rate_ratio,
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
    first, second = Side(label="BASE", group=base), Side(label="CAND", group=cand)
    measured = {name: _measure(COMPARABLES[name], first, second, terms) for name in terms.looked_at}
    return Pair(base=first, cand=second, measured=measured)


def _measure(comparable: Comparable, base: Side, cand: Side, terms: Terms) -> Measured:
    samples = [_sample(comparable, side, terms.target_excess_nats) for side in (base, cand)]
    seeds = min(len(base.seeds), len(cand.seeds))
    seeds_known = not comparable.needs_seeds or seeds >= LEAST_LAUNCHES
    values = [_side_value(sample, has_interval=seeds_known) for sample in samples]
    missing = [sample for sample in samples if isinstance(sample, str)]
    ratio, difference, reason, permuted = None, None, None, None
    if missing:
        which = "BASE" if isinstance(samples[0], str) else "CAND"
        reason = missing[0] if len(set(missing)) == 1 < len(missing) else f"{which}: {missing[0]}"
    else:
        first, second = (sample for sample in samples if not isinstance(sample, str))
        ratio = exp_of(
            math.log(geometric_mean(second.values)) - math.log(geometric_mean(first.values))
        )
        found = find_difference(
            first,
            second,
            is_alike=is_same_device(base.group, cand.group),
            is_paired=terms.is_paired and not base.unusable and not cand.unusable,
        )
        if not seeds_known:
            found = (
                f"how many steps it takes depends on the seed, and {seeds or 'no'} "
                f"{'seed was' if seeds == 1 else 'seeds were'} tried a side: "
                f"{LEAST_LAUNCHES} are needed"
            )
        if isinstance(found, str):
            reason = found
        else:
            difference, permuted = found, permutation_p(first, second)
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


def _sample(comparable: Comparable, side: Side, target: float) -> Sample | str:
    """Read a metric of every usable launch; one that lacks it leaves the side without."""
    if not side.usable:
        last = side.group.launches[-1]
        return f"{last.result.standing}: {last.why_not}"
    if comparable.needs_price and isinstance(side.price, str):
        return side.price
    return comparable.sample(side.usable, target)


def _side_value(sample: Sample | str, *, has_interval: bool) -> SideValue:
    if isinstance(sample, str):
        return SideValue(value=None, reason=sample)
    interval = interval_of(sample.values, sample.errors) if has_interval else None
    if interval is None:
        return SideValue(value=geometric_mean(sample.values), launches=sample.values)
    value, low, high = interval
    return SideValue(value=value, low=low, high=high, launches=sample.values)


def describe_case(
    pair: Pair, name: str, terms: Terms, p_adjusted: Mapping[str, float | None]
) -> CaseComparison:
    """Judge every metric of a case among all that were compared.

    `p_adjusted` has each metric's corrected probability of its difference if there were none.
    """
    base, cand = pair.base, pair.cand
    speed = pair.measured.get("tokens_per_second") or _measure(
        COMPARABLES["tokens_per_second"], base, cand, terms
    )
    notes = notes_of_sides(base, cand)
    if terms.is_paired and (base.unusable or cand.unusable):
        notes.append("a launch is left out, so launches are not taken as pairs")
    return CaseComparison(
        name=name,
        base=describe_side(base),
        cand=describe_side(cand),
        differences=differences_of(base.group, cand.group, terms.allowed),
        metrics=tuple(
            _describe_metric(measured, pair, terms, p_adjusted[metric])
            for metric, measured in pair.measured.items()
        ),
        break_even=break_even(
            _ratio(speed, terms), speed.base, base.price, cand.price, (base.billed, cand.billed)
        ),
        target=_target(pair, terms.target_excess_nats),
        notes=tuple(notes),
    )


def _describe_metric(
    measured: Measured, pair: Pair, terms: Terms, p_adjusted: float | None
) -> MetricComparison:
    verdict: ComparisonVerdict = "cannot_tell"
    reason = measured.reason or ""
    wrong = next((side for side in (pair.base, pair.cand) if side.invalid), None)
    if wrong is not None:
        reason = (
            f"{len(wrong.invalid)} of {wrong.label}'s {len(wrong.group.launches)} launches trained "
            f"wrong: {wrong.invalid[-1].why_not}"
        )
    elif measured.difference is not None and p_adjusted is not None:
        better = measured.comparable.better
        verdict, reason = judge(measured.difference, terms.margin, better, p_adjusted)
    return MetricComparison(
        metric=measured.comparable.name,
        better=measured.comparable.better,
        base=measured.base,
        cand=measured.cand,
        ratio=_ratio(measured, terms, p_adjusted),
        verdict=verdict,
        reason=reason,
    )


def _ratio(measured: Measured, terms: Terms, p_adjusted: float | None = None) -> Ratio:
    """Return the ratio with its interval and all that it rests on."""
    found = measured.difference
    if found is None:
        return Ratio(value=measured.ratio, reason=measured.reason)
    value, low, high = found.ratios()
    return Ratio(
        value=value,
        low=low,
        high=high,
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


def _target(pair: Pair, target: float) -> TargetLoss:
    steps: list[float | None] = []
    reasons = []
    for side in (pair.base, pair.cand):
        readings = [steps_to_target(launch, target) for launch in side.usable]
        found = sample_of(readings) if readings else "no launch of it can be used"
        if isinstance(found, str):
            reasons.append(f"{side.label}: {found}")
        steps.append(None if isinstance(found, str) else geometric_mean(found.values))
    return TargetLoss(
        excess_nats=target,
        base_steps=steps[0],
        cand_steps=steps[1],
        reason="; ".join(reasons) or None,
    )


def unique_names(pairs: Sequence[Pair]) -> list[str]:
    """Name every case so that no two have one name: by what sets those of one work apart."""
    groups = [pair.cand.group for pair in pairs]
    names = []
    for group in groups:
        same = [other for other in groups if other.name == group.name]
        keys = [key for key in group.setup if len({str(other.setup[key]) for other in same}) > 1]
        names.append(", ".join([group.name, *(f"{key} {group.setup[key]}" for key in keys)]))
    return [
        name if names.count(name) == 1 else f"{name} #{names[:place].count(name) + 1}"
        for place, name in enumerate(names)
    ]
