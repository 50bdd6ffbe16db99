"""What all tests share: golden files, and the flag by which a device must be here.

A golden file is an expected text, compared as it is and rewritten on one explicit flag.
"""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The same examples on every machine, however loaded: no test here depends on time.
settings.register_profile(
    "trnbench", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("proof", settings.get_profile("trnbench"), max_examples=1000)
settings.load_profile("trnbench")

GOLDEN = Path(__file__).parent / "golden"
ASSETS = re.compile(
    r"(?<=<style>).*?(?=</style>)|(?<=<script>).*?(?=</script>)|'sha256-[^']*'"
    r'|(?<=class="library">)[^<]*',
    re.DOTALL,
)
"""Of an HTML page, what is a file of its own."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--refresh-golden",
        action="store_true",
        help="rewrite tests/golden/ with what the code prints now; read the difference",
    )
    parser.addoption(
        "--require-device",
        action="store_true",
        help="fail the tests of a device that is not here, instead of skipping them",
    )


@pytest.fixture
def check_golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Return a function that holds a text against a golden file of the given name."""
    is_refresh = request.config.getoption("--refresh-golden")

    def check(name: str, text: str) -> None:
        path, text = GOLDEN / name, ASSETS.sub("…", text)
        if is_refresh:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return check
