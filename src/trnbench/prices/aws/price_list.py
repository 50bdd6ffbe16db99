"""On-demand and reserved rates: AWS's Price List, by the filters that leave one SKU.

AWS lists one type many times over: by operating system, tenancy, bundled software, and as markers
at $0 for capacity blocks and reservations. What is left after filtering must be exactly one.
Source: AWS Price List user guide, "Using the AWS Price List Query API"; the filters are those of
aws/karpenter-provider-aws, pkg/providers/pricing (both read 2026-11).
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from trnbench.prices.aws.answers import (
    Answer,
    Moment,
    OddAnswerError,
    Only,
    Text,
    UsdPerHour,
    read_json,
)
from trnbench.prices.aws.client import Connect, odd_answer
from trnbench.prices.base import NoPrice, PriceRequest, price_of
from trnbench.schema.price import Price
from trnbench.schema.rent import RentOption

ACTION = "pricing:GetProducts"

_ENDPOINTS = {"eu": "eu-central-1", "ap": "ap-south-1"}
"""The service answers in three regions, about all of them; the nearest is asked."""

_LEASES: Mapping[RentOption, str] = {"reserved_1y": "1yr", "reserved_3y": "3yr"}

_DESCRIBED = re.compile(r"\$([0-9]+(?:\.[0-9]+)?) per ")


class _Sku(Answer):
    sku: Text
    product_family: Text
    attributes: dict[str, Any]


class _Product(Answer):
    product: _Sku
    terms: dict[str, dict[str, Any]]
    publication_date: Moment


class _UsdAlone(Answer):
    model_config = ConfigDict(extra="forbid")

    usd: Annotated[UsdPerHour, Field(alias="USD")]


class _Dimension(Answer):
    """A plain rate by the hour, however much is used."""

    unit: Literal["Hrs"]
    begin_range: Literal["0"]
    end_range: Literal["Inf"]
    price_per_unit: _UsdAlone
    description: Any = None


class _Term(Answer):
    effective_date: Moment
    price_dimensions: Annotated[_Dimension, Only]


class _OneTerm(Answer):
    terms: Annotated[_Term, Only]


class _Lease(Answer):
    term_attributes: dict[str, Any]


def ask_price_list(connect: Connect, request: PriceRequest, _now: datetime) -> Price | NoPrice:
    """Ask for the on-demand rate, or for the reserved one that the request names."""
    nearest = _ENDPOINTS.get(str(request.region).split("-")[0], "us-east-1")
    documents = connect("pricing", nearest).pages(
        "GetProducts",
        "PriceList",
        ServiceCode="AmazonEC2",
        FormatVersion="aws_v1",
        MaxResults=100,
        Filters=[
            {"Type": "TERM_MATCH", "Field": field, "Value": value}
            for field, value in _filters_of(request).items()
        ],
    )
    return read_price_list(documents, request)


def _filters_of(request: PriceRequest) -> dict[str, str]:
    """Return a request's filters; the code of a local zone is its name without the letter."""
    local = request.local_zone
    return filters_for(str(request.instance), local[:-1] if local else str(request.region))


def filters_for(instance: str, region: str) -> dict[str, str]:
    """Return the attributes that a Linux instance's SKU has, and no other SKU of its type."""
    is_metal = instance.endswith(".metal")
    return {
        "regionCode": region,
        "instanceType": instance,
        "operatingSystem": "Linux",
        "tenancy": "Dedicated" if is_metal else "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
        "marketoption": "OnDemand",
        "productFamily": "Compute Instance (bare metal)" if is_metal else "Compute Instance",
    }


def read_price_list(documents: Sequence[Any], request: PriceRequest) -> Price | NoPrice:
    """Find the one rate in an answer, or say why there is none."""
    option = request.option or "on_demand"
    wanted = _filters_of(request)
    found: dict[str, tuple[str, Price]] = {}
    reasons: list[str] = []
    try:
        for document in documents:
            product = _Product.read(read_json(document, "a product"), "a product")
            sku = product.product
            # Checked against every filter: a loose answer must not become a price.
            if not _has({**sku.attributes, "productFamily": sku.product_family}, wanted):
                continue
            term = _find_term(product, option)
            if term is None:
                continue
            usage = _attribute(sku.attributes, "usagetype")
            reason = _why_not(product, term, request.today)
            if reason is not None:
                reasons.append(reason)
                continue
            listed = usage, _price(product, term, request, option)
            if found.setdefault(sku.sku, listed) != listed:
                raise OddAnswerError(f"two rates of SKU {sku.sku}")
    except OddAnswerError as odd:
        return odd_answer(ACTION, str(odd))
    if len(found) > 1:
        said = [f"{sku} {usage} ${price.usd_per_hour}" for sku, (usage, price) in found.items()]
        skus = ", ".join(sorted(said))
        return odd_answer(ACTION, f"{len(found)} SKUs where one must be left: {skus}")
    for _, price in found.values():
        return price
    why = f" ({reasons[0]})" if reasons else ""
    return NoPrice(
        f"AWS lists no {option} rate of {request.instance} in {request.region}{why}",
        "it may be sold otherwise: name an option by `price.option`, or give `--usd-per-hour`",
    )


def _has(attributes: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    return all(_attribute(attributes, key) == value for key, value in wanted.items())


def _attribute(attributes: Mapping[str, Any], key: str) -> str:
    value = attributes.get(key)
    if not isinstance(value, str) or not value:
        raise OddAnswerError(f"no {key}")
    return value


def _find_term(product: _Product, option: RentOption) -> _Term | None:
    """Return a product's only term of an option; None where it has none."""
    terms = product.terms.get("Reserved" if option in _LEASES else "OnDemand", {})
    if option in _LEASES:
        asked = {
            "LeaseContractLength": _LEASES[option],
            "OfferingClass": "standard",
            "PurchaseOption": "No Upfront",
        }
        terms = {
            code: term
            for code, term in terms.items()
            if _has(_Lease.read(term, "a term").term_attributes, asked)
        }
    return _OneTerm.read({"terms": terms}, "terms").terms if terms else None


def _why_not(product: _Product, term: _Term, today: date) -> str | None:
    """Return why a term's rate is no price, if it is none."""
    rate = term.price_dimensions.price_per_unit.usd
    described = _DESCRIBED.match(str(term.price_dimensions.description))
    if described is not None:
        amount = Decimal(described[1])
        rounding = Decimal(5).scaleb(int(amount.as_tuple().exponent) - 1)
        if abs(amount - rate) > rounding:
            raise OddAnswerError(f"a rate of ${rate} that is described as ${amount}")
    tomorrow = today + timedelta(days=1)  # somewhere it is tomorrow already
    since, published = term.effective_date.date(), product.publication_date.date()
    if rate == 0:
        return "at $0 it lists a marker, which is not a price"
    if since > tomorrow:
        return f"what it lists holds from {since}"
    if published > tomorrow:
        return f"what it lists is dated {published}, after today: is this clock right?"
    return None


def _price(product: _Product, term: _Term, request: PriceRequest, option: RentOption) -> Price:
    published, since = product.publication_date.date(), term.effective_date.date()
    what = "" if option == "on_demand" else ", standard class, nothing up front"
    return price_of(
        request,
        term.price_dimensions.price_per_unit.usd,
        option=option,
        source=f"AWS Price List, published {published}, in force since {since}{what}",
    )
