"""Records of several ranks become those of one job, and ranks that contradict are found."""

from dataclasses import replace
from typing import Any

import pytest

from trnbench.protocol.parallel import Communication, Layout, Replica, Seated
from trnbench.protocol.records import (
    Activity,
    Block,
    Built,
    Ceiling,
    CeilingPoint,
    ChildRecord,
    Environment,
    Finished,
    Memory,
    Parity,
    ParityPoint,
    Phase,
    WeightUpdate,
)
from trnbench.run.contradictions import EQUAL_STEPS, ranks_with_losses
from trnbench.run.outcomes import End
from trnbench.run.ranks import RankRecords
from trnbench.schema.measurement import RankFault

DDP = Layout(data_parallel_replicate_size=3)
TRAIN = Phase(at_seconds=1.0, name="train")
BLOCK = Block(
    at_seconds=10.0, purpose="measure", first_step=0, steps=2, seconds=1.0, prepare_seconds=0.25,
    losses=[5.0, 4.0], gradient_norms=[1.0, 2.0], oracle_losses=[0.5, 0.75],
)  # fmt: skip


def seat(rank: int, **changes: Any) -> Seated:
    made = Seated(
        at_seconds=1.0, rank=rank, node=0, device=f"cuda:{rank}", device_id=f"GPU-{rank}",
        process_group="nccl", program="a" * 32,
    )  # fmt: skip
    return replace(made, **changes)


class Ranks:
    """A job whose ranks all send a record of each kind in turn."""

    def __init__(self, layout: Layout = DDP, precision: Any = "fp32") -> None:
        self.ranks = range(layout.world_size)
        self.records = RankRecords(layout, "nccl", precision)

    def send(self, *records: ChildRecord) -> list[Any]:
        """Send one record a rank; return what is written, once the last one has come."""
        given = [self.records.take(rank, record) for rank, record in enumerate(records)]
        assert not any(given[:-1]) or not isinstance(records[0], Block | Built | Seated)
        return [record for each in given for record in each]

    def send_blocks(self, *changes: dict[str, Any]) -> list[Any]:
        return self.send(*(replace(BLOCK, **each) for each in changes))


def faults(records: list[Any]) -> list[RankFault]:
    return [record for record in records if isinstance(record, RankFault)]


# --- one record of several ----------------------------------------------------------------------


def test_a_job_of_one_rank_is_written_as_it_is_sent() -> None:
    alone = RankRecords(Layout(), "gloo", "fp32")
    for record in (TRAIN, BLOCK, Finished(at_seconds=2.0, steps=2)):
        assert alone.take(0, record) == [record]


def test_a_block_has_the_slowest_rank_s_time_and_the_mean_of_the_losses() -> None:
    (block,) = Ranks().send_blocks(
        {"seconds": 1.0, "at_seconds": 9.0},
        {"seconds": 3.0, "losses": [6.0, 5.5], "prepare_seconds": 0.5, "oracle_losses": [0.2, 0.0]},
        {"seconds": 2.0, "losses": [7.0, None], "at_seconds": 12.0},
    )
    assert (block.seconds, block.rank_seconds) == (3.0, [1.0, 3.0, 2.0])
    assert (block.prepare_seconds, block.at_seconds) == (0.5, 12.0)
    assert block.losses == [6.0, None]
    assert block.oracle_losses == pytest.approx([0.4, 0.5])
    assert block.gradient_norms == [1.0, 2.0]
    assert block.event_seconds is None


def test_a_block_is_over_no_sooner_than_the_slowest_rank_can_have_been() -> None:
    ranks = Ranks(Layout(data_parallel_replicate_size=2))
    # Rank 0's clock runs ahead by 5 s, and rank 1 is the slower one.
    ends = [(15.0, 10.0), (25.0, 21.0), (35.0, 32.0)]
    told = [
        ranks.send_blocks(
            {"at_seconds": ahead, "seconds": 10.0, "prepare_seconds": 0.0},
            {"at_seconds": behind, "seconds": 11.0, "prepare_seconds": 0.0, "losses": [6.0, 5.0]},
        )[-1].at_seconds
        for ahead, behind in ends
    ]
    assert told == [15.0, 26.0, 37.0]


def test_the_loss_is_that_of_the_last_stage_and_of_one_rank_of_a_tensor_group() -> None:
    layout = Layout(
        pipeline_parallel_size=2, data_parallel_replicate_size=2, tensor_parallel_size=2
    )
    assert ranks_with_losses(layout) == [4, 6]
    none: dict[str, Any] = {"losses": [None, None]}
    own = [{"losses": [4.0, 3.0]}, {"losses": [4.0, 3.0]}, {"losses": [6.0, 4.0]}] * 2
    (block,) = Ranks(layout).send_blocks(none, none, none, none, own[0], own[1], own[2], own[2])
    assert block.losses == [5.0, 3.5]


def test_an_activity_is_written_before_the_block_that_it_came_with() -> None:
    ranks = Ranks()
    first = Activity(
        at_seconds=1.0, steps=2, graphs=1, compilations=None, cache_hits=3,
        compile_seconds=[1.0], fallback_ops={"a": 1},
    )  # fmt: skip
    second = replace(first, graphs=2, compile_seconds=[0.5, 4.0], fallback_ops={"a": 0, "b": 2})
    for rank, record in ((0, first), (1, BLOCK), (0, BLOCK), (2, second)):
        assert ranks.records.take(rank, record) == []
    activity, block = ranks.records.take(2, BLOCK)
    assert isinstance(block, Block)
    assert activity == replace(second, fallback_ops={"a": 1, "b": 2})
    assert [type(record) for record in ranks.send_blocks({}, {}, {})] == [Block]


def test_the_fullest_rank_s_memory_is_the_job_s() -> None:
    peaks = (5, None, 9)
    given = [Memory(at_seconds=1.0, peak_bytes=peak, counted="device") for peak in peaks]
    (memory,) = Ranks().send(*given)
    assert (memory.peak_bytes, memory.rank_peak_bytes) == (9, [5, None, 9])


def test_a_pipeline_s_stages_make_one_model() -> None:
    layout = Layout(pipeline_parallel_size=2, tensor_parallel_size=2)
    built = Built(
        at_seconds=1.0, parameter_count=100, parameter_bytes=400, embeddings_are_tied=False,
        placement=["cuda:0 float32"], trained_count=90,
    )  # fmt: skip
    other = replace(built, parameter_count=50, placement=["cuda:1 float32"], trained_count=50)
    (whole,) = Ranks(layout).send(built, built, other, other)
    assert (whole.parameter_count, whole.trained_count) == (150, 140)
    assert whole.placement == ["cuda:0 float32", "cuda:1 float32"]


def test_the_gate_is_as_good_as_its_worst_rank() -> None:
    point = ParityPoint(
        start="production", loss=1.0, reference_loss=1.0, gradient_norm=1.0,
        reference_gradient_norm=1.0, tensors=3, worst_tensor="a", worst_distance=1e-6,
        least_cosine_tensor="a", least_cosine=1.0,
    )  # fmt: skip
    good = Parity(
        at_seconds=1.0, seconds=2.0, reference_seconds=1.0, was_cached=True, points=[point],
        losses=[3.0, 2.0], reference_losses=[3.0, 2.0],
    )  # fmt: skip
    off = replace(good, points=[replace(point, worst_tensor="b", worst_distance=0.3)])
    late = replace(good, seconds=5.0, losses=[3.0, 2.25])
    (parity,) = Ranks().send(good, off, late)
    assert parity.points[0].worst_tensor == "b"
    assert parity.losses == [3.0, 2.25]
    assert parity.seconds == 5.0
    lost = replace(good, losses=[None, 2.0])
    (parity,) = Ranks().send(good, off, lost)
    assert parity.losses == [None, 2.0]


def test_rates_that_ranks_measure_at_once_are_averaged() -> None:
    given = [
        Ceiling(
            at_seconds=1.0, dtype="float32",
            points=[CeilingPoint(size=512, flops_per_second=[rate, rate])],
        )
        for rate in (1e9, 2e9, 3e9)
    ]  # fmt: skip
    (ceiling,) = Ranks().send(*given)
    assert ceiling.points == [CeilingPoint(size=512, flops_per_second=[2e9, 2e9])]


def test_what_only_some_ranks_sent_is_written_when_all_go_on() -> None:
    ranks = Ranks()
    ceiling = Ceiling(
        at_seconds=1.0, dtype="float32", points=[CeilingPoint(size=8, flops_per_second=[1.0])]
    )
    assert ranks.records.take(0, ceiling) == []
    ranks.send(*(seat(rank) for rank in range(3)))
    assert ranks.send(TRAIN, TRAIN, TRAIN) == [ceiling, TRAIN]


def test_a_shard_may_stand_still_and_a_rank_may_not() -> None:
    moved = WeightUpdate(
        at_seconds=1.0, steps=1, tensors=2, still=[], least_tensor="a", least=0.01,
        most_tensor="b", most=0.02,
    )  # fmt: skip
    shard = replace(moved, still=["a"], least=0.0)
    (update,) = Ranks().send(moved, shard, moved)
    assert (update.still, update.least) == ([], 0.0)
    idle = replace(moved, still=["a", "b"], least=0.0, most=0.0)
    (update,) = Ranks().send(moved, moved, idle)
    assert update.still == ["a", "b"]


def test_what_each_rank_reports_of_itself_is_written_of_each() -> None:
    given = [
        Communication(
            at_seconds=1.0, rank=rank, steps=5, window_seconds=1.0, seconds=0.5,
            exposed_seconds=0.25, operations={"all_reduce": 0.5},
        )
        for rank in range(3)
    ]  # fmt: skip
    assert Ranks().send(*given) == given


def test_the_environment_is_rank_0_s_with_the_devices_of_all() -> None:
    environment = Environment(
        at_seconds=1.0, wire_version=6, backend="cuda", device_name="a GPU", device_count=1,
        asynchronous=True, proven=False, threads=None, versions={}, settings={},
    )  # fmt: skip
    ranks = Ranks()
    (written,) = ranks.records.take(0, environment)
    assert written == replace(environment, device_count=3)
    assert ranks.records.take(1, replace(environment, device_name="another")) == []


# --- what ranks must agree in -------------------------------------------------------------------


def test_ranks_of_one_program_begin_together() -> None:
    ranks = Ranks()
    seats = [seat(rank) for rank in range(3)]
    assert ranks.send(*seats) == seats
    assert ranks.send(TRAIN, TRAIN, TRAIN) == [TRAIN]


def test_ranks_of_different_programs_are_refused_and_the_odd_one_is_named() -> None:
    with pytest.raises(End) as refused:
        Ranks().send(seat(0, program="f" * 32), seat(1), seat(2))
    assert refused.value.reason.startswith("rank 0 of 3 built another program than rank 1")
    assert f"rank 0 on cuda:0: {'f' * 32}" in (refused.value.detail or "")


def test_a_rank_that_says_nothing_of_its_program_is_refused() -> None:
    ranks = Ranks()
    for rank in (0, 2):
        ranks.records.take(rank, seat(rank))
    with pytest.raises(End) as refused:
        ranks.send(TRAIN, TRAIN, TRAIN)
    assert refused.value.reason.startswith("rank 1 of 3: ")
    assert "without a seat" in refused.value.reason


def test_two_ranks_on_one_device_and_another_group_are_faults() -> None:
    shared = seat(2, device_id="GPU-0")
    (fault,) = faults(Ranks().send(seat(0), seat(1), shared))
    assert (fault.what, fault.ranks) == ("device", [0, 2])
    (fault,) = faults(Ranks().send(seat(0), seat(1, process_group="gloo"), seat(2)))
    assert (fault.what, fault.ranks) == ("process_group", [1])
    on_processors = [seat(rank, device="cpu", device_id=None) for rank in range(3)]
    assert faults(Ranks().send(*on_processors)) == []


def test_equal_losses_of_several_steps_are_the_same_tokens() -> None:
    ranks = Ranks()
    other = {"losses": [5.0, 4.5]}
    blocks = EQUAL_STEPS // BLOCK.steps
    found = [faults(ranks.send_blocks({}, other, {})) for _ in range(3 * blocks)]
    assert [len(each) for each in found].index(1) == blocks - 1
    assert sum(map(len, found)) == 1, "it is said once"
    (fault,) = found[blocks - 1]
    assert (fault.what, fault.ranks) == ("losses", [0, 2])


def test_losses_that_are_equal_now_and_then_are_a_coincidence() -> None:
    ranks = Ranks()
    for step in range(20):
        own = {"losses": [5.0, 4.0 + 0.1 * (step % 2)]}
        assert faults(ranks.send_blocks({}, own, {"losses": [6.0, 4.0]})) == []


def test_ranks_of_one_tensor_group_must_have_the_same_losses() -> None:
    layout = Layout(data_parallel_replicate_size=2, tensor_parallel_size=2)
    other = {"losses": [6.0, 5.0]}
    assert faults(Ranks(layout).send_blocks({}, {"losses": [5.0 + 1e-7, 4.0]}, other, other)) == []
    (fault,) = faults(Ranks(layout).send_blocks({}, {}, other, {"losses": [6.0, 5.5]}))
    assert (fault.what, fault.ranks) == ("losses", [2, 3])


@pytest.mark.parametrize(
    ("norms", "precision", "ranks"),
    [
        ([2.0 * (1 + 5e-6), 2.0, 2.0], "fp32", None),
        ([2.0 * (1 + 5e-5), 2.0, 2.0], "fp32", [0]),
        ([2.0 * (1 + 5e-4), 2.0, 2.0], "bf16", None),
        ([2.0, 2.0, 2.01], "bf16", [2]),
        ([2.0, None, 2.0], "fp32", [1]),
        ([None, None, None], "fp32", None),
        ([2.0, 3.0, 4.0], "fp32", [0, 1, 2]),
    ],
)
def test_all_ranks_must_see_one_norm(
    norms: list[float | None], precision: str, ranks: list[int] | None
) -> None:
    sent = Ranks(precision=precision).send_blocks(*({"gradient_norms": [1.0, n]} for n in norms))
    assert [(f.what, f.ranks) for f in faults(sent)] == (
        [] if ranks is None else [("gradient_norms", ranks)]
    )


def test_a_rank_that_runs_other_steps_is_a_fault_and_has_no_losses() -> None:
    short = {"steps": 1, "losses": [9.0], "gradient_norms": [1.0], "oracle_losses": [0.5]}
    fault, block = Ranks().send_blocks({}, {"losses": [6.0, 5.0]}, short)
    assert (fault.what, fault.ranks) == ("steps", [2])
    assert block.losses == [5.5, 4.5]
    (fault,) = faults(Ranks().send(*(Finished(at_seconds=1.0, steps=n) for n in (8, 8, 7))))
    assert (fault.what, fault.ranks) == ("steps", [2])


def test_replicas_must_agree_and_shards_need_not() -> None:
    layout = Layout(data_parallel_replicate_size=2, data_parallel_shard_size=2)
    given = [
        Replica(at_seconds=1.0, rank=rank, steps=8, digest=digest)
        for rank, digest in enumerate("abab")
    ]
    assert Ranks(layout).send(*given) == given
    (fault,) = faults(Ranks(layout).send(*given[:3], replace(given[3], digest="c")))
    assert (fault.what, fault.ranks) == ("weights", [3])
    # The state is sharded over ranks with parts of one sequence too.
    copies = Layout(data_parallel_replicate_size=2, context_parallel_size=2)
    assert faults(Ranks(copies).send(*given)) == []
    shards = Layout(context_parallel_size=2, data_parallel_shard_size=2)
    assert faults(Ranks(shards).send(*given)) == []
