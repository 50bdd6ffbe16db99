"""Each metric against arithmetic done by hand, and the laws that it must keep."""

import dataclasses
import inspect
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.builders import make_blocks, make_measurement, make_plan, make_result
from trnbench.analysis import metrics
from trnbench.analysis.analyze import recost
from trnbench.analysis.billing import billed_seconds
from trnbench.analysis.checks.device import check_possible
from trnbench.analysis.metrics import (
    DERIVED,
    MEASURED,
    METRICS,
    Basis,
    exactly,
    of_interval,
    reciprocal,
    scaled,
    unknown,
)
from trnbench.analysis.statistics import Interval
from trnbench.model.flops import COUNTED_CONVENTION
from trnbench.reports.columns import COLUMNS
from trnbench.schema.price import Price
from trnbench.schema.rent import PriceOption
from trnbench.schema.result import MetricValue, ResultFp8, ResultUtilization


def price_of(usd_per_hour: str) -> Price:
    return Price(
        usd_per_hour=Decimal(usd_per_hour), instance="trn2.48xlarge", option="capacity_block",
        region="us-east-2", date="2026-07-22", source="a test",  # type: ignore[arg-type]
    )  # fmt: skip


def basis(
    tokens_per_second: float = 100_000.0,
    usd_per_hour: str | None = "35.7608",
    instances: int = 1,
    chips: int | None = 16,
    peak: float | None = 667e12,
    flops: float = 51_470_401_536.0,
    joules: MetricValue | None = None,
) -> Basis:
    return Basis(
        tokens_per_second=MetricValue(
            value=tokens_per_second, low=0.99 * tokens_per_second, high=1.02 * tokens_per_second
        ),
        total_seconds=1800.0,
        joules_per_token=joules or MetricValue(value=None, reason="nothing metered it"),
        instances_billed=instances,
        chips_used=chips,
        chips_billed=chips,
        utilization=ResultUtilization(
            convention="matmul-causal-v1",
            flops_per_token={"matmul-causal-v1": flops, "matmul-full-v1": 57_912_852_480.0},
            peak_flops_per_second=peak,
            peak_source="a datasheet",
            peak_reason=None if peak else "nobody has published one",
        ),
        price=price_of(usd_per_hour) if usd_per_hour else None,
        price_reason=None if usd_per_hour else "nobody knows",
    )


def test_each_convention_has_its_own_mix_of_fp8_and_bf16() -> None:
    of = basis(peak=1.0)
    mix = ResultFp8(flops_per_token=4e10, flops_per_second=2e16, other_flops_per_second=1e16)
    of = dataclasses.replace(of, utilization=of.utilization.model_copy(update={"fp8": mix}))
    for convention, compute in (
        ("matmul-causal-v1", metrics.mfu),
        ("matmul-full-v1", metrics.mfu_full),
    ):
        rest = of.utilization.flops_per_token[convention] - 4e10
        ideal_seconds = 4e10 / 2e16 + rest / 1e16
        assert compute(of).value == pytest.approx(100_000 * ideal_seconds, rel=1e-12)


def test_partly_fp8_work_is_also_told_as_if_its_peak_were_bf16_s() -> None:
    of = basis(peak=1.0)
    assert metrics.mfu_bf16_equivalent(of).reason == "no matmul is done in fp8"
    mix = ResultFp8(flops_per_token=4e10, flops_per_second=2e16, other_flops_per_second=1e15)
    of = dataclasses.replace(of, utilization=of.utilization.model_copy(update={"fp8": mix}))
    flops = of.utilization.flops_per_token["matmul-causal-v1"]
    found = metrics.mfu_bf16_equivalent(of)
    assert found.value == pytest.approx(100_000 * flops / 1e15, rel=1e-12)
    assert found.value is not None
    assert found.value > 1, "a figure above 1 is not taken for a fault here"
    lacking = of.utilization.model_copy(
        update={"flops_per_token": {}, "flops_reason": "an external model"}
    )
    of = dataclasses.replace(of, utilization=lacking)
    assert metrics.mfu_bf16_equivalent(of).reason == "an external model"


def test_a_million_tokens_cost_what_the_hour_costs_by_what_it_yields() -> None:
    found = metrics.usd_per_million_tokens(basis())
    assert found.value is not None
    assert found.value == pytest.approx(35.7608 / 3600 / 100_000 * 1e6, rel=1e-12)
    assert f"{found.value:.6f}" == "0.099336"
    assert found.low == pytest.approx(found.value / 1.02, rel=1e-12)
    assert found.high == pytest.approx(found.value / 0.99, rel=1e-12)


def test_tokens_for_a_dollar_are_the_inverse() -> None:
    per_million = metrics.usd_per_million_tokens(basis()).value
    assert per_million is not None
    assert metrics.tokens_per_usd(basis()).value == pytest.approx(1e6 / per_million, rel=1e-12)


def test_the_worked_example_is_exact_to_its_last_digit() -> None:
    # 20 $/h (made up), 60,000 tokens/s of llama3-8b at 8192 on the 16 chips of one trn2 instance.
    found = basis(60_000, "20", peak=16 * 667e12)
    values = {
        "usd_per_million_tokens": "0.0926",
        "usd_per_chip_hour": "1.2500",
        "usd_per_model_exaflop": "1.7989",
        "usd_per_peak_petaflop_hour": "1.8741",
    }
    for name, expected in values.items():
        value = DERIVED[name](found).value
        assert value is not None
        assert f"{value:.4f}" == expected, name
    tokens, mfu = metrics.tokens_per_usd(found).value, metrics.mfu(found).value
    assert tokens is not None
    assert mfu is not None
    assert f"{tokens / 1e6:.1f}" == "10.8"
    assert f"{mfu:.4f}" == "0.2894"
    assert f"{metrics.usd_per_model_exaflop(found).value:.2f}" == "1.80"


def test_the_price_of_an_effective_operation_is_the_list_price_over_utilization() -> None:
    found = basis(60_000, "20", peak=16 * 667e12)
    effective, listed = (
        metrics.usd_per_model_exaflop(found).value,
        metrics.usd_per_peak_petaflop_hour(found).value,
    )
    mfu = metrics.mfu(found).value
    assert effective is not None
    assert listed is not None
    assert mfu is not None
    assert effective == pytest.approx(listed / 3.6 / mfu, rel=1e-12)


def test_what_is_reserved_is_paid_for_used_or_not() -> None:
    half = basis(30_000, "20", peak=16 * 667e12)
    whole = basis(60_000, "20", peak=16 * 667e12)
    assert metrics.usd_per_chip_hour(half) == metrics.usd_per_chip_hour(whole)
    a, b = metrics.usd_per_million_tokens(half).value, metrics.usd_per_million_tokens(whole).value
    assert a is not None
    assert b is not None
    assert a == pytest.approx(2 * b)


def test_a_price_by_chip_needs_a_chip_and_one_by_peak_a_peak() -> None:
    assert "no accelerator chip" in (metrics.usd_per_chip_hour(basis(chips=None)).reason or "")
    assert metrics.usd_per_peak_petaflop_hour(basis(peak=None)) == unknown(
        "nobody has published one"
    )


@pytest.mark.parametrize(
    ("option", "seconds", "billed"),
    [
        ("on_demand", 10.2, 60),
        ("on_demand", 61.2, 62),
        ("spot", 3600, 3600),
        ("capacity_block", 10, 86_400),
        ("capacity_block", 86_400, 86_400),
        ("capacity_block", 86_401, 2 * 86_400),
        ("capacity_block", 14 * 86_400, 14 * 86_400),
        ("capacity_block", 14 * 86_400 + 1, 21 * 86_400),
        ("reserved_1y", 10.2, 10.2),
        ("owned", 10.2, 10.2),
        ("user", 10.2, 10.2),
    ],
)
def test_a_bill_is_made_of_seconds_or_of_whole_days(
    option: PriceOption, seconds: float, billed: float
) -> None:
    assert billed_seconds(option, seconds) == billed


def test_a_case_alone_in_a_block_is_billed_the_whole_day() -> None:
    assert metrics.case_billed_usd(basis()).value == pytest.approx(35.7608 * 24, rel=1e-12)
    assert metrics.case_usd(basis()).value == pytest.approx(35.7608 / 2, rel=1e-12)


def test_what_the_case_took_is_paid_by_the_second_on_every_instance() -> None:
    assert metrics.case_usd(basis(instances=2)).value == pytest.approx(35.7608, rel=1e-12)


def test_without_a_price_every_cost_says_why() -> None:
    for name, metric in DERIVED.items():
        if "usd" in name:
            assert metric(basis(usd_per_hour=None)) == unknown("nobody knows")


def test_mfu_is_the_work_over_the_peak_by_each_convention() -> None:
    # 40.0 % of one Trainium2 is 5,183.6 tokens/s of llama3-8b at 8192: 0.4 x 667e12 / 51.4704e9.
    found = basis(tokens_per_second=0.4 * 667e12 / 51_470_401_536)
    assert metrics.mfu(found).value == pytest.approx(0.4, rel=1e-12)
    full = metrics.mfu_full(found).value
    assert full is not None
    assert f"{full:.3f}" == "0.450"


def driven(tokens_per_second: float, share: float) -> Basis:
    whole = basis(tokens_per_second=tokens_per_second)
    utilization = whole.utilization.model_copy(update={"used_share": share})
    return dataclasses.replace(whole, utilization=utilization)


def test_one_core_of_four_is_held_against_itself_beside_the_chip_that_is_billed() -> None:
    found = driven(0.1 * 667e12 / 51_470_401_536, share=0.25)
    assert metrics.mfu(found).value == pytest.approx(0.1, rel=1e-12)
    assert metrics.mfu_used_devices(found).value == pytest.approx(0.4, rel=1e-12)
    assert check_possible(found).verdict == "sound"


def test_a_core_that_did_more_than_it_can_is_no_measurement_though_its_chip_could() -> None:
    found = driven(0.5 * 667e12 / 51_470_401_536, share=0.25)
    assert metrics.mfu(found).value == pytest.approx(0.5, rel=1e-12)
    assert check_possible(found).verdict == "invalid"


@pytest.mark.parametrize(
    ("counted", "verdict"), [({COUNTED_CONVENTION: 51_470_401_536.0}, "sound"), ({}, "not_judged")]
)
def test_a_model_whose_operations_were_counted_alone_is_held_against_that_count(
    counted: dict[str, float], verdict: str
) -> None:
    whole = driven(0.1 * 667e12 / 51_470_401_536, share=1.0)
    utilization = whole.utilization.model_copy(
        update={"convention": COUNTED_CONVENTION, "flops_per_token": counted}
    )
    found = dataclasses.replace(whole, utilization=utilization)
    assert check_possible(found).verdict == verdict


def under(ceiling: float | None, tokens_per_second: float = 5_183.6) -> Basis:
    whole = basis(tokens_per_second=tokens_per_second)
    update = {
        "ceiling_flops_per_second": ceiling,
        "ceiling_reason": None if ceiling else "left out",
    }
    return dataclasses.replace(whole, utilization=whole.utilization.model_copy(update=update))


def test_the_same_work_is_held_against_the_measured_ceiling() -> None:
    # 5,183.6 tokens/s are 266.8 TFLOP/s: 40 % of the datasheet's 667, 50 % of 533.6 measured.
    found = metrics.ceiling_utilization(under(533.6e12))
    assert found.value == pytest.approx(0.5, rel=1e-4)
    assert (found.low, found.high) == pytest.approx((0.495, 0.51), rel=1e-3)
    assert metrics.ceiling_utilization(under(None)) == unknown("left out")


def test_more_than_the_ceiling_is_a_ceiling_that_was_disturbed_and_the_result_stands() -> None:
    found = under(100e12)
    value = metrics.ceiling_utilization(found)
    assert value.value is None
    assert "disturbed" in (value.reason or "")
    assert check_possible(found).verdict == "sound"


def test_an_unknown_peak_gives_no_mfu_and_the_reason() -> None:
    assert metrics.mfu(basis(peak=None)) == unknown("nobody has published one")


def test_more_than_the_peak_is_an_error_of_measurement_not_a_figure() -> None:
    found = metrics.mfu(basis(tokens_per_second=20_000))
    assert found.value is None
    assert "cannot be" in (found.reason or "")


def test_a_low_end_below_zero_is_no_bound() -> None:
    wild = Interval(value=1.0, low=-1.0, high=3.0, n=3, n_effective=3, method="x")
    assert of_interval(wild) == MetricValue(value=1.0, low=None, high=3.0)
    assert reciprocal(of_interval(wild), 6.0) == MetricValue(value=6.0, low=2.0, high=None)


def test_an_unknown_stays_unknown() -> None:
    assert scaled(unknown("x"), 2.0) == reciprocal(unknown("x"), 2.0) == unknown("x")
    assert exactly(3.0).low is None


def test_throughput_is_tokens_over_the_mean_step() -> None:
    result = make_result()
    mean = result.metrics["step_time_mean_seconds"]
    tokens = result.metrics["tokens_per_second"]
    assert tokens.value is not None
    assert mean.value is not None
    assert mean.low is not None
    assert tokens.value == pytest.approx(1024 / mean.value, rel=1e-12)
    assert tokens.high == pytest.approx(1024 / mean.low, rel=1e-12)
    assert result.metrics["tokens_per_second_per_device"] == tokens


def test_too_few_samples_give_a_reason_in_every_figure_of_time() -> None:
    plan = make_plan()
    few = make_measurement(plan, blocks=make_blocks([0.1]))
    metrics = make_result(plan, few).metrics
    for name in MEASURED:
        optional = ("peak_memory_bytes", "compile_seconds", "expert_imbalance", "mean_power_watts")
        if name not in optional and "joules" not in name:
            assert metrics[name].value is None
            assert "too few" in (metrics[name].reason or "")
    assert metrics["usd_per_million_tokens"].value is None
    assert metrics["case_usd"].value is not None  # it was paid for all the same


def test_memory_of_a_case_that_ended_early_is_the_most_that_was_seen() -> None:
    plan = make_plan()
    died = make_result(plan, make_measurement(plan, status="died", memory=None))
    assert died.metrics["peak_memory_bytes"].value == 400 * 2**20
    unseen = make_measurement(plan, status="died", memory=None, watches=[])
    assert make_result(plan, unseen).metrics["peak_memory_bytes"].value is None


def test_every_function_of_a_case_or_a_basis_is_a_metric_and_every_metric_a_column() -> None:
    written = {
        name
        for name, function in inspect.getmembers(metrics, inspect.isfunction)
        if function.__module__ == metrics.__name__
        and not name.startswith("_")
        and list(inspect.signature(function).parameters) in (["case"], ["basis"])
    }
    assert written == set(METRICS)
    assert {*MEASURED} & {*DERIVED} == set()
    assert written <= {column.name for column in COLUMNS}


@given(st.decimals("0.01", "1000", places=4), st.integers(2, 50))
def test_cost_is_linear_in_price_and_inverse_in_throughput(rate: Decimal, factor: int) -> None:
    one = metrics.usd_per_million_tokens(basis(usd_per_hour=str(rate))).value
    dearer = metrics.usd_per_million_tokens(basis(usd_per_hour=str(rate * factor))).value
    faster = metrics.usd_per_million_tokens(
        basis(tokens_per_second=100_000.0 * factor, usd_per_hour=str(rate))
    ).value
    assert one is not None
    assert dearer == pytest.approx(one * factor, rel=1e-9)
    assert faster == pytest.approx(one / factor, rel=1e-9)


@given(st.decimals("0.01", "1000", places=4))
def test_recosting_is_the_same_as_having_known_the_price(rate: Decimal) -> None:
    known = make_result(make_plan({"price.usd_per_hour": str(rate)}))
    assert recost(make_result(), known.price, None).metrics == known.metrics
