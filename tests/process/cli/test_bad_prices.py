"""Each way in which a price can be asked for wrongly, or not be had, as a user meets it.

Every one is named, says what to do, and ends in a documented exit code and never in a traceback.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.aws_service import price_service
from tests.command import Done, in_process, trnbench
from tests.process.cli.test_live_prices import DENIED, GOOD, LIVE, run, settings

PLAN = [
    "run", "--dry-run", "--json", "--python", "/bin/false", "--device", "neuron",
    "--set", "sweep={model: [tiny-llama]}",
]  # fmt: skip


def told(done: Done) -> dict[str, Any]:
    """Return the one plan, and see that nothing went wrong."""
    assert done.code == 0, done.err
    (plan,) = json.loads(done.out)["plans"]
    assert isinstance(plan, dict)
    return plan


def refused(done: Done, code: int, *said: str) -> None:
    assert done.code == code, done.err
    assert done.out == ""
    assert "Traceback" not in done.err
    for each in said:
        assert each in done.err


def own(folder: Path, name: str, text: str) -> list[str]:
    path = folder / name
    path.write_text(text)
    return ["--set", f"price.file={path}"]


# --- what is asked about --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["prices", "trn2.48xlarg"],
        ["prices", "trn2.48xlarg", "--history"],
        [*PLAN, "--set", "price.instance=trn2.48xlarg"],
    ],
)
def test_an_unknown_instance_is_named_with_the_nearest(arguments: list[str]) -> None:
    refused(in_process(*arguments), 2, "trn2.48xlarg", "did you mean trn2.48xlarge")


def test_an_option_that_is_not_sold_is_named_with_those_that_are() -> None:
    on = ["--set", "price.instance=trn2.48xlarge", "--set", "price.region=us-east-2"]
    plan = told(in_process(*PLAN, *on, "--set", "price.option=on_demand"))
    assert plan["price"] is None
    assert "has no on_demand rate of trn2.48xlarge" in plan["price_reason"]
    assert "it has: capacity_block, spot" in plan["price_reason"]
    assert "--usd-per-hour" in plan["price_reason"]


def test_a_region_where_it_is_not_sold_gets_no_other_regions_rate() -> None:
    on = ["--set", "price.instance=trn2.48xlarge", "--set", "price.region=eu-west-1"]
    plan = told(in_process(*PLAN, *on))
    assert plan["price"] is None
    assert "no capacity_block rate of trn2.48xlarge in eu-west-1" in plan["price_reason"]
    assert "it has rates in us-east-2" in plan["price_reason"]


# --- rates that are none --------------------------------------------------------------------------


@pytest.mark.parametrize("rate", ["0", "-3", "1e9", "nan", "3EUR"])
def test_a_rate_that_is_none_is_refused_wherever_it_is_typed(rate: str, tmp_path: Path) -> None:
    refused(
        in_process(*PLAN, "--usd-per-hour", rate), 2, "price.usd_per_hour", "usd_per_hour: 35.76"
    )
    done = in_process("report", tmp_path, "--usd-per-hour", rate)
    refused(done, 2, f"--usd-per-hour {rate}: is not a rate in dollars", "35.76")
    text = f"instance_type,option,usd_per_hour\ntrn2.48xlarge,capacity_block,{rate}\n"
    refused(in_process(*PLAN, *own(tmp_path, "r.csv", text)), 2, "r.csv, line 2", "usd_per_hour")
    text = f"rates:\n- {{instance_type: rack, option: on_demand, usd_per_hour: {rate}}}\n"
    refused(in_process(*PLAN, *own(tmp_path, "r.yaml", text)), 2, "r.yaml", "usd_per_hour")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("r.csv", "instance_type,option,eur_per_hour\nrack,spot,3\n", "usd_per_hour is missing"),
        (
            "r.csv",
            "instance_type,option,usd_per_hour,currency\nrack,spot,3,EUR\n",
            "column 'currency' is not known",
        ),
        (
            "r.csv",
            "instance_type,option,usd_per_hour\nrack,spot,EUR 3\n",
            "got 'EUR 3', expected a number",
        ),
        (
            "r.yaml",
            "rates:\n- {instance_type: rack, option: spot, usd_per_hour: 3, currency: EUR}\n",
            "rates.0.currency",
        ),
    ],
)
def test_another_currency_is_refused_and_dollars_are_asked_for(
    name: str, text: str, said: str, tmp_path: Path
) -> None:
    refused(in_process(*PLAN, *own(tmp_path, name, text)), 2, said, "in US dollars")


def test_a_rate_dated_in_the_future_does_not_hold_and_its_day_is_told(tmp_path: Path) -> None:
    row = "trn2.48xlarge,us-east-2,capacity_block,31.2,2999-01-01"
    text = f"instance_type,region,option,usd_per_hour,date\n{row}\n"
    on = ["--set", "price.instance=trn2.48xlarge", "--set", "price.region=us-east-2"]
    plan = told(in_process(*PLAN, *on, *own(tmp_path, "r.csv", text)))
    assert plan["price"] is None
    assert "its first is dated 2999-01-01" in plan["price_reason"]
    assert "look at that date" in plan["price_reason"]


# --- what AWS answers -----------------------------------------------------------------------------


def doubled() -> list[str]:
    """Return an answer with two SKUs for one question."""
    (document,) = GOOD["PriceList"]
    other = json.loads(document)
    other["product"]["sku"] = "OTHERSKU00000001"
    return [document, json.dumps(other)]


def test_two_skus_that_are_left_are_listed_and_none_is_taken(tmp_path: Path) -> None:
    with price_service((200, {"PriceList": doubled()})) as served:
        done = run(tmp_path, served.url, *LIVE)
    refused(done, 3, "OTHERSKU00000001", "bundled table")


def test_a_sku_at_no_dollars_is_no_price(tmp_path: Path) -> None:
    free = json.loads(json.dumps(GOOD).replace("21.5000000000", "0.0000000000"))
    with price_service((200, free)) as served:
        refused(run(tmp_path, served.url, *LIVE), 3, "a rate of $0", "bundled table")
        plan = told(run(tmp_path, served.url, *settings("live_or_table")))
    assert plan["price"]["usd_per_hour"] == "21.5"
    assert "a rate of $0" in plan["price"]["note"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (DENIED, "not allowed to pricing:GetProducts"),
        ((400, {"__type": "ThrottlingException", "message": "slow"}), "AWS throttles"),
        ((400, {"__type": "ExpiredTokenException", "message": "old"}), "sign in again"),
    ],
)
def test_a_refusal_is_an_error_where_live_was_asked_for_and_else_ends_in_the_table(
    answer: tuple[int, Any], said: str, tmp_path: Path
) -> None:
    with price_service(answer) as served:
        refused(run(tmp_path, served.url, *LIVE), 3, said, "bundled table", "--usd-per-hour")
        plan = told(run(tmp_path, served.url, *settings("live_or_table")))
    assert plan["price"]["usd_per_hour"] == "21.5"
    assert f"the table's rate of {plan['price']['date']}, because" in plan["price"]["note"]


def test_without_credentials_that_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    none = str(tmp_path / "none")
    with price_service((200, GOOD)) as served:
        done = trnbench(  # a process: boto3 keeps the credentials that it once found
            *LIVE,
            AWS_ENDPOINT_URL_PRICING=served.url,
            AWS_ACCESS_KEY_ID="",
            AWS_SECRET_ACCESS_KEY="",
            AWS_CONFIG_FILE=none,
            AWS_SHARED_CREDENTIALS_FILE=none,
            AWS_EC2_METADATA_DISABLED="true",
            XDG_CACHE_HOME=str(tmp_path / "cache"),
        )
        assert served.asked == []
    refused(done, 3, "there are no AWS credentials here", "bundled table")


def test_without_a_network_that_is_said_and_the_table_answers(tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:9"
    refused(run(tmp_path, nobody, *LIVE), 3, "cannot be reached", "bundled table")
    plan = told(run(tmp_path, nobody, *settings("live_or_table")))
    assert plan["price"]["usd_per_hour"] == "21.5"
    assert "cannot be reached" in plan["price"]["note"]
