"""The recorded answers in `tests/data/aws`, and real boto3 clients that answer with them."""

import contextlib
import copy
import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.stub import Stubber

from trnbench.prices.aws.client import ReadOnlyClient
from trnbench.prices.base import NoPrice, PriceRequest
from trnbench.schema.price import Price
from trnbench.schema.rent import RentOption

FOLDER = Path(__file__).resolve().parents[3] / "data" / "aws"
TODAY = date(2026, 11, 23)
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)

SAMPLES: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))
}


def response(name: str) -> Any:
    """Return a copy of a sample's answer."""
    return copy.deepcopy(SAMPLES[name]["response"])


def request(
    instance: str = "trn2.48xlarge",
    region: str | None = "us-east-2",
    option: RentOption | None = None,
    zone: str | None = None,
) -> PriceRequest:
    return PriceRequest(instance=instance, region=region, option=option, zone=zone, today=TODAY)


def savings_rate(**changes: Any) -> dict[str, Any]:
    """Return one rate of a Savings Plan, in the form of botocore's service model."""
    offering = {
        "offeringId": "00000000-example", "paymentOption": "No Upfront", "planType": "Compute",
        "durationSeconds": 31_536_000, "currency": "USD", "planDescription": "an example",
    }  # fmt: skip
    told = {
        "region": "us-west-2", "instanceType": "trn1.32xlarge", "tenancy": "shared",
        "productDescription": "Linux/UNIX",
    }  # fmt: skip
    for name in offering:
        offering[name] = changes.pop(name, offering[name])
    return {
        "savingsPlanOffering": offering, "rate": "13.2290", "unit": "Hrs", "productType": "EC2",
        "serviceCode": "AmazonEC2", "usageType": "USW2-BoxUsage:trn1.32xlarge",
        "operation": "RunInstances",
        "properties": [{"name": name, "value": value} for name, value in told.items()],
        **changes,
    }  # fmt: skip


class Stubs:
    """Real clients, without credentials of anybody, whose answers are given ahead."""

    def __init__(self) -> None:
        self.stubbers: dict[str, Stubber] = {}
        self.opened: list[tuple[str, str]] = []

    def __getitem__(self, service: str) -> Stubber:
        if service not in self.stubbers:
            client = boto3.client(
                service, region_name="us-east-1", aws_access_key_id="EXAMPLE",
                aws_secret_access_key="EXAMPLE",
            )  # fmt: skip
            self.stubbers[service] = Stubber(client)
            self.stubbers[service].activate()
        return self.stubbers[service]

    def connect(self, service: str, region: str) -> ReadOnlyClient:
        self.opened.append((service, region))
        return ReadOnlyClient(service, region, self[service].client)


@contextlib.contextmanager
def stubs() -> Iterator[Stubs]:
    """Give stubs, and see at the end that every answer that was given ahead was asked for."""
    given = Stubs()
    yield given
    for stubber in given.stubbers.values():
        stubber.assert_no_pending_responses()


def usd(answer: Price | NoPrice) -> str:
    assert isinstance(answer, Price), answer
    return str(answer.usd_per_hour)


def reason(answer: Price | NoPrice, *, is_failure: bool | None = None) -> str:
    assert isinstance(answer, NoPrice), answer
    assert answer.hint
    if is_failure is not None:
        assert answer.is_failure is is_failure
    return answer.reason


Change = Callable[[Any], Any]


def changed(document: str, change: Change) -> str:
    """Return a product's text after a change of what it says."""
    product = json.loads(document)
    change(product)
    return json.dumps(product)
