"""Where nodes find each other: IPv4 addresses, and the interface that leads to one."""

import ipaddress
import os
import re
import shutil
import socket
import subprocess
import time

import psutil

from trnbench.errors import ConfigError, UnavailableError
from trnbench.run.allocation import Allocation

SECONDS_VARIABLE = "TRNBENCH_RENDEZVOUS_SECONDS"
DEFAULT_SECONDS = 300.0
"""As torch's own store waits; pods of one job may start minutes apart."""

_RETRY_SECONDS = 1.0
_SCONTROL_SECONDS = 20.0


def rendezvous_seconds() -> float:
    """Return how long nodes wait for each other.

    Raises:
        ConfigError: the variable that says it is no number of seconds.
    """
    text = os.environ.get(SECONDS_VARIABLE)
    if text is None:
        return DEFAULT_SECONDS
    if not re.fullmatch(r"\d{1,6}(\.\d+)?", text, re.ASCII) or float(text) <= 0:
        raise ConfigError(
            f"{SECONDS_VARIABLE}={text}: is no number of seconds", hint="write it as 300"
        )
    return float(text)


def resolve(allocation: Allocation, seconds: float) -> str:
    """Return the IPv4 address of what an allocation names, which may only come to be known.

    Raises:
        UnavailableError: the name has none within the time.
    """
    name = allocation.address or ""
    if allocation.engine == "Slurm" and shutil.which("scontrol"):
        return address_of_slurm_node(name)
    deadline = time.monotonic() + seconds
    while (address := _ipv4_of(name)) is None:
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"{name}:{allocation.port}: the name of node 0 has no IPv4 address after "
                f"{seconds:g} s",
                hint="is the name right, and known on every node? A Kubernetes service for it must "
                "be headless; TRNBENCH_RENDEZVOUS_SECONDS allows more time",
            )
        time.sleep(_RETRY_SECONDS)  # a pod's name is known once the pod is there
    return address


def address_of_slurm_node(name: str) -> str:
    """Return the IPv4 address of a node, whose name in Slurm need not be a host's.

    Raises:
        UnavailableError: Slurm does not know the node, or its address.
    """
    try:
        said = subprocess.run(
            ["scontrol", "show", "node", name, "--oneliner"],
            capture_output=True,
            text=True,
            check=True,
            timeout=_SCONTROL_SECONDS,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise UnavailableError(
            f"`scontrol show node {name}` does not answer: {error}",
            hint="start one trnbench a node: `srun --ntasks-per-node=1 trnbench run …`, with "
            "MASTER_ADDR set to node 0's address",
        ) from error
    found = re.search(r"\bNodeAddr=(\S+)", said)
    address = _ipv4_of(found[1]) if found else None
    if address is None:
        raise UnavailableError(
            f"the Slurm node {name} has no IPv4 address: NodeAddr is {found[1] if found else ''!r}",
            hint="its name must be known on every node (`getent ahostsv4 NAME`)",
        )
    return address


def own_address(toward: str) -> str:
    """Return the IPv4 address of this machine by which it reaches another, or itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((toward, 9))  # sends nothing: it asks for the route
        except OSError as error:
            raise UnavailableError(
                f"this machine has no way to {toward}: {error.strerror}",
                hint="look at `ip route`: are the nodes in one network?",
            ) from error
        address: str = probe.getsockname()[0]
    return address


def interface_toward(address: str) -> str | None:
    """Return the network interface that leads to an address; None where that is not known."""
    own = own_address(address)
    for name, addresses in psutil.net_if_addrs().items():
        if any(each.family == socket.AF_INET and each.address == own for each in addresses):
            return name
    return None


def _ipv4_of(name: str) -> str | None:
    try:
        return str(ipaddress.IPv4Address(name))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(name, None, socket.AF_INET, socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    return str(found[0][4][0]) if found else None
