"""SkyPilot keeps its state in the home of its user: here in a folder that goes away."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home, before = tmp_path_factory.mktemp("home"), os.environ.get("HOME")
    os.environ.update(HOME=str(home), SKYPILOT_DISABLE_USAGE_COLLECTION="1")
    yield home
    if before is not None:
        os.environ["HOME"] = before
