"""On-demand rates: the one SKU of many, and every answer that must not become a price."""

import json
from typing import Any

import pytest

from tests.process.prices.aws.samples import (
    NOW,
    SAMPLES,
    TODAY,
    Change,
    changed,
    reason,
    request,
    response,
    stubs,
    usd,
)
from trnbench.prices.aws.price_list import ask_price_list, filters_for, read_price_list
from trnbench.prices.base import NoPrice
from trnbench.schema.price import Price
from trnbench.schema.rent import RentOption

GOOD = response("get_products.trn1.32xlarge")["PriceList"][0]


def read(
    *documents: Any,
    instance: str = "trn1.32xlarge",
    region: str = "us-west-2",
    option: RentOption = "on_demand",
) -> Price | NoPrice:
    return read_price_list(documents, request(instance, region, option))


def only_term(product: Any) -> Any:
    (term,) = product["terms"]["OnDemand"].values()
    return term


def only_dimension(product: Any) -> Any:
    (dimension,) = only_term(product)["priceDimensions"].values()
    return dimension


def at(rate: str, sku: str = "OTHER") -> Change:
    def change(product: Any) -> None:
        product["product"]["sku"] = sku
        only_dimension(product).update(pricePerUnit={"USD": rate}, description="other")

    return change


# --- what is asked --------------------------------------------------------------------------------


def test_one_sku_is_asked_for_and_becomes_a_dated_price() -> None:
    sample = response("get_products.trn1.32xlarge")
    filters = filters_for("trn1.32xlarge", "us-west-2")
    with stubs() as given:
        given["pricing"].add_response(
            "get_products",
            sample,
            {
                "ServiceCode": "AmazonEC2", "FormatVersion": "aws_v1", "MaxResults": 100,
                "Filters": [
                    {"Type": "TERM_MATCH", "Field": k, "Value": v} for k, v in filters.items()
                ],
            },
        )  # fmt: skip
        answer = ask_price_list(given.connect, request("trn1.32xlarge", "us-west-2"), NOW)
    assert answer == Price(
        usd_per_hour="21.5",  # type: ignore[arg-type]
        instance="trn1.32xlarge",
        option="on_demand",
        region="us-west-2",
        date=TODAY,
        source="AWS Price List, published 2026-09-10, in force since 2026-09-01",
    )


def test_the_filters_are_those_of_the_recorded_question() -> None:
    asked = json.loads(json.dumps(filters_for("trn1.32xlarge", "us-west-2")))
    recorded = SAMPLES["get_products.trn1.32xlarge"]["request"]["Filters"]
    assert asked == {each["Field"]: each["Value"] for each in recorded}


def test_bare_metal_is_another_family_and_tenancy() -> None:
    filters = filters_for("c7i.metal", "us-east-1")
    assert filters["productFamily"] == "Compute Instance (bare metal)"
    assert filters["tenancy"] == "Dedicated"


@pytest.mark.parametrize(
    ("region", "endpoint"),
    [("us-east-2", "us-east-1"), ("eu-west-1", "eu-central-1"), ("ap-south-2", "ap-south-1")],
)
def test_the_nearest_of_the_services_three_places_is_asked(region: str, endpoint: str) -> None:
    with stubs() as given:
        given["pricing"].add_response("get_products", {"PriceList": []})
        ask_price_list(given.connect, request("p5.48xlarge", region), NOW)
    assert given.opened == [("pricing", endpoint)]


def test_every_page_is_read_and_of_a_loose_answer_one_sku_is_left() -> None:
    sample = response("get_products.p5.48xlarge.many_skus")
    with stubs() as given:
        given["pricing"].add_response("get_products", sample)
        given["pricing"].add_response("get_products", {"PriceList": []})
        answer = ask_price_list(given.connect, request("p5.48xlarge", "us-east-1"), NOW)
    assert usd(answer) == "55.04"


def test_a_stale_page_token_starts_over_once() -> None:
    sample = response("get_products.p5.48xlarge.many_skus")
    with stubs() as given:
        given["pricing"].add_response("get_products", sample)
        given["pricing"].add_client_error("get_products", "ExpiredNextTokenException")
        given["pricing"].add_response("get_products", sample)
        given["pricing"].add_response("get_products", {"PriceList": []})
        answer = ask_price_list(given.connect, request("p5.48xlarge", "us-east-1"), NOW)
    assert usd(answer) == "55.04"


def test_a_page_that_names_itself_as_the_next_ends_the_reading() -> None:
    page = response("get_products.trn1.32xlarge") | {"NextToken": "same"}
    with stubs() as given:
        given["pricing"].add_response("get_products", page)
        given["pricing"].add_response("get_products", page)
        answer = ask_price_list(given.connect, request("trn1.32xlarge", "us-west-2"), NOW)
    assert usd(answer) == "21.5"


# --- what is no price -----------------------------------------------------------------------------


def test_a_marker_at_zero_dollars_is_never_a_price() -> None:
    documents = response("get_products.trn2.48xlarge")["PriceList"]
    answer = read(*documents, instance="trn2.48xlarge", region="us-east-2")
    assert reason(answer, is_failure=False) == (
        "AWS lists no on_demand rate of trn2.48xlarge in us-east-2"
    )


def test_a_zero_that_passes_every_filter_is_told_as_what_it_is() -> None:
    free = changed(GOOD, at("0.0000000000"))
    assert "at $0 it lists a marker" in reason(read(free), is_failure=False)
    assert usd(read(free, GOOD)) == "21.5"


def test_nothing_listed_is_not_sold_there() -> None:
    documents = response("get_products.trn2.48xlarge.on_demand_filter")["PriceList"]
    assert documents == []
    said = reason(read(*documents, instance="trn2.48xlarge", region="us-east-2"), is_failure=False)
    assert said == "AWS lists no on_demand rate of trn2.48xlarge in us-east-2"


def test_two_skus_are_listed_and_none_is_chosen() -> None:
    said = reason(read(GOOD, changed(GOOD, at("30.0"))), is_failure=True)
    assert "2 SKUs where one must be left" in said
    assert "EXAMPLETRN1ODLNX USW2-BoxUsage:trn1.32xlarge $21.5" in said
    assert "$30" in said


def test_the_same_sku_twice_is_one_and_with_two_rates_none() -> None:
    assert usd(read(GOOD, GOOD)) == "21.5"
    said = reason(read(GOOD, changed(GOOD, at("22", sku="EXAMPLETRN1ODLNX"))), is_failure=True)
    assert "two rates of SKU EXAMPLETRN1ODLNX" in said


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("regionCode", "us-east-1"),
        ("instanceType", "trn1.2xlarge"),
        ("operatingSystem", "Windows"),
        ("tenancy", "Dedicated"),
        ("preInstalledSw", "SQL Ent"),
        ("capacitystatus", "UnusedCapacityReservation"),
        ("marketoption", "CapacityBlock"),
    ],
)
def test_a_product_of_another_kind_is_left_out_whatever_was_asked(key: str, value: str) -> None:
    def change(product: Any) -> None:
        product["product"]["attributes"][key] = value

    assert "no on_demand rate" in reason(read(changed(GOOD, change)), is_failure=False)


def test_a_rate_that_begins_later_is_told_with_its_day() -> None:
    later = changed(GOOD, lambda p: only_term(p).update(effectiveDate="2027-01-01T00:00:00Z"))
    assert "holds from 2027-01-01" in reason(read(later), is_failure=False)


def test_a_publication_in_the_future_is_told() -> None:
    later = changed(GOOD, lambda p: p.update(publicationDate="2027-01-01T00:00:00Z"))
    assert "dated 2027-01-01, after today" in reason(read(later), is_failure=False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: only_dimension(p).update(unit="Quantity"), "unit that is not 'Hrs'"),
        (lambda p: only_dimension(p).update(beginRange="750"), "beginRange that is not '0'"),
        (lambda p: only_dimension(p).update(endRange="750"), "endRange that is not 'Inf'"),
        (lambda p: only_dimension(p).update(pricePerUnit={"CNY": "150.0"}), "no USD"),
        (lambda p: only_dimension(p)["pricePerUnit"].update(CNY="150.0"), "CNY beside it"),
        (lambda p: p.update(terms=[]), "terms that is not a mapping"),
        (lambda p: only_dimension(p).update(pricePerUnit={}), "no USD"),
        (lambda p: only_dimension(p)["pricePerUnit"].update(USD="-21.5"), "not an amount"),
        (lambda p: only_dimension(p)["pricePerUnit"].update(USD="NaN"), "not an amount"),
        (lambda p: only_dimension(p)["pricePerUnit"].update(USD="2.15e1"), "not an amount"),
        (lambda p: only_dimension(p)["pricePerUnit"].update(USD="\uff12\uff11"), "not an amount"),
        (lambda p: only_dimension(p)["pricePerUnit"].update(USD=21.5), "no USD"),
        (lambda p: only_dimension(p)["pricePerUnit"].update(USD="2150000.0"), "above 100,000"),
        (lambda p: only_dimension(p)["pricePerUnit"].update(USD="12.5"), "described as $21.50"),
        (lambda p: only_term(p)["priceDimensions"].update(X={}), "priceDimensions with 2 values"),
        (lambda p: only_term(p).update(priceDimensions={}), "priceDimensions with 0 values"),
        (lambda p: p["terms"]["OnDemand"].update(X={}), "terms with 2 values"),
        (lambda p: only_term(p).pop("effectiveDate"), "no effectiveDate"),
        (lambda p: only_term(p).update(effectiveDate="2026-09-01"), "no effectiveDate"),
        (lambda p: p.pop("publicationDate"), "no publicationDate"),
        (lambda p: p.update(publicationDate="soon"), "that is not a time"),
        (lambda p: p["product"].pop("sku"), "no sku"),
        (lambda p: p["product"].pop("attributes"), "no attributes"),
        (lambda p: p["product"]["attributes"].pop("tenancy"), "no tenancy"),
        (lambda p: p.pop("terms"), "no terms"),
        (lambda p: p.pop("product"), "no product"),
    ],
)
def test_a_form_that_is_not_understood_gives_no_price(change: Change, said: str) -> None:
    answer = read(changed(GOOD, change))
    assert said in reason(answer, is_failure=True)
    assert said in reason(read(GOOD, changed(GOOD, change)), is_failure=True)


@pytest.mark.parametrize(
    "document", ["", "{", "[]", "null", None, 3, "[" * 100_000, '{"a":1,"a":2}']
)
def test_what_is_no_document_gives_no_price(document: Any) -> None:
    assert "does not understand" in reason(read(document), is_failure=True)


def test_a_product_without_on_demand_terms_is_none_and_no_error() -> None:
    assert "no on_demand rate" in reason(read(changed(GOOD, lambda p: p["terms"].clear())))


# --- reserved -------------------------------------------------------------------------------------


def reserved(product: Any) -> None:
    (term,) = product["terms"]["OnDemand"].values()
    product["terms"]["Reserved"] = {}
    for code, years, rate, kind, how in (
        ("A", "1yr", "13.2289500000", "standard", "No Upfront"),
        ("B", "3yr", "9.1000000000", "standard", "No Upfront"),
        ("C", "1yr", "15.0000000000", "convertible", "No Upfront"),
        ("D", "1yr", "6.0000000000", "standard", "Partial Upfront"),
    ):
        copy = json.loads(json.dumps(term))
        (dimension,) = copy["priceDimensions"].values()
        dimension.update(pricePerUnit={"USD": rate}, description="reserved instance applied")
        copy["termAttributes"] = {
            "LeaseContractLength": years, "OfferingClass": kind, "PurchaseOption": how,
        }  # fmt: skip
        product["terms"]["Reserved"][code] = copy


@pytest.mark.parametrize(("option", "rate"), [("reserved_1y", "13.22895"), ("reserved_3y", "9.1")])
def test_a_reserved_rate_is_the_standard_one_with_nothing_up_front(
    option: RentOption, rate: str
) -> None:
    answer = read(changed(GOOD, reserved), option=option)
    assert usd(answer) == rate
    assert isinstance(answer, Price)
    assert answer.option == option
    assert "nothing up front" in answer.source


def test_where_nothing_is_reserved_that_is_said() -> None:
    assert "no reserved_1y rate" in reason(read(GOOD, option="reserved_1y"), is_failure=False)
