"""One request for everything whose price is asked: a machine, a result's machine, a name."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

from tests.builders import make_plan, make_result
from tests.pure.machine.inspections import make_inspection, trn2_48xlarge
from trnbench.prices import request_of
from trnbench.prices.base import PriceRequest, UserRateSource
from trnbench.schema.price import Price

TODAY = date(2026, 11, 30)


def test_a_named_instance_leaves_the_rest_open() -> None:
    asked = PriceRequest(instance="trn2.48xlarge", today=TODAY).choose(zone="use2-az3")
    assert asked == PriceRequest(
        instance="trn2.48xlarge", option=None, region=None, zone="use2-az3", today=TODAY
    )


def test_a_machine_is_asked_for_as_it_sees_itself() -> None:
    spot = make_inspection(ec2=replace(trn2_48xlarge(), life_cycle="spot")).machine
    asked = spot.price_request(TODAY)
    assert (asked.instance, asked.option, asked.is_this_machine) == ("trn2.48xlarge", "spot", True)
    assert (asked.region, asked.zone) == (spot.ec2.region, spot.ec2.zone)
    chosen = asked.choose(option="on_demand", region="us-west-2", zone="usw2-az1")
    assert (chosen.option, chosen.region, chosen.zone) == ("on_demand", "us-west-2", "usw2-az1")


def test_a_machine_without_a_name_says_why() -> None:
    asked = make_inspection().machine.price_request(TODAY)
    assert (asked.instance, asked.instance_reason) == (None, make_inspection().machine.ec2.reason)


def test_a_result_is_asked_for_as_it_was_priced() -> None:
    result = make_result(make_plan({"price": "{}"}))
    price = Price(
        usd_per_hour=Decimal("9.5"), instance="x", option="capacity_block", region="us-east-2",
        zone="use2-az1", date=TODAY, source="a page",
    )  # fmt: skip
    asked = request_of(result.model_copy(update={"price": price}), TODAY)
    assert (asked.option, asked.region, asked.zone) == ("capacity_block", "us-east-2", "use2-az1")
    assert asked.instance == result.device.instance
    assert asked.is_this_machine is result.device.is_instance_recognised
    own = UserRateSource().quote(asked.choose(usd_per_hour=Decimal("0.5")))
    assert isinstance(own, Price)
    kept = request_of(result.model_copy(update={"price": own}), TODAY)
    assert kept.option is None, "a rate of the user's is no way of renting"
    assert request_of(result.model_copy(update={"price": None}), TODAY).region is None
