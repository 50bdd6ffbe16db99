"""Ten times as many price documents that went wrong."""

from pathlib import Path

import pytest

from tests.process.prices.test_fuzz import CHECKS, DOCUMENTS, FILE_CHECKS, FILES, fuzz

pytestmark = pytest.mark.timeout(1800)


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_ten_times_as_many_documents_give_no_wrong_price(name: str) -> None:
    fuzz(CHECKS[name], 10 * DOCUMENTS)


@pytest.mark.parametrize("name", sorted(FILE_CHECKS))
def test_ten_times_as_many_files_give_no_wrong_price(name: str, tmp_path: Path) -> None:
    fuzz(lambda random: FILE_CHECKS[name](random, tmp_path), 10 * FILES)
