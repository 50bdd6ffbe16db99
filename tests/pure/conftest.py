"""The wall around these tests: no process, no connection, nothing that takes seconds to import.

A test that needs one of them is a test of another folder (tests/README.md).
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
HEAVY = {"boto3", "pandas", "torch", "transformers"}
COSTLY = {"os.fork", "os.posix_spawn", "socket.connect", "subprocess.Popen"}
"""Names of audit events: Source: https://docs.python.org/3/library/audit_events.html"""

_is_inside = False


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if _is_inside and event in COSTLY:
        raise AssertionError(f"a test of tests/pure caused {event} {arguments}")


sys.addaudithook(_refuse)


@pytest.fixture(autouse=True)
def _stays_inside() -> Iterator[None]:
    global _is_inside
    _is_inside = True
    yield
    _is_inside = False


@pytest.fixture(scope="session", autouse=True)
def _imports_nothing_heavy(request: pytest.FixtureRequest) -> Iterator[None]:
    """At the end nothing heavy may be loaded, unless tests of other folders ran here, too."""
    yield
    if all(item.path.is_relative_to(HERE) for item in request.session.items):
        assert not HEAVY & set(sys.modules)
