"""Jobs of several ranks: what is found of their times, memory and communication, and judged."""

from dataclasses import replace
from typing import Any

import pytest

from tests.builders import (
    CORES,
    H100S,
    make_job,
    make_job_plan,
    make_plan,
    make_result,
    make_seat,
)
from trnbench.analysis.idle import idle_note
from trnbench.analysis.pooling import pool
from trnbench.analysis.ranks import find_communication, find_rank_times, find_waiting, peers_of
from trnbench.errors import DataError
from trnbench.protocol.parallel import Communication, Layout
from trnbench.protocol.records import Memory
from trnbench.schema.measurement import Launch, Measurement, RankFault, Reading
from trnbench.schema.plan import Plan, PlannedDevice
from trnbench.schema.result import CheckOutcome, Result

LAYOUT = Layout(data_parallel_shard_size=8)
PIPELINE = Layout(pipeline_parallel_size=2, data_parallel_replicate_size=2)
NOT_JUDGED = "not_judged"


def judged(name: str, result: Result) -> CheckOutcome:
    (found,) = [check for check in result.checks if check.name == name]
    return found


def job(plan: Plan | None = None, **changes: Any) -> Result:
    plan = plan or make_job_plan()
    return make_result(plan, make_job(plan, **changes))


def timed(per_rank: list[float], layout: Layout = LAYOUT, **changes: Any) -> Result:
    """Return a job whose ranks take these parts of a block's time."""
    plan = make_job_plan(layout, of_count(layout.world_size))
    made = make_job(plan, **changes)
    made.blocks = [
        replace(block, rank_seconds=[block.seconds * part for part in per_rank])
        for block in made.blocks
    ]
    return make_result(plan, made)


def of_count(devices: int) -> PlannedDevice:
    return H100S.model_copy(
        update={"devices_used": devices, "chips_used": devices, "chips_billed": devices}
    )


def communication(
    rank: int, seconds: float, exposed: float | None, **changes: Any
) -> Communication:
    made = Communication(
        at_seconds=9.0, rank=rank, steps=2, window_seconds=1.0, seconds=seconds,
        exposed_seconds=exposed, operations={"all_reduce": seconds},
    )  # fmt: skip
    return replace(made, **changes)


# --- a job that is as it should be ----------------------------------------------------------------


def test_a_good_job_is_sound() -> None:
    result = job()
    assert result.standing == "sound"
    for name in ("ranks", "seats", "agreement", "idle_devices"):
        assert judged(name, result).verdict == "sound", name
        assert judged(name, result).advice is None
    assert judged("seats", result).evidence == "8 ranks in a process group of nccl"


def test_what_its_ranks_did_is_in_the_result() -> None:
    result = timed([1.0, 0.99, 0.98, 0.97, 0.96, 0.97, 0.98, 0.99])
    ranks = result.ranks
    assert result.parallel == make_job_plan(LAYOUT, of_count(8)).parallel
    assert ranks is not None
    assert (ranks.count, ranks.process_group, ranks.slowest_rank) == (8, "nccl", 0)
    assert ranks.slow_share == 1.0
    assert ranks.time_spread == pytest.approx(1 / 0.96 - 1)
    assert ranks.step_seconds is not None
    assert ranks.step_seconds[4] == pytest.approx(0.96 * ranks.step_seconds[0])
    assert ranks.fullest_rank == 2
    assert ranks.least_memory_bytes == 512 * 2**20
    assert result.metrics["peak_memory_bytes"].value == 528 * 2**20


def test_one_rank_has_no_part_of_ranks() -> None:
    result = make_result(make_plan())
    assert result.ranks is None
    assert result.parallel is not None
    assert result.parallel.world_size == 1


def test_a_rank_without_a_memory_figure_is_left_out() -> None:
    memory = Memory(
        at_seconds=9.0, peak_bytes=5, counted="device_allocated", rank_peak_bytes=[None, 4, 5, 3]
    )
    ranks = timed([1.0] * 4, Layout(data_parallel_shard_size=4), memory=memory).ranks
    assert ranks is not None
    assert (ranks.fullest_rank, ranks.least_memory_bytes) == (2, 3)


# --- seats ----------------------------------------------------------------------------------------


def seats_but(rank: int, **changes: Any) -> dict[str, Any]:
    seats = [make_seat(each) for each in range(8)]
    seats[rank] = make_seat(rank, **changes)
    return {"seats": seats}


@pytest.mark.parametrize(
    ("changes", "evidence"),
    [
        (
            seats_but(3, process_group="gloo"),
            "rank 3 is in a process group of gloo and not of nccl",
        ),
        (seats_but(5, device_id="device-2"), "ranks 2 and 5 are both on cuda:2"),
        ({"seats": [make_seat(rank) for rank in range(6)]}, "6 of 8 ranks were there: rank 6, 7"),
        ({"seats": []}, "0 of 8 ranks were there: rank 0, 1, 2, 3 and 4 more is missing"),
        (seats_but(1, program="another"), "its ranks ran different programs"),
    ],
)
def test_a_job_that_is_not_the_planned_one_is_invalid(
    changes: dict[str, Any], evidence: str
) -> None:
    result = job(**changes)
    found = judged("seats", result)
    assert found.verdict == "invalid"
    assert found.evidence.startswith(evidence)
    assert found.advice
    assert result.standing == "invalid"


def test_a_group_of_gloo_is_neurons_neither() -> None:
    cores = CORES.model_copy(update={"devices_used": 4})
    plan = make_job_plan(Layout(tensor_parallel_size=4), cores)
    assert judged("seats", job(plan)).verdict == "sound"
    seats = [make_seat(rank, "neuron", process_group="gloo") for rank in range(4)]
    found = judged("seats", job(plan, seats=seats))
    assert (found.verdict, "of gloo and not of neuron" in found.evidence) == ("invalid", True)


def test_ranks_share_a_processor_and_its_group_is_gloo() -> None:
    device = make_plan().device.model_copy(update={"devices_used": 2, "instance": "p5.48xlarge"})
    plan = make_job_plan(Layout(data_parallel_replicate_size=2), device)
    assert judged("seats", job(plan)).verdict == "sound"


def test_blocks_with_the_times_of_other_ranks_are_invalid() -> None:
    made = make_job()
    made.blocks = [replace(block, rank_seconds=[0.05] * 7) for block in made.blocks]
    found = judged("seats", make_result(make_job_plan(), made))
    assert (found.verdict, "the times of 7 ranks" in found.evidence) == ("invalid", True)


def test_a_job_that_ended_before_its_ranks_met_is_not_judged() -> None:
    result = job(seats=[], blocks=[], decisions=[], communications=[])
    assert judged("seats", result).verdict == NOT_JUDGED
    assert judged("agreement", result).verdict == NOT_JUDGED
    assert judged("ranks", result).verdict == NOT_JUDGED


# --- contradictions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "what", ["losses", "gradient_norms", "weights", "steps", "device", "process_group"]
)
def test_ranks_that_contradict_each_other_make_it_invalid(what: Any) -> None:
    fault = RankFault(at_seconds=2.0, what=what, ranks=[0, 1], evidence="both have 7.61 at step 3")
    result = job(rank_faults=[fault, fault])
    found = judged("agreement", result)
    assert found.verdict == "invalid"
    assert found.evidence == (
        f"ranks contradict each other, {what.replace('_', ' ')}: both have 7.61 at step 3 (and 1 "
        "more)"
    )
    assert result.standing == "invalid"


# --- a slow rank ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("slow", "verdict"), [(0.049, "sound"), (0.051, "doubtful")])
def test_half_of_the_ranks_slow_is_a_doubt_from_five_percent_on(slow: float, verdict: str) -> None:
    """None of them is the slowest for most of the time."""
    plan, made = make_job_plan(), make_job()
    made.blocks = [
        replace(
            block,
            rank_seconds=[
                block.seconds * ((1 + slow if rank < 4 else 1) + 1e-4 * ((rank + at) % 4 == 0))
                for rank in range(8)
            ],
        )
        for at, block in enumerate(made.blocks)
    ]
    found = judged("ranks", make_result(plan, made))
    assert found.verdict == verdict, found
    assert "of 8 is the slowest" in found.evidence


@pytest.mark.parametrize(("less", "verdict"), [(0.099, "sound"), (0.101, "doubtful")])
def test_a_rank_that_waits_less_than_its_peers_is_the_one_they_wait_for(
    less: float, verdict: str
) -> None:
    records = [communication(rank, 0.2, 0.15 - less * (rank == 5)) for rank in range(8)]
    found = judged("ranks", job(communications=records))
    assert found.verdict == verdict, found
    if verdict == "doubtful":
        assert found.evidence == (
            "rank 5 of 8 is in collectives for 10.1% of a step less than its peers: they wait for "
            "it"
        )


def test_stages_of_a_pipeline_do_not_do_the_same_work() -> None:
    """So a stage is compared with itself alone."""
    assert peers_of(PIPELINE, 4) == [[0, 1], [2, 3]]
    assert judged("ranks", timed([1.0, 0.99, 0.6, 0.59], PIPELINE)).verdict == "sound"
    assert judged("ranks", timed([1.0, 0.9, 0.6, 0.6], PIPELINE)).verdict == "doubtful"
    lone = Layout(pipeline_parallel_size=4)
    result = timed([1.0, 0.9, 0.8, 0.7], lone, communications=[])
    assert judged("ranks", result).verdict == NOT_JUDGED
    assert result.ranks is not None
    assert (result.ranks.slowest_rank, result.ranks.time_spread) == (0, None)


def test_a_block_of_several_steps_counts_by_its_step() -> None:
    made = make_job()
    blocks = [
        replace(block, steps=steps, rank_seconds=[steps * 1.0, steps * 2.0])
        for block, steps in zip(made.blocks, [1, 3, 5], strict=False)
    ]
    times = find_rank_times(blocks, Layout(data_parallel_shard_size=2))
    assert times is not None
    assert times.step_seconds == (1.0, 2.0)
    assert (times.slowest, times.spread) == (1, 1.0)


# --- communication --------------------------------------------------------------------------------


def test_communication_is_the_mean_and_the_most_over_ranks() -> None:
    found, reason = find_communication([communication(0, 0.2, 0.1), communication(1, 0.4, 0.1)])
    assert reason is None
    assert found is not None
    assert found.share == pytest.approx(0.3)
    assert (found.most_share, found.most_rank, found.ranks, found.steps) == (0.4, 1, 2, 2)
    assert found.exposed_share == pytest.approx(0.1)
    assert found.overlapped_share == pytest.approx(0.2)
    assert found.operations == {"all_reduce": pytest.approx(0.3)}


def test_what_the_profiler_cannot_tell_stays_unknown() -> None:
    found, _ = find_communication([communication(0, 0.2, None), communication(1, 0.4, 0.1)])
    assert found is not None
    assert (found.exposed_share, found.overlapped_share) == (None, None)
    blind = replace(
        communication(0, 0.2, None), window_seconds=None, seconds=None, reason="it is blind"
    )
    assert find_communication([blind]) == (None, "it is blind")
    assert find_communication([]) == (None, "no step was profiled for its communication")
    assert find_waiting([communication(0, 0.2, 0.1)], LAYOUT) is None


# --- devices --------------------------------------------------------------------------------------


def readings(name: str, by_device: list[float], at: float = 3.0) -> list[Reading]:
    return [
        Reading(
            at_seconds=at + beat, source="nvml", device=device, is_valid=True, note=None,
            values={name: value}, flags=[],
        )
        for beat in (0.0, 0.5)
        for device, value in enumerate(by_device)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "least", "verdict"),
    [
        ("core_clock_hertz", 1.9e9, "doubtful"),
        ("core_clock_hertz", 1.97e9, "sound"),
        ("power_limit_watts", 1.95e9, "doubtful"),
        ("power_limit_watts", 1.99e9, "sound"),
    ],
)
def test_unequal_clocks_or_caps_are_a_doubt(name: str, least: float, verdict: str) -> None:
    found = judged("equal_devices", job(readings=readings(name, [2e9] * 3 + [least] + [2e9] * 4)))
    assert found.verdict == verdict, found
    if verdict == "doubtful":
        assert "of device 3 is" in found.evidence


def test_devices_whose_state_was_not_read_are_not_judged() -> None:
    some = readings("core_clock_hertz", [2e9, 1e9])
    assert judged("equal_devices", job(readings=some)).verdict == NOT_JUDGED
    before = readings("core_clock_hertz", [2e9] * 7 + [1e9], at=0.1)
    assert judged("equal_devices", job(readings=before)).verdict == NOT_JUDGED
    other = readings("power_watts", [2e9] * 7 + [1e9])
    assert judged("equal_devices", job(readings=other)).verdict == NOT_JUDGED


@pytest.mark.parametrize(
    ("told", "verdict"),
    [("7 of 7", "sound"), ("6 of 7", "doubtful"), ("0 of 7, by NCCL_P2P_DISABLE", "doubtful"),
     (None, NOT_JUDGED)],
)  # fmt: skip
def test_devices_that_reach_each_other_through_the_host_are_a_doubt(
    told: str | None, verdict: str
) -> None:
    environment = make_job().environment
    assert environment is not None
    settings = {} if told is None else {"peer_access": told}
    found = judged("peer_access", job(environment=replace(environment, settings=settings)))
    assert found.verdict == verdict
    assert bool(found.advice) == (verdict == "doubtful")


# --- idle devices ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "changes", "said"),
    [
        (H100S, {}, None),
        (
            H100S, {"devices_used": 2, "chips_used": 2},
            "6 of 8 h100-sxm chips are idle: $/token is of the whole instance, 4.0 x what the "
            "used part costs",
        ),
        (
            H100S, {"devices_used": 7, "chips_used": 7},
            "1 of 8 h100-sxm chips is idle: $/token is of the whole instance, 1.1 x what the used "
            "part costs",
        ),
        (
            CORES, {"devices_used": 16, "chips_used": 4},
            "12 of 16 trainium2 chips are idle: $/token is of the whole instance, 4.0 x what the "
            "used part costs",
        ),
        (
            CORES, {},
            "63 of 64 devices of 16 trainium2 chips are idle: $/token is of the whole instance, "
            "64.0 x what the used part costs",
        ),
        (
            CORES, {"chips_billed": 1, "instance": None},
            "3 of 4 devices of one trainium2 chip are idle: $/token is of all that is billed, "
            "4.0 x what the used part costs",
        ),
        (
            H100S, {"devices_used": 12, "chips_used": 12, "chips_billed": 16,
                    "instances_billed": 2},
            "4 of 16 h100-sxm chips are idle: $/token is of all 2 instances, 1.3 x what the used "
            "part costs",
        ),
        (CORES, {"accelerator": None, "chips_billed": 1, "devices_per_chip": 1}, None),
    ],
)  # fmt: skip
def test_idle_devices_and_what_they_cost(
    device: PlannedDevice, changes: dict[str, Any], said: str | None
) -> None:
    assert idle_note(device.model_copy(update=changes)) == said


def test_idle_devices_are_no_doubt_but_have_advice() -> None:
    plan = make_job_plan(Layout(), CORES)
    made: Measurement = make_job(plan)
    made.blocks = [replace(block, rank_seconds=None) for block in made.blocks]
    result = make_result(plan, made)
    found = judged("idle_devices", result)
    assert (found.verdict, found.evidence) == ("sound", idle_note(CORES))
    assert found.advice
    assert result.standing == "sound"


def test_rates_are_of_the_job_of_a_chip_a_device_and_an_instance() -> None:
    cores = CORES.model_copy(update={"devices_used": 16, "chips_used": 4})
    result = job(make_job_plan(Layout(tensor_parallel_size=4, data_parallel_shard_size=4), cores))
    whole = result.metrics["tokens_per_second"].value
    assert whole is not None
    for name, parts in (("device", 16), ("chip", 4), ("instance", 1)):
        figure = result.metrics[f"tokens_per_second_per_{name}"]
        assert figure.value == pytest.approx(whole / parts)
        assert figure.low is not None
    of_used = result.metrics["mfu_used_devices"].value
    assert of_used == pytest.approx(4 * (result.metrics["mfu"].value or 0.0))


# --- several launches -----------------------------------------------------------------------------


def test_of_several_launches_the_worst_of_each_is_shown() -> None:
    plan = make_job_plan()
    calm, apart = job(plan), timed([1.0, 0.9] * 4, communications=[])
    peaks: list[int | None] = [*[2**30] * 7, 9 * 2**30]
    memory = Memory(
        at_seconds=9.0, peak_bytes=9 * 2**30, counted="device_allocated", rank_peak_bytes=peaks
    )
    full = job(plan, memory=memory)
    ranks = pool(plan, [calm, apart, full]).ranks
    assert ranks is not None
    assert calm.ranks is not None
    assert ranks.time_spread == pytest.approx(1 / 0.9 - 1)
    assert (ranks.fullest_rank, ranks.least_memory_bytes) == (7, 2**30)
    assert ranks.communication == calm.ranks.communication
    assert ranks.communication_reason is None
    alone = make_result(make_plan())
    assert pool(make_plan(), [alone, alone]).ranks is None


# --- records that no job can have written ---------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seconds": 1.2}, "rank 3 was in collectives for 1.2 s of 1 s"),
        ({"exposed_seconds": 0.3}, "a part of rank 3's collectives took 0.3 s of 0.2 s"),
        ({"operations": {"all_reduce": 0.4}}, "a part of rank 3's collectives took 0.4 s of 0.2 s"),
        ({"operations": {"all_reduce": -0.1}}, "a part of rank 3's collectives took -0.1 s"),
        ({"window_seconds": None}, "rank 3 was in collectives for 0.2 s of 0 s"),
    ],
)
def test_more_communication_than_there_was_time_is_refused(
    changes: dict[str, Any], said: str
) -> None:
    records = [replace(communication(3, 0.2, 0.1), **changes)]
    with pytest.raises(DataError, match=said):
        job(communications=records)


def test_a_memory_below_zero_is_refused() -> None:
    peaks: list[int | None] = [5, -1]
    memory = Memory(at_seconds=9.0, peak_bytes=5, counted="c", rank_peak_bytes=peaks)
    with pytest.raises(DataError, match="rank 1 held -1 bytes"):
        job(memory=memory)


def on_nodes(*facts: dict[str, str]) -> Result:
    """Return a job whose nodes say this of themselves."""
    plan = make_job_plan()
    plan = plan.model_copy(
        update={"parallel": plan.parallel.model_copy(update={"nodes": len(facts)})}
    )
    made = make_job(plan)
    made.launch = Launch(at_seconds=0.0, variables={}, nodes=list(facts))
    return make_result(plan, made)


def test_nodes_that_are_alike_are_sound() -> None:
    assert judged("nodes", on_nodes({"torch": "2.13"}, {"torch": "2.13"})).verdict == "sound"


def test_what_differs_between_nodes_is_named_with_its_node() -> None:
    same = {"torch": "2.13", "LNC": "2"}
    found = judged("nodes", on_nodes(same, {**same, "torch": "2.12"}, same, {"torch": "2.13"}))
    assert found.verdict == "doubtful"
    assert "torch of node 1 is 2.12, and 2.13 of node 0" in found.evidence
    assert "LNC of node 3 is unknown, and 2 of node 0" in found.evidence
