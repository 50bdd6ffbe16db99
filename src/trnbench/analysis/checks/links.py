"""Checks of what joins a job's devices: that bytes take the fast way, and all the same one.

Rules: docs/metrics.md, "Checks", links and transports.
"""

import re
from collections import Counter

from trnbench.analysis.case import Case, Finding, doubtful, not_judged, sound

FAST_NETWORK = re.compile(r"NET/(?!Socket)")
"""NCCL's word for a network plugin, such as OFI for EFA and IB; Socket is TCP.

Source: NCCL documentation, environment variables, NCCL_NET."""


def check_transports(case: Case) -> Finding:
    """Bytes between the job's devices move by peer access, and by TCP between no two machines."""
    if case.plan.device.devices_used == 1:
        return not_judged("the job has one device")
    found: Counter[str] = Counter()
    for each in case.measurement.communications:
        found.update(each.transports or {})
    if not found:
        return not_judged("the library between the devices does not say how it moves bytes")
    seen = "connections by " + ", ".join(f"{name} ({n})" for name, n in sorted(found.items()))
    nodes = len({seat.node for seat in case.measurement.seats})
    if found["NET/Socket"] or (nodes <= 1 and any(map(FAST_NETWORK.match, found))):
        where = "devices of one machine" if nodes <= 1 else "machines"
        advice = "see NCCL_NET, FI_PROVIDER, and the network's plugin (aws-ofi-nccl for EFA)"
        return doubtful(f"{seen}: a network moves bytes between {where}", advice)
    if found["SHM"]:
        advice = "see NCCL_P2P_DISABLE, and peer access in `nvidia-smi topo -p2p r`"
        return doubtful(f"{seen}: the host's memory is between devices", advice)
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
