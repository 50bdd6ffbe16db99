"""Price documents that went wrong: never a crash, never a price that the document does not state.

Each reader is held against a second, plain reading of what its document says.
"""

import contextlib
import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.process.prices.aws.samples import NOW, TODAY, request, response, savings_rate
from tests.pure.prices.mutations import mutate, mutate_document, mutate_text
from trnbench.errors import ConfigError
from trnbench.prices.aws.commitments import read_offers, read_savings_plan
from trnbench.prices.aws.price_list import filters_for, read_price_list
from trnbench.prices.aws.spot import read_spot
from trnbench.prices.base import NoPrice, PriceRequest
from trnbench.prices.cache import CachedSource
from trnbench.prices.own_file import read_rates_file
from trnbench.prices.table import TableSource
from trnbench.schema.price import Price
from trnbench.schema.rent import RentOption

DOCUMENTS, FILES = 10_000, 500
"""Of each kind; tests/proof has ten times as many."""
BATCH = 25

LISTS = [
    ("get_products.trn1.32xlarge", "trn1.32xlarge", "us-west-2"),
    ("get_products.p5.48xlarge.many_skus", "p5.48xlarge", "us-east-1"),
    ("get_products.trn2.48xlarge", "trn2.48xlarge", "us-east-2"),
]


def as_reader(answer: Price | NoPrice) -> Decimal | None:
    """Return a rate, or None after seeing that it is said why there is none."""
    if isinstance(answer, Price):
        assert 0 < answer.usd_per_hour <= 100_000
        return answer.usd_per_hour
    assert answer.reason
    assert answer.hint
    return None


# --- the price list -------------------------------------------------------------------------------


def stated(document: str, wanted: dict[str, str]) -> set[Decimal]:
    """Read, plainly, the rates that a product states if it is the one that is meant."""
    product = json.loads(document)
    told = {
        **product["product"]["attributes"],
        "productFamily": product["product"]["productFamily"],
    }
    if any(told[key] != value for key, value in wanted.items()):
        return set()
    found = set()
    for term in product["terms"]["OnDemand"].values():
        for dimension in term["priceDimensions"].values():
            assert dimension["unit"] == "Hrs"
            begins = datetime.fromisoformat(term["effectiveDate"]).date()
            printed = datetime.fromisoformat(product["publicationDate"]).date()
            if max(begins, printed) <= TODAY + timedelta(days=1):
                found.add(Decimal(dimension["pricePerUnit"]["USD"]))
    return found - {Decimal(0)}


def check_price_list(random: Random) -> Decimal | None:
    name, instance, region = random.choice(LISTS)
    documents = response(name)["PriceList"]
    at = random.randrange(len(documents))
    documents[at] = mutate_document(documents[at], random)
    if random.random() < 0.2:
        documents = mutate(documents, random)
    rate = as_reader(read_price_list(documents, request(instance, region, "on_demand")))
    if rate is not None:
        wanted = filters_for(instance, region)
        said = {each for document in documents for each in stated(document, wanted)}
        assert said == {rate}
    return rate


# --- spot -----------------------------------------------------------------------------------------


def check_spot(random: Random) -> Decimal | None:
    (row,) = response("spot_price_history.trn2.48xlarge")["SpotPriceHistory"]
    other = {**row, "AvailabilityZone": "us-east-2a", "AvailabilityZoneId": "use2-az1"}
    older = {**row, "Timestamp": "2026-05-01T00:00:00+00:00", "SpotPrice": "19.000000"}
    rows = mutate([row, other, older], random)
    rate = as_reader(read_spot(rows, request(), NOW))
    if rate is not None:
        newest: dict[str, tuple[datetime, Decimal]] = {}
        for each in rows:
            if (each["InstanceType"], each["ProductDescription"]) == (
                "trn2.48xlarge",
                "Linux/UNIX",
            ):
                zone_id = each.get("AvailabilityZoneId")
                zone = zone_id if isinstance(zone_id, str) and zone_id else each["AvailabilityZone"]
                seen = (datetime.fromisoformat(each["Timestamp"]), Decimal(each["SpotPrice"]))
                newest[zone] = max(seen, newest.get(zone, seen))
        assert {each for _, each in newest.values()} == {rate}
    return rate


# --- capacity blocks ------------------------------------------------------------------------------


def check_offers(random: Random) -> Decimal | None:
    name = random.choice(["trn2.48xlarge", "trn2.48xlarge.7d_x4"])
    offers = mutate(response(f"capacity_block_offerings.{name}")["CapacityBlockOfferings"], random)
    rate = as_reader(read_offers(offers, request()))
    if rate is not None:
        for each in offers:
            minutes = each.get("CapacityBlockDurationMinutes") or 0
            if minutes < 60:  # beside the hours; else it is the whole
                minutes += each["CapacityBlockDurationHours"] * 60
            hours = Decimal(each["InstanceCount"] * minutes) / 60
            assert each["InstanceType"] == "trn2.48xlarge"
            assert each["CurrencyCode"] == "USD"
            assert abs(Decimal(each["UpfrontFee"]) / hours - rate) < Decimal("1e-9")
    return rate


# --- savings plans --------------------------------------------------------------------------------


def number_of(text: object) -> Decimal | None:
    """Return a rate as a number; None for what is none, which a reader passes over."""
    try:
        return Decimal(str(text))
    except InvalidOperation:
        return None


def check_savings(random: Random) -> Decimal | None:
    longer = savings_rate(durationSeconds=94_608_000, rate="9.1000")
    rates = mutate([savings_rate(), longer], random)
    asked = request("trn1.32xlarge", "us-west-2", "savings_plan_1y")
    rate = as_reader(read_savings_plan(rates, asked))
    if rate is not None:
        said = {
            number_of(each["rate"])
            for each in rates
            if each["savingsPlanOffering"]["planType"] == "Compute"
            and each["savingsPlanOffering"].get("durationSeconds") == 31_536_000
            and each.get("unit") == "Hrs"
            and each["savingsPlanOffering"].get("currency") == "USD"
        }
        assert rate in said
    return rate


# --- what is kept, and the user's own file --------------------------------------------------------


class _Nobody:
    def quote(self, _: PriceRequest) -> NoPrice:
        return NoPrice("nobody was asked", "ask")


def check_cache(random: Random, folder: Path) -> Decimal | None:
    asked = request(option="capacity_block")

    class Once:
        def quote(self, _: PriceRequest) -> Price:
            return Price(
                usd_per_hour=Decimal("35.7608"), instance="trn2.48xlarge", option="capacity_block",
                region="us-east-2", date=date(2026, 11, 23), source="AWS",
                retrieved_at=NOW.isoformat(),
            )  # fmt: skip

    CachedSource(Once(), lambda: folder, lambda: NOW).quote(asked)
    (path,) = folder.iterdir()
    text = mutate_document(path.read_text(), random)
    with contextlib.suppress(UnicodeEncodeError):
        path.write_text(text)
    rate = as_reader(CachedSource(_Nobody(), lambda: folder, lambda: NOW).quote(asked))
    if rate is not None:
        kept = json.loads(path.read_text())["price"]
        assert Decimal(str(kept["usd_per_hour"])) == rate
        assert (kept["instance"], kept["region"]) == ("trn2.48xlarge", "us-east-2")
        since = datetime.fromisoformat(kept["retrieved_at"]).astimezone(UTC)
        assert timedelta(0) <= NOW - since < timedelta(hours=1)
    return rate


OWN = (
    "instance_type,region,option,usd_per_hour,date,source\n"
    "trn2.48xlarge,us-east-2,capacity_block,31.20,2026-11-01,our contract\n"
    "p5.48xlarge,,on_demand,44.03,2026-10-01,our contract\n"
)


def check_own_file(random: Random, folder: Path) -> Decimal | None:
    path = folder / "rates.csv"
    text = mutate_text(OWN, random)
    path.write_text(text)
    try:
        source = read_rates_file(path, TODAY, TableSource())
    except ConfigError as error:
        assert "rates.csv" in str(error)  # noqa: PT017 - most files are refused, some are not
        return None
    rate = as_reader(source.quote(request(option="capacity_block")))
    if rate is not None:
        assert str(rate) in text
    return rate


OWN_YAML = """\
rates:
  - {instance_type: trn2.48xlarge, option: capacity_block, usd_per_hour: 31.20, date: 2026-11-01,
     region: us-east-2, source: our contract}
discounts:
  - {option: on_demand, percent_off: 25, source: our agreement}
"""


class _ListPrice:
    def quote(self, _: PriceRequest) -> Price:
        return Price(
            usd_per_hour=Decimal(40), instance="trn2.48xlarge", option="on_demand",
            region="us-east-2", date=TODAY, source="a list",
        )  # fmt: skip


def check_own_yaml(random: Random, folder: Path) -> Decimal | None:
    """Rates are in the text as they are written, and a discount's part of 40 dollars is."""
    path = folder / "rates.yaml"
    text = mutate_text(OWN_YAML, random)
    path.write_text(text)
    try:
        source = read_rates_file(path, TODAY, _ListPrice())
    except ConfigError as error:
        assert "rates.yaml" in str(error)  # noqa: PT017 - most files are refused, some are not
        return None
    option: RentOption = random.choice(["on_demand", "capacity_block"])
    rate = as_reader(source.quote(request(option=option)))
    if rate is not None and option == "capacity_block":
        assert str(rate).rstrip("0").rstrip(".") in text
    if rate is not None and option == "on_demand":
        percent = re.findall(r"percent_off: ([^,}\s]+)", text)
        rates = re.findall(r"usd_per_hour: ([^,}\s]+)", text)
        discounted = {40 * (1 - Decimal(each) / 100) for each in percent if _is_number(each)}
        assert rate in discounted | {Decimal(each) for each in rates if _is_number(each)}
    return rate


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except ArithmeticError:
        return False


# --- how many -------------------------------------------------------------------------------------

CHECKS: dict[str, Callable[[Random], Decimal | None]] = {
    "price_list": check_price_list,
    "spot": check_spot,
    "offers": check_offers,
    "savings": check_savings,
}
FILE_CHECKS: dict[str, Callable[[Random, Path], Decimal | None]] = {
    "cache": check_cache,
    "own_file": check_own_file,
    "own_yaml": check_own_yaml,
}


def fuzz(check: Callable[[Random], Decimal | None], documents: int) -> None:
    """Check so many documents, `BATCH` for each of hypothesis's examples.

    Some of them must still give a rate and some none: else nothing was put to the test.
    """
    priced: Counter[bool] = Counter()

    @settings(
        max_examples=documents // BATCH, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.integers(0, 2**64))
    def held(seed: int) -> None:
        for number in range(BATCH):
            random = Random(f"{seed} {number}")
            try:
                priced[check(random) is not None] += 1
            except BaseException as error:
                error.add_note(f"the document of Random('{seed} {number}')")
                raise

    held()
    assert sum(priced.values()) >= documents
    assert min(priced[True], priced[False]) > documents // 50, priced


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_ten_thousand_documents_that_went_wrong_give_no_wrong_price(name: str) -> None:
    fuzz(CHECKS[name], DOCUMENTS)


@pytest.mark.parametrize("name", sorted(FILE_CHECKS))
def test_files_that_went_wrong_give_no_wrong_price(name: str, tmp_path: Path) -> None:
    fuzz(lambda random: FILE_CHECKS[name](random, tmp_path), FILES)
