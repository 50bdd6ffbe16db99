"""`trnbench prices --live`: what AWS answers now, for each way of renting, and what it does not."""

import json
from datetime import UTC, datetime
from typing import cast

import typer

from trnbench.prices import find_price, request_of, sources_for
from trnbench.prices.base import NoPrice
from trnbench.schema.errors import ConfigError, UnavailableError
from trnbench.schema.price import RENT_OPTIONS, Price, RentOption

HEADINGS = ("option", "zone", "$/h", "asked at (UTC)", "source")


def show_live_prices(
    instance: str | None,
    option: str | None,
    region: str | None,
    zone: str | None,
    *,
    as_json: bool,
) -> None:
    """Print a live rate, or the reason why there is none, for each option.

    Raises:
        ConfigError: nobody said of what, or where.
        UnavailableError: AWS could not be asked at all.
    """
    if instance is None or region is None:
        raise ConfigError(
            "--live: a live price is of one instance in one region",
            hint="write e.g. `trnbench prices trn2.48xlarge --region us-east-2 --live`",
        )
    today = datetime.now(UTC).date()
    options = RENT_OPTIONS if option is None else (cast(RentOption, option),)
    answers = {
        each: find_price(
            request_of(instance, today, option=each, region=region, zone=zone), sources_for("live")
        )
        for each in options
    }
    failures = [a for a in answers.values() if isinstance(a, NoPrice) and a.is_failure]
    if len(failures) == len(answers):
        raise UnavailableError(failures[0].reason, hint=failures[0].hint)
    if as_json:
        typer.echo(json.dumps({"live": [_told(o, a) for o, a in answers.items()]}, indent=1))
        return
    from trnbench.cli.listing import show_table

    rows = [_cells(option, answer) for option, answer in answers.items()]
    show_table(HEADINGS, rows, figures=(HEADINGS.index("$/h"),))


def _told(option: RentOption, answer: Price | NoPrice) -> dict[str, object]:
    if isinstance(answer, Price):
        return answer.model_dump(mode="json")
    return {"option": option, "reason": answer.reason, "is_failure": answer.is_failure}


def _cells(option: RentOption, answer: Price | NoPrice) -> tuple[str, ...]:
    if isinstance(answer, NoPrice):
        return (option, "", "—", "", answer.reason)
    note = f" ({answer.note})" if answer.note else ""
    return (
        option,
        answer.zone or answer.region or "",
        str(answer.usd_per_hour),
        (answer.retrieved_at or "")[:16].replace("T", " "),
        f"{answer.source}{note}",
    )
