"""`trnbench prices`: the dated table, its history, or AWS's current rates."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from trnbench.cli import complete
from trnbench.cli.groups import cli_option
from trnbench.cli.options import OutputChoice, Plots
from trnbench.errors import ConfigError, UnavailableError
from trnbench.schema.rent import RENT_OPTIONS, RentOption

if TYPE_CHECKING:
    from trnbench.catalog.prices import PriceRow
    from trnbench.reports.prices import Answers, History

EXAMPLES = (
    "trnbench prices trn2.48xlarge",
    "trnbench prices p5en.48xlarge --history --price-option spot",
)
"""For `--help`."""


Instance = Annotated[
    str | None,
    typer.Argument(
        metavar="INSTANCE",
        autocompletion=complete.instances,
        help="An instance type; without one, the default rates of every instance.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which rates are shown."""

    PANEL: ClassVar[str] = "Rates"

    option: RentOption | None = cli_option(
        None,
        "--price-option",
        metavar="OPTION",
        help=f"Show only rates of this way of renting: {', '.join(RENT_OPTIONS)}.",
    )
    region: str | None = cli_option(None, metavar="REGION", help="Show only rates of this region.")
    zone: str | None = cli_option(
        None, metavar="ZONE", help="The availability zone of the spot rate; with --live."
    )
    live: bool = cli_option(
        False, "--live", help="Show AWS's current rates instead of the table's; needs --region."
    )
    history: bool = cli_option(
        False,
        "--history",
        help="Show how the instance's dated rates changed; --format html and --plots have them as "
        "a chart too.",
    )


def prices(
    *,
    instance: Instance = None,
    wanted: Wanted,
    plots: Plots = None,
    form: OutputChoice,
) -> None:
    """Show the bundled price table, how its rates changed, or AWS's current rates."""
    from trnbench.cli.output import prepare_plots, show
    from trnbench.reports.prices import HISTORY, LIVE, REPORT

    if plots is not None and not wanted.history:
        raise ConfigError(
            f"--plots {plots}: a list of rates has no figure", hint="add --history, which has one"
        )
    prepare_plots(plots)

    if wanted.zone is not None and not wanted.live:
        raise ConfigError(
            f"--zone {wanted.zone}: applies only to --live",
            hint="add --live, or leave --zone out: the table's rates hold in a whole region",
        )
    if wanted.history:
        history = _find_history(instance, wanted)
        show(HISTORY, history, form.name, form.output, plots=plots)
    elif wanted.live:
        show(LIVE, _ask_aws(instance, wanted), form.name, form.output)
    else:
        show(REPORT, _find_rows(instance, wanted.option, wanted.region), form.name, form.output)


# --- the table ------------------------------------------------------------------------------------


def _find_rows(instance: str | None, option: str | None, region: str | None) -> "list[PriceRow]":
    from trnbench.catalog.prices import price_rows, price_rows_by_instance

    if instance is None:
        of_instance = [row for row in price_rows() if row.standing == "default"]
    else:
        of_instance = list(price_rows_by_instance().get(instance, ()))
        if not of_instance:
            raise _unknown(instance)
    rows = [row for row in of_instance if option is None or row.option == option]
    if region is not None:
        rows = _rows_in(rows, region)
    if not rows:
        raise _no_such_rate(instance, option, region)
    return sorted(
        rows, key=lambda row: (row.instance_type, row.option, row.region, row.zone or "", row.date)
    )


def _rows_in(rows: "list[PriceRow]", region: str) -> "list[PriceRow]":
    """Keep the rates that hold in a region: its own, and those for many regions."""
    from itertools import groupby

    from trnbench.prices.table import rows_of_region

    def kind(row: "PriceRow") -> tuple[str, str]:
        return row.instance_type, row.option

    groups = (list(group) for _, group in groupby(sorted(rows, key=kind), kind))
    return [row for group in groups for row in rows_of_region(group, region)]


def _no_such_rate(instance: str | None, option: str | None, region: str | None) -> ConfigError:
    what = " ".join(part for part in (instance, option, region) if part)
    return ConfigError(
        f"{what}: the bundled price table has no such rate",
        hint="leave --price-option or --region out to see what it has",
    )


def _unknown(instance: str) -> ConfigError:
    from trnbench.catalog.instances import hint_at_instances, instances

    known = instance in instances()
    rest = "`trnbench prices` lists what it has; --usd-per-hour sets your own"
    return ConfigError(
        f"{instance}: {'has no rate in' if known else 'is not in'} the bundled price table",
        hint=rest if known else hint_at_instances(instance, rest),
    )


# --- history -------------------------------------------------------------------------------------


def _find_history(instance: str | None, wanted: Wanted) -> "History":
    from trnbench.prices.table import rows_of_region
    from trnbench.reports.prices import history_of

    if instance is None or wanted.live:
        raise ConfigError(
            "--history: needs one instance of the bundled table"
            + (" and no --live, which shows current rates" if wanted.live else ""),
            hint="write e.g. `trnbench prices p5en.48xlarge --history`",
        )
    rows = _find_rows(instance, wanted.option, None)
    if wanted.region is not None and not rows_of_region(rows, wanted.region):
        raise _no_such_rate(instance, wanted.option, wanted.region)
    return history_of(instance, rows, wanted.region)


# --- live -----------------------------------------------------------------------------------------


def _ask_aws(instance: str | None, wanted: Wanted) -> "Answers":
    """Return a live rate, or the reason why there is none, for each option."""
    from trnbench.prices import find_price, sources_for
    from trnbench.prices.base import NoPrice, PriceRequest

    region = wanted.region
    if instance is None or region is None:
        raise ConfigError(
            "--live: needs one instance and one region",
            hint="write e.g. `trnbench prices trn2.48xlarge --region us-east-2 --live`",
        )
    request = PriceRequest(
        instance=instance, region=region, zone=wanted.zone, today=datetime.now(UTC).date()
    )
    answers = {
        option: find_price(request.choose(option=option), sources_for("live"))
        for option in ([wanted.option] if wanted.option else RENT_OPTIONS)
    }
    failures = [a for a in answers.values() if isinstance(a, NoPrice) and a.is_failure]
    if len(failures) == len(answers):
        raise UnavailableError(failures[0].reason, hint=failures[0].hint)
    return answers
