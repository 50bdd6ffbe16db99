"""The field of one model: of each chip and number format, what was published, as one run to rank.

Like runs train the whole model at the field's sequence length; where a chip has none, at one at
most twice or half as long. Each source counts once, by its fastest run. The run that is shown is
the median source's, of an even number the slower one; its range goes from the slowest source to the
fastest. Its speed per chip is taken for every chip of the instance that it is priced as. Source:
docs/rank.md.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from trnbench.analysis.metrics import exactly, reciprocal, scaled, unknown
from trnbench.catalog.instances import instances
from trnbench.catalog.published import KnownModel, PublishedResult, chip_of
from trnbench.cost.ranked_runs import NO_SPEED, UNCHECKED, RankedRun
from trnbench.model.published import published_rate, published_shape
from trnbench.prices.base import NoPrice
from trnbench.schema.price import Price
from trnbench.schema.result import MetricValue
from trnbench.units import SECONDS_PER_HOUR

NEAR_LENGTH = 2
"""Sequence lengths this far apart are near: llama3-8b's FLOPs a token differ by 7 % from 4,096 to
8,192."""

USUAL_LENGTH = 4096
"""Of a model that has no published run."""

NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True)
class Field:
    """What is known of one model at about one sequence length."""

    model: KnownModel
    sequence_length: int
    runs: tuple[RankedRun, ...]
    absent: tuple[tuple[str, str], ...]
    """Chips of which runs are published, and none of this work, each with the reason."""
    unlike: int
    """Published runs of the model that are of other work."""


def usual_length(
    model: KnownModel, published: Iterable[PublishedResult], own: Sequence[int] = ()
) -> int:
    """Return the sequence length that most sources have of a whole training; of two the longer.

    `own` are those of the user's own results, which count where nothing is published.
    """
    sources = {
        (run.publisher, run.sequence_length)
        for run in published
        if model.is_of(run) and run.sequence_length and not run.is_adapter_training
    }
    counted = Counter(length for _, length in sources if length) or Counter(own)
    most = model.shape.max_positions if model.shape else USUAL_LENGTH
    return max(counted, key=lambda n: (counted[n], n), default=min(USUAL_LENGTH, most))


def objection(run: PublishedResult, sequence_length: int) -> str | None:
    """Return why a run of the model is not of the field's work, if so."""
    if run.is_adapter_training:
        return "it trains low-rank adapters alone"
    if run.sequence_length is None:
        return "its sequence length is not published"
    if not is_near(run.sequence_length, sequence_length):
        return f"its sequences are of {run.sequence_length:,} tokens"
    return NO_SPEED if speed_of(run) is None else None


def is_near(one: int, other: int) -> bool:
    """Tell whether two sequence lengths are near enough to be ranked together."""
    return max(one, other) <= NEAR_LENGTH * min(one, other)


def published_field(
    model: KnownModel,
    sequence_length: int,
    published: Sequence[PublishedResult],
    price_of: Callable[[str], Price | NoPrice],
    on: Mapping[str, str],
) -> Field:
    """Return the field of what is published.

    Args:
        model: whose runs are kept.
        sequence_length: in tokens.
        published: runs of any model.
        price_of: the rate of an instance type, or why there is none.
        on: the instances that the user named, by chip in lower case.
    """
    of_model = [run for run in published if model.is_of(run)]
    alike: dict[tuple[str, str, str], list[PublishedResult]] = {}
    reasons: dict[str, Counter[str]] = {}
    for run in of_model:
        reason = objection(run, sequence_length)
        if reason is not None:
            reasons.setdefault(run.accelerator, Counter())[reason] += 1
            continue
        instance = on.get(run.accelerator.lower()) or chip_of(run).instance
        alike.setdefault((run.accelerator, instance, run.precision), []).append(run)
    exact = {key: _of_length(each, sequence_length) or each for key, each in alike.items()}
    runs = tuple(
        _as_one(each, instance, price_of(instance) if instance else _no_instance(each[0]))
        for (_, instance, _), each in exact.items()
    )
    here = {run.accelerator for each in alike.values() for run in each}
    absent = tuple(
        (chip, counted.most_common(1)[0][0])
        for chip, counted in reasons.items()
        if chip not in here
    )
    unlike = sum(counted.total() for counted in reasons.values())
    return Field(model, sequence_length, runs, absent, unlike)


def _of_length(runs: Sequence[PublishedResult], length: int) -> list[PublishedResult]:
    return [run for run in runs if run.sequence_length == length]


def _no_instance(run: PublishedResult) -> NoPrice:
    chip = run.accelerator
    return NoPrice(
        f"no price of an instance with {chip} is known",
        f"name an instance: --on '{chip}=INSTANCE', with its rate in a file: --prices",
    )


def _as_one(runs: Sequence[PublishedResult], instance: str, answer: Price | NoPrice) -> RankedRun:
    """Return like runs of one chip and format as the one of the median source."""
    fastest: dict[str, PublishedResult] = {}
    for run in runs:
        other = fastest.get(run.publisher)
        if other is None or _speed(run) > _speed(other):
            fastest[run.publisher] = run
    ordered = sorted(fastest.values(), key=_speed)
    shown = ordered[(len(ordered) - 1) // 2]
    speed = exactly(_speed(shown))
    if len(ordered) > 1:
        speed = MetricValue(value=speed.value, low=_speed(ordered[0]), high=_speed(ordered[-1]))
    price = answer if isinstance(answer, Price) else None
    chips = instances()[instance].chips if instance in instances() else None
    billed = _whole_instances(shown.accelerators or 1, chips)
    return RankedRun(
        origin="published",
        name=shown.name,
        source=shown.source,
        day=shown.date,
        model=shown.model,
        sequence_length=shown.sequence_length,
        is_adapter_training=False,
        precision=shown.precision or NOT_STATED,
        machine=f"{shown.accelerators} x {shown.accelerator}",
        instances=billed // (chips or billed),
        metrics=metrics_per_chip(speed, billed, chips, answer),
        price=price,
        price_reason=answer.reason if isinstance(answer, NoPrice) else None,
        objection=None,
        doubt=None,
        chip=shown.accelerator,
        sources=len(ordered),
        assumption=_assumed(shown, billed, instance if price else None),
    )


def speed_of(run: PublishedResult) -> float | None:
    """Return the tokens/s of one chip: printed, or worked out where the source's count is known."""
    shape, _ = published_shape(run)
    if shape is not None:
        return published_rate(run, shape)
    if run.tokens_per_second is None or not run.accelerators:
        return None
    return run.tokens_per_second / run.accelerators


def _speed(run: PublishedResult) -> float:
    return speed_of(run) or 0.0


def _whole_instances(chips: int, per_instance: int | None) -> int:
    """Return the chips of the fewest whole instances that have so many."""
    return chips if not per_instance else math.ceil(chips / per_instance) * per_instance


def _assumed(run: PublishedResult, billed: int, instance: str | None) -> str | None:
    said = [_derivation(run), _per_chip_note(run.accelerators or 1, billed, instance)]
    return "; ".join(filter(None, said)) or None


def _per_chip_note(ran: int, billed: int, instance: str | None) -> str | None:
    if ran == billed or instance is None:
        return None
    return f"the speed of a chip among {ran} is taken for each of {billed} of {instance}"


def _derivation(run: PublishedResult) -> str | None:
    if run.tokens_per_second is not None or run.tokens_per_second_per_accelerator is not None:
        return None
    if run.step_seconds:
        return "its tokens/s follow from the time of a step"
    return f"its tokens/s follow from {run.tflops_per_accelerator:g} TFLOP/s a chip, as it counts"


def metrics_per_chip(
    speed: MetricValue, billed: int, per_instance: int | None, answer: Price | NoPrice
) -> dict[str, MetricValue]:
    """Return the metrics that follow from one chip's tokens/s.

    Args:
        speed: of one chip, with its range.
        billed: chips of the job.
        per_instance: chips of one instance; None where it is not known.
        answer: the price of one instance, or why there is none.
    """
    found = {
        "tokens_per_second": scaled(speed, billed),
        "tokens_per_second_per_chip": speed,
        "tokens_per_second_per_instance": scaled(speed, per_instance)
        if per_instance
        else unknown("how many chips its instance has is not known"),
        "mfu": unknown(UNCHECKED),
    }
    if isinstance(answer, NoPrice) or not per_instance:
        none = unknown(answer.reason if isinstance(answer, NoPrice) else "no price is known")
        return found | dict.fromkeys(("usd_per_million_tokens", "tokens_per_usd"), none)
    usd_per_chip_second = float(answer.usd_per_hour) / per_instance / SECONDS_PER_HOUR
    return found | {
        "usd_per_million_tokens": reciprocal(speed, usd_per_chip_second * 1e6),
        "tokens_per_usd": scaled(speed, 1 / usd_per_chip_second),
        "usd_per_chip_hour": exactly(usd_per_chip_second * SECONDS_PER_HOUR),
    }


def measured_objection(run: RankedRun, field_length: int) -> str | None:
    """Return why a result of the model is not of the field's work, if so."""
    if run.is_adapter_training:
        return "it trains low-rank adapters alone"
    if run.idle is not None:
        return run.idle
    if run.sequence_length is None or not is_near(run.sequence_length, field_length):
        return f"its sequences are of {run.sequence_length or 'unknown'} tokens"
    return None


def with_objection(run: RankedRun, field_length: int) -> RankedRun:
    """Return a result with why it is not ranked in a field of this sequence length, if so."""
    return replace(run, objection=run.objection or measured_objection(run, field_length))
