"""`trnbench rank`: every chip that has a figure for a model, or the runs in folders, best first."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from trnbench.cli import options, price_options
from trnbench.cli.groups import cli_option
from trnbench.errors import ConfigError, DataError, Problem, did_you_mean

if TYPE_CHECKING:
    from trnbench.catalog.published import KnownModel
    from trnbench.cli.reprice import PriceFinder
    from trnbench.cost.ranked_runs import RankedRun
    from trnbench.cost.ranking import Constraint, Ranking
    from trnbench.reports.ranking import Ranked

EXAMPLES = (
    "trnbench rank llama3-8b",
    "trnbench rank results --published",
)
"""For `--help`."""


JOB_HINT = "set its size: --tokens 1T"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which runs are ranked, and by what."""

    PANEL: ClassVar[str] = "Runs"

    by: str | None = cli_option(
        None,
        metavar="METRIC",
        help="Rank by this metric: any of `trnbench schema columns`; with --tokens also train_usd "
        "or train_seconds.",
        show_default="usd_per_million_tokens; with --tokens train_usd; with a budget and no "
        "deadline train_seconds",
    )
    published: bool = cli_option(
        False,
        "--published",
        help="Beside results in folders: add every published run, marked, with its citation.",
    )
    model: str | None = cli_option(
        None, metavar="NAME", help="Of results in folders: keep only those of this model."
    )
    sequence_length: int | None = cli_option(
        None,
        min=1,
        metavar="N",
        help="Tokens in a sequence.",
        show_default="what most publications of the model have",
    )
    on: list[str] | None = cli_option(
        None,
        metavar="CHIP=INSTANCE",
        help="Price this chip as this instance: H100=p5.4xlarge. Can be repeated.",
    )
    as_of: str | None = cli_option(
        None,
        metavar="DATE",
        help="Take the prices of this day, and what was published by then: 2026-03-01.",
        show_default="today",
    )

    def has(self, run: "RankedRun") -> bool:
        """Tell whether a run is of the model and the length that were asked for."""
        from trnbench.catalog.published import is_same_model

        if self.model is not None and not is_same_model(run.model, self.model):
            return False
        return self.sequence_length in (None, run.sequence_length)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLimits:
    """The job that runs are ranked for, and its limits."""

    PANEL: ClassVar[str] = "Job"

    tokens: str | None = cli_option(
        None, metavar="COUNT", help="Rank a job of this many tokens: 1T, 300B."
    )
    deadline: str | None = cli_option(
        None, metavar="TIME", help="The job must end within this time: 30d."
    )
    budget: float | None = cli_option(
        None, min=0, metavar="USD", help="The job must not cost more than this."
    )
    scaling_efficiency: float | None = cli_option(
        None,
        min=0.01,
        metavar="FRACTION",
        max=1,
        help="Let a job use more machines than were measured; each then reaches this fraction "
        "of its measured speed. Without it, nothing is scaled.",
    )
    max_copies: int = cli_option(
        10_000,
        min=1,
        max=1_000_000,
        metavar="N",
        help="Use at most this many times the measured machines.",
    )

    def constraint(self) -> "Constraint | None":
        """Return the job with its limits; None where there is no job."""
        from trnbench.cost.ranking import Constraint
        from trnbench.cost.training import TrainingJob
        from trnbench.units import read_count, read_seconds

        if self.tokens is None:
            for name in ("deadline", "budget", "scaling_efficiency"):
                if getattr(self, name) is not None:
                    option = f"--{name.replace('_', '-')}"
                    raise ConfigError(f"{option}: applies only to a job", hint=JOB_HINT)
            return None
        try:
            job = TrainingJob(tokens=read_count(self.tokens))
            seconds = None if self.deadline is None else read_seconds(self.deadline)
        except ValueError as error:
            raise ConfigError(
                f"--tokens {self.tokens} --deadline {self.deadline}: {error}",
                hint="write e.g. --tokens 1T --deadline 30d",
            ) from None
        return Constraint(
            job=job,
            deadline_seconds=seconds,
            budget_usd=self.budget,
            scaling_efficiency=self.scaling_efficiency,
            max_copies=self.max_copies,
        )


Subjects = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODEL] [PATH]...",
        parser=options.read_name,
        help="A model: rank every chip that there is a figure for. Folders of results: rank them. "
        "A name that is both means the folder.",
        show_default="the folder results",
    ),
]


def rank(
    *,
    subjects: Subjects = None,
    wanted: Wanted,
    limits: JobLimits,
    price: price_options.PriceChoice,
    all_options: price_options.AllOptions = False,
    form: options.OutputChoice,
    plots: options.Plots = None,
) -> None:
    """Rank every chip with a figure for a model, or the runs in folders, for a price and a job."""
    from trnbench.cli.output import prepare_plots, show
    from trnbench.cli.rank_field import ranked_field
    from trnbench.cli.reprice import PriceFinder, read_day
    from trnbench.reports import field, ranking

    prepare_plots(plots)
    constraint = limits.constraint()
    metric = _metric(wanted.by, constraint)
    model, paths = read_subjects(subjects)
    finder = PriceFinder.of(price, today=read_day("--as-of", wanted.as_of))
    problems: list[Problem] = []
    if model is None:
        runs = _rank_runs(paths, wanted, finder, problems, all_options=all_options)
        ranked = _ranked(runs, wanted, metric, constraint, problems)
        if ranked.rankings:
            show(ranking.REPORT, ranked, form.name, form.output, plots=plots)
    else:
        _refuse_beside_a_model(wanted, all_options=all_options)
        measured = _measured(paths, finder, problems, all_options=False) if paths else []
        chosen = ranked_field(model, wanted, finder, measured, metric, constraint)
        show(field.REPORT, chosen, form.name, form.output, plots=plots)
    if problems:
        raise DataError.of(problems)


def read_subjects(subjects: Sequence[str] | None) -> "tuple[KnownModel | None, list[Path] | None]":
    """Tell a model from folders: what exists is a folder, else it must be a model's name.

    Beside a model the folder `results` counts where it exists.

    Raises:
        ConfigError: a name is neither, or two models are named.
    """
    from trnbench.catalog.published import find_model, model_names
    from trnbench.run.results import DEFAULT_RESULTS

    if not subjects:
        return None, None
    models, paths = [], []
    for name in subjects:
        if Path(name).exists():
            paths.append(Path(name))
            continue
        found = find_model(name)
        if found is None:
            raise ConfigError(
                f"{name}: is neither a folder of results nor a known model",
                hint=did_you_mean(name, model_names(), "`trnbench models` lists the catalog's"),
            )
        models.append(found)
    if len(models) > 1:
        raise ConfigError(
            f"{' '.join(each.name for each in models)}: are two models; each has its own ranking",
            hint="name one of them",
        )
    if models and not paths and DEFAULT_RESULTS.exists():
        paths = [DEFAULT_RESULTS]
    return (models[0] if models else None), (paths if paths or models else None)


def _refuse_beside_a_model(wanted: Wanted, *, all_options: bool) -> None:
    if wanted.model is not None:
        raise ConfigError(
            f"--model {wanted.model}: the model is named already", hint="leave one of them out"
        )
    if all_options:
        raise ConfigError(
            "--all-options: a model's ranking has one price for each chip",
            hint="name a way of renting: --price-option on_demand",
        )


# --- runs in folders, and published ones beside them ----------------------------------------------


def _rank_runs(
    paths: list[Path] | None,
    wanted: Wanted,
    finder: "PriceFinder",
    problems: list[Problem],
    *,
    all_options: bool,
) -> "list[RankedRun]":
    from trnbench.run.results import DEFAULT_RESULTS

    if wanted.on and not wanted.published:
        raise ConfigError("--on: applies only to published runs", hint="add --published")
    if not paths and wanted.published and not DEFAULT_RESULTS.exists():
        paths = []
    runs = _measured(paths, finder, problems, all_options=all_options)
    if wanted.published:
        runs += _published(wanted, finder, all_options=all_options)
    return runs


def _ranked(
    runs: "list[RankedRun]",
    wanted: Wanted,
    metric: str,
    constraint: "Constraint | None",
    problems: list[Problem],
) -> "Ranked":
    from trnbench.catalog.published import published_results
    from trnbench.cost.ranking import rank as rank_runs
    from trnbench.reports.ranking import Ranked

    ranked = rank_runs([run for run in runs if wanted.has(run)], metric, constraint)
    rankings = _worth_showing(ranked)
    if not rankings:
        models = {run.model for run in runs}
        models |= {run.model for run in published_results()} if wanted.published else set()
        problems.append(_nothing(ranked, models, wanted.model))
    return Ranked(rankings, metric)


def _measured(
    paths: list[Path] | None, finder: "PriceFinder", problems: list[Problem], *, all_options: bool
) -> "list[RankedRun]":
    from trnbench.cost.ranked_runs import ranked_run
    from trnbench.run.results import load_results

    found = []
    for result in load_results(paths, problems):
        if all_options:
            found += [ranked_run(offer.result) for offer in finder.reprice_all(result)]
        else:
            found.append(ranked_run(finder.reprice(result)))
    return found


def _published(wanted: Wanted, finder: "PriceFinder", *, all_options: bool) -> "list[RankedRun]":
    from trnbench.catalog.published import is_same_model, published_results
    from trnbench.cli.rank_field import read_on
    from trnbench.cost.ranked_runs import ranked_publication, rented_instance
    from trnbench.prices.base import NoPrice

    found = []
    on = read_on(wanted.on)
    for run in published_results():
        is_of_model = wanted.model is None or is_same_model(run.model, wanted.model)
        if not is_of_model or run.date > finder.today:
            continue
        instance = rented_instance(run, on)
        if instance is None:
            why = f"no price of an instance with {run.accelerator} is known"
            found.append(ranked_publication(run, None, None, why))
            continue
        answers = (
            finder.offers_of(instance, all_options=True)
            if all_options
            else [finder.settle(instance)]
        )
        for answer in answers:
            if isinstance(answer, NoPrice):
                why = f"{answer.reason}; {answer.hint}"
                found.append(ranked_publication(run, instance, None, why))
            else:
                found.append(ranked_publication(run, instance, answer, None))
    return found


def _worth_showing(rankings: "list[Ranking]") -> "list[Ranking]":
    """Keep the kinds of work that have a ranked or a measured run."""
    return [
        ranking
        for ranking in rankings
        if ranking.rows or any(c.origin == "measured" for c, _ in ranking.left_out)
    ]


def _nothing(ranked: "Sequence[Ranking]", models: set[str], model: str | None) -> Problem:
    """Return why no run is ranked: the most common reason, or that no run was found."""
    reasons = Counter(reason for ranking in ranked for _, reason in ranking.left_out)
    if not reasons:
        otherwise = "name a folder of results, add --published, or use fewer filters"
        return Problem("no run is left to rank", did_you_mean(model or "", models) or otherwise)
    ((reason, count),) = reasons.most_common(1)
    return Problem(
        f"none of {reasons.total()} can be ranked; {count} of them: {reason}",
        "choose their price by `--on`, `--region` and `--price-option`, or rank by "
        "`--by tokens_per_second_per_chip`",
    )


# --- by which metric ------------------------------------------------------------------------------


def _metric(by: str | None, constraint: "Constraint | None") -> str:
    from trnbench.analysis.metrics import METRICS
    from trnbench.cost.ranking import TO_TRAIN

    if by is None:
        if constraint is None:
            return "usd_per_million_tokens"
        is_race = constraint.budget_usd is not None and constraint.deadline_seconds is None
        return "train_seconds" if is_race else "train_usd"
    if by in TO_TRAIN and constraint is None:
        raise ConfigError(f"--by {by}: applies only to a job", hint=JOB_HINT)
    known = (*METRICS, *TO_TRAIN)
    if by not in known:
        raise ConfigError(
            f"--by {by}: is not a metric",
            hint=did_you_mean(by, known) or f"use one of {', '.join(known)}",
        )
    return by
