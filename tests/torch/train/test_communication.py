"""What the profiler's events say of collectives, on the host and on a device."""

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.pure.train.orders import make_order
from tests.torch.train.test_profiling import event, kernel, times
from trnbench.protocol.orders import ProfileSteps
from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.build import build_objective, make_stream
from trnbench.train.channel import Channel
from trnbench.train.events import WINDOW, collective_time_of, is_collective
from trnbench.train.loop import TrainingStep
from trnbench.train.parallel.communication import (
    UNSEEN,
    UNSEEN_DEVICE,
    communication_in,
    network_bytes,
    profile_communication,
)
from trnbench.train.parallel.mesh import ALONE_MESH, Mesh
from trnbench.train.profiler import profile_steps

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
        "gloo:all_reduce", "nccl:_all_gather_base", "xccl:all_reduce",
        "ncclDevKernel_AllGather_RING_LL(x)", "ncclKernel_Sum",
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


# --- the steps themselves -------------------------------------------------------------------------


class SecondRank(Mesh):
    """A mesh that says that it is rank 1, and shares nothing."""

    @property
    def rank(self) -> int:
        return 1


def sent(records: io.BytesIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in records.getvalue().splitlines()]


def test_steps_are_made_under_the_profiler_and_where_it_saw_no_collective_it_is_said() -> None:
    order = make_order()
    backend = CpuBackend(Claim(threads=1))
    step = TrainingStep(build_objective(order, backend), order, backend)
    records = io.BytesIO()
    profile_communication(
        2, step, make_stream(order), order, backend, ALONE_MESH, Channel(records, io.BytesIO())
    )
    assert step.steps_done == 3, "one starts the profiler"
    *signs, told = sent(records)
    assert {each["name"] for each in signs} == {"teardown"}
    assert (told["kind"], told["steps"], told["seconds"]) == ("communication", 2, None)
    assert told["reason"] == UNSEEN


def test_a_backend_whose_profiler_shows_nothing_makes_no_steps() -> None:
    order = make_order()
    backend = CpuBackend(Claim(threads=1))
    backend.is_asynchronous = True  # type: ignore[misc]
    step = TrainingStep(build_objective(order, backend), order, backend)
    records = io.BytesIO()
    profile_communication(
        2, step, make_stream(order), order, backend, ALONE_MESH, Channel(records, io.BytesIO())
    )
    assert step.steps_done == 0
    (told,) = sent(records)
    assert told["reason"] == "torch's profiler shows no time of cpu devices"


@pytest.mark.parametrize(("mesh", "kinds"), [(ALONE_MESH, ["profiled"]), (SecondRank(), [])])
def test_the_first_rank_is_profiled_and_the_others_make_as_many_steps(
    mesh: Mesh, kinds: list[str], tmp_path: Path
) -> None:
    order = make_order()
    task = ProfileSteps(
        order=order, warmup_steps=1, steps=2, trace=str(tmp_path / "t"), capture=str(tmp_path)
    )
    backend = CpuBackend(Claim(threads=1))
    records = io.BytesIO()
    steps = profile_steps(
        task, build_objective(order, backend), backend, mesh, Channel(records, io.BytesIO())
    )
    assert steps == 1 + 2 + 1 + 2 + 2
    assert [each["kind"] for each in sent(records) if each["kind"] != "phase"] == kinds
    assert (tmp_path / "t").exists() == bool(kinds)


def test_cards_for_rdma_and_others_are_counted_apart(tmp_path: Path) -> None:
    def count(file: str, number: object) -> None:
        path = tmp_path / "sys/class" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number}\n")

    for name in ("eth0", "eth1", "lo"):
        count(f"net/{name}/statistics/tx_bytes", 100)
        count(f"net/{name}/statistics/rx_bytes", 1)
    assert network_bytes(tmp_path) is None
    count("infiniband/efa_0/ports/1/hw_counters/tx_bytes", 1000)
    count("infiniband/efa_0/ports/1/hw_counters/rdma_read_bytes", 5000)
    count("infiniband/efa_0/ports/1/hw_counters/tx_pkts", 7)
    count("infiniband/mlx5_0/ports/1/counters/port_xmit_data", 10)
    count("infiniband/mlx5_0/ports/1/counters/port_rcv_data", "N/A (no PMA)")
    assert network_bytes(tmp_path) == {"rdma": 6040, "tcp": 202}
