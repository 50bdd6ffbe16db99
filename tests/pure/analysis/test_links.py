"""What joins a job's devices, as far as vendors' tools and libraries say, and how it is judged."""

from dataclasses import replace

import pytest

from tests.builders import make_job, make_job_plan, make_result, make_seat
from trnbench.protocol.parallel import ALL_REDUCE_BYTES, AllReduce, Communication
from trnbench.schema.measurement import Launch, MeasuredPeak
from trnbench.schema.result import CheckOutcome


def judged(
    name: str,
    *,
    transports: dict[str, int] | None = None,
    links: dict[str, int] | None = None,
    nodes: int = 1,
    all_reduce: AllReduce | None = None,
) -> CheckOutcome:
    plan = make_job_plan()
    made = make_job(plan)
    made.launch = Launch(at_seconds=0.0, variables={}, links=links)
    made.all_reduce = all_reduce
    seats = [make_seat(rank) for rank in range(8)]
    made.seats = [replace(seat, node=seat.rank * nodes // 8) for seat in seats]
    made.communications = [
        Communication(
            at_seconds=1.0, rank=rank, steps=2, window_seconds=None, seconds=None,
            exposed_seconds=None, operations={}, reason="unseen", transports=transports,
        )
        for rank in range(8)
    ]  # fmt: skip
    (found,) = [check for check in make_result(plan, made).checks if check.name == name]
    return found


@pytest.mark.parametrize(
    ("transports", "nodes", "verdict", "said"),
    [
        (None, 1, "not_judged", "does not say"),
        ({"P2P": 4}, 1, "sound", "P2P (32)"),
        ({"P2P": 4, "SHM": 1}, 1, "doubtful", "the host's memory is between devices"),
        ({"NET/Socket": 1}, 1, "doubtful", "between devices of one machine"),
        ({"NET/OFI": 1}, 1, "doubtful", "between devices of one machine"),
        ({"P2P": 4, "NET/OFI": 1}, 2, "sound", "NET/OFI"),
        ({"P2P": 4, "NET/Socket": 1}, 2, "doubtful", "between machines"),
    ],
)
def test_bytes_that_take_a_slow_way_are_a_doubt(
    transports: dict[str, int] | None, nodes: int, verdict: str, said: str
) -> None:
    found = judged("transports", transports=transports, nodes=nodes)
    assert (found.verdict, said in found.evidence) == (verdict, True)
    assert bool(found.advice) == (verdict == "doubtful")


@pytest.mark.parametrize(
    ("rdma", "tcp", "nodes", "transports", "verdict"),
    [
        (500, 100, 2, None, "sound"),
        (1, 500, 2, None, "doubtful"),
        (1, 500, 2, {"NET/OFI": 1}, "doubtful"),  # whatever the library says
        (500, 100, 2, {"NET/Socket": 1}, "doubtful"),
        (1, 500, 1, None, "not_judged"),
        (0, 9, 2, None, "sound"),  # less than one all-reduce: not the job's
    ],
)
def test_bytes_that_tcp_moves_beside_a_card_for_rdma_are_a_doubt(
    rdma: int, tcp: int, nodes: int, transports: dict[str, int] | None, verdict: str
) -> None:
    counted = {"rdma": rdma * 2**20, "tcp": tcp * 2**20}
    made = AllReduce(
        at_seconds=9.0, ranks=8, whole_bytes=ALL_REDUCE_BYTES, seconds=[0.1], network_bytes=counted
    )
    found = judged("transports", transports=transports, nodes=nodes, all_reduce=made)
    assert found.verdict == verdict
    if verdict == "doubtful" and transports is None:
        assert "1 MiB went by RDMA and 500 MiB by TCP, though there is a card" in found.evidence


@pytest.mark.parametrize(
    ("links", "verdict"),
    [
        (None, "not_judged"),
        ({"NV18": 28}, "sound"),
        ({"NV12": 14, "NV18": 14}, "sound"),
        ({"SYS": 20, "PHB": 8}, "sound"),
        ({"NV18": 21, "SYS": 7}, "doubtful"),
    ],
)
def test_a_gpu_without_the_others_links_is_a_doubt(
    links: dict[str, int] | None, verdict: str
) -> None:
    assert judged("links", links=links).verdict == verdict


PEAK = MeasuredPeak(
    ranks=8, whole_bytes=ALL_REDUCE_BYTES, seconds=1e-3, source="torch", folder="a-peak",
    started_at="2026-11-24T00:00:00Z",
)  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "peak", "verdict", "said"),
    [
        ([1.9e-3, 9e-3], PEAK, "sound", "53% of the 29.4 GB/s that torch measured in peaks/a-peak"),
        ([2.1e-3, 9e-3], PEAK, "doubtful", "moves 14 GB/s, 48% of the 29.4 GB/s"),
        ([2.1e-3], None, "not_judged", "moves 14 GB/s; no `trnbench peak`"),
        ([2.1e-3], replace(PEAK, ranks=4), "not_judged", "no `trnbench peak`"),
        ([2.1e-3], replace(PEAK, whole_bytes=2), "not_judged", "no `trnbench peak`"),
        ([0.0, 1.0], PEAK, "not_judged", "no all-reduce was timed"),
        (None, PEAK, "not_judged", "no all-reduce was timed"),
    ],
)
def test_an_all_reduce_far_below_the_measured_peak_is_a_doubt(
    seconds: list[float] | None, peak: MeasuredPeak | None, verdict: str, said: str
) -> None:
    plan = make_job_plan()
    made = make_job(plan)
    made.launch = Launch(at_seconds=0.0, variables={}, all_reduce_peak=peak)
    if seconds is not None:
        made.all_reduce = AllReduce(
            at_seconds=9.0, ranks=8, whole_bytes=ALL_REDUCE_BYTES, seconds=seconds
        )
    (found,) = [c for c in make_result(plan, made).checks if c.name == "all_reduce"]
    assert (found.verdict, said in found.evidence) == (verdict, True), found.evidence
    assert bool(found.advice) == (verdict == "doubtful")
