"""Where a machine stands: its room's PUE and its grid, each of the provider whose row states it."""

from datetime import date
from decimal import Decimal

import pytest

from tests.pure.analysis.test_metrics import basis, price_of
from trnbench.analysis.energy import find_site
from trnbench.analysis.metrics import grams_co2e_per_million_tokens
from trnbench.catalog.facts import grids
from trnbench.catalog.instances import instances
from trnbench.catalog.prices import price_rows
from trnbench.schema.price import Price
from trnbench.schema.result import MetricValue

METERED = MetricValue(value=0.5, low=0.4, high=0.7)


def priced(instance: str | None, region: str | None) -> Price:
    return Price(
        usd_per_hour=Decimal(1), instance=instance, option="user", region=region,
        date=date(2026, 11, 23), source="a test",
    )  # fmt: skip


def test_a_million_tokens_emit_what_they_take_times_room_and_grid() -> None:
    # 0.5 J a token are 0.13889 kWh a million; x 1.15 x 418 g (PJM, us-east-2) = 66.76 g.
    grams = grams_co2e_per_million_tokens(basis(joules=METERED))
    assert grams.value == pytest.approx(66.763889, abs=1e-6)
    assert [grams.low, grams.high] == [
        pytest.approx(66.763889 * 0.8, abs=1e-6),
        pytest.approx(66.763889 * 1.4, abs=1e-6),
    ]


def test_what_was_not_metered_emits_nothing_that_is_told() -> None:
    grams = grams_co2e_per_million_tokens(basis())
    assert (grams.value, grams.reason) == (None, "nothing metered it")


def test_a_machine_without_a_price_stands_nowhere() -> None:
    grams = grams_co2e_per_million_tokens(basis(joules=METERED, usd_per_hour=None))
    assert grams.value is None
    assert "no PUE is known of this machine's site" in str(grams.reason)
    assert "no grid is known of this place" in str(grams.reason)


@pytest.mark.parametrize(
    ("instance", "region"),
    [
        ("our-rack", "us-east-1"),  # a region's name alone is nobody's
        (None, "us-east-1"),
        ("gpu_8x_h100_sxm5", "us-east-1"),  # Lambda has a region of that name, elsewhere
        ("a3-highgpu-8g", "us-central1"),
    ],
)
def test_a_machine_that_is_not_the_providers_has_none_of_its_figures(
    instance: str | None, region: str
) -> None:
    found = find_site(priced(instance, region))
    assert (found.pue, found.grams_co2e_per_kwh) == (None, None)
    assert found.reason
    assert "--pue" in found.pue_source
    assert "--grid" in found.grid_source


def test_a_region_in_no_row_has_a_room_and_no_grid() -> None:
    found = find_site(priced("p5.48xlarge", "us-gov-west-1"))
    assert found.pue == 1.15
    assert found.grams_co2e_per_kwh is None
    assert found.reason == found.grid_source
    assert "us-gov-west-1" in found.grid_source


def test_what_the_user_gives_wins() -> None:
    found = find_site(price_of("35.7608"), pue=1.4, grams_co2e_per_kwh=12.0)
    assert (found.pue, found.grams_co2e_per_kwh) == (1.4, 12.0)
    assert found.pue_source == "given by the user"
    assert found.grid_source == "12 g a kWh, given by the user"
    assert found.reason is None


def test_a_figure_names_its_year_its_basis_and_its_source() -> None:
    found = find_site(price_of("35.7608"))
    assert found.pue_source.startswith("2024: AWS")
    assert found.grid_source.startswith("418 g a kWh, location-based, US-MIDA-PJM 2025: Electric")


def test_every_grid_is_of_a_region_in_which_its_provider_rents_something() -> None:
    rented = {(row.provider, row.region) for row in price_rows()}
    rented |= {("aws", name) for name in ("ca-central-1", "eu-south-1", "ap-southeast-1")}
    assert set(grids()) <= rented
    assert {provider for provider, _ in grids()} <= {each.provider for each in instances().values()}
