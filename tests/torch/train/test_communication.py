"""What the profiler's events say of collectives, on the host and on a device."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.torch.train.test_profiling import event, kernel, times
from trnbench.train.events import WINDOW, collective_time_of, is_collective
from trnbench.train.parallel.communication import UNSEEN, UNSEEN_DEVICE, communication_in

MARK = event(WINDOW, 0, 1000)


def gloo(begin: float, end: float, number: int, name: str = "gloo:all_reduce") -> SimpleNamespace:
    """Return the work of a process group: begun in one thread and ended in another."""
    return event(name, begin, end, is_async=True, thread=2, id=number)


def nccl(
    begin: float, end: float, name: str = "ncclDevKernel_AllReduce_Sum_f32_RING_LL(args)"
) -> Any:
    return kernel(name, begin, end, launcher=0, device_resource_id=7)


def test_on_a_processor_a_collective_overlaps_operators_and_no_mark() -> None:
    found = collective_time_of([
        MARK,
        event("FSDP::all_gather (0)", 100, 300, is_user_annotation=True),
        event("fsdp::all_gather_copy_in", 100, 110), event("c10d::_allgather_base_", 110, 120),
        gloo(120, 290, 1, "gloo:all_gather"),
        event("aten::mm", 300, 500), gloo(400, 700, 2), gloo(450, 650, 3),
        event("autograd::engine::evaluate_function: MulBackward0", 500, 600),
    ])  # fmt: skip
    assert found.seconds == pytest.approx(480e-6)  # 110 to 290, and 400 to 700
    assert found.exposed == pytest.approx(380e-6)  # without 400 to 500
    assert found.operations == {
        "c10d::_allgather_base_": pytest.approx(10e-6),
        "gloo:all_gather": pytest.approx(170e-6), "gloo:all_reduce": pytest.approx(300e-6),
    }  # fmt: skip


def test_on_a_device_kernels_count_and_what_the_host_does_meanwhile_does_not() -> None:
    found = collective_time_of([
        MARK,
        event("nccl:all_reduce", 0, 900, is_async=True), event("aten::mm", 0, 900),
        kernel("ampere_sgemm", 100, 300, launcher=0), nccl(200, 600),
        kernel("nccl:all_reduce", 200, 600, launcher=0, is_user_annotation=True),
        kernel("Memcpy DtoD", 590, 620, launcher=0),
    ])  # fmt: skip
    assert found.seconds == pytest.approx(400e-6)
    assert found.exposed == pytest.approx(290e-6)
    assert list(found.operations) == ["ncclDevKernel_AllReduce_Sum_f32_RING_LL"]


def test_a_record_has_the_window_and_its_collectives() -> None:
    fields = communication_in([MARK, gloo(100, 200, 1)], is_asynchronous=False)
    assert fields == {
        "window_seconds": pytest.approx(1e-3), "seconds": pytest.approx(1e-4),
        "exposed_seconds": pytest.approx(1e-4),
        "operations": {"gloo:all_reduce": pytest.approx(1e-4)},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("events", "is_asynchronous", "reason"),
    [
        ([MARK, event("aten::mm", 0, 9)], False, UNSEEN),
        ([MARK, gloo(100, 200, 1)], True, UNSEEN_DEVICE),
        ([MARK, kernel("ampere_sgemm", 100, 300, launcher=0)], True, UNSEEN),
    ],
)
def test_where_the_profiler_shows_none_the_record_says_so(
    events: list[Any], is_asynchronous: bool, reason: str
) -> None:
    assert communication_in(events, is_asynchronous=is_asynchronous) == {"reason": reason}


def test_a_profile_gives_a_collective_the_time_in_which_nothing_works() -> None:
    found = times(
        event("FSDP::all_gather (0)", 0, 400, is_user_annotation=True), event("aten::mm", 300, 500),
        gloo(100, 450, 1, "gloo:all_gather"),
    )  # fmt: skip
    assert found["gloo:all_gather"].host_seconds == pytest.approx(200e-6)
    assert found["aten::mm"].host_seconds == pytest.approx(200e-6)
    assert found["FSDP::all_gather (0)"].host_seconds == pytest.approx(100e-6)


def test_names_of_collectives_are_those_of_process_groups_and_their_kernels() -> None:
    names = (
        "gloo:all_reduce", "nccl:_all_gather_base", "xccl:all_reduce", "c10d::allreduce_",
        "_c10d_functional::wait_tensor", "ncclDevKernel_AllGather_RING_LL(x)", "ncclKernel_Sum",
    )  # fmt: skip
    assert all(map(is_collective, names))
    others = (
        "FSDP::all_gather (0)",
        "fsdp::all_gather_copy_in",
        "aten::mm",
        "a_gloo:",
        "ncclGroup",
    )
    assert not any(map(is_collective, others))
