"""Live prices as a user asks for them: a whole command, real boto3, a service on this machine."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.aws_service import price_service
from tests.command import Done, in_process
from trnbench.machine.describe import describe_machine
from trnbench.prices import _live

ROOT = Path(__file__).resolve().parents[3]

SAMPLES = Path(__file__).resolve().parents[2] / "data" / "aws"
GOOD = json.loads((SAMPLES / "get_products.trn1.32xlarge.json").read_text())["response"]
LIVE = ("prices", "trn1.32xlarge", "--region", "us-west-2", "--live", "--price-option", "on_demand")
DENIED = (400, {"__type": "AccessDeniedException", "message": "no"})


def run(folder: Path, url: str, *arguments: object) -> Done:
    """Run a command that finds no account of this machine's, and the service in AWS's place.

    What an earlier command remembers of AWS is forgotten, as in a new process.
    """
    _live.cache_clear()
    return in_process(
        *arguments,
        AWS_ENDPOINT_URL_PRICING=url,
        AWS_ACCESS_KEY_ID="EXAMPLE",
        AWS_SECRET_ACCESS_KEY="EXAMPLE",
        AWS_CONFIG_FILE=str(folder / "none"),
        AWS_SHARED_CREDENTIALS_FILE=str(folder / "none"),
        AWS_EC2_METADATA_DISABLED="true",
        XDG_CACHE_HOME=str(folder / "cache"),
    )


def settings(source: str) -> list[Any]:
    """Return the settings of a run on a CPU whose machine is told to be a trn1's host."""
    return [
        "run", "--dry-run", "--json", "--python", "/bin/false", "--device", "neuron",
        "--set", "sweep={model: [tiny-llama]}", "--set", "price.instance=trn1.32xlarge",
        "--set", "price.region=us-west-2", "--price-source", source,
    ]  # fmt: skip


def test_a_live_rate_is_shown_and_kept_for_the_next_question(tmp_path: Path) -> None:
    with price_service((200, GOOD)) as served:
        first = run(tmp_path, served.url, *LIVE)
        again = run(tmp_path, served.url, *LIVE)
    assert first.code == 0, first.err
    assert "21.5" in first.out
    assert "AWS Price List, published 2026-09-10" in first.out
    assert "asked 0 minutes ago" in again.out
    assert len(served.asked) == 1


def test_live_rates_are_one_json_document(tmp_path: Path) -> None:
    with price_service((200, GOOD)) as served:
        done = run(tmp_path, served.url, *LIVE, "--json")
    (rate,) = json.loads(done.out)["live"]
    assert (rate["usd_per_hour"], rate["option"]) == ("21.5", "on_demand")
    assert rate["retrieved_at"]


def test_what_aws_does_not_sell_is_a_line_and_no_error(tmp_path: Path) -> None:
    with price_service((200, {"PriceList": []})) as served:
        done = run(tmp_path, served.url, *LIVE)
    assert done.code == 0
    assert "AWS lists no on_demand rate of trn1.32xlarge in us-west-2" in done.out


def test_a_refusal_ends_the_command_with_what_to_do(tmp_path: Path) -> None:
    with price_service(DENIED) as served:
        done = run(tmp_path, served.url, *LIVE)
    assert done.code == 3
    assert "not allowed to pricing:GetProducts" in done.err
    assert "bundled table" in done.err
    assert done.out == ""


@pytest.mark.parametrize("missing", ["--region", "trn1.32xlarge"])
def test_a_live_price_needs_an_instance_and_a_region(missing: str, tmp_path: Path) -> None:
    arguments = ["prices", "trn1.32xlarge", "--region", "us-west-2", "--live"]
    place = arguments.index(missing)
    del arguments[place : place + (2 if missing == "--region" else 1)]
    done = run(tmp_path, "http://127.0.0.1:9", *arguments)
    assert done.code == 2
    assert "needs one instance and one region" in done.err


def test_a_plan_rests_on_the_live_rate(tmp_path: Path) -> None:
    with price_service((200, GOOD)) as served:
        done = run(tmp_path, served.url, *settings("live"))
        assert len(served.asked) == 1
    (plan,) = json.loads(done.out)["plans"]
    assert plan["price"]["usd_per_hour"] == "21.5"
    assert plan["price"]["retrieved_at"]
    assert plan["price"]["source"].startswith("AWS Price List")


def test_live_or_nothing_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with price_service(DENIED) as served:
        done = run(tmp_path, served.url, *settings("live"))
    assert done.code == 3
    assert "price.source: live: the account here is not allowed" in done.err


def test_live_or_the_table_goes_on_with_the_tables_rate_its_date_and_the_reason(
    tmp_path: Path,
) -> None:
    with price_service(DENIED) as served:
        done = run(tmp_path, served.url, *settings("live_or_table"))
    assert done.code == 0, done.err
    (plan,) = json.loads(done.out)["plans"]
    assert plan["price"]["usd_per_hour"] == "21.5"
    assert plan["price"]["retrieved_at"] is None
    assert plan["price"]["note"].endswith(
        f"the table's rate of {plan['price']['date']}, because the account here is not allowed to "
        "pricing:GetProducts"
    )


def test_offline_nobody_is_asked(tmp_path: Path) -> None:
    with price_service((200, GOOD)) as served:
        done = run(tmp_path, served.url, *settings("table"))
        assert served.asked == []
    assert json.loads(done.out)["plans"][0]["price"]["usd_per_hour"] == "21.5"


def test_an_old_result_is_costed_at_the_live_rate(tmp_path: Path) -> None:
    old = ROOT / "tests" / "golden" / "schema" / "v1" / "tiny-gpt2-fp32-cpu-a7fe4285"
    result = json.loads((old / "result.json").read_text())
    result["device"]["instance"] = "trn1.32xlarge"
    result.pop("seal", None)  # as of a version that sealed nothing
    folder = tmp_path / "run" / old.name
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result))
    asked = ("report", folder, "--format", "json", "--region", "us-west-2")
    with price_service((200, GOOD)) as served:
        done = run(tmp_path, served.url, *asked, "--price-source", "live")
    (row,) = json.loads(done.out)["results"]
    assert row["price_usd_per_hour"] == 21.5
    assert row["price_retrieved_at"]
    with price_service(DENIED) as served:
        done = run(tmp_path / "x", served.url, *asked, "--price-source", "live")
    assert done.code == 3
    assert "--price-source live" in done.err


def test_an_instance_that_should_tell_itself_and_cannot_is_named(tmp_path: Path) -> None:
    if describe_machine().instance is not None:
        pytest.skip("this machine tells its instance type")
    done = in_process("run", "--dry-run", "--set", "price.instance=auto", cwd=tmp_path)
    assert done.code == 2
    assert "price.instance: auto: the instance type of this machine is not known" in done.err
    assert "hop limit" in done.err
    priced = in_process(
        "run", "--dry-run", "--set", "price.instance=auto", "--usd-per-hour", "1", cwd=tmp_path
    )
    assert priced.code == 0
