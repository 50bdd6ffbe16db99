"""`trnbench prices`: the dated table, with option, region, date and source."""

import json
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from trnbench.schema.errors import ConfigError
from trnbench.schema.price import RENT_OPTIONS

Option = StrEnum("Option", {name.upper(): name for name in RENT_OPTIONS})  # type: ignore[misc]


def prices(
    instance: Annotated[
        str | None,
        typer.Argument(
            metavar="[INSTANCE]",
            help="An instance type; without one, every instance's rates that are taken by default.",
            show_default=False,
        ),
    ] = None,
    option: Annotated[Option | None, typer.Option(help="Only rates for renting it so.")] = None,
    region: Annotated[
        str | None, typer.Option(metavar="REGION", help="Only rates of this region.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Put one JSON document on stdout.")
    ] = False,
) -> None:
    """Show the bundled price table."""
    from trnbench.catalog.instances import instances, nearest_instances
    from trnbench.catalog.prices import price_rows, price_rows_by_instance
    from trnbench.cli.listing import show_table

    if instance is None:
        rows = [row for row in price_rows() if row.standing == "default"]
    else:
        rows = list(price_rows_by_instance().get(instance, ()))
        if not rows:
            known = instance in instances()
            near = nearest_instances(instance)
            meant = f"did you mean {' or '.join(near)}? " if near and not known else ""
            raise ConfigError(
                f"{instance}: "
                + ("has no rate in" if known else "is not in")
                + " the bundled price table",
                hint=f"{meant}`trnbench prices` lists what it has; --usd-per-hour sets your own",
            )
    rows = [
        row
        for row in rows
        if (option is None or row.option == option.value)
        and (region is None or row.region == region)
    ]
    if not rows:
        what = " ".join(part for part in (instance, option and option.value, region) if part)
        raise ConfigError(
            f"{what}: the bundled price table has no such rate",
            hint="leave --option or --region out to see what it has",
        )
    rows.sort(key=lambda row: (row.instance_type, row.option, row.region, row.zone or "", row.date))
    if as_json:
        document = {"prices": [asdict(row) for row in rows]}
        typer.echo(json.dumps(document, indent=1, default=str))
        return
    show_table(
        ("instance", "option", "region", "$/h", "date", "standing", "source"),
        [
            (
                row.instance_type,
                row.option,
                row.zone or row.region,
                str(row.usd_per_hour),
                row.date.isoformat(),
                row.standing,
                row.source,
            )
            for row in rows
        ],
        figures=(3,),
    )
