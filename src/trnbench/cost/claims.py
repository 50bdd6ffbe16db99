"""Whether a claim of price-performance between two instances is supported by what is known.

Only like runs are evidence: one model, one sequence length, one number format, all weights trained,
on the chips of both instances. A run that the user measured is believed before published ones.
Source of the ratio: docs/metrics.md, "Two offers"; of the verdicts: docs/rank.md, "Claims".
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from trnbench.analysis.metrics import scaled
from trnbench.catalog.instances import Instance
from trnbench.catalog.published import (
    KnownModel,
    PublishedResult,
    chip_of,
    find_model,
    is_same_model,
)
from trnbench.cost.field import objection, published_field
from trnbench.cost.ranked_runs import RankedRun
from trnbench.model.flops import flops_per_token
from trnbench.model.published import published_shape
from trnbench.schema.price import Price
from trnbench.schema.result import MetricValue

Verdict = Literal["supported", "not supported", "cannot tell"]

_CLAIM = re.compile(
    r"(?P<up>up\s+to\s+)?(?P<low>\d+(?:\.\d+)?)\s*%?\s*(?:(?:-|–|to)\s*(?P<high>\d+(?:\.\d+)?)\s*)?"  # noqa: RUF001
    r"(?P<unit>%|x)\s+(?P<what>better\s+price[- ]performance|cheaper|lower\s+cost)\s+than\s+"
    r"(?P<than>\S+)",
    re.IGNORECASE,
)
FORM = '"30-40 % better price-performance than p5en.48xlarge"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """That one instance trains more tokens a dollar than another, by this ratio."""

    text: str
    low: float
    """The least ratio of tokens per dollar that is claimed."""
    high: float
    is_up_to: bool
    """Whether only the best case is claimed."""
    than: str
    """The other instance, as the claim names it."""


def read_claim(text: str) -> Claim:
    """Read a claim.

    30-40 % better is a ratio of 1.3 to 1.4 in tokens per dollar, 1.3-1.4x is the same, and 50 %
    cheaper is 2.0.

    Raises:
        ValueError: it is not of this form, or more than 100 % cheaper.
    """
    found = _CLAIM.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"is not of the form {FORM}")
    low = float(found["low"])
    ends = low, float(found["high"] or low)
    if ends[1] < ends[0] or ends[0] <= 0:
        raise ValueError("its range must go from a lower to a higher figure above 0")
    is_better = found["what"].lower().startswith("better")
    if found["unit"] == "%" and not is_better and ends[1] >= 100:
        raise ValueError("nothing is 100 % cheaper")
    ratios = [_ratio(end, found["unit"].lower(), is_better=is_better) for end in ends]
    is_up_to = found["up"] is not None
    return Claim(text=text, low=ratios[0], high=ratios[1], is_up_to=is_up_to, than=found["than"])


def _ratio(figure: float, unit: str, *, is_better: bool) -> float:
    if unit == "x":
        return figure
    return 1 + figure / 100 if is_better else 1 / (1 - figure / 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two instances, at its price."""

    instance: Instance
    price: Price

    @property
    def chip_seconds_per_usd(self) -> float:
        """The seconds of one chip that a dollar pays for."""
        return 3600 * self.instance.chips / float(self.price.usd_per_hour)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Like runs on both chips, and the ratio of their tokens per dollar."""

    model: str
    sequence_length: int
    precision: str
    of: RankedRun
    than: RankedRun
    ratio: MetricValue
    """Its range goes over the sources of both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one chip would have to reach for the claim to hold, beside a run on the other."""

    model: str
    sequence_length: int
    precision: str
    than: RankedRun
    tokens_per_second_per_chip: float
    mfu: float | None
    """Of the dense bf16 peak; None where the sizes, the peak or the format leave it open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A claim with its verdict and what that rests on."""

    claim: Claim
    verdict: Verdict
    reason: str
    of: Side
    than: Side
    evidence: tuple[Evidence, ...]
    needs: tuple[Need, ...]
    unlike: tuple[tuple[PublishedResult, str], ...]
    """Runs on the first instance's chip that are no evidence, each with the reason."""


def judge(
    claim: Claim,
    of: Side,
    than: Side,
    published: Sequence[PublishedResult],
    model: KnownModel | None = None,
    own: Sequence[RankedRun] = (),
) -> Judged:
    """Return the verdict on a claim; with a model only its runs count.

    `own` are runs that the user measured or imported: of a work that they have on a chip, what is
    published on it does not count.
    """
    kept = [run for run in published if model is None or model.is_of(run)]
    ours = [run for run in kept if _is_on(run, of.instance)]
    theirs = [run for run in kept if _is_on(run, than.instance)]
    usable = [run for run in own if run.objection is None and not run.is_adapter_training]
    if model is not None:
        usable = [run for run in usable if is_same_model(run.model, model.name)]
    of_works, than_works = _works(ours, usable, of), _works(theirs, usable, than)
    evidence = tuple(_evidence(of_works, than_works))
    verdict, reason = _verdict(claim, evidence)
    return Judged(
        claim=claim,
        verdict=verdict,
        reason=reason,
        of=of,
        than=than,
        evidence=evidence,
        needs=() if evidence else tuple(_needs(claim, than_works, of, than)),
        unlike=() if evidence else tuple(_unlike(ours)),
    )


def _is_on(run: PublishedResult, instance: Instance) -> bool:
    chip = instance.accelerator
    return chip is not None and chip_of(run).accelerator_name == chip.name


def _verdict(claim: Claim, evidence: Sequence[Evidence]) -> tuple[Verdict, str]:
    if not evidence:
        return "cannot tell", (
            "nothing published or measured trains one model alike on both chips: the same "
            "sequence length, the same number format, all weights"
        )
    ratios = [each.ratio for each in evidence]
    low = min(ratio.low or ratio.value or 0.0 for ratio in ratios)
    high = max(ratio.high or ratio.value or 0.0 for ratio in ratios)
    found = f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"
    said = f"like runs give {found} times the tokens per dollar"
    if claim.is_up_to:
        best = max(ratio.value or 0.0 for ratio in ratios)
        said += f", the best pair {best:.2f}; up to {claim.high:.2f} is claimed"
        return ("supported" if best >= claim.high else "not supported"), said
    if low >= claim.low:
        more = ", more than is claimed" if low > claim.high else ""
        return "supported", f"{said}, at least {claim.low:.2f} is claimed{more}"
    if high < claim.low:
        return "not supported", f"{said}, at least {claim.low:.2f} is claimed"
    return "cannot tell", f"{said}: some reach the {claim.low:.2f} that is claimed, some do not"


def _models(runs: Sequence[PublishedResult]) -> list[KnownModel]:
    """Return each model once, whatever its sources call it."""
    found: list[KnownModel] = []
    for run in runs:
        if not any(model.is_of(run) for model in found):
            found.append(KnownModel(run.model, published_shape(run)[0], run.sizes))
    return found


def _alike(
    model: KnownModel, runs: Sequence[PublishedResult], side: Side
) -> dict[tuple[int, str], RankedRun]:
    """Return a model's runs on one side by sequence length and number format, as in a field."""
    found: dict[tuple[int, str], RankedRun] = {}
    of_model = [run for run in runs if model.is_of(run) and run.precision]
    for length in sorted({run.sequence_length for run in of_model if run.sequence_length}):
        exact = [run for run in of_model if run.sequence_length == length]
        chips = {run.accelerator.lower(): side.instance.name for run in exact}
        field = published_field(model, length, exact, lambda _: side.price, chips)
        found |= {(length, run.precision): run for run in field.runs}
    return found


Works = dict[str, tuple[KnownModel, dict[tuple[int, str], RankedRun]]]
"""Runs on one side by model, and by sequence length and number format."""


def _works(runs: Sequence[PublishedResult], own: Sequence[RankedRun], side: Side) -> Works:
    """Return what is known on one side; of a work that the user measured, that alone."""
    found: Works = {model.name: (model, _alike(model, runs, side)) for model in _models(runs)}
    chip = side.instance.accelerator
    mine = [run for run in own if chip is not None and run.chip == chip.name]
    # The last one that is written stays: of like runs the newest without a doubt.
    for run in sorted(mine, key=lambda run: (run.doubt is None, run.day)):
        speed, length = run.metrics["tokens_per_second_per_chip"], run.sequence_length
        if speed.value is None or length is None:
            continue
        model = next(
            (model for model, _ in found.values() if is_same_model(model.name, run.model)),
            find_model(run.model) or KnownModel(run.model, None, None),
        )
        _, alike = found.setdefault(model.name, (model, {}))
        metrics = {**run.metrics, "tokens_per_usd": scaled(speed, side.chip_seconds_per_usd)}
        alike[length, run.precision] = replace(run, metrics=metrics, price=side.price)
    return found


def _evidence(ours: Works, theirs: Works) -> Iterator[Evidence]:
    for model, other in theirs.values():
        mine = _counterpart(model, ours)
        for key in sorted(mine.keys() & other.keys()):
            length, precision = key
            yield Evidence(
                model=model.name,
                sequence_length=length,
                precision=precision,
                of=mine[key],
                than=other[key],
                ratio=_ratio_of(mine[key], other[key]),
            )


def _counterpart(model: KnownModel, works: Works) -> dict[tuple[int, str], RankedRun]:
    """Return the runs of a model under any of its names."""
    for each, runs in works.values():
        has_sizes = model.sizes is not None and model.sizes == each.sizes
        if has_sizes or is_same_model(each.name, model.name):
            return runs
    return {}


def _ratio_of(of: RankedRun, than: RankedRun) -> MetricValue:
    """Return the ratio of tokens per dollar; its range is that of both sides' sources."""
    mine, other = of.metrics["tokens_per_usd"], than.metrics["tokens_per_usd"]
    value = (mine.value or 0.0) / (other.value or 1.0)
    if mine.low is None and other.low is None:
        return MetricValue(value=value)
    low = (mine.low or mine.value or 0.0) / (other.high or other.value or 1.0)
    high = (mine.high or mine.value or 0.0) / (other.low or other.value or 1.0)
    return MetricValue(value=value, low=low, high=high)


def _needs(claim: Claim, theirs: Works, of: Side, than: Side) -> Iterator[Need]:
    """Yield what the first chip must reach beside each like run on the other."""
    factor = claim.low * than.chip_seconds_per_usd / of.chip_seconds_per_usd
    for model, runs in theirs.values():
        for (length, precision), run in runs.items():
            speed = run.metrics["tokens_per_second_per_chip"].value
            if speed is None:
                continue
            yield Need(
                model=model.name,
                sequence_length=length,
                precision=precision,
                than=run,
                tokens_per_second_per_chip=speed * factor,
                mfu=_mfu(model, length, precision, speed * factor, of),
            )


def _mfu(model: KnownModel, length: int, precision: str, speed: float, of: Side) -> float | None:
    chip = of.instance.accelerator
    peak = chip.bf16_flops_per_second if chip else None
    if model.shape is None or peak is None or precision != "bf16":
        return None
    return speed * flops_per_token(model.shape, length) / peak


def _unlike(runs: Sequence[PublishedResult]) -> Iterator[tuple[PublishedResult, str]]:
    """Yield the runs on the first chip, newest first, with why they are no evidence."""
    for run in sorted(runs, key=lambda run: run.date, reverse=True):
        length = run.sequence_length or 0
        yield run, objection(run, length) or "no like run is published on the other chip"
