"""The field of one model: what is like, which run is shown, and how far its sources differ."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from trnbench.catalog.published import KnownModel, PublishedResult, find_model, published_results
from trnbench.cost.field import Field, published_field, usual_length
from trnbench.prices.base import NoPrice
from trnbench.schema.price import Price

MODEL = KnownModel("of tests", None, None)
DAY = date(2026, 10, 1)


def published(name: str, speed: float | None, chips: int = 8, **changes: object) -> PublishedResult:
    made = replace(
        next(run for run in published_results() if run.accelerator == "H100"),
        name=name, model="of tests", source=f"{name} (github.com/a/b@1:docs/x.md)",
        sequence_length=8192, accelerators=chips, instance="", precision="bf16", notes="",
        architecture="dense", layers=None,
        tokens_per_second=None if speed is None else speed * chips,
        tokens_per_second_per_accelerator=None, tflops_per_accelerator=None, step_seconds=None,
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def at(usd: str, instance: str) -> Price:
    return Price(
        usd_per_hour=Decimal(usd), instance=instance, option="on_demand", region="r", date=DAY,
        source="a page",
    )  # fmt: skip


def field(*runs: PublishedResult, length: int = 8192, usd: str = "36") -> Field:
    return published_field(MODEL, length, runs, lambda instance: at(usd, instance), {})


def test_the_median_source_is_shown_and_the_range_goes_over_all() -> None:
    (run,) = field(published("a", 1000), published("b", 2000), published("c", 4000)).runs
    speed, usd = run.metrics["tokens_per_second_per_chip"], run.metrics["usd_per_million_tokens"]
    assert (run.name, run.sources) == ("b", 3)
    assert (speed.value, speed.low, speed.high) == (2000, 1000, 4000)
    # 36 $/h on 8 chips of p5.48xlarge: 4.5 $/h a chip.
    assert usd.value is not None
    assert usd.value == pytest.approx(4.5 / 3600 / 2000 * 1e6)
    assert (usd.low, usd.high) == pytest.approx((usd.value / 2, usd.value * 2))


def test_of_two_sources_the_slower_is_shown() -> None:
    (run,) = field(published("a", 1000), published("b", 2000)).runs
    assert run.name == "a"


def test_a_source_counts_once_by_its_fastest_run() -> None:
    slow = published("a", 500, source="one (github.com/a/b@1:docs/x.md)")
    fast = published("b", 900, source="one (github.com/a/b@2:docs/y.md)")
    (run,) = field(slow, fast).runs
    assert (run.name, run.sources) == ("b", 1)
    assert run.metrics["tokens_per_second_per_chip"].low is None


def test_number_formats_are_rows_of_their_own() -> None:
    runs = field(
        published("a", 1), published("b", 2, precision="fp8"), published("c", 3, precision="")
    )
    assert sorted(run.precision for run in runs.runs) == ["bf16", "fp8", "not stated"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "a-lora"}, "it trains low-rank adapters alone"),
        ({"sequence_length": None}, "its sequence length is not published"),
        ({"sequence_length": 131_072}, "its sequences are of 131,072 tokens"),
        ({"tokens_per_second": None}, "its tokens per second are not published"),
    ],
)
def test_other_work_is_left_out_with_its_reason(changes: dict[str, object], reason: str) -> None:
    made = field(replace(published("a", 1), **changes))  # type: ignore[arg-type]
    assert made.runs == ()
    assert made.absent == (("H100", reason),)
    assert made.unlike == 1


def test_a_near_length_counts_only_where_the_exact_one_is_missing() -> None:
    near, exact = published("a", 9, sequence_length=4096), published("b", 8)
    assert [run.name for run in field(near, exact).runs] == ["b"]
    assert [run.name for run in field(near).runs] == ["a"]


def test_a_part_of_an_instance_is_priced_by_the_chip_and_said() -> None:
    (run,) = field(published("a", 1000, chips=1)).runs
    assert run.instances == 1
    assert run.metrics["tokens_per_second"].value == 8000
    assert run.assumption == "the speed of a chip among 1 is taken for each of 8 of p5.48xlarge"
    (whole,) = field(published("a", 1000, chips=16)).runs
    assert (whole.instances, whole.assumption) == (2, None)


def test_a_chip_without_a_price_keeps_its_speed() -> None:
    made = published_field(
        MODEL, 8192, [published("a", 1000)], lambda _: NoPrice("not sold", "look"), {}
    )
    (run,) = made.runs
    assert run.metrics["tokens_per_second_per_chip"].value == 1000
    assert run.metrics["usd_per_million_tokens"].reason == "not sold"


def test_a_named_instance_replaces_the_chip_s() -> None:
    made = published_field(
        MODEL, 8192, [published("a", 1)], lambda name: at("1", name), {"h100": "p5.4xlarge"}
    )
    assert made.runs[0].price is not None
    assert made.runs[0].price.instance == "p5.4xlarge"


def test_a_model_of_the_same_sizes_is_the_same_work() -> None:
    model = find_model("LLAMA3 8b")
    assert model is not None
    names = {run.model for run in published_results() if model.is_of(run)}
    assert names == {"Llama-3-8B", "Llama-3.1-8B"}
    assert find_model("llama3-80b") is None


def test_the_usual_length_is_that_of_most_sources() -> None:
    runs = [published(name, 1, sequence_length=n) for name, n in (("a", 4096), ("b", 8192))]
    assert usual_length(MODEL, runs) == 8192
    assert usual_length(MODEL, [*runs, published("c", 1, sequence_length=4096)]) == 4096
    assert usual_length(MODEL, []) == 4096
    assert usual_length(MODEL, [], [128, 128, 512]) == 128
    assert usual_length(MODEL, runs, [128]) == 8192
