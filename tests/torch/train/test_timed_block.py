"""The timed block is sacred: wait, clock, steps, wait, clock, and nothing else."""

from collections.abc import Callable

import pytest
import torch

from tests.pure.train.orders import make_order
from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.build import build_objective, make_stream
from trnbench.train.loop import (
    StepOutcomes,
    StepTokens,
    TrainingStep,
    clock_step_seconds,
    prepare_tokens,
    timed_block,
)


class Device:
    """Notes what is asked of it, in order; its work takes time that only waiting sees."""

    def __init__(self, seconds_of_step: list[float]) -> None:
        self.events: list[str] = []
        self._seconds = list(seconds_of_step)
        self._queued = 3.0  # something from before: it must not be charged to this block
        self._now = 100.0

    def step(self, tokens: StepTokens, outcomes: StepOutcomes) -> None:
        self.events.append("step")
        self._queued += self._seconds.pop(0)
        outcomes.losses.append(torch.tensor(tokens.oracle_loss))

    def synchronize(self) -> None:
        self.events.append("wait")
        self._now += self._queued
        self._queued = 0.0

    def clock(self) -> float:
        self.events.append("clock")
        return self._now


def tokens_of(steps: int) -> list[StepTokens]:
    return [StepTokens(passes=[], oracle_loss=float(number)) for number in range(steps)]


@pytest.mark.parametrize("steps", [1, 4])
def test_a_block_waits_reads_the_clock_steps_waits_and_reads_it_again(steps: int) -> None:
    device = Device([0.25] * steps)
    timed_block(device.step, tokens_of(steps), device.synchronize, clock=device.clock)
    assert device.events == ["wait", "clock", *["step"] * steps, "wait", "clock"]


def test_a_block_takes_what_its_own_work_takes_on_an_asynchronous_device() -> None:
    device = Device([0.5, 0.25, 0.125])
    timed = timed_block(device.step, tokens_of(3), device.synchronize, clock=device.clock)
    assert (timed.seconds, timed.event_seconds) == (0.875, None)


def test_outcomes_come_in_the_order_of_the_steps() -> None:
    device = Device([1.0] * 3)
    timed = timed_block(device.step, tokens_of(3), device.synchronize, clock=device.clock)
    assert [loss.item() for loss in timed.outcomes.losses] == [0.0, 1.0, 2.0]


def test_no_value_is_read_from_the_device_inside_a_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Reading a value would make an asynchronous device wait in the middle of a block.
    order = make_order(gradient_accumulation_steps=2)
    backend = CpuBackend(Claim())
    step = TrainingStep(build_objective(order, backend), order, backend)
    prepared = prepare_tokens(make_stream(order), order, 0, 2, backend)
    step.run(prepared[0], StepOutcomes())  # the optimizer makes its state in the first step
    reads: list[str] = []

    def noted(name: str) -> Callable[..., object]:
        real = getattr(torch.Tensor, name)

        def read(tensor: torch.Tensor, *arguments: object) -> object:
            reads.append(name)
            return real(tensor, *arguments)

        return read

    for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__"):
        monkeypatch.setattr(torch.Tensor, name, noted(name))
    outcomes = StepOutcomes()
    step.run(prepared[1], outcomes)
    assert reads == []
    assert outcomes.losses[0].item() > 0
    assert reads == ["item"]


def test_the_clock_s_step_is_the_least_by_which_it_was_seen_to_move() -> None:
    readings = iter([5.0, 5.0, 5.5, 5.5, 5.75, 7.0, 7.25, 9.0])
    assert clock_step_seconds(lambda: next(readings), changes=4) == 0.25
    assert 0 < clock_step_seconds() < 0.1
