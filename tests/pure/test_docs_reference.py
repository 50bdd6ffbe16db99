"""The reference pages are those that the code writes: `python scripts/write_reference.py`."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts/write_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("page", "name"), [("commands", "cli.md"), ("config_keys", "config.md")])
def test_a_page_is_what_the_code_writes(page: str, name: str, writer: ModuleType) -> None:
    written = getattr(writer, page)()
    assert (ROOT / "docs/reference" / name).read_text(encoding="utf-8") == written.rstrip() + "\n"
