"""EC2's metadata service: the token flow, and every way in which it may fail to answer."""

import itertools
import socket
from dataclasses import asdict

import pytest

from tests.process.machine.metadata_service import ANSWERS, metadata_service
from trnbench.machine.ec2 import Ec2, ask_ec2


def test_type_place_and_life_cycle_are_asked_with_a_token() -> None:
    with metadata_service() as service:
        ec2 = ask_ec2(service.url)
    assert ec2 == Ec2(
        instance="trn2.48xlarge",
        region="us-east-2",
        zone="us-east-2c",
        zone_id="use2-az3",
        life_cycle="capacity-block",
        image="ami-0example000000000",
    )
    assert service.asked[0] == "/latest/api/token"


def test_nothing_that_tells_whose_instance_it_is_is_asked() -> None:
    with metadata_service({**ANSWERS, "instance-id": "i-0123456789abcdef0"}) as service:
        ec2 = ask_ec2(service.url)
    for word in ("instance-id", "identity", "ipv4", "hostname", "iam", "mac"):
        assert not any(word in path for path in service.asked)
    assert "i-0123456789abcdef0" not in str(asdict(ec2))


def test_an_ipv6_address_serves_as_well() -> None:
    try:
        with socket.socket(socket.AF_INET6) as trial:
            trial.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    with metadata_service(host="::1") as service:
        assert ask_ec2(service.url).region == "us-east-2"


@pytest.mark.parametrize("status", [400, 403, 500])
def test_a_refused_token_leaves_all_unknown_with_the_status(status: int) -> None:
    with metadata_service(token_status=status) as service:
        ec2 = ask_ec2(service.url)
    assert ec2 == Ec2(reason=f"EC2's metadata service: status {status}")
    assert len(service.asked) == 1


def test_a_token_that_is_not_taken_is_told() -> None:
    with metadata_service(knows_token=False) as service:
        ec2 = ask_ec2(service.url)
    assert ec2.instance is None
    assert ec2.reason is not None
    assert "instance-type: status 401" in ec2.reason


@pytest.mark.parametrize("where", ["token", "placement/region"])
def test_a_service_that_hangs_is_given_up_and_what_it_said_is_kept(where: str) -> None:
    with metadata_service(hangs_at=where) as service:
        # The clock stands still, so that each question has the whole second.
        ec2 = ask_ec2(service.url, seconds=1.0, clock=lambda: 0.0)
    assert ec2.reason == "EC2's metadata service: it did not answer in 1 s"
    assert ec2.instance == (None if where == "token" else "trn2.48xlarge")
    assert ec2.region is None


def test_the_bound_is_on_all_questions_together() -> None:
    clock = itertools.count(0.0, 0.4)
    with metadata_service() as service:
        ec2 = ask_ec2(service.url, seconds=1.0, clock=lambda: next(clock))
    assert len(service.asked) == 2
    assert (ec2.instance, ec2.region) == ("trn2.48xlarge", None)


def test_nobody_there_is_told() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ec2 = ask_ec2(f"http://127.0.0.1:{port}")
    assert ec2 == Ec2(reason="EC2's metadata service: it cannot be reached")


@pytest.mark.parametrize(
    "wrong",
    ["", "<html>Log in to the hotel's network</html>", "us-east-2\nX: y", "x" * 5000, "no region"],
)
def test_a_wrong_answer_is_not_believed_and_not_repeated(wrong: str) -> None:
    with metadata_service({**ANSWERS, "placement/region": wrong}) as service:
        ec2 = ask_ec2(service.url)
    assert (ec2.region, ec2.zone) == (None, "us-east-2c")
    assert ec2.reason is not None
    assert ec2.reason.startswith("EC2's metadata service: placement/region: ")
    assert len(ec2.reason) < 100
    if wrong:
        assert wrong[:20] not in ec2.reason


def test_where_nobody_is_at_the_first_address_the_second_is_asked() -> None:
    with metadata_service() as service:
        ec2 = ask_ec2("http://127.0.0.1:9", other_url=service.url)
        assert ec2.instance == "trn2.48xlarge"
        refused = len(service.asked)
        with metadata_service(token_status=403) as first:
            assert ask_ec2(first.url, other_url=service.url).instance is None
        assert len(service.asked) == refused  # who answers, even with a refusal, is the one


def test_an_older_service_does_not_know_ids_of_zones_and_nothing_is_said() -> None:
    answers = {k: v for k, v in ANSWERS.items() if k != "placement/availability-zone-id"}
    with metadata_service(answers) as service:
        ec2 = ask_ec2(service.url)
    assert (ec2.zone, ec2.zone_id, ec2.reason) == ("us-east-2c", None, None)


def test_an_answer_that_is_no_http_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        server.close()
        assert ask_ec2(f"http://127.0.0.1:{port}").reason is not None


def test_a_proxy_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with metadata_service() as service:
        assert ask_ec2(service.url).region == "us-east-2"


@pytest.mark.parametrize(
    ("life_cycle", "option"),
    [("spot", "spot"), ("capacity-block", "capacity_block"), ("on-demand", None), (None, None)],
)
def test_how_it_is_rented_follows_where_there_is_no_doubt(
    life_cycle: str | None, option: str | None
) -> None:
    assert Ec2(life_cycle=life_cycle).rent_option == option
