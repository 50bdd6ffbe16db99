"""Checks of the ranks of a job: that they are those that were planned, agree, and are alike.

Rules and thresholds: docs/metrics.md, "Checks" and "Several ranks".
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from trnbench.analysis.case import Case, Finding, doubtful, invalid, not_judged, sound
from trnbench.analysis.checks.device import DEVICE_SOURCES
from trnbench.analysis.idle import idle_note
from trnbench.analysis.ranks import RankTimes, find_rank_times, find_waiting
from trnbench.catalog.backends import backend_of
from trnbench.protocol.parallel import Seated
from trnbench.schema.measurement import Reading

MAX_RANK_LAG = 0.02

SLOWEST_OVER_EVEN = 3.0
"""How many times as often as equal ranks, up to 90 % of samples, a slow rank is the slowest."""

FEWEST_RANK_SAMPLES = 10

MAX_SPREAD = 0.05
"""Of the ranks' times, and of the devices' clocks."""

MAX_WAITING = 0.10
"""Part of a step that other ranks wait for one, by a few steps, which the profiler disturbs."""

MAX_CAP_DIFFERENCE = 0.01
"""A power cap is a setting, so equal devices have equal ones, but for rounding."""

ONE_RANK = "the job has one rank"

FIND_SLOW = "all ranks wait for it: look at its device's clock, cooling and links, or replace it"


def check_ranks(case: Case) -> Finding:
    """No rank is slower than the others, so that all wait for it.

    Source: docs/metrics.md, "Checks", slow rank.
    """
    layout = case.plan.parallel.layout
    times = find_rank_times(case.measured_blocks, layout)
    if times is None:
        return not_judged("one rank has no other to be slower than")
    count = len(times.step_seconds)
    waiting = find_waiting(case.measurement.communications, layout)
    if waiting is not None and waiting.share > MAX_WAITING:
        seen = (
            f"rank {waiting.rank} of {count} is in collectives for {waiting.share:.1%} of a step "
            "less than its peers: they wait for it"
        )
        return doubtful(seen, FIND_SLOW)
    if times.samples < FEWEST_RANK_SAMPLES:
        few = f"{times.samples} samples of {count} ranks are too few to tell chance from a slow one"
        return not_judged(few)
    if times.lag is None or times.spread is None:
        return not_judged("each pipeline stage has one rank, and no other does its work")
    seen = (
        f"rank {times.slowest} of {count} is the slowest in {times.slow_share:.0%}, by "
        f"{times.lag:+.1%}; it takes {times.spread:.1%} longer than the fastest"
    )
    return doubtful(seen, FIND_SLOW) if _is_slow(times, count) else sound(seen)


def _is_slow(times: RankTimes, count: int) -> bool:
    if times.lag is None or times.spread is None:
        return False
    is_often = times.slow_share > min(SLOWEST_OVER_EVEN / count, 0.9)
    return times.spread > MAX_SPREAD or (is_often and times.lag > MAX_RANK_LAG)


def check_seats(case: Case) -> Finding:
    """Every planned rank was there, on a device of its own, in the device's own process group."""
    planned, seats = case.plan.parallel.world_size, case.measurement.seats
    if planned == 1 and not seats:
        return not_judged(ONE_RANK)
    if not seats and not case.measured_blocks:
        return not_judged("the case ended before its ranks had met")
    faults = [*_faults_of_seats(case, seats)]
    if faults:
        advice = "the figures are not of the job that was planned: see its seated records"
        return invalid("; ".join(faults), advice)
    groups = ", ".join(sorted({seat.process_group for seat in seats}))
    return sound(f"{planned} ranks in a process group of {groups}")


def _faults_of_seats(case: Case, seats: Sequence[Seated]) -> Iterator[str]:
    planned, order = case.plan.parallel.world_size, case.plan.order
    missing = sorted(set(range(planned)) - {seat.rank for seat in seats})
    if missing or len(seats) != planned:
        which = f": rank {_listed(missing)} is missing" if missing else ""
        yield f"{len(seats)} of {planned} ranks were there{which}"
    counts = {len(b.rank_seconds) for b in case.measured_blocks if b.rank_seconds is not None}
    if counts - {planned}:
        yield f"its blocks have the times of {min(counts - {planned})} ranks, not of {planned}"
    own = backend_of(order.backend).process_group
    wrong = {seat.process_group: seat.rank for seat in seats if seat.process_group != own}
    for group, rank in sorted(wrong.items()):
        yield f"rank {rank} is in a process group of {group} and not of {own or 'any kind'}"
    for first, second in itertools.combinations(seats, 2):
        if first.device_id is not None and first.device_id == second.device_id:
            yield f"ranks {first.rank} and {second.rank} are both on {first.device}"
    if len({seat.program for seat in seats}) > 1:
        yield "its ranks ran different programs"


def _listed(ranks: Sequence[int]) -> str:
    more = f" and {len(ranks) - 4} more" if len(ranks) > 4 else ""
    return ", ".join(map(str, ranks[:4])) + more


def check_agreement(case: Case) -> Finding:
    """No rank contradicted another: in losses, gradients, weights, steps or devices."""
    faults = case.measurement.rank_faults
    if faults:
        first = faults[0]
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        what = first.what.replace("_", " ")
        seen = f"ranks contradict each other, {what}: {first.evidence}{more}"
        advice = "the ranks did not train one model together: nothing follows from its figures"
        return invalid(seen, advice)
    if case.plan.parallel.world_size == 1:
        return not_judged(ONE_RANK)
    if not case.measured_blocks:
        return not_judged("no step was measured")
    count = len(case.measurement.replicas)
    alike = f"; the weights of {count} ranks were compared" if count else ""
    return sound(f"no rank contradicts another{alike}")


MOST_DIFFERENCES = 3
"""That a finding names."""


def check_nodes(case: Case) -> Finding:
    """The job's nodes have the same hardware, settings and software.

    Source: docs/metrics.md, "Checks", nodes.
    """
    launch = case.measurement.launch
    nodes = None if launch is None else launch.nodes
    if case.plan.parallel.nodes == 1 or nodes is None:
        return not_judged("the job has one node")
    names = sorted({name for facts in nodes for name in facts})
    seen = [said for name in names if (said := _difference(name, nodes)) is not None]
    if not seen:
        return sound(f"{len(nodes)} nodes have {len(names)} facts of machine and software alike")
    more = f"; and {len(seen) - MOST_DIFFERENCES} more" if len(seen) > MOST_DIFFERENCES else ""
    advice = "all ranks wait for the slowest node: make the nodes alike and measure again"
    return doubtful("; ".join(seen[:MOST_DIFFERENCES]) + more, advice)


def _difference(name: str, nodes: Sequence[Mapping[str, str]]) -> str | None:
    """Say which node has another value than most, the first such; None where all agree."""
    values = [facts.get(name, "unknown") for facts in nodes]
    usual = max(values, key=lambda value: (values.count(value), value == values[0]))
    other = next((node for node, value in enumerate(values) if value != usual), None)
    if other is None:
        return None
    return f"{name} of node {other} is {values[other]}, and {usual} of node {values.index(usual)}"


def check_equal_devices(case: Case) -> Finding:
    """The job's devices ran at equal clocks, under equal power caps."""
    devices = case.plan.device.devices_used
    if devices == 1:
        return not_judged("the job has one device")
    by_device = _readings_by_device(case)
    if len(by_device) != devices:
        count = len(by_device) or "none"
        return not_judged(f"the state of {count} of the job's {devices} devices was read")
    seen = []
    for name, what, limit in (
        ("core_clock_hertz", "core clock", MAX_SPREAD),
        ("power_limit_watts", "power cap", MAX_CAP_DIFFERENCE),
    ):
        found = {
            device: median(values)
            for device, readings in by_device.items()
            if (values := [r.values[name] for r in readings if name in r.values])
        }
        if len(found) < devices:
            continue
        low, high = (pick(found, key=found.__getitem__) for pick in (min, max))
        spread = found[high] / found[low] - 1 if found[low] > 0 else 0.0
        seen.append(f"{what}s differ by {spread:.1%}")
        if spread > limit:
            text = f"the {what} of device {low} is {spread:.1%} below that of device {high}"
            advice = "set equal clocks and caps (`nvidia-smi -q -d CLOCK,POWER`) and measure again"
            return doubtful(text, advice)
    if not seen:
        return not_judged("no source reported the devices' clocks or power caps")
    return sound("; ".join(seen))


def _readings_by_device(case: Case) -> dict[int, list[Reading]]:
    """Return the valid readings of single devices while the case measured."""
    blocks = case.measured_blocks
    found: dict[int, list[Reading]] = {}
    if not blocks:
        return found
    began, ended = blocks[0].at_seconds - blocks[0].seconds, blocks[-1].at_seconds
    for each in case.measurement.readings:
        if each.device is None or each.source not in DEVICE_SOURCES or not each.is_valid:
            continue
        if began <= each.at_seconds <= ended:
            found.setdefault(each.device, []).append(each)
    return found


def check_peer_access(case: Case) -> Finding:
    """The job's devices reach each other without the host's memory in between."""
    environment = case.measurement.environment
    told = None if environment is None else environment.settings.get("peer_access")
    if case.plan.device.devices_used == 1 or told is None:
        return not_judged("the job has one device, or its software does not say")
    reached, _, rest = told.partition(" of ")
    seen = f"rank 0's device reaches {told} others directly"
    if reached == rest.partition(",")[0]:
        return sound(seen)
    advice = "collectives go through the host: see `nvidia-smi topo -p2p r` and NCCL_P2P_DISABLE"
    return doubtful(seen, advice)


def check_idle_devices(case: Case) -> Finding:
    """Which of the billed devices are idle.

    It is no doubt: throughput and dollars are right, of a machine that is not wholly used.
    """
    device = case.plan.device
    if device.accelerator is None:
        return not_judged("no chip is known to be billed")
    if not case.measured_blocks:
        return not_judged("no step was measured")
    note = idle_note(device)
    if note is not None:
        return sound(note, "train on all of them (`device: auto`), or rent a smaller instance")
    count = device.devices_billed
    return sound(f"all {count} billed devices are used" if count > 1 else "the device is used")
