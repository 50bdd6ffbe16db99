"""On-demand and reserved rates: AWS's Price List, by the filters that leave one SKU.

AWS lists one type many times over: by operating system, tenancy, bundled software, and as markers
at $0 for capacity blocks and reservations. What is left after filtering must be exactly one.
Source: AWS Price List user guide, "Using the AWS Price List Query API"; the filters are those of
aws/karpenter-provider-aws, pkg/providers/pricing (both read 2026-11).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from trnbench.prices.aws.client import AskError, Connect, odd_answer
from trnbench.prices.aws.documents import (
    OddDocumentError,
    amount_at,
    as_mapping,
    day_at,
    mapping_at,
    only_value,
    parse_json,
    text_at,
)
from trnbench.prices.base import NoPrice, PriceRequest
from trnbench.schema.price import Price
from trnbench.schema.rent import RentOption

ACTION = "pricing:GetProducts"

_ENDPOINTS = {"eu": "eu-central-1", "ap": "ap-south-1"}
"""The service answers in three regions, about all of them; the nearest is asked."""

_LEASES: Mapping[RentOption, str] = {"reserved_1y": "1yr", "reserved_3y": "3yr"}

_DESCRIBED = re.compile(r"\$([0-9]+(?:\.[0-9]+)?) per ")


@dataclass(frozen=True, slots=True)
class _Listed:
    """One SKU's rate, as far as it is understood."""

    sku: str
    usage: str
    usd_per_hour: Decimal
    in_force_since: date
    published: date


def ask_price_list(connect: Connect, request: PriceRequest) -> Price | NoPrice:
    """Ask for the on-demand rate, or for the reserved one that the request names.

    Args:
        connect: opens the service.
        request: with an instance and a region.
    """
    instance, region = str(request.instance), str(request.region)
    option = request.option or "on_demand"
    try:
        client = connect("pricing", _ENDPOINTS.get(region.split("-")[0], "us-east-1"))
        documents = client.pages(
            "GetProducts",
            "PriceList",
            ServiceCode="AmazonEC2",
            FormatVersion="aws_v1",
            MaxResults=100,
            Filters=[
                {"Type": "TERM_MATCH", "Field": field, "Value": value}
                for field, value in filters_for(instance, region).items()
            ],
        )
    except AskError as error:
        return error.answer
    return read_price_list(documents, instance, region, option, request.today)


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


def read_price_list(
    documents: Sequence[Any], instance: str, region: str, option: RentOption, today: date
) -> Price | NoPrice:
    """Find the one rate in an answer, or say why there is none.

    Args:
        documents: the products of `GetProducts`, each a text.
        instance: the type that was asked for.
        region: the region that was asked for.
        option: on_demand, reserved_1y or reserved_3y.
        today: the day for which the rate must hold.
    """
    wanted = filters_for(instance, region)
    found: dict[str, _Listed] = {}
    reasons: list[str] = []
    try:
        for document in documents:
            product = parse_json(document)
            if not _is_wanted(product, wanted):
                continue
            for listed in _rates(product, option):
                reason = _why_not(listed, today)
                if reason is not None:
                    reasons.append(reason)
                elif found.setdefault(listed.sku, listed) != listed:
                    raise OddDocumentError(f"two rates of SKU {listed.sku}")
    except OddDocumentError as odd:
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
        date=today,
        source=f"AWS Price List, published {rate.published}, in force since {rate.in_force_since}"
        f"{what}",
    )


def _is_wanted(product: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """Hold a product against every filter once more: a loose answer must not become a price.

    Raises:
        OddDocumentError: it does not say what it is.
    """
    told = mapping_at(product, "product")
    said = {**as_mapping(told.get("attributes"), "attributes"), "productFamily": None}
    said["productFamily"] = text_at(told, "productFamily")
    return all(text_at(said, key) == value for key, value in wanted.items())


def _rates(product: Mapping[str, Any], option: RentOption) -> list[_Listed]:
    """Return the rates of a product for one option: none, or as many as it states.

    Raises:
        OddDocumentError: it states one in a form that is not understood.
    """
    sku = text_at(mapping_at(product, "product"), "sku")
    usage = text_at(mapping_at(product, "product", "attributes"), "usagetype")
    terms = mapping_at(product, "terms")
    kind = "Reserved" if option in _LEASES else "OnDemand"
    if kind not in terms:
        return []
    of_kind = as_mapping(terms[kind], kind)
    if option in _LEASES:
        asked = {
            "LeaseContractLength": _LEASES[option],
            "OfferingClass": "standard",
            "PurchaseOption": "No Upfront",
        }
        of_kind = {
            code: term
            for code, term in of_kind.items()
            if _has(mapping_at(as_mapping(term, "term"), "termAttributes"), asked)
        }
    if not of_kind:
        return []
    term = only_value(of_kind, f"{kind} terms")
    dimension = only_value(mapping_at(term, "priceDimensions"), "price dimensions")
    _check_dimension(dimension)
    rate = amount_at(mapping_at(dimension, "pricePerUnit"), "USD")
    _check_description(dimension, rate)
    published = day_at(product, "publicationDate")
    return [_Listed(sku, usage, rate, day_at(term, "effectiveDate"), published)]


def _has(attributes: Mapping[str, Any], asked: Mapping[str, str]) -> bool:
    return all(text_at(attributes, key) == value for key, value in asked.items())


def _check_dimension(dimension: Mapping[str, Any]) -> None:
    """Refuse what is not a plain rate of US dollars an hour.

    Raises:
        OddDocumentError: says what it is instead.
    """
    if text_at(dimension, "unit") != "Hrs":
        raise OddDocumentError("a rate that is not by the hour")
    if text_at(dimension, "beginRange") != "0" or text_at(dimension, "endRange") != "Inf":
        raise OddDocumentError("a rate that depends on how much is used")
    if list(mapping_at(dimension, "pricePerUnit")) != ["USD"]:
        raise OddDocumentError("a rate that is not in US dollars alone")


def _check_description(dimension: Mapping[str, Any], rate: Decimal) -> None:
    """Hold the rate against the one in its own description, where it begins with one.

    Raises:
        OddDocumentError: they differ.
    """
    found = _DESCRIBED.match(str(dimension.get("description")))
    if found is None:
        return
    described = Decimal(found[1])
    places = -int(described.as_tuple().exponent)
    if abs(described - rate) > Decimal(5).scaleb(-places - 1):
        raise OddDocumentError(f"a rate of ${rate} that is described as ${described}")


def _why_not(listed: _Listed, today: date) -> str | None:
    """Return why a rate is no price, if it is none."""
    if listed.usd_per_hour == 0:
        return "at $0 it lists a marker, which is no price"
    if listed.in_force_since > today + timedelta(days=1):  # somewhere it is tomorrow already
        return f"what it lists holds from {listed.in_force_since}"
    if listed.published > today + timedelta(days=1):
        return f"what it lists is dated {listed.published}, after today: is this clock right?"
    return None
