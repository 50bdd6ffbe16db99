"""The clients of AWS: they can buy nothing, and every failure is told with what helps."""

import ast
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
import botocore.parsers
import botocore.session
import pytest

import trnbench
from tests.process.prices.aws.samples import reason, stubs
from trnbench.prices.aws import client as client_module
from trnbench.prices.aws.client import (
    MAX_PAGES,
    OPERATIONS,
    AskError,
    ForbiddenOperationError,
    ReadOnlyClient,
    connect,
    explain_fault,
)
from trnbench.prices.base import NoPrice

PACKAGE = Path(trnbench.__file__).parent


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep whatever credentials this machine has out of it."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def fresh(service: str) -> Any:
    return boto3.client(
        service, region_name="us-east-2", aws_access_key_id="EXAMPLE", aws_secret_access_key="EX"
    )


# --- nothing can be bought ------------------------------------------------------------------------


def test_only_calls_that_read_are_allowed() -> None:
    allowed = {operation for operations in OPERATIONS.values() for operation in operations}
    assert all(operation.startswith(("Get", "Describe")) for operation in allowed)
    assert not any(word in str(allowed) for word in ("Purchase", "Create", "Accept", "Request"))


@pytest.mark.parametrize("service", sorted(OPERATIONS))
def test_every_other_operation_of_a_service_is_stopped_before_anything_is_sent(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    raw = fresh(service)
    barred = ReadOnlyClient(service, "us-east-2", raw)
    model = botocore.session.get_session().get_service_model(service)
    tried = set()
    for operation in model.operation_names:
        if operation in OPERATIONS[service]:
            continue
        with pytest.raises(ForbiddenOperationError, match=operation):
            barred.call(operation)
        tried.add(operation)
    assert tried == set(model.operation_names) - OPERATIONS[service]
    if service == "ec2":
        assert {"PurchaseCapacityBlock", "PurchaseCapacityBlockExtension", "RunInstances"} <= tried
    if service == "savingsplans":
        assert "CreateSavingsPlan" in tried


def test_even_the_client_within_cannot_buy() -> None:
    raw = fresh("ec2")
    ReadOnlyClient("ec2", "us-east-2", raw)
    with pytest.raises(ForbiddenOperationError):
        raw.purchase_capacity_block(
            CapacityBlockOfferingId="cbr-0example000000001", InstancePlatform="Linux/UNIX"
        )


def test_an_unknown_service_can_do_nothing() -> None:
    raw = fresh("sts")
    with pytest.raises(ForbiddenOperationError):
        ReadOnlyClient("sts", "us-east-2", raw).call("GetCallerIdentity")


def test_no_other_file_opens_a_client_and_no_call_is_named_that_buys() -> None:
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        imported = {
            name.split(".")[0]
            for node in ast.walk(tree)
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        if path != Path(client_module.__file__):
            assert not imported & {"boto3", "botocore"}, path
        texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
        names = [n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)]
        for each in [*texts, *names]:
            assert "purchase_" not in str(each).lower(), path
            assert not str(each).startswith(("Purchase", "CreateSavingsPlan")) or (
                each == "PurchaseOption"  # a reserved term's attribute
            ), path


def test_no_code_of_aws_is_imported_until_a_rate_is_asked_for() -> None:
    program = (
        "import sys; import trnbench.prices as prices, trnbench.cli.main;"
        "prices.sources_for('table');"
        "ours = ('boto', 'trnbench.prices.aws');"
        "print([m for m in sys.modules if m.startswith(ours)])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"[]\n"


# --- what fails is told ---------------------------------------------------------------------------


def fail(code: str) -> NoPrice:
    with stubs() as given:
        given["pricing"].add_client_error(
            "get_products", code, "User: arn:aws:iam::123456789012:user/x is not authorized"
        )
        with pytest.raises(AskError) as caught:
            given.connect("pricing", "us-east-1").pages("GetProducts", "PriceList", ServiceCode="A")
    return caught.value.answer


@pytest.mark.parametrize(
    ("code", "said", "fix"),
    [
        ("AccessDeniedException", "not allowed to pricing:GetProducts", "docs/prices.md"),
        ("UnauthorizedOperation", "not allowed to pricing:GetProducts", "docs/prices.md"),
        ("ThrottlingException", "throttles pricing:GetProducts", "in a minute"),
        ("RequestLimitExceeded", "throttles", "in a minute"),
        ("ExpiredTokenException", "does not accept the credentials", "sign in again"),
        ("UnrecognizedClientException", "does not accept the credentials", "sign in again"),
        ("AuthFailure", "us-east-1: the region is not enabled", "price.region"),
        ("RequestTimeTooSkewed", "this machine's time", "set the clock"),
        ("SignatureDoesNotMatch", "this machine's time", "set the clock"),
        ("InvalidParameterValue", "no such instance type in us-east-1", "price.instance"),
        ("InternalErrorException", "failed (InternalErrorException)", "try again"),
    ],
)
def test_a_refusal_is_named_with_what_to_do_and_without_the_account(
    code: str, said: str, fix: str
) -> None:
    answer = fail(code)
    assert said in reason(answer, is_failure=True)
    assert fix in answer.hint
    assert "bundled table" in answer.hint
    assert "--usd-per-hour" in answer.hint
    assert "123456789012" not in f"{answer.reason}{answer.hint}"


def test_a_stale_page_token_that_stays_stale_is_told() -> None:
    with stubs() as given:
        for _ in range(2):
            given["pricing"].add_client_error("get_products", "InvalidNextTokenException")
        client = given.connect("pricing", "us-east-1")
        with pytest.raises(AskError, match="InvalidNextTokenException"):
            client.pages("GetProducts", "PriceList", ServiceCode="AmazonEC2")


def test_pages_without_an_end_are_given_up() -> None:
    with stubs() as given:
        for number in range(MAX_PAGES):
            page = {"PriceList": [], "NextToken": f"page {number}"}
            given["pricing"].add_response("get_products", page)
        client = given.connect("pricing", "us-east-1")
        with pytest.raises(AskError, match="more than 50 pages"):
            client.pages("GetProducts", "PriceList", ServiceCode="AmazonEC2")


def test_an_answer_without_its_list_is_told() -> None:
    with stubs() as given:
        given["pricing"].add_response("get_products", {})
        client = given.connect("pricing", "us-east-1")
        with pytest.raises(AskError, match="no list of PriceList"):
            client.pages("GetProducts", "PriceList", ServiceCode="AmazonEC2")


class _OddError(Exception):
    response = None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (botocore.exceptions.NoCredentialsError(), "there are no AWS credentials here"),
        (
            botocore.exceptions.PartialCredentialsError(provider="env", cred_var="X"),
            "are incomplete",
        ),
        (botocore.exceptions.ProfileNotFound(profile="secret-name"), "AWS_PROFILE"),
        (botocore.exceptions.UnauthorizedSSOTokenError(), "does not accept the credentials"),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="x"), "cannot be reached"),
        (botocore.exceptions.ConnectTimeoutError(endpoint_url="x"), "cannot be reached"),
        (botocore.exceptions.ReadTimeoutError(endpoint_url="x"), "cannot be reached"),
        (
            botocore.exceptions.ProxyConnectionError(proxy_url="http://user:word@proxy"),
            "cannot be reached",
        ),
        (botocore.exceptions.SSLError(endpoint_url="x", error="y"), "is not trusted"),
        (botocore.exceptions.InvalidRegionError(region_name="x"), "or unknown"),
        (botocore.parsers.ResponseParserError("<html>"), "is not from AWS"),
        (OSError(101, "Network is unreachable"), "cannot be reached"),
        (_OddError(), "failed (_OddError)"),
    ],
)
def test_what_stands_in_the_way_is_named(error: Exception, said: str) -> None:
    answer = explain_fault(error, "pricing:GetProducts", "us-east-1")
    assert said in reason(answer, is_failure=True)
    for secret in ("secret-name", "user:word"):
        assert secret not in f"{answer.reason}{answer.hint}"


def test_no_credentials_is_found_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(AskError, match="there are no AWS credentials here"):
        connect("pricing", "us-east-1").call("GetProducts", ServiceCode="AmazonEC2")


def test_a_profile_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    boto3.DEFAULT_SESSION = None
    with pytest.raises(AskError, match="AWS_PROFILE"):
        connect("pricing", "us-east-1").call("GetProducts", ServiceCode="AmazonEC2")


def test_without_boto3_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(AskError, match="not installed") as caught:
        connect("pricing", "us-east-1")
    assert "pip install boto3" in caught.value.answer.hint


def test_a_throttled_call_is_tried_again_by_boto3_and_not_for_ever() -> None:
    settings = connect("pricing", "us-east-1")._client.meta.config
    assert settings.retries == {"mode": "standard", "total_max_attempts": 4}
    assert settings.connect_timeout <= 3
    assert settings.read_timeout <= 10
