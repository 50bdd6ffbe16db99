"""Estimates beside published runs: which chips have one, and which only a bound."""

from datetime import date

import pytest

from tests.pure.cost.test_field import at
from trnbench.catalog.models import models
from trnbench.catalog.published import published_chips
from trnbench.estimate.field import NO_DATA, Estimates, estimated_field
from trnbench.model.flops import flops_per_token

LLAMA = models()["llama3-8b"].shape


def estimates(measured: tuple[str, ...] = ()) -> Estimates:
    return estimated_field(
        LLAMA, 8192, published_chips(), lambda name: at("9", name), date(2026, 12, 1), measured
    )


def test_every_chip_of_the_catalog_has_an_estimate_or_the_reason_for_none() -> None:
    made = estimates()
    chips = [run.chip for run in made.runs] + [bound.chip for bound in made.bounds]
    known = {each.published_as for each in published_chips() if each.accelerator is not None}
    assert sorted(filter(None, chips)) == sorted(known)
    assert all(run.origin == "estimated" and run.layout for run in made.runs)
    for run in made.runs:
        speed = run.metrics["tokens_per_second_per_chip"]
        assert speed.value is not None
        assert speed.low is None or speed.low <= speed.value
        assert speed.high is not None and speed.value <= speed.high  # noqa: PT018


def test_a_chip_without_data_has_only_what_its_peak_allows() -> None:
    (bound,) = (each for each in estimates().bounds if each.chip == "Trainium3")
    (chip,) = (each for each in published_chips() if each.published_as == "Trainium3")
    assert chip.accelerator is not None
    peak = chip.accelerator.bf16_flops_per_second or 0.0
    assert bound.reason == NO_DATA
    assert bound.tokens_per_second_per_chip == pytest.approx(peak / flops_per_token(LLAMA, 8192))


def test_a_chip_with_a_figure_is_not_estimated() -> None:
    made = estimates(("Trainium3", "Gaudi2"))
    assert not {"Trainium3", "Gaudi2"} & {run.chip for run in made.runs}
    assert not {"Trainium3", "Gaudi2"} & {bound.chip for bound in made.bounds}
