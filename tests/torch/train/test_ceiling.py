"""The device's ceiling: rates of matrix products from a scripted clock, and a real one."""

import time

import pytest
import torch

from trnbench.protocol.orders import Precision
from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.microbench import REPEATS, SECONDS_PER_REPEAT, measure_ceiling
from trnbench.train.precision import ceiling_dtypes


class ScriptedDevice(CpuBackend):
    """A CPU whose products take a given time each, as told by its clock once it has waited."""

    def __init__(self, seconds_of_size: dict[int, float], first_seconds: float = 0.0) -> None:
        super().__init__(Claim())
        self._first_seconds = first_seconds
        self._seconds_of_size = seconds_of_size
        self.made: list[tuple[int, torch.dtype]] = []
        self._waited_for = 0
        self.now = 0.0

    def synchronize(self) -> None:
        for size, _ in self.made[self._waited_for :]:
            self.now += self._seconds_of_size[size] + self._first_seconds
            self._first_seconds = 0.0
        self._waited_for = len(self.made)

    def clock(self) -> float:
        return self.now


class Spared(torch.overrides.TorchFunctionMode):
    """Tells the scripted device of each product, and spares the work."""

    def __init__(self, device: ScriptedDevice) -> None:
        super().__init__()
        self._device = device

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func is torch.mm:
            left, right = args
            assert left.shape == right.shape
            assert left.dtype == right.dtype == kwargs["out"].dtype
            self._device.made.append((left.shape[0], left.dtype))
            return kwargs["out"]
        return func(*args, **(kwargs or {}))


def test_a_rate_is_the_products_operations_over_the_time_waited_for() -> None:
    device = ScriptedDevice({8: 0.0013, 16: 0.004})
    with Spared(device):
        points = measure_ceiling(device, torch.float32, sizes=(8, 16), clock=device.clock)
    assert [point.size for point in points] == [8, 16]
    assert points[0].flops_per_second == pytest.approx([2 * 8**3 / 0.0013] * REPEATS)
    assert points[1].flops_per_second == pytest.approx([2 * 16**3 / 0.004] * REPEATS)


@pytest.mark.parametrize("seconds", [1e-5, 0.0007, 0.04, 0.3, 7.0])
def test_a_repeat_is_long_against_the_clock_and_no_longer_than_one_product_needs(
    seconds: float,
) -> None:
    device = ScriptedDevice({8: seconds})
    with Spared(device):
        measure_ceiling(device, torch.float32, sizes=(8,), clock=device.clock)
    # The first product, the doubling search for a number, then the repeats themselves.
    shortest, longest = SECONDS_PER_REPEAT, max(2 * SECONDS_PER_REPEAT, seconds)
    search = 1 + 2 * longest / seconds
    per_repeat = (len(device.made) - search) / REPEATS
    assert per_repeat * seconds <= longest + 1e-9
    assert len(device.made) * seconds >= REPEATS * shortest


def test_a_slow_first_product_shortens_no_repeat() -> None:
    # The first one of a size compiles or finds its kernel.
    device, slow = ScriptedDevice({8: 0.0013}), ScriptedDevice({8: 0.0013}, first_seconds=60.0)
    for each in (device, slow):
        with Spared(each):
            measure_ceiling(each, torch.float32, sizes=(8,), clock=each.clock)
    assert len(slow.made) == len(device.made)


@pytest.mark.parametrize(
    ("precision", "products"),
    [
        ("fp32", {torch.float32}),
        ("bf16", {torch.bfloat16}),
        ("pure_bf16", {torch.bfloat16}),
        ("fp8", {torch.bfloat16, torch.float8_e4m3fn}),
    ],
)
def test_the_products_are_made_in_this_run_s_arithmetic(
    precision: Precision, products: set[torch.dtype]
) -> None:
    assert set(ceiling_dtypes(precision)) == products
    for dtype in ceiling_dtypes(precision):
        (point,) = measure_ceiling(CpuBackend.open(Claim(threads=1)), dtype, sizes=(64,))
        assert min(point.flops_per_second) > 0


def test_this_machine_s_own_ceiling_is_the_rate_of_a_plain_loop() -> None:
    (point,) = measure_ceiling(CpuBackend.open(Claim(threads=1)), torch.float32, sizes=(256,))
    left, right = torch.randn(256, 256), torch.randn(256, 256)
    seconds = []
    for _ in range(100):
        began = time.perf_counter()
        torch.mm(left, right)
        seconds.append(time.perf_counter() - began)
    plain = 2 * 256**3 / min(seconds)  # the least disturbed by whoever else is at work
    # The scripted clock checks the count; here the bounds are what a busy machine does to either.
    assert 0.1 < max(point.flops_per_second) / plain < 10
