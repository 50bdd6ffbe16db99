"""Prices for results, asked of a cloud by its own client."""

from pathlib import Path

import pytest

from tests.pure.reports.test_options import on
from trnbench.cli.price_options import PriceChoice
from trnbench.cli.reprice import PriceFinder
from trnbench.errors import UnavailableError


def test_where_the_cloud_cannot_be_asked_that_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    choice = PriceChoice(source="live", region="us-west-2")
    with pytest.raises(UnavailableError, match="--price-source live"):
        PriceFinder.of(choice).reprice_all(on("trn1.32xlarge"))
