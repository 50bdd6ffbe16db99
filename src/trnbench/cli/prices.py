"""`trnbench prices`: the dated table, with option, region, date and source."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from trnbench.cli.price_options import OptionName
from trnbench.schema.errors import ConfigError

if TYPE_CHECKING:
    from trnbench.catalog.prices import PriceRow


def prices(
    instance: Annotated[
        str | None,
        typer.Argument(
            metavar="[INSTANCE]",
            help="An instance type; without one, every instance's rates that are taken by default.",
            show_default=False,
        ),
    ] = None,
    option: Annotated[OptionName | None, typer.Option(help="Only rates for renting it so.")] = None,
    region: Annotated[
        str | None, typer.Option(metavar="REGION", help="Only rates of this region.")
    ] = None,
    zone: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="With --live: the availability zone, for spot."),
    ] = None,
    live: Annotated[
        bool,
        typer.Option(
            "--live", help="Ask AWS now, for each option, in place of the table; needs --region."
        ),
    ] = False,
    history: Annotated[
        bool,
        typer.Option("--history", help="How the instance's dated rates moved: a table and a plot."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Put one JSON document on stdout.")
    ] = False,
) -> None:
    """Show the bundled price table, how its rates moved, or what AWS answers now."""
    if history:
        _show_history(
            instance, option.value if option else None, region, is_live=live, as_json=as_json
        )
        return
    if live:
        from trnbench.cli.live_prices import show_live_prices

        show_live_prices(instance, option.value if option else None, region, zone, as_json=as_json)
        return
    rows = _find_rows(instance, option.value if option else None, region)
    if as_json:
        document = {"prices": [asdict(row) for row in rows]}
        typer.echo(json.dumps(document, indent=1, default=str))
        return
    from trnbench.cli.listing import show_table

    show_table(HEADINGS, [_cells(row) for row in rows], figures=(HEADINGS.index("$/h"),))


def _show_history(
    instance: str | None, option: str | None, region: str | None, *, is_live: bool, as_json: bool
) -> None:
    """Show the past of one instance's rates.

    Raises:
        ConfigError: nobody said of what, or there is no such rate.
    """
    if instance is None or is_live:
        raise ConfigError(
            "--history: tells of the dated rows of one instance of the bundled table"
            + (", and --live asks for what holds now" if is_live else ""),
            hint="write e.g. `trnbench prices p5en.48xlarge --history`",
        )
    from trnbench.cli.price_history import show_history
    from trnbench.prices.table import rows_of_region

    rows = _find_rows(instance, option, None)
    if region is not None and not rows_of_region(rows, region):
        raise _no_such_rate(instance, option, region)
    show_history(instance, rows, region, as_json=as_json)


HEADINGS = ("instance", "option", "region", "$/h", "date", "standing", "source")


def _cells(row: "PriceRow") -> tuple[str, ...]:
    return (
        row.instance_type,
        row.option,
        row.zone or row.region,
        str(row.usd_per_hour),
        row.date.isoformat(),
        row.standing,
        row.source,
    )


def _find_rows(instance: str | None, option: str | None, region: str | None) -> "list[PriceRow]":
    """Return the rows that were asked for, in order.

    Raises:
        ConfigError: there are none.
    """
    from trnbench.catalog.prices import price_rows, price_rows_by_instance

    if instance is None:
        of_instance = [row for row in price_rows() if row.standing == "default"]
    else:
        of_instance = list(price_rows_by_instance().get(instance, ()))
        if not of_instance:
            raise _unknown(instance)
    rows = [row for row in of_instance if option is None or row.option == option]
    if region is not None:
        rows = _held_in(rows, region)
    if not rows:
        raise _no_such_rate(instance, option, region)
    return sorted(
        rows, key=lambda row: (row.instance_type, row.option, row.region, row.zone or "", row.date)
    )


def _held_in(rows: "list[PriceRow]", region: str) -> "list[PriceRow]":
    """Keep a region's rates: its own, and those for many regions where they count there too."""
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
        hint="leave --option or --region out to see what it has",
    )


def _unknown(instance: str) -> ConfigError:
    from trnbench.catalog.instances import instances, nearest_instances

    known = instance in instances()
    near = nearest_instances(instance)
    meant = f"did you mean {' or '.join(near)}? " if near and not known else ""
    return ConfigError(
        f"{instance}: {'has no rate in' if known else 'is not in'} the bundled price table",
        hint=f"{meant}`trnbench prices` lists what it has; --usd-per-hour sets your own",
    )
