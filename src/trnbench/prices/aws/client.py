"""Clients of AWS that can ask for prices and do nothing else: no call that buys can be made.

boto3 is the extra `trnbench[aws]`. It is imported when a live rate is asked for, never before.
Nothing of an error's own text is repeated: it can hold an account, a user or a request's signature.
Sources: AWS API references, "Common errors" (EC2, Price List, Savings Plans); botocore 1.44's
`exceptions.py`; both read 2026-11.
"""

from collections.abc import Callable, Mapping
from typing import Any

from trnbench.prices.base import NoPrice

OPERATIONS: Mapping[str, frozenset[str]] = {
    "pricing": frozenset({"GetProducts"}),
    "ec2": frozenset({"DescribeSpotPriceHistory", "DescribeCapacityBlockOfferings"}),
    "savingsplans": frozenset({"DescribeSavingsPlansOfferingRates"}),
}
"""All that this program may ever ask of AWS, by service. Each is free of charge and only reads."""

MAX_PAGES = 50

_STALE_TOKENS = ("InvalidNextTokenException", "ExpiredNextTokenException", "InvalidNextToken")

INSTEAD = "or use the bundled table (`price.source: table`), or give `--usd-per-hour`"

_DENIED = (
    "the account here is not allowed to {asked}",
    "let it do {asked} (docs/prices.md has the policy)",
)
_CREDENTIALS = ("AWS does not accept the credentials here", "sign in again (`aws sso login`)")
_CLOCK = (
    "AWS does not accept requests at this machine's time",
    "set the clock (`timedatectl status`)",
)
_THROTTLED = ("AWS throttles {asked}, even after several tries", "try again in a minute")
_REGION = (
    "AWS does not accept this account in {region}: the region is not enabled for it, or unknown",
    "enable it, or name another by `price.region`",
)
_INSTANCE = ("AWS knows no such instance type in {region}", "check `price.instance`")
_AWAY = ("AWS cannot be reached from here ({asked} in {region})", "check network and proxy")

_BY_CODE: Mapping[str, tuple[str, str]] = {
    code: text
    for text, codes in (
        (_DENIED, "AccessDenied AccessDeniedException UnauthorizedOperation UnauthorizedException"),
        (_REGION, "AuthFailure OptInRequired"),
        (_CREDENTIALS, "ExpiredToken ExpiredTokenException InvalidClientTokenId"),
        (_CREDENTIALS, "UnrecognizedClientException InvalidAccessKeyId"),
        (_CLOCK, "RequestExpired RequestInTheFuture RequestTimeTooSkewed"),
        (_CLOCK, "InvalidSignatureException SignatureDoesNotMatch"),
        (_THROTTLED, "Throttling ThrottlingException"),
        (_THROTTLED, "RequestLimitExceeded TooManyRequestsException"),
        (_INSTANCE, "InvalidInstanceType InvalidParameterValue Unsupported UnsupportedOperation"),
    )
    for code in codes.split()
}
"""By the code of an answer: what is said, and what helps."""

_BY_CLASS: Mapping[str, tuple[str, str]] = {
    "NoCredentialsError": (
        "there are no AWS credentials here",
        "sign in (`aws configure`, `aws sso login`, or a role of the instance)",
    ),
    "PartialCredentialsError": ("the AWS credentials here are incomplete", "`aws configure`"),
    "ProfileNotFound": ("the profile that AWS_PROFILE names does not exist", "unset or correct it"),
    "TokenRetrievalError": _CREDENTIALS,
    "UnauthorizedSSOTokenError": _CREDENTIALS,
    "SSOTokenLoadError": _CREDENTIALS,
    "CredentialRetrievalError": ("the AWS credentials here cannot be loaded", "sign in again"),
    "MetadataRetrievalError": ("the AWS credentials here cannot be loaded", "sign in again"),
    "InvalidRegionError": _REGION,
    "UnknownRegionError": _REGION,
    "ConnectionError": _AWAY,  # of which time-outs and proxies are kinds
    "HTTPClientError": _AWAY,
    "SSLError": (
        "the connection to AWS is not trusted (a certificate is not known)",
        "name your network's certificates by AWS_CA_BUNDLE",
    ),
    "ResponseParserError": ("the answer to {asked} is not from AWS", "check the proxy"),
}
"""By the name of boto3's exception, or of one that it is a kind of."""


class ForbiddenOperationError(RuntimeError):
    """A call that is not in `OPERATIONS` was about to be made: a bug, and it was stopped."""


class AskError(Exception):
    """AWS could not be asked, or refused; `answer` says why and what to do."""

    def __init__(self, answer: NoPrice) -> None:
        super().__init__(answer.reason)
        self.answer = answer


class ReadOnlyClient:
    """One service in one region; every call goes through `call`."""

    def __init__(self, service: str, region: str, client: Any) -> None:
        """Take over a client of boto3 and bar it from all but `OPERATIONS`."""
        self._service, self._region, self._client = service, region, client
        self._methods = {api: name for name, api in client.meta.method_to_api_mapping.items()}
        client.meta.events.register_first("provide-client-params", self._guard)

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """Make one call."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        method = getattr(self._client, self._methods[operation])
        try:
            answer: dict[str, Any] = method(**parameters)
        except (BotoCoreError, ClientError, ResponseParserError, OSError) as error:
            asked = f"{self._service}:{operation}"
            raise AskError(explain_fault(error, asked, self._region)) from error
        return answer

    def pages(
        self, operation: str, items: str, token: str = "NextToken", **parameters: Any
    ) -> list[Any]:
        """Return the list `items` of every page; a page token that went stale starts over, once.

        Not botocore's paginators: they have none for Savings Plans, and fail at a page that names
        itself as the next.
        """
        try:
            return self._read_pages(operation, items, token, parameters)
        except AskError as error:
            if _code(error.__cause__) not in _STALE_TOKENS:
                raise
            return self._read_pages(operation, items, token, parameters)

    def _read_pages(
        self, operation: str, items: str, token: str, parameters: Mapping[str, Any]
    ) -> list[Any]:
        asked = f"{self._service}:{operation}"
        found: list[Any] = []
        more: dict[str, Any] = {}
        for _ in range(MAX_PAGES):
            answer = self.call(operation, **parameters, **more)
            page = answer.get(items)
            if not isinstance(page, list):
                raise AskError(odd_answer(asked, f"no list of {items}"))
            found += page
            if not answer.get(token) or more.get(token) == answer[token]:
                return found  # AWS ends with no token, or an empty one
            more = {token: answer[token]}
        raise AskError(odd_answer(asked, f"more than {MAX_PAGES} pages of {items}"))

    def _guard(self, model: Any, **_: Any) -> None:
        if model.name not in OPERATIONS.get(self._service, frozenset()):
            raise ForbiddenOperationError(f"{self._service}:{model.name} is never called")


Connect = Callable[[str, str], ReadOnlyClient]
"""Opens a service in a region."""


def connect(service: str, region: str) -> ReadOnlyClient:
    """Open a service, with the credentials that boto3 finds by its own rules.

    Throttled calls are tried again by boto3, with growing pauses.
    """
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        missing = "live prices of AWS need boto3, which is not installed"
        how = f"`pip install boto3`, {INSTEAD}"
        raise AskError(NoPrice(missing, how, is_failure=True)) from error
    settings = Config(
        connect_timeout=3,
        read_timeout=10,
        retries={"mode": "standard", "total_max_attempts": 4},
    )
    try:
        client = boto3.session.Session().client(service, region_name=region, config=settings)
    except (BotoCoreError, ValueError) as error:
        raise AskError(explain_fault(error, service, region)) from error
    return ReadOnlyClient(service, region, client)


def explain_fault(error: Exception, asked: str, region: str) -> NoPrice:
    """Return what an error means and what helps."""
    code = _code(error)
    names = [kind.__name__ for kind in type(error).__mro__]
    found = _BY_CODE.get(code) or next((_BY_CLASS[n] for n in names if n in _BY_CLASS), None)
    if found is None:
        is_network = isinstance(error, OSError)
        kind = code or type(error).__name__
        found = _AWAY if is_network else (f"{asked} failed ({kind})", "try again")
    said, fix = (text.format(asked=asked, region=region) for text in found)
    return NoPrice(said, f"{fix}, {INSTEAD}", is_failure=True)


def odd_answer(asked: str, what: str) -> NoPrice:
    """Return the answer for one of AWS's that is not understood: nothing is guessed from it."""
    return NoPrice(
        f"{asked} answered with what trnbench does not understand: {what}",
        "use the bundled table (`price.source: table`), or give `--usd-per-hour`; please report it",
        is_failure=True,
    )


def _code(error: BaseException | None) -> str:
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))
