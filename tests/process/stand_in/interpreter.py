"""Running programs in an interpreter of their own that has the stand-in: it cannot be undone."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from torch.utils import backend_registration

PROGRAMS = Path(__file__).with_name("programs.py")

needs_python_devices = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch cannot have a device written in Python",
)


def start(arguments: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run Python to its end, with every warning an error, in an environment over this one."""
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def ask(*programs: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what each of these functions of programs.py found; nothing else may be printed."""
    done = start([str(PROGRAMS), *programs], environment)
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
