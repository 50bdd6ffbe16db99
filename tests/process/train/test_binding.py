"""A rank binds itself to the processors near its device, as far as it may use them."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system binds no process"
)
CODE = """
import os, sys
from trnbench.train.binding import bind
print(bind(sys.argv[1] or None))
print(sorted(os.sched_getaffinity(0)))
assert "torch" not in sys.modules
"""


def bound(processors: str) -> tuple[str, str]:
    """Return what a fresh process says that it did, and where it may run then."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, processors], capture_output=True, text=True, check=True
    )
    said, allowed = done.stdout.splitlines()
    return said, allowed


def test_a_process_runs_on_those_that_it_is_given_and_may_use() -> None:
    allowed = sorted(os.sched_getaffinity(0))
    own = str(allowed[-1])
    said, found = bound(f"{own},{allowed[-1] + 5000}-{allowed[-1] + 5003}")
    assert said.startswith(own)
    assert found == f"[{own}]"


def test_without_any_that_it_may_use_nothing_changes() -> None:
    allowed = str(sorted(os.sched_getaffinity(0)))
    assert bound("100000-100001") == (
        "none: this process may use none of 100000-100001",
        allowed,
    )
    assert bound("") == ("none", allowed)
