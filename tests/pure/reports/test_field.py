"""The field of a model as it is shown."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest

from tests.pure.cost.test_field import MODEL, at, published
from trnbench.cost.field import published_field
from trnbench.cost.ranking import rank_alike
from trnbench.estimate.field import Bound
from trnbench.prices.base import NoPrice
from trnbench.reports import render
from trnbench.reports.document import Page
from trnbench.reports.field import REPORT, FieldRanked
from trnbench.schema.price import Price

DAY = date(2026, 12, 10)


def ranked() -> FieldRanked:
    def price_of(instance: str) -> Price | NoPrice:
        rates = {"p5.48xlarge": "47.76", "trn1.32xlarge": "9.532"}
        return at(rates[instance], instance) if instance in rates else NoPrice("not sold", "look")

    runs = [
        published("a", 12_000, precision="fp8"),
        published("b", 14_000, precision="fp8"),
        published("c", 800, chips=512, accelerator="Trainium1"),
        published("d", 9_000, accelerator="H200", chips=1),
        published("e", 9_000, accelerator="MI300X"),
        published("f-lora", 4_000, accelerator="Trainium2"),
    ]
    field = published_field(MODEL, 8192, runs, price_of, {})
    ranking = rank_alike(field.runs, "usd_per_million_tokens", None, "llama3-8b, 8,192 tokens")
    return FieldRanked(
        field,
        [Bound("Trainium3", "no data for this chip", 9000.0)],
        ranking,
        "usd_per_million_tokens",
        DAY,
        "the rule",
    )


@pytest.mark.parametrize("width", [80, 200])
def test_the_terminal_shows_it_as_it_did(
    width: int, check_golden: Callable[[str, str], None]
) -> None:
    text = render(REPORT, ranked(), "terminal", Page(width=width, today=DAY))
    assert max(map(len, text.splitlines())) <= width
    check_golden(f"reports/field-{width}.txt", text)


def test_break_even_is_the_price_at_which_a_token_costs_the_same() -> None:
    first, second = ranked().ranking.rows[:2]
    assert second.run.price is not None
    assert second.break_even_usd_per_hour is not None
    cost = second.run.metrics["usd_per_million_tokens"].value or 0.0
    at_even = cost * second.break_even_usd_per_hour / float(second.run.price.usd_per_hour)
    assert at_even == pytest.approx(first.run.metrics["usd_per_million_tokens"].value)
    assert isinstance(second.run.price.usd_per_hour, Decimal)


def test_the_page_says_who_is_first_and_draws_the_ranges_as_what_they_are() -> None:
    backing = REPORT.document(ranked(), Page()).backing()
    (answer,) = backing.answer
    assert "H100, fp8 (published) is first" in answer
    assert "One of the two has no range" in answer
    (chart,) = backing.charts
    first = next(point["label"] for point in chart.data if "x" in point)
    assert str(first).startswith("H100, fp8")
    assert "slowest source" in chart.sentence
