"""`trnbench report`: results to text, at their own price or another."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from trnbench.analysis.flops import CONVENTIONS
from trnbench.schema.errors import ConfigError, DataError, Problem
from trnbench.schema.price import RENT_OPTIONS, RentOption, UsdPerHour

if TYPE_CHECKING:
    from collections.abc import Callable

    from trnbench.schema.result import Result

Option = StrEnum("Option", {name.upper(): name for name in RENT_OPTIONS})  # type: ignore[misc]
Convention = StrEnum("Convention", {n.upper(): n for n in CONVENTIONS})  # type: ignore[misc]


class Format(StrEnum):
    """What can be named after `--format`; a test holds it to `reports.REPORTS`."""

    TERMINAL = "terminal"
    CSV = "csv"
    MARKDOWN = "markdown"
    JSON = "json"


def report(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="Folders of cases, of runs, or of many runs.  [default: results]",
            show_default=False,
        ),
    ] = None,
    format_: Annotated[
        Format, typer.Option("--format", "-f", help="What to write.")
    ] = Format.TERMINAL,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write there instead of to stdout."),
    ] = None,
    price_option: Annotated[
        Option | None, typer.Option(help="Cost it as if it were rented so.")
    ] = None,
    region: Annotated[
        str | None, typer.Option(metavar="REGION", help="Cost it at the rate of this region.")
    ] = None,
    usd_per_hour: Annotated[
        str | None, typer.Option(metavar="USD", help="Cost it at this rate for an instance.")
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Cost it at the rates of this CSV file alone: instance_type, region, option, "
            "usd_per_hour[, date][, source].",
        ),
    ] = None,
    flops_convention: Annotated[
        Convention | None, typer.Option(help="Count MFU by this convention.")
    ] = None,
) -> None:
    """Show results as a table, CSV, Markdown or JSON; re-cost old ones at other prices."""
    from trnbench.analysis.analyze import recount
    from trnbench.cli.screen import page_of_stdout
    from trnbench.reports import REPORTS

    reprice = _repricer(price_option, region, usd_per_hour, prices)
    problems: list[Problem] = []
    results = []
    for result in _load(paths or [Path("results")], problems):
        repriced = reprice(result)
        results.append(
            repriced if flops_convention is None else recount(repriced, flops_convention.value)
        )
    if results:
        _write(REPORTS[format_.value](results, page_of_stdout()), output)
    if problems:
        raise DataError.of(problems)


def _load(paths: list[Path], problems: list[Problem]) -> "Iterator[Result]":
    """Yield what can be read; what cannot is added to `problems` and the rest still comes."""
    from trnbench.run.results import load_result
    from trnbench.run.store import find_cases

    for path in paths:
        try:
            cases = list(find_cases([path]))
        except DataError as error:
            problems.extend(error.problems)
            continue
        for case in cases:
            try:
                yield load_result(case)
            except DataError as error:
                problems.extend(error.problems)


def _repricer(
    option: Option | None, region: str | None, usd_per_hour: str | None, file: Path | None
) -> "Callable[[Result], Result]":
    """Return what gives a result its price: itself, where nothing about prices was asked."""
    from trnbench.analysis.analyze import recost
    from trnbench.prices import PRICE_SOURCES, find_price
    from trnbench.prices.base import NoPrice, PriceRequest
    from trnbench.prices.table import read_price_file
    from trnbench.prices.user import UserRateSource

    if option is None and region is None and usd_per_hour is None and file is None:
        return lambda result: result
    today = datetime.now(UTC).date()
    rate = None if usd_per_hour is None else _rate(usd_per_hour)
    sources = PRICE_SOURCES
    if file is not None:
        sources = (UserRateSource(), read_price_file(file, today))

    def reprice(result: "Result") -> "Result":
        known = result.price
        known_option = known.option if known and known.option != "user" else None
        request = PriceRequest(
            instance=result.device.instance,
            option=cast(RentOption, option.value) if option else known_option,
            region=region or (known.region if known else None),
            is_this_machine=result.device.is_instance_recognised,
            usd_per_hour=rate,
            today=today,
        )
        price = find_price(request, sources)
        if isinstance(price, NoPrice):
            return recost(result, None, f"{price.reason}; {price.hint}")
        return recost(result, price, None)

    return reprice


def _rate(text: str) -> Decimal:
    """Read `--usd-per-hour` as exactly as it was written, and as strictly as a config's."""
    import pydantic

    reader: pydantic.TypeAdapter[Decimal] = pydantic.TypeAdapter(UsdPerHour)
    try:
        return reader.validate_python(text)
    except pydantic.ValidationError:
        raise ConfigError(
            f"--usd-per-hour {text}: is not a rate in dollars above 0 and up to 100,000",
            hint="write e.g. --usd-per-hour 35.76",
        ) from None


def _write(text: str, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"--output {output}: cannot be written: {error.strerror}",
            hint="name a file in a folder that exists",
        ) from error
