"""What EC2's metadata service says of this instance: type, place, how it is rented, its image.

The token flow of IMDSv2 only, one try, and a bound on the whole. The identity of the instance, its
account and its addresses are never asked for. No proxy and no redirection is followed.
Source: Amazon EC2 user guide, "Use the Instance Metadata Service to access instance metadata".
"""

import http.client
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from trnbench.schema.rent import RentOption

BASE_URL = "http://169.254.169.254"
IPV6_URL = "http://[fd00:ec2::254]"
"""Asked where the other cannot be reached: instances may have IPv6 alone."""
SECONDS = 1.0

_TOKEN_PATH = "/latest/api/token"
_MAX_BYTES = 256

WHO = "EC2's metadata service"
UNREACHABLE = "it cannot be reached"

_FIELDS = {
    "instance": ("instance-type", r"[a-z0-9-]+\.[a-z0-9-]+"),
    "region": ("placement/region", r"[a-z]{2,}(-[a-z]+)+-\d+"),
    "zone": ("placement/availability-zone", r"[a-z]{2,}(-[a-z0-9]+)+"),
    "zone_id": ("placement/availability-zone-id", r"[a-z0-9]+(-[a-z0-9]+)*-az\d+"),
    "life_cycle": ("instance-life-cycle", r"[a-z]+(-[a-z]+)*"),
    "image": ("ami-id", r"ami-[0-9a-z]+"),
}
"""Of each field its path, and the form that an answer must have to be believed."""

_NEWER = {"zone_id"}
"""Fields that older services do not know: nothing is said where they are missing."""

_OPTIONS: dict[str, RentOption] = {"spot": "spot", "capacity-block": "capacity_block"}
"""`on-demand` says nothing: a savings plan or a reservation looks the same from inside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ec2:
    """An EC2 instance from inside; None is what is not known."""

    instance: str | None = None
    region: str | None = None
    zone: str | None = None
    """By its letter, which is each account's own."""
    zone_id: str | None = None
    """The same for all accounts."""
    life_cycle: str | None = None
    image: str | None = None
    reason: str | None = None
    """Why something, or all, is not known; None off EC2."""

    @property
    def rent_option(self) -> RentOption | None:
        """How it is rented, where its life cycle leaves no doubt."""
        return _OPTIONS.get(self.life_cycle or "")


def ask_ec2(
    base_url: str = BASE_URL,
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.monotonic,
    other_url: str | None = None,
) -> Ec2:
    """Ask the metadata service; `seconds` bound all questions together.

    `other_url` is asked where the first is not reached: by default IPv6's address beside IPv4's.
    """
    until = clock() + seconds
    if other_url is None and base_url == BASE_URL:
        other_url = IPV6_URL
    found = _ask(base_url, seconds, until, clock)
    if other_url is not None and found.reason == f"{WHO}: {UNREACHABLE}":
        found = _ask(other_url, seconds, until, clock)
    return found


def _ask(base_url: str, seconds: float, until: float, clock: Callable[[], float]) -> Ec2:
    address = urlsplit(base_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=seconds)
    found: dict[str, str] = {}
    odd: list[str] = []
    try:
        ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        token = _exchange(connection, "PUT", _TOKEN_PATH, ttl, until - clock())
        for name, (path, form) in _FIELDS.items():
            asked = f"/latest/meta-data/{path}"
            header = {"X-aws-ec2-metadata-token": token}
            try:
                said = _exchange(connection, "GET", asked, header, until - clock())
            except _RefusalError as refusal:
                if name in _NEWER:
                    continue
                odd.append(f"{path}: {refusal}")
                continue
            if re.fullmatch(form, said):
                found[name] = said
            else:
                odd.append(f"{path}: its answer is not one")
    except TimeoutError:
        odd.append(f"it did not answer in {seconds:g} s")
    except (OSError, http.client.HTTPException, ValueError, _RefusalError) as error:
        odd.append(str(error) if isinstance(error, _RefusalError) else UNREACHABLE)
    finally:
        connection.close()
    return Ec2(**found, reason=f"{WHO}: {'; '.join(odd)}" if odd else None)


class _RefusalError(Exception):
    """The service answered, but not with what was asked for."""


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    headers: dict[str, str],
    seconds_left: float,
) -> str:
    """Ask one question within the time that is left."""
    if seconds_left <= 0:
        raise TimeoutError
    connection.timeout = seconds_left
    if connection.sock is not None:
        connection.sock.settimeout(seconds_left)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    content = response.read(_MAX_BYTES)
    if response.status != http.client.OK or response.read(1):
        connection.close()  # what is left of the answer must not be taken for the next one
        is_ok = response.status == http.client.OK
        raise _RefusalError("too long an answer" if is_ok else f"status {response.status}")
    return content.decode("ascii", errors="replace").strip()
