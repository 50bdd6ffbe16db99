"""A run as rankings see it: of a result, or of a published run at the price of an instance."""

import math
from dataclasses import dataclass
from datetime import date

from trnbench.analysis.idle import idle_chips_note, idle_note
from trnbench.analysis.metrics import exactly, reciprocal, scaled, unknown
from trnbench.catalog.instances import instances
from trnbench.catalog.published import PublishedResult, chip_of
from trnbench.schema.price import Price
from trnbench.schema.result import MetricValue, Origin, Result
from trnbench.units import SECONDS_PER_HOUR

UNCHECKED = "published figures count this their own way"
NO_SPEED = "its tokens per second are not published"


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedRun:
    """One way to train a model: what it was run on, how fast, and what that costs."""

    origin: Origin
    name: str
    """A case's, or the published run's."""
    source: str
    """The run that measured it, or the citation."""
    day: date
    """On which it was measured or published."""
    model: str
    sequence_length: int | None
    is_adapter_training: bool
    precision: str
    machine: str
    """What it ran on, for people."""
    instances: int
    """That are billed."""
    metrics: dict[str, MetricValue]
    price: Price | None
    price_reason: str | None
    objection: str | None
    """Why it must not be ranked, if so."""
    doubt: str | None
    """Which checks found it doubtful."""
    layout: str | None = None
    """Of a job of several ranks, in words."""
    idle: str | None = None
    """What of the billed devices it leaves idle, and what that costs."""
    chip: str | None = None
    """As the source calls it; None where a result does not say."""
    sources: int = 1
    """Of a published run: how many it stands for; its intervals go from one to the other."""
    assumption: str | None = None
    """What its figures take for granted beside what was run."""

    @property
    def usd_per_hour(self) -> float | None:
        """Of all instances that are billed."""
        return None if self.price is None else float(self.price.usd_per_hour) * self.instances


def ranked_run(result: Result) -> RankedRun:
    """Return a result as a run; an invalid or failed one has an objection."""
    device = result.device
    chip = device.accelerator or result.device_name or device.backend
    machine = f"{device.chips_billed} x {chip}" if device.accelerator else chip
    if device.devices_idle:
        machine = f"{device.devices_used} of {device.devices_billed} devices of {machine}"
    parallel, step = result.parallel, result.workload.step
    bad = [check for check in result.checks if check.verdict == result.standing]
    named = ", ".join(check.name for check in bad)
    objection = doubt = None
    if result.standing == "invalid":
        objection = f"invalid: {named}"
    elif result.standing == "failed":
        objection = f"failed: {result.failure}"
    elif result.standing == "doubtful":
        doubt = f"doubtful: {named}"
    return RankedRun(
        origin=result.origin,
        name=result.case_id,
        source=f"run {result.run_id}",
        day=date.fromisoformat(result.started_at[:10]),
        model=result.model.name,
        sequence_length=result.workload.sequence_length,
        is_adapter_training=step is not None and step.lora is not None,
        precision=result.workload.precision or "not known",
        machine=machine,
        instances=device.instances_billed,
        metrics=result.metrics,
        price=result.price,
        price_reason=result.price_reason,
        objection=objection,
        doubt=doubt,
        layout=None if parallel is None or parallel.world_size == 1 else parallel.in_words,
        idle=idle_note(device),
        chip=device.accelerator or result.device_name or device.backend,
    )


def rented_instance(published: PublishedResult, on: dict[str, str]) -> str | None:
    """Return the instance that a published run is priced as: its own, one in `on`, or its chip's.

    `on` has the instances that the user named, by accelerator as the source calls it.
    """
    if published.instance in instances():
        return published.instance
    return on.get(published.accelerator.lower()) or chip_of(published).instance or None


def ranked_publication(
    published: PublishedResult, instance: str | None, price: Price | None, reason: str | None
) -> RankedRun:
    """Return a published run, at the price of one instance."""
    known = instances().get(instance or "")
    chips = published.accelerators or 0
    rented = math.ceil(chips / known.chips) if known and known.chips and chips else 1
    billed = rented * known.chips if known and known.chips else chips
    tokens_per_second = published.tokens_per_second
    speed = unknown(NO_SPEED) if tokens_per_second is None else exactly(tokens_per_second)
    is_assumed = instance is not None and instance != published.instance
    return RankedRun(
        origin="published",
        name=published.name,
        source=published.source,
        day=published.date,
        model=published.model,
        sequence_length=published.sequence_length,
        is_adapter_training=published.is_adapter_training,
        precision=published.precision or "not known",
        machine=f"{published.accelerators or '?'} x {published.accelerator}"
        + (f" priced as {rented} x {instance}" if is_assumed else ""),
        instances=rented,
        metrics=_published_metrics(speed, chips, billed, rented, price, reason),
        price=price,
        price_reason=reason,
        objection=None if tokens_per_second else NO_SPEED,
        doubt=None,
        idle=idle_chips_note(chips, billed, published.accelerator) if chips else None,
        chip=published.accelerator,
    )


def _published_metrics(
    speed: MetricValue,
    chips: int,
    billed: int,
    rented: int,
    price: Price | None,
    reason: str | None,
) -> dict[str, MetricValue]:
    """Return the metrics that follow from a published speed, without intervals."""
    found = {
        "tokens_per_second": speed,
        "tokens_per_second_per_chip": scaled(speed, 1 / chips) if chips else unknown("how many?"),
        "mfu": unknown(UNCHECKED),
    }
    if price is None:
        none = unknown(reason or "no price is known")
        return found | dict.fromkeys(("usd_per_million_tokens", "tokens_per_usd"), none)
    usd_per_second = float(price.usd_per_hour) * rented / SECONDS_PER_HOUR
    return found | {
        "usd_per_million_tokens": reciprocal(speed, usd_per_second * 1e6),
        "tokens_per_usd": scaled(speed, 1 / usd_per_second),
        "usd_per_chip_hour": exactly(usd_per_second * SECONDS_PER_HOUR / billed)
        if billed
        else unknown("how many chips are billed is not known"),
    }
