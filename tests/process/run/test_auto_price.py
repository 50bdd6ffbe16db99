"""`price: {instance: auto}`: from a real metadata service, as EC2 has one, to the plan's rate."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.process.machine.metadata_service import ANSWERS, metadata_service
from tests.pure.machine import places
from tests.pure.run.plans import plan_case
from trnbench.config.load import Conflict
from trnbench.machine.describe import describe_machine
from trnbench.schema.plan import Plan

AUTO = {"price.instance": "auto", "device": "neuron"}


def plan_on_ec2(
    root: Path,
    answers: Mapping[str, str] = ANSWERS,
    keys: Mapping[str, str] = AUTO,
    firmware: str = "trn2.48xlarge",
    **service_behaviour: Any,
) -> Plan:
    places.write_firmware(root, "Amazon EC2", firmware)
    with metadata_service(answers, **service_behaviour) as service:
        machine = describe_machine(root, service.url)
    return plan_case(keys, found=None, machine=machine)


def told(plan: Plan) -> tuple[str, str | None, str | None, str]:
    assert plan.price is not None, plan.price_reason
    price = plan.price
    return price.option, price.region, price.zone, str(price.usd_per_hour)


def test_type_region_and_a_capacity_block_are_found_without_a_word(tmp_path: Path) -> None:
    plan = plan_on_ec2(tmp_path)
    assert plan.device.instance == "trn2.48xlarge"
    assert plan.device.is_instance_recognised
    assert told(plan) == ("capacity_block", "us-east-2", None, "35.7608")


def test_a_spot_instance_has_the_rate_of_its_zone_by_the_zones_id(tmp_path: Path) -> None:
    answers = {
        "instance-type": "trn1.32xlarge",
        "placement/region": "us-east-1",
        "placement/availability-zone": "us-east-1a",  # letters are each account's own
        "placement/availability-zone-id": "use1-az5",
        "instance-life-cycle": "spot",
    }
    plan = plan_on_ec2(tmp_path, answers, firmware="trn1.32xlarge")
    assert told(plan) == ("spot", "us-east-1", "use1-az5", "4.1728")


def test_an_on_demand_life_cycle_takes_what_is_taken_by_default(tmp_path: Path) -> None:
    answers = {
        "instance-type": "trn1.32xlarge",
        "placement/region": "us-west-2",
        "instance-life-cycle": "on-demand",
    }
    plan = plan_on_ec2(tmp_path, answers, firmware="trn1.32xlarge")
    assert told(plan) == ("on_demand", "us-west-2", None, "21.5")


def test_what_the_user_names_wins_over_what_the_machine_tells(tmp_path: Path) -> None:
    answers = {**ANSWERS, "instance-type": "trn1.32xlarge", "placement/region": "us-east-1"}
    keys = {**AUTO, "price.option": "on_demand", "price.region": "us-west-2"}
    plan = plan_on_ec2(tmp_path, answers, keys, firmware="trn1.32xlarge")
    assert told(plan) == ("on_demand", "us-west-2", None, "21.5")


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ({"hangs_at": "token"}, "does not say which region it is in"),  # the hop limit
        ({"knows_token": False}, "does not say which region it is in"),
        ({"token_status": 403}, "does not say which region it is in"),
    ],
)
def test_where_the_service_does_not_answer_the_firmwares_type_has_no_other_regions_rate(
    behaviour: dict[str, Any], said: str, tmp_path: Path
) -> None:
    plan = plan_on_ec2(tmp_path, **behaviour)
    assert plan.device.instance == "trn2.48xlarge"
    assert plan.price is None
    assert said in str(plan.price_reason)
    assert "price.region" in str(plan.price_reason)


def test_where_nobody_tells_a_type_auto_is_refused_with_the_hop_limit_named(tmp_path: Path) -> None:
    places.write_firmware(tmp_path, "Amazon EC2", "")
    with metadata_service(hangs_at="token") as service:
        machine = describe_machine(tmp_path, service.url)
    with pytest.raises(Conflict) as caught:
        plan_case(AUTO, found=None, machine=machine)
    assert "did not answer in" in caught.value.message
    assert "hop-limit 2" in caught.value.hint
