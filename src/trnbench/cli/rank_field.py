"""What `trnbench rank MODEL` ranks: the published field, one's own results, and estimates."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

from trnbench.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from trnbench.catalog.published import KnownModel
    from trnbench.cli.rank import Wanted
    from trnbench.cli.reprice import PriceFinder
    from trnbench.cost.field import Field
    from trnbench.cost.ranked_runs import RankedRun
    from trnbench.cost.ranking import Constraint
    from trnbench.estimate.field import Estimates
    from trnbench.reports.field import FieldRanked


def ranked_field(
    model: "KnownModel",
    wanted: "Wanted",
    finder: "PriceFinder",
    measured: Sequence["RankedRun"],
    metric: str,
    constraint: "Constraint | None",
) -> "FieldRanked":
    """Return every chip with a figure for a model, ranked.

    Raises:
        ConfigError: there is no figure, or a price was asked for that no chip has.
    """
    from trnbench.catalog.published import is_same_model, published_results
    from trnbench.cost.field import published_field, usual_length, with_objection
    from trnbench.cost.ranking import rank_alike
    from trnbench.reports.field import FieldRanked

    if finder.choice.file is None and finder.choice.source != "live":
        refuse_unknown_region(finder.choice.region)
    known = [run for run in published_results() if run.date <= finder.today]
    own = [
        run for run in measured if is_same_model(run.model, model.name) and run.day <= finder.today
    ]
    if finder.usd_per_hour is not None and not own:
        raise ConfigError(
            f"--usd-per-hour {finder.usd_per_hour}: is the price of your own results' machine, "
            f"and there is no result of {model.name} here",
            hint="give rates of instances in a file: --prices FILE",
        )
    lengths = [run.sequence_length for run in own if run.sequence_length]
    length = wanted.sequence_length or usual_length(model, known, lengths)
    field = published_field(model, length, known, finder.settle, read_on(wanted.on))
    runs = [with_objection(run, length) for run in own]
    runs += field.runs
    estimates = _estimates(model, length, finder, wanted, runs)
    runs += estimates.runs
    if not runs:
        raise _no_figure(field, finder.today)
    work = f"{model.name}, {length:,} tokens a sequence"
    ranking = rank_alike(runs, metric, constraint, work)
    if not ranking.rows:
        raise _none_ranked(field, [reason for _, reason in ranking.left_out])
    return FieldRanked(field, estimates.bounds, ranking, metric, finder.today, finder.rule)


def _estimates(
    model: "KnownModel",
    length: int,
    finder: "PriceFinder",
    wanted: "Wanted",
    runs: "Sequence[RankedRun]",
) -> "Estimates":
    """Return estimates of the chips that have no bf16 figure.

    There is none of a model without sizes, nor of a past day, because what estimates rest on was
    published later; of a sequence longer than the model's positions there is the reason.
    """
    from trnbench.catalog.published import published_chips
    from trnbench.estimate.field import Bound, Estimates, estimated_field

    if model.shape is None or wanted.as_of is not None:
        return Estimates((), ())
    on = read_on(wanted.on)
    chips = [
        replace(chip, instance=on.get(chip.published_as.lower(), chip.instance))
        for chip in published_chips()
    ]
    known = {run.chip for run in runs if run.precision == "bf16" and run.objection is None}
    has_figure = {
        chip.published_as for chip in chips if {chip.published_as, chip.accelerator_name} & known
    }
    positions = model.shape.max_positions
    if length > positions:
        why = f"{model.name} has {positions:,} positions"
        usable = [chip for chip in chips if chip.accelerator is not None and not chip.memory]
        names = [chip.published_as for chip in usable if chip.published_as not in has_figure]
        return Estimates((), tuple(Bound(name, why, None) for name in names))
    return estimated_field(model.shape, length, chips, finder.settle, finder.today, has_figure)


def refuse_unknown_region(region: str | None) -> None:
    """Refuse a region in which the table has no price at all."""
    from trnbench.catalog.prices import price_rows

    known = {row.region for row in price_rows()}
    if region is not None and region not in known:
        raise ConfigError(
            f"--region {region}: the table has no price in it",
            hint=did_you_mean(region, known, "`trnbench prices` lists the regions"),
        )


def _no_figure(field: "Field", day: date) -> ConfigError:
    from trnbench.catalog.published import published_results

    name = field.model.name
    whole = [
        run
        for run in published_results()
        if field.model.is_of(run) and run.sequence_length and not run.is_adapter_training
    ]
    first = min((run.date for run in whole), default=day)
    if first > day:
        return ConfigError(
            f"--as-of {day}: nothing was published of {name} by then",
            hint=f"the first is of {first}",
        )
    lengths = {run.sequence_length or 0 for run in whole}
    if lengths:
        near = min(lengths, key=lambda n: abs(n - field.sequence_length))
        return ConfigError(
            f"{name} at {field.sequence_length:,} tokens a sequence: no chip has a figure",
            hint=f"the nearest that is published: --sequence-length {near}",
        )
    others = {run.model for run in published_results()}
    rest = f"measure it: trnbench run with `model: {name}`, then name the folder of its results"
    return ConfigError(
        f"{name}: no chip has a figure: none is measured or published, or can be estimated",
        hint=did_you_mean(name, others, rest),
    )


def _none_ranked(field: "Field", reasons: Sequence[str]) -> ConfigError:
    return ConfigError(
        f"no figure of {field.model.name} at {field.sequence_length:,} tokens a sequence can be "
        f"ranked, {len(reasons)} are known; the first: {reasons[0]}",
        hint="name another --region, --price-option or --as-of, or rank by "
        "`--by tokens_per_second_per_chip`; `trnbench prices INSTANCE` has the rates",
    )


def read_on(pairs: Sequence[str] | None) -> dict[str, str]:
    """Read `--on CHIP=INSTANCE`: instances by chip, in lower case.

    Raises:
        ConfigError: a chip or an instance is not known, or the instance does not have the chip.
    """
    from trnbench.catalog.instances import instances
    from trnbench.catalog.published import published_chips

    found = {}
    chips = {each.published_as.lower(): each for each in published_chips()}
    for pair in pairs or ():
        chip, equals, instance = (part.strip() for part in pair.partition("="))
        if not equals or not chip:
            raise ConfigError(f"--on {pair}: is not CHIP=INSTANCE", hint="write H100=p5.48xlarge")
        if chip.lower() not in chips:
            names = [each.published_as for each in published_chips()]
            raise ConfigError(
                f"--on {pair}: {chip} is not a known chip",
                hint=did_you_mean(chip, names) or f"use one of {', '.join(dict.fromkeys(names))}",
            )
        if instance not in instances():
            raise ConfigError(
                f"--on {pair}: {instance} is not a known instance",
                hint=did_you_mean(instance, instances()) or "`trnbench prices` lists them",
            )
        _refuse_other_chip(pair, chips[chip.lower()].published_as, instance)
        found[chip.lower()] = instance
    return found


def _refuse_other_chip(pair: str, chip: str, instance: str) -> None:
    from trnbench.catalog.instances import instances
    from trnbench.catalog.published import published_chips

    names = {each.accelerator_name for each in published_chips() if each.published_as == chip}
    here = instances()[instance]
    has = here.accelerator.name if here.accelerator else None
    if has is None or not any(names):
        return  # what the table does not say cannot be refused
    if has not in names:
        with_it = [
            each.name
            for each in instances().values()
            if each.accelerator is not None and each.accelerator.name in names
        ]
        raise ConfigError(
            f"--on {pair}: {instance} has {here.chips} x {has}, no {chip}",
            hint=f"with {chip}: {', '.join(with_it[:6]) or 'none that is known'}",
        )
