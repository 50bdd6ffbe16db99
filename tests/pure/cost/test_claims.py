"""Claims: how they are read, and what decides them."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from tests.pure.cost.test_field import published
from trnbench.catalog.instances import instances
from trnbench.cost.claims import Claim, Judged, Side, judge, read_claim
from trnbench.cost.ranked_runs import RankedRun, ranked_publication
from trnbench.schema.price import Price
from trnbench.schema.result import MetricValue


@pytest.mark.parametrize(
    ("text", "low", "high", "is_up_to"),
    [
        ("30-40 % better price-performance than P5en", 1.3, 1.4, False),
        ("30% - 40% better price-performance than P5en", 1.3, 1.4, False),
        ("30 to 40 % better price performance than P5en", 1.3, 1.4, False),
        ("1.3-1.4x better price-performance than P5en", 1.3, 1.4, False),
        ("50% cheaper than P5en", 2.0, 2.0, False),
        ("up to 50 % lower cost than P5en", 2.0, 2.0, True),
    ],
)
def test_claims_are_read_as_ratios_of_tokens_per_dollar(
    text: str, low: float, high: float, is_up_to: bool
) -> None:
    claim = read_claim(text)
    assert (claim.low, claim.high) == pytest.approx((low, high))
    assert (claim.is_up_to, claim.than) == (is_up_to, "P5en")


@pytest.mark.parametrize(
    "text",
    [
        "much better than P5en",
        "40-30 % cheaper than P5",
        "100 % cheaper than P5",
        "0 % cheaper than P5",
    ],
)
def test_what_is_no_claim_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not of the form|range|nothing is"):
        read_claim(text)


def side(instance: str, usd: str) -> Side:
    price = Price(
        usd_per_hour=Decimal(usd), instance=instance, option="on_demand", region="r",
        date=date(2026, 10, 1), source="a page",
    )  # fmt: skip
    return Side(instance=instances()[instance], price=price)


def decide(claim: str, **speeds: tuple[float, ...]) -> Judged:
    """Judge a claim of H200 over H100, both at 8 $/h for 8 chips, at these speeds a chip."""
    runs = [
        published(f"{chip}{at}", speed, accelerator=chip)
        for chip, each in speeds.items()
        for at, speed in enumerate(each)
    ]
    return judge(read_claim(claim), side("p5en.48xlarge", "8"), side("p5.48xlarge", "8"), runs)


CLAIM = "30-40 % better price-performance than p5.48xlarge"


def test_the_whole_range_above_the_claim_supports_it() -> None:
    judged = decide(CLAIM, H200=(1500, 1600), H100=(1000,))
    assert judged.verdict == "supported"
    (evidence,) = judged.evidence
    assert (evidence.ratio.low, evidence.ratio.high) == pytest.approx((1.5, 1.6))


def test_the_whole_range_below_the_claim_does_not() -> None:
    assert decide(CLAIM, H200=(1100, 1200), H100=(1000,)).verdict == "not supported"


def test_a_range_on_both_sides_of_the_claim_cannot_tell() -> None:
    assert decide(CLAIM, H200=(1100, 1500), H100=(1000,)).verdict == "cannot tell"


def test_up_to_is_decided_by_the_best_pair_alone() -> None:
    claim = "up to 50 % cheaper than p5.48xlarge"
    assert decide(claim, H200=(2100,), H100=(1000,)).verdict == "supported"
    assert decide(claim, H200=(1900,), H100=(1000,)).verdict == "not supported"


def test_prices_take_part() -> None:
    runs = [published("a", 1000, accelerator="H200"), published("b", 1000)]
    claim = Claim(text="", low=1.9, high=2.0, is_up_to=False, than="")
    judged = judge(claim, side("p5en.48xlarge", "4"), side("p5.48xlarge", "8"), runs)
    assert judged.verdict == "supported"
    assert judged.evidence[0].ratio.value == pytest.approx(2.0)


def test_without_like_runs_what_is_needed_is_said() -> None:
    runs = [
        published("a-lora", 9000, accelerator="H200"),
        published("b", 1000),
        published("c", 9000, accelerator="H200", precision="fp8"),
    ]
    judged = judge(read_claim(CLAIM), side("p5en.48xlarge", "16"), side("p5.48xlarge", "8"), runs)
    assert judged.verdict == "cannot tell"
    (need,) = judged.needs
    assert need.tokens_per_second_per_chip == pytest.approx(1.3 * 2 * 1000)
    assert [run.name for run, _ in judged.unlike] == ["a-lora", "c"]
    assert judged.unlike[0][1] == "it trains low-rank adapters alone"


def own(speed: float, chip: str = "h200", **changes: Any) -> RankedRun:
    """One of the user's results of the work that `published` has by default."""
    like = ranked_publication(published("x", speed), None, None, "")
    speeds = MetricValue(value=speed, low=speed * 0.98, high=speed * 1.02)
    return replace(
        like, origin="measured", source="run mine", chip=chip, objection=None,
        metrics={**like.metrics, "tokens_per_second_per_chip": speeds}, **changes,
    )  # fmt: skip


def judge_with(*mine: RankedRun) -> Judged:
    runs = [published("a", 1100, accelerator="H200"), published("b", 1000)]
    sides = side("p5en.48xlarge", "8"), side("p5.48xlarge", "8")
    return judge(read_claim(CLAIM), *sides, runs, own=mine)


def test_a_run_of_ones_own_counts_instead_of_what_is_published() -> None:
    assert judge_with().verdict == "not supported"
    judged = judge_with(own(1500))
    assert judged.verdict == "supported"
    (evidence,) = judged.evidence
    assert (evidence.of.origin, evidence.than.origin) == ("measured", "published")
    assert evidence.ratio.value == pytest.approx(1.5)
    assert evidence.ratio.low == pytest.approx(1.47)


def test_of_ones_own_runs_the_newest_without_a_doubt_counts() -> None:
    older, newer = own(1300, day=date(2026, 1, 1)), own(1500, day=date(2026, 2, 1))
    doubtful = own(9000, day=date(2026, 3, 1), doubt="doubtful: steady")
    (evidence,) = judge_with(doubtful, newer, older).evidence
    assert evidence.ratio.value == pytest.approx(1.5)


def test_an_invalid_run_and_one_of_another_chip_are_no_evidence() -> None:
    assert judge_with(replace(own(1500), objection="invalid: parity")).verdict == "not supported"
    assert judge_with(own(1500, chip="b200")).verdict == "not supported"


def test_a_work_that_only_ones_own_results_have_is_evidence() -> None:
    both = own(1500, model="mine"), own(1000, chip="h100-sxm", model="mine")
    judged = judge(read_claim(CLAIM), side("p5en.48xlarge", "8"), side("p5.48xlarge", "8"), [],
                   own=both)  # fmt: skip
    assert judged.verdict == "supported"
    assert judged.evidence[0].model == "mine"
