"""Measured ceilings: rates from seconds, what products come to together, and of what a part."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.profiles import ENVIRONMENT
from trnbench.analysis.microbench import (
    algorithm_rate_of,
    amount_of,
    ceilings_of,
    lines_of,
    load_of_others,
    place_of,
    rate_of,
)
from trnbench.plan.microbench import Arithmetic
from trnbench.protocol.orders import (
    AttentionTask,
    CollectiveTask,
    MatmulTask,
    MoveTask,
    PeakTask,
)
from trnbench.schema.microbench import Group, PeakDocument, PeakReading


def product(m: int, n: int, k: int, precision: Arithmetic = "bf16") -> MatmulTask:
    name = f"{precision} {m} {n} {k}"
    return MatmulTask(name=name, precision=precision, m=m, n=n, k=k, layout="nt")


def reading(
    task: PeakTask,
    seconds: Sequence[float],
    group: Group = "square",
    count: int = 1,
    ranks: int = 1,
) -> PeakReading:
    return PeakReading(
        group=group,
        label="a thing",
        task=task,
        count=count,
        ranks=ranks,
        runs=3,
        seconds=tuple(seconds),
    )


def document(*readings: PeakReading, accelerator: str | None = None) -> PeakDocument:
    return PeakDocument(
        trnbench_version="0.1.0",
        started_at="2026-11-24T00:00:00Z",
        status="finished",
        reason=None,
        model="a-model",
        tokens=128,
        accelerator=accelerator,
        devices_per_chip=1 if accelerator != "trainium2" else 4,
        environment=None,
        readings=readings,
    )


def test_the_work_of_each_task_is_what_its_name_stands_for() -> None:
    heads = {
        "precision": "bf16",
        "batch": 2,
        "heads": 8,
        "kv_heads": 2,
        "tokens": 64,
        "head_dim": 16,
    }
    forward = AttentionTask(name="f", passes="forward", **heads)  # type: ignore[arg-type]
    training = AttentionTask(name="t", passes="training", **heads)  # type: ignore[arg-type]
    assert amount_of(product(3, 5, 7)) == 2 * 3 * 5 * 7
    # Scores and weighted values, 2 FLOP a multiply-add, half of the keys under a causal mask.
    assert amount_of(forward) == 2 * 8 * (2 * 2 * 64 * 64 * 16) / 2
    assert amount_of(training) == 3 * amount_of(forward)
    assert amount_of(MoveTask(name="c", motion="copy", array_bytes=1000)) == 2000
    assert amount_of(MoveTask(name="t", motion="triad", array_bytes=1000)) == 3000


def test_a_collective_is_rated_by_its_bus() -> None:
    def bus_bytes(operation: str, ranks: int) -> float:
        task = CollectiveTask(name="c", operation=operation, whole_bytes=1000)  # type: ignore[arg-type]
        return amount_of(task, ranks)

    # nccl-tests, doc/PERFORMANCE.md: 2 (n - 1) / n, (n - 1) / n and 1.
    assert bus_bytes("all_reduce", 2) == 1000
    assert bus_bytes("all_reduce", 8) == 1750
    parts = ("all_gather", "reduce_scatter", "all_to_all")
    assert [bus_bytes(each, 8) for each in parts] == [875, 875, 875]
    assert [bus_bytes(each, 8) for each in ("broadcast", "send_receive")] == [1000, 1000]


def test_a_collective_has_an_algorithm_bandwidth_and_nothing_else_has() -> None:
    task = CollectiveTask(name="c", operation="all_reduce", whole_bytes=1000)
    timed = reading(task, [2.0], "collective", ranks=8)
    rate = rate_of(timed)
    assert rate is not None
    assert (rate.value, algorithm_rate_of(timed)) == (875.0, 500.0)
    assert algorithm_rate_of(reading(product(8, 8, 8), [1.0])) is None
    assert algorithm_rate_of(reading(task, [], "collective", ranks=8)) is None


def test_collectives_are_compared_between_as_many_ranks() -> None:
    task = CollectiveTask(name="c", operation="all_reduce", whole_bytes=1000)
    two, eight = (reading(task, [s], "collective", ranks=n) for s, n in ((1.0, 2), (4.0, 8)))
    assert [line.of_best for line in lines_of(document(two, eight))] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("backend", "ranks", "place"),
    [("neuron", 2, "in one chip"), ("neuron", 4, "in one chip"), ("neuron", 16, "across 4 chips"),
     ("cpu", 2, "")],
)  # fmt: skip
def test_a_collective_s_ranks_are_in_one_chip_or_across_some(
    backend: str, ranks: int, place: str
) -> None:
    task = CollectiveTask(name="c", operation="all_reduce", whole_bytes=1000)
    seen = replace(ENVIRONMENT, backend=backend)
    whole = document(accelerator="trainium2").model_copy(update={"environment": seen})
    assert place_of(reading(task, [1.0], "collective", ranks=ranks), whole) == place


def test_a_rate_is_that_of_the_median_repeat_between_those_of_the_slowest_and_the_fastest() -> None:
    rate = rate_of(reading(product(10, 10, 10), [4.0, 1.0, 2.0, 2.0, 8.0]))
    assert rate is not None
    assert (rate.value, rate.low, rate.high) == (1000.0, 250.0, 2000.0)


@pytest.mark.parametrize("seconds", [[], [1.0, 0.0], [1.0, -1.0]])
def test_where_no_time_passed_there_is_no_rate(seconds: list[float]) -> None:
    assert rate_of(reading(product(8, 8, 8), seconds)) is None


@given(
    st.lists(
        st.tuples(
            st.integers(1, 4096), st.integers(1, 48), st.lists(st.floats(1e-6, 1e3), min_size=1)
        ),
        min_size=1,
        max_size=6,
    )
)
def test_products_together_are_no_faster_than_the_fastest_and_no_slower_than_the_slowest(
    made: list[tuple[int, int, list[float]]],
) -> None:
    readings = [reading(product(m, 8, 8), s, "model", count) for m, count, s in made]
    (ceiling,) = ceilings_of(document(*readings))
    rates = [rate.value for each in readings if (rate := rate_of(each)) is not None]
    assert ceiling.together is not None
    assert min(rates) * (1 - 1e-9) <= ceiling.together.value <= max(rates) * (1 + 1e-9)
    assert ceiling.together.low <= ceiling.together.value <= ceiling.together.high
    assert ceiling.best is not None
    assert ceiling.best.of_best == 1.0


def test_products_together_take_the_sum_of_their_times_each_as_often_as_a_step_makes_them() -> None:
    often, once = product(10, 10, 10), product(100, 10, 10)
    (ceiling,) = ceilings_of(
        document(reading(often, [1.0], "model", count=3), reading(once, [5.0], "model"))
    )
    assert ceiling.together is not None
    assert math.isclose(ceiling.together.value, (3 * 2000 + 20000) / (3 * 1.0 + 5.0))


def test_a_product_that_could_not_be_timed_leaves_no_figure_for_all_together() -> None:
    missing = reading(product(8, 8, 8), [], "model").model_copy(update={"reason": "no memory"})
    (ceiling,) = ceilings_of(document(missing, reading(product(16, 8, 8), [1.0], "model")))
    assert ceiling.together is None
    assert ceiling.together_of_best is None
    assert ceiling.best is not None


def test_products_that_were_planned_and_never_timed_leave_no_figure_for_all_together() -> None:
    first, second = product(8, 8, 8), product(16, 8, 8)
    stopped = document(reading(first, [1.0], "model")).model_copy(
        update={"status": "interrupted", "planned_products": (first.name, second.name)}
    )
    (ceiling,) = ceilings_of(stopped)
    assert (ceiling.together, ceiling.together_of_best) == (None, None)
    assert ceiling.best is not None
    read = (*stopped.readings, reading(second, [1.0], "model"))
    (ceiling,) = ceilings_of(stopped.model_copy(update={"readings": read}))
    assert ceiling.together is not None, "it was interrupted later"


def test_products_of_one_arithmetic_do_not_wait_for_those_of_another() -> None:
    half, whole = product(8, 8, 8), product(8, 8, 8, "fp32")
    stopped = document(reading(whole, [1.0], "model")).model_copy(
        update={"status": "died", "planned_products": (whole.name, half.name)}
    )
    (ceiling,) = ceilings_of(stopped)
    assert ceiling.together is not None


def test_an_older_file_that_ended_early_does_not_say_what_was_planned() -> None:
    whole = document(reading(product(8, 8, 8), [1.0], "model"))
    assert ceilings_of(whole)[0].together is not None
    stopped = whole.model_copy(update={"status": "interrupted"})
    assert ceilings_of(stopped)[0].together is None


@pytest.mark.parametrize(("share", "is_told"), [(None, False), (0.05, False), (0.051, True)])
def test_others_load_is_told_above_what_a_run_bears(share: float | None, is_told: bool) -> None:
    found = load_of_others(document().model_copy(update={"foreign_cpu_share": share}))
    assert (found is not None) == is_told
    assert found is None or "others used 5.1% of the processors" in found


def test_each_arithmetic_has_its_own_best() -> None:
    fast, slow = product(64, 64, 64), product(64, 64, 64, "fp32")
    lines = lines_of(document(reading(fast, [1.0]), reading(slow, [10.0])))
    assert [line.of_best for line in lines] == [1.0, 1.0]
    assert [each.precision for each in ceilings_of(document(reading(fast, [1.0])))] == ["bf16"]


def test_a_chip_s_rate_is_held_against_its_datasheet_for_one_device() -> None:
    # H100's sheet: 989.4 TFLOP/s in bf16, dense; 3.35 TB/s.
    square = reading(product(1000, 1000, 1000), [2e9 / 494.7e12])
    copy = reading(MoveTask(name="c", motion="copy", array_bytes=10**9), [2e9 / 1.675e12], "memory")
    lines = lines_of(document(square, copy, accelerator="h100-sxm"))
    assert [round(line.of_datasheet or 0, 3) for line in lines] == [0.5, 0.5]
    # Four logical cores share a Trainium2's 667 TFLOP/s.
    core = reading(product(1000, 1000, 1000), [2e9 / (667e12 / 4)])
    (line,) = lines_of(document(core, accelerator="trainium2"))
    assert line.of_datasheet == pytest.approx(1.0)


def test_fp8_has_a_datasheet_s_rate_of_its_own() -> None:
    # H100's sheet: 1,978.9 TFLOP/s in fp8, dense.
    square = reading(product(1000, 1000, 1000, "fp8"), [2e9 / 989.45e12])
    (line,) = lines_of(document(square, accelerator="h100-sxm"))
    assert line.of_datasheet == pytest.approx(0.5, rel=1e-3)


def test_what_no_datasheet_knows_is_held_against_none() -> None:
    task = CollectiveTask(name="c", operation="all_reduce", whole_bytes=1000)
    (line,) = lines_of(
        document(reading(task, [1.0], "collective", ranks=2), accelerator="h100-sxm")
    )
    assert line.of_datasheet is None
    (line,) = lines_of(document(reading(product(8, 8, 8), [1.0])))
    assert line.of_datasheet is None
