"""On-demand and reserved rates: AWS's Price List, by the filters that leave one SKU.

AWS lists one type many times over: by operating system, tenancy, bundled software, and as markers
at $0 for capacity blocks and reservations. What is left after filtering must be exactly one.
Source: AWS Price List user guide, "Using the AWS Price List Query API"; the filters are those of
aws/karpenter-provider-aws, pkg/providers/pricing (both read 2026-11).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from trnbench.prices.base import NoPrice, PriceRequest
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


@dataclass(frozen=True, slots=True)
class _Listed:
    """One SKU's rate."""

    sku: str
    usage: str
    usd_per_hour: Decimal
    in_force_since: date
    published: date


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
            for field, value in filters_for(str(request.instance), str(request.region)).items()
        ],
    )
    return read_price_list(documents, request)


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
    instance, region = str(request.instance), str(request.region)
    option = request.option or "on_demand"
    wanted = filters_for(instance, region)
    found: dict[str, _Listed] = {}
    reasons: list[str] = []
    try:
        for document in documents:
            product = _Product.read(read_json(document, "a product"), "a product")
            listed = _rate(product, option) if _is_wanted(product.product, wanted) else None
            if listed is None:
                continue
            reason = _why_not(listed, request.today)
            if reason is not None:
                reasons.append(reason)
            elif found.setdefault(listed.sku, listed) != listed:
                raise OddAnswerError(f"two rates of SKU {listed.sku}")
    except OddAnswerError as odd:
        return odd_answer(ACTION, str(odd))
    if len(found) > 1:
        skus = ", ".join(sorted(f"{x.sku} {x.usage} ${x.usd_per_hour}" for x in found.values()))
        return odd_answer(ACTION, f"{len(found)} SKUs where one must be left: {skus}")
    if not found:
        why = f" ({reasons[0]})" if reasons else ""
        return NoPrice(
            f"AWS lists no {option} rate of {instance} in {region}{why}",
            "it may be sold otherwise: name an option by `price.option`, or give `--usd-per-hour`",
        )
    (rate,) = found.values()
    what = "" if option == "on_demand" else ", standard class, nothing up front"
    return Price(
        usd_per_hour=rate.usd_per_hour,
        instance=instance,
        option=option,
        region=region,
        date=request.today,
        source=f"AWS Price List, published {rate.published}, in force since {rate.in_force_since}"
        f"{what}",
    )


def _is_wanted(sku: _Sku, wanted: Mapping[str, str]) -> bool:
    """Check a product against every filter: a loose answer must not become a price."""
    return _has({**sku.attributes, "productFamily": sku.product_family}, wanted)


def _has(attributes: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    for key, value in wanted.items():
        told = attributes.get(key)
        if not isinstance(told, str) or not told:
            raise OddAnswerError(f"no {key}")
        if told != value:
            return False
    return True


def _rate(product: _Product, option: RentOption) -> _Listed | None:
    """Return the rate of a product for one option; None where it has none."""
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
    if not terms:
        return None
    usage = product.product.attributes.get("usagetype")
    if not isinstance(usage, str):
        raise OddAnswerError("no usagetype")
    term = _OneTerm.read({"terms": terms}, "terms").terms
    dimension = term.price_dimensions
    rate = dimension.price_per_unit.usd
    described = _DESCRIBED.match(str(dimension.description))
    if described is not None:
        _check_description(Decimal(described[1]), rate)
    return _Listed(
        sku=product.product.sku,
        usage=usage,
        usd_per_hour=rate,
        in_force_since=term.effective_date.date(),
        published=product.publication_date.date(),
    )


def _check_description(described: Decimal, rate: Decimal) -> None:
    """Refuse a rate that differs from the one in its description by more than rounding."""
    places = -int(described.as_tuple().exponent)
    if abs(described - rate) > Decimal(5).scaleb(-places - 1):
        raise OddAnswerError(f"a rate of ${rate} that is described as ${described}")


def _why_not(listed: _Listed, today: date) -> str | None:
    """Return why a rate is no price, if it is none."""
    tomorrow = today + timedelta(days=1)  # somewhere it is tomorrow already
    if listed.usd_per_hour == 0:
        return "at $0 it lists a marker, which is no price"
    if listed.in_force_since > tomorrow:
        return f"what it lists holds from {listed.in_force_since}"
    if listed.published > tomorrow:
        return f"what it lists is dated {listed.published}, after today: is this clock right?"
    return None
