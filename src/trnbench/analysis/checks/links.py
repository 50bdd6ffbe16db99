"""Checks of what joins a job's devices: that bytes take the fast way, and all the same one.

Rules: docs/metrics.md, "Checks", links, transports and all_reduce.
"""

import re
from collections import Counter

from trnbench.analysis.case import Case, Finding, doubtful, not_judged, sound
from trnbench.analysis.microbench import bus_factor
from trnbench.protocol.parallel import AllReduce
from trnbench.units import say_bytes, say_bytes_per_second

FAST_NETWORK = re.compile(r"NET/(?!Socket)")
"""NCCL's word for a network plugin, such as OFI for EFA and IB; Socket is TCP.

Source: NCCL documentation, environment variables, NCCL_NET."""


NETWORK_ADVICE = (
    "see NCCL_NET, FI_PROVIDER, and the network's plugin (aws-ofi-nccl, aws-neuronx-collectives)"
)

MIN_OF_PEAK = 0.5
"""Of the bandwidth that `trnbench peak` measured: half of the links would leave as much."""


def check_all_reduce(case: Case) -> Finding:
    """Bytes move between the job's devices about as fast as `trnbench peak` measured here.

    The fastest repeat counts: other work on the machine can only make an all-reduce slower.
    """
    timed, launch = case.measurement.all_reduce, case.measurement.launch
    if case.plan.parallel.world_size == 1:
        return not_judged("the job has one device")
    if timed is None or not timed.seconds or min(timed.seconds) <= 0:
        return not_judged("no all-reduce was timed after the steps")
    bandwidth = bus_factor("all_reduce", timed.ranks) * timed.whole_bytes / min(timed.seconds)
    seen = (
        f"an all-reduce of {say_bytes(timed.whole_bytes)} between {timed.ranks} ranks moves "
        f"{say_bytes_per_second(bandwidth)}"
    )
    peak = None if launch is None else launch.all_reduce_peak
    if peak is None or (peak.ranks, peak.whole_bytes) != (timed.ranks, timed.whole_bytes):
        return not_judged(f"{seen}; no `trnbench peak` of as many devices like these is in peaks/")
    best = bus_factor("all_reduce", peak.ranks) * peak.whole_bytes / peak.seconds
    seen += (
        f", {bandwidth / best:.0%} of the {say_bytes_per_second(best)} that {peak.source} measured "
        f"in peaks/{peak.folder} ({peak.started_at})"
    )
    if bandwidth >= MIN_OF_PEAK * best:
        return sound(seen)
    advice = (
        "look at the checks `transports`, `links` and `foreign_load`, and at `trnbench doctor`; "
        "`trnbench peak` measures again"
    )
    return doubtful(seen, advice)


def check_transports(case: Case) -> Finding:
    """Bytes between the job's devices move by peer access, and by TCP between no two machines."""
    if case.plan.device.devices_used == 1:
        return not_judged("the job has one device")
    found: Counter[str] = Counter()
    for each in case.measurement.communications:
        found.update(each.transports or {})
    nodes = len({seat.node for seat in case.measurement.seats})
    counted = _counted_between(nodes, case.measurement.all_reduce)
    if counted is not None and (not found or counted.verdict == "doubtful"):
        return counted
    if not found:
        return not_judged("the library between the devices does not say how it moves bytes")
    seen = "connections by " + ", ".join(f"{name} ({n})" for name, n in sorted(found.items()))
    if found["NET/Socket"] or (nodes <= 1 and any(map(FAST_NETWORK.match, found))):
        where = "devices of one machine" if nodes <= 1 else "machines"
        return doubtful(f"{seen}: a network moves bytes between {where}", NETWORK_ADVICE)
    if found["SHM"]:
        advice = "see NCCL_P2P_DISABLE, and peer access in `nvidia-smi topo -p2p r`"
        return doubtful(f"{seen}: the host's memory is between devices", advice)
    return sound(seen)


def _counted_between(nodes: int, timed: AllReduce | None) -> Finding | None:
    """Return by which cards bytes moved between machines, as these counted; None if unknown."""
    if nodes < 2 or timed is None or timed.network_bytes is None:
        return None
    rdma, tcp = timed.network_bytes["rdma"], timed.network_bytes["tcp"]
    seen = f"between machines {say_bytes(rdma)} went by RDMA and {say_bytes(tcp)} by TCP"
    if tcp > max(rdma, timed.whole_bytes):
        return doubtful(f"{seen}, though there is a card for RDMA", NETWORK_ADVICE)
    return sound(seen)


def check_links(case: Case) -> Finding:
    """The job's devices are joined alike, so that none of them is slower to reach."""
    links = case.measurement.launch.links if case.measurement.launch is not None else None
    if not links:
        return not_judged("how the devices are joined is not known, or there is one")
    seen = ", ".join(f"{count} by {name}" for name, count in sorted(links.items()))
    is_mixed = len({name.startswith("NV") for name in links}) > 1
    if is_mixed:
        advice = (
            "take devices that all have NVLink: see `nvidia-smi topo -m`, and `device: cuda:0-N`"
        )
        return doubtful(f"of the pairs of devices {seen}: some have no NVLink", advice)
    return sound(f"of the pairs of devices {seen}")
