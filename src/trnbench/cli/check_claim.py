"""`trnbench check-claim`: whether what is known supports a claim of price-performance."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from trnbench.cli.groups import cli_option
from trnbench.cli.options import OutputChoice
from trnbench.cli.price_options import PriceFile, PriceSourceChoice
from trnbench.errors import CheckFailed, ConfigError, DataError, Problem, did_you_mean
from trnbench.schema.rent import RentOption

if TYPE_CHECKING:
    from trnbench.catalog.instances import Instance
    from trnbench.catalog.published import KnownModel
    from trnbench.cli.reprice import PriceFinder
    from trnbench.cost.claims import Claim, Side
    from trnbench.cost.ranked_runs import RankedRun


EXAMPLES = (
    "trnbench check-claim '30-40 % better price-performance than p5en.48xlarge' --of trn2.48xlarge",
    "trnbench check-claim '1.3x cheaper than p5en.48xlarge' --of trn2.48xlarge --results results",
)
"""For `--help`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the claim is judged for."""

    PANEL: ClassVar[str] = "Claim"

    model: str | None = cli_option(None, metavar="NAME", help="Only runs of this model count.")
    results: list[Path] | None = cli_option(
        None,
        metavar="PATH",
        help="Your own results, measured or imported: of a work that they have on a chip, they "
        "count instead of what is published. Can be repeated.",
    )
    as_of: str | None = cli_option(
        None,
        metavar="DATE",
        help="Judge it by the prices of this day and by what was published by then.",
        show_default="today",
    )
    price_option: RentOption | None = cli_option(
        None,
        metavar="OPTION",
        help="The way of renting both.",
        show_default="the cheaper of on_demand and capacity_block, of each",
    )
    region: str | None = cli_option(None, metavar="REGION", help="The region of both prices.")
    prices: PriceFile = None
    price_source: PriceSourceChoice = None


def check_claim(
    *,
    claim: Annotated[
        str,
        typer.Argument(
            metavar="CLAIM",
            help="'30-40 % better price-performance than p5en.48xlarge'; also 'up to 50 % cheaper "
            "than ...' and '1.3x better price-performance than ...'.",
        ),
    ],
    of: Annotated[
        str, typer.Option("--of", metavar="INSTANCE", help="The instance that it is made of.")
    ],
    terms: Terms,
    form: OutputChoice,
) -> None:
    """Judge a claim of one instance over another by like runs of both: exit code 0 or 6."""
    from trnbench.catalog.published import published_results
    from trnbench.cli.output import show
    from trnbench.cli.price_options import PriceChoice
    from trnbench.cli.rank_field import refuse_unknown_region
    from trnbench.cli.reprice import PriceFinder, read_day
    from trnbench.cost.claims import judge
    from trnbench.reports.claim import REPORT

    read = _read(claim)
    choice = PriceChoice(
        option=terms.price_option, region=terms.region, file=terms.prices, source=terms.price_source
    )
    finder = PriceFinder.of(choice, today=read_day("--as-of", terms.as_of))
    if terms.prices is None and terms.price_source != "live":
        refuse_unknown_region(terms.region)
    better = _side(finder, "--of", of)
    than = _side(finder, "than", read.than)
    if better.instance == than.instance:
        raise ConfigError(
            f"--of {of}: is the instance that the claim compares with",
            hint="name the one that is said to be better",
        )
    known = [run for run in published_results() if run.date <= finder.today]
    problems: list[Problem] = []
    own = _own(terms.results or [], finder, problems)
    judged = judge(read, better, than, known, _model(terms.model), own)
    show(REPORT, judged, form.name, form.output)
    if problems:
        raise DataError.of(problems)
    if judged.verdict != "supported":
        raise CheckFailed(
            f"{judged.verdict}: {read.text} (of {better.instance.name})", hint=judged.reason
        )


def _read(text: str) -> "Claim":
    from trnbench.cost.claims import FORM, read_claim

    try:
        return read_claim(text)
    except ValueError as error:
        raise ConfigError(f"{text!r}: {error}", hint=f"write e.g. {FORM}") from None


def _own(paths: list[Path], finder: "PriceFinder", problems: list[Problem]) -> "list[RankedRun]":
    """Return one's own runs by the day; what cannot be read is a problem.

    Raises:
        DataError: nothing is there to read.
    """
    from trnbench.cost.ranked_runs import ranked_run
    from trnbench.run.results import load_results

    if not paths:
        return []
    runs = map(ranked_run, load_results(paths, problems))
    return [run for run in runs if run.day <= finder.today]


def _model(name: str | None) -> "KnownModel | None":
    from trnbench.catalog.published import find_model, model_names

    if name is None:
        return None
    found = find_model(name)
    if found is None:
        raise ConfigError(
            f"--model {name}: is not a known model", hint=did_you_mean(name, model_names())
        )
    return found


def _side(finder: "PriceFinder", option: str, name: str) -> "Side":
    """Return an instance at its price; `P5en` is p5en.48xlarge, where there is only one.

    Raises:
        ConfigError: it is not known, several are meant, or it has no chip or no price.
    """
    from trnbench.cost.claims import Side
    from trnbench.prices.base import NoPrice

    instance = _instance(option, name)
    if instance.accelerator is None:
        raise ConfigError(
            f"{option} {name}: {instance.name} has no chip that the catalog describes",
            hint="name an instance with accelerators: trn2.48xlarge, p5en.48xlarge",
        )
    answer = finder.settle(instance.name)
    if isinstance(answer, NoPrice):
        where, _, _ = answer.hint.partition(";")
        raise ConfigError(
            f"{option} {name}: {answer.reason}", hint=f"{where}; --prices FILE has your own rates"
        )
    return Side(instance=instance, price=answer)


def _instance(option: str, name: str) -> "Instance":
    from trnbench.catalog.instances import hint_at_instances, instances

    wanted = name.lower().rstrip(".,")
    known = {each.lower(): each for each in instances()}
    if wanted in known:
        return instances()[known[wanted]]
    sizes = [each for low, each in known.items() if low.startswith(f"{wanted}.")]
    if len(sizes) == 1:
        return instances()[sizes[0]]
    if sizes:
        raise ConfigError(
            f"{option} {name}: has several sizes", hint=f"name one of {', '.join(sorted(sizes))}"
        )
    raise ConfigError(
        f"{option} {name}: is not a known instance",
        hint=hint_at_instances(wanted, "`trnbench prices` lists them"),
    )
