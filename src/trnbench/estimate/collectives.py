"""How long collectives take between ranks of one mesh, inside a node and between nodes.

Source: docs/estimate.md: rings, with a level inside the node and one between nodes;
nccl-tests PERFORMANCE.md; Patarasuk & Yuan 2009 for the bound.
"""

from dataclasses import dataclass

from trnbench.estimate.machine import Machine
from trnbench.protocol.parallel import Axis, Layout

HOP_SECONDS = {"link": 2e-6, "network": 15e-6}
"""Of one message to a neighbour. Source: docs/trainium.md; NCCL is within a factor of two."""


@dataclass(frozen=True, slots=True)
class Group:
    """Ranks that speak to each other: how many in each node, and in how many nodes."""

    per_node: int
    nodes: int

    @property
    def size(self) -> int:
        """Ranks of the group."""
        return self.per_node * self.nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """What one rank can send, in one direction; None where it is not known."""

    link_bytes_per_second: float | None
    network_bytes_per_second: float | None
    ranks_per_node: int


def links_of(machine: Machine, share: float) -> Links:
    """Return the links of a rank that reaches `share` of their rates."""
    ranks = machine.chip.devices_per_chip
    link, network = machine.link_bytes_per_second, machine.network_bytes_per_second
    return Links(
        link_bytes_per_second=None if link is None else link * share / ranks,
        network_bytes_per_second=None if network is None else network * share / ranks,
        ranks_per_node=machine.chips_per_node * ranks,
    )


def group_of(layout: Layout, axis: Axis, links: Links) -> Group:
    """Return the group along an axis: inner axes take neighbours, and fill nodes first."""
    sizes = {
        "tensor": 1,
        "context": layout.tensor_parallel_size,
        "shard": layout.tensor_parallel_size * layout.context_parallel_size,
    }
    sizes["replicate"] = sizes["shard"] * layout.data_parallel_shard_size
    sizes["pipeline"] = sizes["replicate"] * layout.data_parallel_replicate_size
    return grouped(layout.size(axis), sizes[axis], links)


def grouped(size: int, stride: int, links: Links) -> Group:
    """Return the group of `size` ranks that lie `stride` apart."""
    per_node = max(1, min(size, links.ranks_per_node // stride))
    return Group(per_node, -(-size // per_node))


def gather_seconds(whole_bytes: float, group: Group, links: Links) -> float:
    """Return the time of an all-gather, or reduce-scatter, of a tensor of so many bytes.

    Between nodes each rank moves the part that its node shares out to it. A rate that is not known
    costs nothing here; the machine's gaps say so.
    """
    seconds = 0.0
    inside, across = group.per_node, group.nodes
    if inside > 1 and links.link_bytes_per_second:
        moved = (inside - 1) / inside * whole_bytes
        seconds += moved / links.link_bytes_per_second + (inside - 1) * HOP_SECONDS["link"]
    if across > 1 and links.network_bytes_per_second:
        moved = (across - 1) / across * whole_bytes / inside
        # A tree between many nodes needs as many hops as their number has bits.
        hops = min(across - 1, 2 * across.bit_length())
        seconds += moved / links.network_bytes_per_second + hops * HOP_SECONDS["network"]
    return seconds


def exchange_seconds(sent_bytes: float, group: Group, links: Links) -> float:
    """Return the time of an all-to-all in which each rank sends so many bytes in all."""
    size, seconds = group.size, 0.0
    if size == 1:
        return seconds
    if links.link_bytes_per_second:
        seconds += sent_bytes * (group.per_node - 1) / size / links.link_bytes_per_second
    if group.nodes > 1 and links.network_bytes_per_second:
        seconds += sent_bytes * (size - group.per_node) / size / links.network_bytes_per_second
    return seconds


def send_seconds(sent_bytes: float, group: Group, links: Links) -> float:
    """Return the time of a message to the next rank of a group, at the slowest place."""
    is_across = group.nodes > 1
    rate = links.network_bytes_per_second if is_across else links.link_bytes_per_second
    return sent_bytes / rate if rate else 0.0
