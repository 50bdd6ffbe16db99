"""From the profiler's events to operators' own times; and the events of a step that really ran."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch._C._autograd import DeviceType

from trnbench.protocol.records import OperatorTime
from trnbench.train.events import WINDOW
from trnbench.train.profiler import STEP, operator_times, save_trace


def event(name: str, begin: float, end: float, **changes: Any) -> SimpleNamespace:
    """Return an event of the host as torch's profiler gives it, as far as it is looked at."""
    told: dict[str, Any] = {
        "name": name, "time_range": SimpleNamespace(start=begin, end=end), "is_async": False,
        "device_type": DeviceType.CPU, "thread": 1, "device_index": 0, "device_resource_id": 1,
        "is_user_annotation": False, "id": 0, "linked_correlation_id": 0, "cpu_parent": None,
    }  # fmt: skip
    return SimpleNamespace(**{**told, **changes})


def kernel(name: str, begin: float, end: float, launcher: int, **changes: Any) -> SimpleNamespace:
    on_device = {"device_type": DeviceType.CUDA, "linked_correlation_id": launcher}
    return event(name, begin, end, **{**on_device, **changes})


def times(*events: SimpleNamespace, end: float = 1000.0) -> dict[str, OperatorTime]:
    return {found.name: found for found in operator_times(events, 0.0, end)}


def test_own_times_and_calls_are_those_of_the_window() -> None:
    found = times(
        event("aten::linear", 0, 100), event("aten::mm", 10, 60), event("aten::mm", -50, -10),
        event("aten::mm", 200, 250),
    )  # fmt: skip
    assert found["aten::linear"].host_seconds == pytest.approx(50e-6)
    assert found["aten::mm"].host_seconds == pytest.approx(100e-6)
    assert found["aten::mm"].calls == 2
    assert found["aten::mm"].device_seconds is None


def test_marks_and_what_spans_threads_are_no_operators() -> None:
    found = times(
        event(WINDOW, 0, 1000), event(STEP, 0, 500), event("aten::mm", 10, 20),
        event("a request", 0, 900, is_async=True),
    )  # fmt: skip
    assert list(found) == ["aten::mm"]


def test_what_the_optimizer_calls_and_what_clips_all_weights_is_told_apart() -> None:
    step = event("Optimizer.step#AdamW.step", 0, 100)
    clip = event("aten::_foreach_mul_", 200, 300)
    found = operator_times(
        [
            step, event("aten::mul_", 10, 20, cpu_parent=step),
            clip, event("aten::mul_", 210, 220, cpu_parent=event("x", 0, 1, cpu_parent=clip)),
            event("aten::mul_", 400, 430),
        ],
        0.0,
        1000.0,
    )  # fmt: skip
    muls = {each.within: each for each in found if each.name == "aten::mul_"}
    assert muls["optimizer"].calls == 2
    assert muls["optimizer"].host_seconds == pytest.approx(20e-6)
    assert muls[None].host_seconds == pytest.approx(30e-6)


def test_a_kernel_counts_for_the_operator_that_launched_it_else_by_its_own_name() -> None:
    found = times(
        event("aten::mm", 0, 10, id=7), kernel("ampere_sgemm_128x64_tn", 100, 180, launcher=7),
        event("## Call CompiledFxGraph f ##", 20, 30, id=8),
        kernel("triton_poi_fused_add_0", 180, 200, launcher=8),
        kernel("Memcpy HtoD", 200, 205, launcher=0),
        kernel("a mark", 0, 900, launcher=0, is_user_annotation=True),
        event("cudaLaunchKernel", 5, 8, linked_correlation_id=7, id=7),
    )  # fmt: skip
    seconds = {name: each.device_seconds for name, each in found.items() if each.device_seconds}
    assert seconds == {
        "aten::mm": pytest.approx(80e-6),
        "triton_poi_fused_add_0": pytest.approx(20e-6),
        "Memcpy HtoD": pytest.approx(5e-6),
    }
    assert (found["aten::mm"].calls, found["triton_poi_fused_add_0"].calls) == (1, 1)
    assert found["aten::mm"].host_seconds == pytest.approx(7e-6)
    assert found["cudaLaunchKernel"].device_seconds == 0.0


def test_an_older_torch_that_does_not_link_kernels_leaves_them_their_names() -> None:
    events = [
        event("aten::mm", 0, 10, id=7), event("cudaLaunchKernel", 2, 4, id=9),
        kernel("ampere_sgemm", 20, 50, launcher=7),
    ]  # fmt: skip
    for each in events:
        del each.linked_correlation_id, each.is_user_annotation
    found = times(*events)
    assert found["ampere_sgemm"].device_seconds == pytest.approx(30e-6)
    assert found["aten::mm"].device_seconds == 0.0


def test_two_streams_at_once_do_not_count_twice() -> None:
    found = times(
        kernel("a", 0, 100, launcher=0), kernel("b", 0, 100, launcher=0, device_resource_id=2)
    )
    assert found["a"].device_seconds == found["b"].device_seconds == pytest.approx(50e-6)


class _Given:
    """A profiler whose trace a vendor's exporter has taken already, or that cannot write."""

    def __init__(self, error: str) -> None:
        self.error = error
        self.written: list[str] = []

    def export_chrome_trace(self, path: str) -> None:
        raise RuntimeError(self.error)

    def events(self) -> SimpleNamespace:
        return SimpleNamespace(export_chrome_trace=self.written.append)


def test_a_trace_that_was_given_away_is_written_from_the_events() -> None:
    given = _Given("Trace is already saved.")
    save_trace(given, "trace.json")
    assert given.written == ["trace.json"]


def test_a_trace_that_cannot_be_written_is_told() -> None:
    with pytest.raises(RuntimeError, match="no room"):
        save_trace(_Given("no room"), "trace.json")


def test_torch_s_own_events_have_what_is_looked_at() -> None:
    weights = torch.nn.Parameter(torch.ones(8, 8))
    optimizer = torch.optim.AdamW([weights], foreach=False)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        (weights @ weights).sum().backward()
        optimizer.step()
    found = operator_times(profiler.events(), 0.0, 1e12)
    by_name = {(each.name, each.within): each for each in found}
    assert by_name["aten::mm", None].calls == 3
    assert by_name["aten::mm", None].host_seconds > 0
    assert ("aten::addcdiv_", "optimizer") in by_name
