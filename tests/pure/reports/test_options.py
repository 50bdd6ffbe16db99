"""One result under every way of renting its machine."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.builders import make_measurement, make_plan, make_result
from trnbench.analysis.analyze import recost
from trnbench.cli.price_options import PriceChoice
from trnbench.cli.reprice import PriceFinder
from trnbench.reports import render
from trnbench.reports.document import Page
from trnbench.reports.offers import REPORT, Offered
from trnbench.schema.price import Price
from trnbench.schema.rent import PriceOption
from trnbench.schema.result import Result


def on(instance: str | None, accelerator: str | None = "trainium1", chips: int = 16) -> Result:
    result = make_result(make_plan({"price": "{}"}))
    device = result.device.model_copy(
        update={
            "instance": instance, "accelerator": accelerator, "chips_used": chips,
            "chips_billed": chips, "is_instance_recognised": False,
        }
    )  # fmt: skip
    return result.model_copy(update={"device": device})


def rented(usd: str, option: PriceOption, **changes: Any) -> Price:
    details: dict[str, Any] = {
        "instance": "trn1.32xlarge", "region": "us-west-2", "date": date(2026, 9, 10),
        "source": "a page", **changes,
    }  # fmt: skip
    return Price(usd_per_hour=Decimal(usd), option=option, **details)


def offered() -> list[Offered]:
    result = on("trn1.32xlarge").model_copy(update={"trnbench_version": "0.1.0"})
    prices = (
        rented("21.5", "on_demand"),
        rented("9.532", "capacity_block", region="us-east-2", date=date(2026, 7, 22)),
        rented("13.22895", "reserved_1y", note="nothing up front"),
    )
    return [
        *(Offered(price.option, recost(result, price, None)) for price in prices),
        Offered("spot", recost(result, None, "spot costs differently by zone; name one")),
    ]


def render_offers(form: str, offered: list[Offered], page: Page) -> str:
    return render(REPORT, offered, form, page)


@pytest.mark.parametrize("width", [100, 200])
def test_the_table_looks_as_it_did(width: int, check_golden: Callable[[str, str], None]) -> None:
    page = Page(width=width, today=date(2026, 11, 23))
    check_golden(f"reports/options-{width}.txt", render_offers("terminal", offered(), page))
    check_golden("reports/options-markdown.txt", render_offers("markdown", offered(), page))


def test_what_is_unfair_is_shown_where_a_day_is_known() -> None:
    shown = render_offers("terminal", offered(), Page(width=200, today=date(2026, 11, 23)))
    assert "different ways of renting (capacity_block, on_demand, reserved_1y)" in shown
    assert "different regions (us-east-2, us-west-2)" in shown
    assert "is 124 days old (2026-07-22)" in shown
    without = render_offers("terminal", offered(), Page(width=200))
    assert "different ways" not in without
    assert "days old" not in without


def test_every_way_that_the_table_knows_is_there_once() -> None:
    found = PriceFinder.of(PriceChoice(region="us-west-2")).reprice_all(on("trn1.32xlarge"))
    options = [each.option for each in found]
    assert len(options) == len(set(options))
    assert {"on_demand", "reserved_1y"} <= set(options)
    for each in found:
        if each.result.price is not None:
            assert each.result.price.option == each.option
            assert each.result.metrics["usd_per_million_tokens"].value is not None


def test_a_way_with_several_rates_is_shown_and_one_that_is_not_sold_is_left_out() -> None:
    found = {e.option: e for e in PriceFinder.of(PriceChoice()).reprice_all(on("trn1.32xlarge"))}
    assert "costs differently" in str(found["spot"].result.price_reason)
    assert "savings_plan_1y" not in found


def test_a_rate_of_the_users_own_stands_beside_them() -> None:
    own = recost(on("trn2.48xlarge"), rented("30", "user", region=None), None)
    found = PriceFinder.of(PriceChoice(region="us-east-2")).reprice_all(own)
    assert [each.option for each in found][:2] == ["user", "spot"]


def test_an_unknown_machine_is_shown_once() -> None:
    (only,) = PriceFinder.of(PriceChoice()).reprice_all(on(None))
    assert "is not known" in str(only.result.price_reason)


def test_own_rates_are_one_offer_however_often_they_answer(tmp_path: Path) -> None:
    path = tmp_path / "rates.yaml"
    path.write_text(
        "owned: [{instance_type: box, capital_usd: 9000, years: 3, power_watts: 500, "
        "usd_per_kwh: 0.2, utilization: 0.5}]"
    )
    (only,) = PriceFinder.of(PriceChoice(file=path)).reprice_all(on("box"))
    assert only.option == "owned"


def test_a_failed_case_has_no_figures_and_no_error() -> None:
    plan = make_plan({"price": "{}"})
    failed = make_result(plan, make_measurement(plan, blocks=[], status="died", memory=None))
    text = render_offers(
        "terminal", [Offered("on_demand", recost(failed, rented("3", "spot"), None))], Page()
    )
    assert "—" in text
    assert "failed" in text
