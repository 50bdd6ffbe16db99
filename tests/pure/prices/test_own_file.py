"""A YAML file of one's own rates: contracts, discounts off what others say, machines bought."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trnbench.config.rates import OwnedHardware
from trnbench.errors import ConfigError
from trnbench.prices import sources_for
from trnbench.prices.base import NoPrice, PriceRequest
from trnbench.prices.own_file import read_rates_file
from trnbench.schema.price import Price
from trnbench.schema.rent import RentOption

TODAY = date(2026, 11, 23)

WHOLE = """\
rates:
  - {instance_type: trn2.48xlarge, option: capacity_block, usd_per_hour: 31.20, date: 2026-11-01,
     region: us-east-2, source: our contract}
owned:
  - instance_type: our-8xh100
    capital_usd: 280000
    years: 4
    residual_usd: 28000
    power_watts: 8000
    usd_per_kwh: 0.11
    pue: 1.3
    staff_usd_per_year: 4380
    utilization: 0.7
discounts:
  - {option: on_demand, percent_off: 22, source: agreement of 2026}
"""


@dataclass
class Says:
    """A source that always says the same."""

    answer: Price | NoPrice

    def quote(self, _: PriceRequest) -> Price | NoPrice:
        return self.answer


LISTED = Price(
    usd_per_hour=Decimal("55.04"), instance="p5.48xlarge", option="on_demand", region="us-east-1",
    date=date(2026, 9, 10), source="a price list",
)  # fmt: skip


def quote(
    folder: Path,
    text: str,
    instance: str | None,
    option: RentOption | None = None,
    region: str | None = None,
    base: Price | NoPrice = LISTED,
) -> Price | NoPrice:
    path = folder / "rates.yaml"
    path.write_text(text)
    request = PriceRequest(instance=instance, option=option, region=region, today=TODAY)
    return read_rates_file(path, TODAY, Says(base)).quote(request)


def price(answer: Price | NoPrice) -> Price:
    assert isinstance(answer, Price), answer
    return answer


def fault(folder: Path, text: str) -> str:
    path = folder / "rates.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_rates_file(path, TODAY, Says(LISTED))
    assert all(problem.hint for problem in caught.value.problems)
    return str(caught.value).replace(str(path), "FILE")


def test_a_contract_is_read_as_it_is_written(tmp_path: Path) -> None:
    assert quote(tmp_path, WHOLE, "trn2.48xlarge", region="us-east-2") == Price(
        usd_per_hour=Decimal("31.2"),
        instance="trn2.48xlarge",
        option="capacity_block",
        region="us-east-2",
        date=date(2026, 11, 1),
        source="our contract",
    )


def test_a_machine_that_was_bought_costs_what_it_loses_draws_and_takes(tmp_path: Path) -> None:
    # (252,000 / 35,040 h + 8 kW x 1.3 x 0.11 + 4,380 / 8,760 h) / 0.7
    # = (7.191781 + 1.144 + 0.5) / 0.7 = 12.622544 dollars an hour of work
    answer = price(quote(tmp_path, WHOLE, "our-8xh100"))
    assert answer.usd_per_hour == Decimal("12.622544")
    assert answer.option == "owned"
    assert answer.source == (
        "rates.yaml: $280,000.00 over 4 years, 8 kW at $0.11 a kWh, PUE 1.3, used 70% of the time"
    )
    assert answer.region is None
    assert answer.date == TODAY


def test_a_discount_is_taken_off_what_the_others_say_exactly(tmp_path: Path) -> None:
    answer = price(quote(tmp_path, WHOLE, "p5.48xlarge"))
    assert answer.usd_per_hour == Decimal("42.9312")
    assert (answer.option, answer.region, answer.date) == ("on_demand", "us-east-1", LISTED.date)
    assert answer.note == "22 % off $55.04 (agreement of 2026)"
    noted = LISTED.model_copy(update={"note": "asked 3 minutes ago"})
    answer = price(quote(tmp_path, WHOLE, "p5.48xlarge", base=noted))
    assert str(answer.note).startswith("asked 3 minutes ago; 22 % off")


@pytest.mark.parametrize(
    ("discount", "fits"),
    [
        ("{percent_off: 10}", True),
        ("{percent_off: 10, instance_type: p5.48xlarge}", True),
        ("{percent_off: 10, region: us-east-1}", True),
        ("{percent_off: 10, instance_type: trn1.32xlarge}", False),
        ("{percent_off: 10, option: spot}", False),
        ("{percent_off: 10, region: eu-west-2}", False),
    ],
)
def test_a_discount_counts_where_it_was_agreed_alone(
    discount: str, fits: bool, tmp_path: Path
) -> None:
    answer = quote(tmp_path, f"discounts: [{discount}]", "p5.48xlarge")
    assert isinstance(answer, Price) is fits


def test_two_discounts_for_one_thing_give_no_price(tmp_path: Path) -> None:
    text = "discounts: [{percent_off: 10}, {percent_off: 20, option: on_demand}]"
    answer = quote(tmp_path, text, "p5.48xlarge")
    assert isinstance(answer, NoPrice)
    assert "2 discounts for p5.48xlarge on_demand" in answer.reason


def test_where_the_others_have_no_rate_nothing_is_taken_off(tmp_path: Path) -> None:
    none = NoPrice("no rate", "ask")
    assert quote(tmp_path, WHOLE, "p5.48xlarge", base=none) == none


def test_what_the_file_does_not_have_is_not_looked_for_elsewhere(tmp_path: Path) -> None:
    only = WHOLE.split("owned:")[0]
    answer = quote(tmp_path, only, "p5.48xlarge")
    assert isinstance(answer, NoPrice)
    assert "rates.yaml" in answer.reason
    assert isinstance(quote(tmp_path, WHOLE, None), NoPrice)


def test_a_named_option_prefers_a_rented_machine_and_none_the_owned_one(tmp_path: Path) -> None:
    both = WHOLE.replace("our-8xh100", "trn2.48xlarge")
    assert price(quote(tmp_path, both, "trn2.48xlarge")).option == "owned"
    rented = quote(tmp_path, both, "trn2.48xlarge", option="capacity_block")
    assert price(rented).option == "capacity_block"
    assert price(quote(tmp_path, both, "trn2.48xlarge", option="spot")).option == "owned"


def test_a_file_is_asked_in_place_of_the_table(tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    path.write_text("instance_type,option,usd_per_hour\np5.48xlarge,on_demand,40\n")
    _, source = sources_for("table", path, TODAY)
    request = PriceRequest(instance="p5.48xlarge", option=None, region=None, today=TODAY)
    assert price(source.quote(request)).usd_per_hour == Decimal(40)
    assert sources_for("table", None, TODAY) == sources_for("table")


# --- what is refused ------------------------------------------------------------------------------

OWNED = (
    "owned: [{instance_type: a, capital_usd: 9, years: 1, power_watts: 0, usd_per_kwh: 0, "
    "utilization: 1}]"
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "holds no rate"),
        ("rates: []", "holds no rate"),
        ("- 1", "FILE"),
        ("rate: []", "rate: is not a key"),
        ("rates: [{instance_type: a, option: spot, usd_per_hour: 0}]", "usd_per_hour: got 0,"),
        ("rates: [{instance_type: a, option: spot, usd_per_hour: -3}]", "usd_per_hour: got -3,"),
        ("rates: [{instance_type: a, option: spot, usd_per_hour: 1e9}]", "usd_per_hour"),
        ("rates: [{instance_type: a, option: spot, usd_per_hour: .nan}]", "usd_per_hour"),
        ("rates: [{instance_type: a, option: lease, usd_per_hour: 1}]", "option: 'lease'"),
        ("rates: [{option: spot, usd_per_hour: 1}]", "line 1: rates.0.instance_type: is missing"),
        ("rates: [{instance_type: a, option: spot, usd_per_hour: 1, date: soon}]", "date: 'soon'"),
        (
            "rates:\n - {instance_type: a, option: spot, usd_per_hour: 1}\n"
            " - {instance_type: a, option: spot, usd_per_hour: 2}",
            "line 3: a second entry of rates for a",
        ),
        ("discounts: [{percent_off: 100}]", "percent_off: got 100, expected"),
        ("discounts: [{percent_off: 0}]", "percent_off: got 0, expected"),
        (OWNED.replace("utilization: 1", "utilization: 1.2"), "utilization: got 1.2, expected"),
        (OWNED.replace("utilization: 1", "utilization: 0"), "utilization: got 0, expected"),
        (OWNED.replace(", utilization: 1", ""), "utilization: is missing"),
        (OWNED.replace("years: 1", "years: 0"), "years: got 0, expected"),
        (OWNED.replace("capital_usd: 9", "capital_usd: -9"), "capital_usd: got -9, expected"),
        (OWNED.replace("usd_per_kwh: 0", "usd_per_kwh: 0, pue: 0.9"), "pue: got 0.9, expected"),
        (OWNED.replace("years: 1", "years: 1, residual_usd: 9"), "a residual_usd of 9, not less"),
        (OWNED.replace("capital_usd: 9", "capital_usd: 1e12"), "which is no price"),
        (OWNED.replace("]", ", {instance_type: a, capital_usd: 9, years: 1, power_watts: 0, "
                       "usd_per_kwh: 0, utilization: 1}]"), "a second entry of owned for a"),
    ],
)  # fmt: skip
def test_what_is_no_rate_is_refused_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    assert said in fault(tmp_path, text)


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "rates.yml"
    path.write_text("rates:\n - {option: spot, usd_per_hour: 1}\n - {instance_type: a, x: 1}\n")
    with pytest.raises(ConfigError) as caught:
        read_rates_file(path, TODAY, Says(LISTED))
    assert len(caught.value.problems) >= 3
    assert "line 2" in caught.value.problems[0].message


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"rates\.yaml"):
        read_rates_file(tmp_path / "rates.yaml", TODAY, Says(LISTED))


# --- laws of the owned rate -----------------------------------------------------------------------


def owned(**changes: Any) -> OwnedHardware:
    figures = {
        "instance_type": "a", "capital_usd": 280_000, "years": 4, "power_watts": 8000,
        "usd_per_kwh": "0.11", "utilization": 1, **changes,
    }  # fmt: skip
    return OwnedHardware.model_validate(figures)


@given(st.integers(1, 20), st.integers(1, 100))
def test_it_is_linear_in_capital_and_inverse_in_use(factor: int, percent: int) -> None:
    still = {"power_watts": 0}
    one = owned(**still).usd_per_hour
    dearer = owned(capital_usd=280_000 * factor, **still).usd_per_hour
    idle = owned(utilization=Decimal(percent) / 100, **still).usd_per_hour
    assert abs(dearer - one * factor) <= Decimal("1e-5") * factor
    assert abs(idle * percent / 100 - one) <= Decimal("2e-6")


def test_a_kilowatt_costs_what_the_meter_says() -> None:
    with_power = owned(power_watts=1000, usd_per_kwh="0.20", pue="1.5").usd_per_hour
    without = owned(power_watts=0).usd_per_hour
    assert with_power - without == Decimal("0.3")
