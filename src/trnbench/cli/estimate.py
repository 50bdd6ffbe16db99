"""`trnbench estimate`: a whole training on machines that are not here: layout, days, dollars."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from trnbench.cli import options, price_options
from trnbench.cli.cost import JobOptions
from trnbench.cli.groups import cli_option
from trnbench.errors import ConfigError, DataError, Problem, did_you_mean
from trnbench.protocol.orders import Precision

if TYPE_CHECKING:
    from trnbench.catalog.published import KnownModel
    from trnbench.cli.reprice import PriceFinder
    from trnbench.estimate.calibration import Calibration
    from trnbench.estimate.training import TrainingEstimate, Wish
    from trnbench.schema.price import Price

EXAMPLES = (
    "trnbench estimate llama3.1-8b --tokens 1T",
    "trnbench estimate llama3.1-70b --on trn2.48xlarge:16 --tokens 300B --within 30d",
)
"""For `--help`."""

MOST_TOKENS = 1e18
MOST_LENGTH = 2**24


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What is to be trained, and on which machines."""

    PANEL: ClassVar[str] = "Training"

    on: list[str] | None = cli_option(
        None,
        metavar="INSTANCE[:COUNT]",
        help="Train on this many instances of a type: trn2.48xlarge:64. Can be repeated, or joined "
        "by commas. Without COUNT: on the fewest, by powers of two, that fit and keep --within.",
        show_default="the usual instance of every chip",
    )
    within: str | None = cli_option(
        None, metavar="TIME", help="The training must end within this time: 30d."
    )
    sequence_length: int | None = cli_option(
        None, min=1, max=MOST_LENGTH, metavar="N", help="Tokens in a sequence.",
        show_default="what most publications of the model have",
    )  # fmt: skip
    global_batch_size: int | None = cli_option(
        None, min=1, max=10**9, metavar="N", help="Sequences of an optimizer step.",
        show_default="4 Mi tokens, 512 Ki for less than a billion weights",
    )  # fmt: skip
    precision: Precision = cli_option("bf16", help="The number format of the matmuls.")
    calibrate: list[Path] | None = cli_option(
        None,
        metavar="PATH",
        help="Let your own results, of `trnbench run` and of `trnbench peak`, correct the estimate "
        "for their chip. Can be repeated.",
    )
    curve: bool = cli_option(
        False, "--curve", help="Show ever more instances of each type, and where it stops to pay."
    )


Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model of the catalog: `trnbench models`.")
]


def estimate(
    *,
    model: Model,
    planned: Planned,
    training: JobOptions,
    price: price_options.PriceChoice,
    form: options.OutputChoice,
    plots: options.Plots = None,
) -> None:
    """Estimate a training on machines that are not here: does it fit, how long, for how much."""
    from trnbench.cli.output import prepare_plots, show
    from trnbench.cli.reprice import PriceFinder
    from trnbench.estimate import training as estimates
    from trnbench.reports.estimate import REPORT, Estimated

    prepare_plots(plots)
    wish = _wish(_model_of(model), planned, training)
    finder = PriceFinder.of(price)
    problems: list[Problem] = []
    known = _own_calibration(planned.calibrate, problems) if planned.calibrate else None
    found: list[TrainingEstimate] = []
    refused: list[tuple[str, str]] = []
    for instance, count in _machines(planned.on):
        offers, reason = _offers(finder, instance)
        try:
            made = _estimates(wish, instance, count, offers, reason, known, planned)
        except ConfigError as error:
            if planned.on:
                raise
            refused.append((instance, error.problems[0].message))
            continue
        if not made:
            raise _no_layout(wish, instance, count)
        found += made
    if not planned.curve:
        found.sort(key=estimates.merit)
    enough = {
        each.setup.machine.instance or "": estimates.fewest_that_fit(
            wish, each.setup.machine.instance
        )
        for each in found
        if not each.fits and each.setup.machine.instance
    }
    shown = Estimated(
        model, wish, found, refused, enough, finder.rule, bool(planned.on), planned.curve, known
    )
    show(REPORT, shown, form.name, form.output, plots=plots)
    _refuse_late(found, planned.within)
    if problems:
        raise DataError.of(problems)


def _estimates(
    wish: "Wish",
    instance: str,
    count: int | None,
    offers: "Sequence[Price]",
    reason: str | None,
    known: "Calibration | None",
    planned: Planned,
) -> "list[TrainingEstimate]":
    from trnbench.estimate import training as estimates

    if planned.curve:
        return estimates.curve(wish, instance, offers, reason, known)
    one = estimates.estimate_training(wish, instance, count, offers, reason, known)
    return [] if one is None else [one]


# --- what is asked --------------------------------------------------------------------------------


def _model_of(name: str) -> "KnownModel":
    from trnbench.catalog.models import models
    from trnbench.catalog.published import find_model

    found = find_model(name)
    if found is not None and found.shape is not None:
        return found
    what = "is not a known model" if found is None else "has no sizes in the catalog"
    raise ConfigError(
        f"{name}: {what}", hint=did_you_mean(name, models(), "`trnbench models` lists them")
    )


def _wish(model: "KnownModel", planned: Planned, training: JobOptions) -> "Wish":
    from trnbench.catalog.published import published_results
    from trnbench.cost.field import usual_length
    from trnbench.estimate.training import Wish
    from trnbench.model.families import family_of
    from trnbench.units import read_seconds

    assert model.shape is not None
    job = training.job()
    if job.tokens > MOST_TOKENS:
        raise ConfigError(
            f"--tokens {training.tokens}: is more than 10^18", hint="write e.g. --tokens 15T"
        )
    length = planned.sequence_length or usual_length(model, published_results())
    if length > model.shape.max_positions and not family_of(model.shape).is_rotary:
        raise ConfigError(
            f"--sequence-length {length}: {model.name} has {model.shape.max_positions} positions",
            hint=f"use at most --sequence-length {model.shape.max_positions}",
        )
    try:
        within = None if planned.within is None else read_seconds(planned.within)
    except ValueError as error:
        raise ConfigError(f"--within {planned.within}: {error}", hint="write 30d") from None
    return Wish(
        shape=model.shape,
        sequence_length=length,
        global_batch_size=planned.global_batch_size,
        precision=planned.precision,
        job=job,
        within_seconds=within,
    )


def _own_calibration(paths: Sequence[Path], problems: list[Problem]) -> "Calibration":
    """Read results of `run` and of `peak`.

    Raises:
        DataError: one of them says nothing of a chip of the catalog.
    """
    from trnbench.estimate.own import calibrated_by
    from trnbench.run.microbench import PEAK_FILE, read_peak
    from trnbench.run.results import load_results

    of_peak = [path for path in paths if path.name == PEAK_FILE or (path / PEAK_FILE).is_file()]
    of_run = [path for path in paths if path not in of_peak]
    results = list(load_results(of_run, problems)) if of_run else []
    if not results and not of_peak:
        raise DataError.of(problems)
    return calibrated_by(results, [read_peak(path) for path in of_peak])


def _machines(asked: Sequence[str] | None) -> Iterator[tuple[str, int | None]]:
    """Yield instance types with their counts; by default the usual type of every chip.

    Raises:
        ConfigError: a type is not known, or a count is none.
    """
    from trnbench.catalog.instances import instances
    from trnbench.catalog.published import published_chips

    if not asked:
        for instance in dict.fromkeys(chip.instance for chip in published_chips()):
            known = instances().get(instance)
            if known is not None and known.accelerator is not None:
                yield instance, None
        return
    for text in (each.strip() for given in asked for each in given.split(",")):
        instance, colon, count = text.partition(":")
        if instance not in instances():
            raise ConfigError(
                f"--on {text}: {instance} is not a known instance",
                hint=did_you_mean(instance, instances(), "`trnbench prices` lists them"),
            )
        if colon and not (count.isdecimal() and 0 < int(count) <= MOST_INSTANCES):
            raise ConfigError(
                f"--on {text}: {count or 'nothing'} is no number of instances",
                hint=f"write 1 to {MOST_INSTANCES:,}: --on {instance}:8",
            )
        yield instance, int(count) if colon else None


MOST_INSTANCES = 100_000


def _offers(finder: "PriceFinder", instance: str) -> "tuple[list[Price], str | None]":
    """Return the price that is taken, then those of other ways of renting; or why there is none."""
    from trnbench.schema.price import Price
    from trnbench.schema.rent import RENT_OPTIONS

    settled = finder.settle(instance)
    if not isinstance(settled, Price):
        return [], settled.reason
    others = []
    for option in RENT_OPTIONS if finder.choice.option is None else ():
        choice = replace(finder.choice, option=option)
        answer = replace(finder, choice=choice).settle(instance)
        if isinstance(answer, Price) and option != settled.option:
            others.append(answer)
    return [settled, *others], None


def _no_layout(wish: "Wish", instance: str, count: int | None) -> ConfigError:
    from trnbench.estimate.machine import machine_of

    machine = machine_of(instance=instance)
    devices = (count or 1) * machine.chips_per_node * machine.chip.devices_per_chip
    batch = (
        "" if wish.global_batch_size is None else f"{wish.global_batch_size} sequences a step of "
    )
    return ConfigError(
        f"--on {instance}:{count or 1}: no layout shares {batch}the model out over {devices} "
        "devices",
        hint=f"use a --global-batch-size that is a multiple of {devices}, or another COUNT",
    )


def _refuse_late(found: "Sequence[TrainingEstimate]", within: str | None) -> None:
    """Refuse a deadline that no machine keeps, with the nearest.

    Raises:
        ConfigError: all are late.
    """
    from trnbench.units import say_seconds

    if within is None or not found or any(each.is_in_time for each in found):
        return
    nearest = min(found, key=lambda each: each.seconds[1] or each.seconds[0])
    raise ConfigError(
        f"--within {within}: no machine here trains {nearest.job.tokens:.3g} tokens in that time",
        hint=f"the nearest is {nearest.instances} x {nearest.setup.machine.instance}: "
        f"{say_seconds(nearest.seconds[1] or nearest.seconds[0])}; name more instances by --on",
    )
