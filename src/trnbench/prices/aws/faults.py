"""What AWS's refusals and boto3's errors mean for whoever asked for a price, and what helps.

Nothing of an error's own text is repeated: it can hold an account, a user or a request's signature.
Sources: AWS API references, "Common errors" (EC2, Price List, Savings Plans); botocore 1.44's
`exceptions.py`; both read 2026-11.
"""

from collections.abc import Mapping

from trnbench.prices.base import NoPrice

INSTEAD = "or use the bundled table (`price.source: table`), or give `--usd-per-hour`"

_DENIED = ("is not allowed to {asked}", "let it do {asked} (docs/prices.md has the policy)")
_CREDENTIALS = ("AWS does not take the credentials here", "sign in again (`aws sso login`)")
_CLOCK = (
    "AWS does not take a request with this machine's clock",
    "set the clock (`timedatectl status`)",
)
_THROTTLED = ("AWS throttles {asked}, even after several tries", "try again in a minute")
_REGION = (
    "AWS does not take this account in {region}: the region is not enabled for it, or is none",
    "enable it, or name another by `price.region`",
)
_INSTANCE = ("AWS knows no such instance type in {region}", "check `price.instance`")
_AWAY = ("AWS cannot be reached from here ({asked} in {region})", "check network and proxy")

_BY_CODE: Mapping[str, tuple[str, str]] = {
    "AccessDenied": _DENIED,
    "AccessDeniedException": _DENIED,
    "UnauthorizedOperation": _DENIED,
    "UnauthorizedException": _DENIED,
    "AuthFailure": _REGION,
    "OptInRequired": _REGION,
    "ExpiredToken": _CREDENTIALS,
    "ExpiredTokenException": _CREDENTIALS,
    "InvalidClientTokenId": _CREDENTIALS,
    "UnrecognizedClientException": _CREDENTIALS,
    "InvalidAccessKeyId": _CREDENTIALS,
    "RequestExpired": _CLOCK,
    "RequestInTheFuture": _CLOCK,
    "RequestTimeTooSkewed": _CLOCK,
    "InvalidSignatureException": _CLOCK,
    "SignatureDoesNotMatch": _CLOCK,
    "Throttling": _THROTTLED,
    "ThrottlingException": _THROTTLED,
    "RequestLimitExceeded": _THROTTLED,
    "TooManyRequestsException": _THROTTLED,
    "InvalidInstanceType": _INSTANCE,
    "InvalidParameterValue": _INSTANCE,
    "Unsupported": _INSTANCE,
    "UnsupportedOperation": _INSTANCE,
}
"""By the code of an answer: what is said, and what helps."""

_BY_CLASS: Mapping[str, tuple[str, str]] = {
    "NoCredentialsError": (
        "there are no AWS credentials here",
        "sign in (`aws configure`, `aws sso login`, or a role of the instance)",
    ),
    "PartialCredentialsError": ("the AWS credentials here are incomplete", "`aws configure`"),
    "ProfileNotFound": ("the profile that AWS_PROFILE names does not exist", "unset or mend it"),
    "TokenRetrievalError": _CREDENTIALS,
    "UnauthorizedSSOTokenError": _CREDENTIALS,
    "SSOTokenLoadError": _CREDENTIALS,
    "CredentialRetrievalError": ("the AWS credentials here cannot be had", "sign in again"),
    "MetadataRetrievalError": ("the AWS credentials here cannot be had", "sign in again"),
    "InvalidRegionError": _REGION,
    "UnknownRegionError": _REGION,
    "EndpointConnectionError": _AWAY,
    "ConnectTimeoutError": _AWAY,
    "ConnectionClosedError": _AWAY,
    "ReadTimeoutError": _AWAY,
    "ProxyConnectionError": _AWAY,
    "SSLError": (
        "the connection to AWS is not trusted (a certificate is not known)",
        "name your network's certificates by AWS_CA_BUNDLE",
    ),
    "ResponseParserError": ("what answers in AWS's place is not AWS ({asked})", "check the proxy"),
}
"""By the name of boto3's exception, or of one that it is a kind of."""


def explain_fault(error: Exception, asked: str, region: str) -> NoPrice:
    """Return what an error comes to.

    Args:
        error: of boto3, botocore or the operating system.
        asked: the action, as policies name it: `pricing:GetProducts`.
        region: where it was asked.
    """
    code = str((getattr(error, "response", None) or {}).get("Error", {}).get("Code", ""))
    names = [kind.__name__ for kind in type(error).__mro__]
    found = _BY_CODE.get(code) or next((_BY_CLASS[n] for n in names if n in _BY_CLASS), None)
    if found is None:
        is_network = isinstance(error, OSError)
        kind = code or type(error).__name__
        found = _AWAY if is_network else (f"{asked} failed ({kind})", "try again")
    said, fix = (text.format(asked=asked, region=region) for text in found)
    if found is _DENIED:
        said = f"the account here {said}"
    return NoPrice(said, f"{fix}, {INSTEAD}", is_failure=True)


def explain_missing_library() -> NoPrice:
    """Return what it means that boto3 cannot be imported."""
    return NoPrice(
        "live prices of AWS need boto3, which is not installed",
        f"`pip install 'trnbench[aws]'`, {INSTEAD}",
        is_failure=True,
    )
