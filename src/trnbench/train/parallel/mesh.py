"""A job's ranks in torch.distributed: joining the group, the mesh of the layout, meeting, leaving.

A rank joins before it opens its device: the Neuron runtime takes no group after the device was
touched. Two groups hold all ranks: the device's own library moves tensors, and gloo moves what is
in the host's memory, so that meeting costs the device nothing and needs no numpy.

Source: docs/decisions/0026; torch 2.13, `torch.distributed.TCPStore` and `DeviceMesh`.
"""

import ctypes
import datetime
import io
import os
import sys
from collections.abc import Mapping
from typing import Any, Self

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from trnbench.protocol.parallel import ALONE, AXES, SINGLE, Axis, Layout, Seat
from trnbench.train.backends.base import Backend
from trnbench.train.channel import KnownFailure
from trnbench.train.parallel.turns import Turns

PATIENCE = datetime.timedelta(days=1)
"""For a rank that does not come. The parent finds a hang long before (`run/watch.py`), and knows
what torch does not: that another rank is compiling."""

_LOOPBACK = {"linux": "lo", "darwin": "lo0"}
_GLOO_INTERFACE = "GLOO_SOCKET_IFNAME"


class Mesh:
    """This rank's place in its job, and the groups that it shares work with.

    A rank alone has one too, whose groups are None: it joins none and broadcasts to itself.
    """

    def __init__(self, seat: Seat = ALONE, layout: Layout = SINGLE) -> None:
        self.seat = seat
        self.layout = layout
        self.axes: tuple[Axis, ...] = tuple(axis for axis in AXES if layout.size(axis) > 1)
        """Those with more than one rank, outermost first."""
        self._devices: DeviceMesh | None = None
        self._host: dist.ProcessGroup | None = None

    @classmethod
    def join(
        cls, seat: Seat, layout: Layout, kind: type[Backend], index: int | None = None
    ) -> Self:
        """Wait for all ranks and make the groups; touch no device.

        Args:
            seat: this rank's.
            layout: of the job; its sizes multiply to the seat's world.
            kind: of the devices.
            index: of this rank's, which its backend opens next.

        Raises:
            KnownFailure: torch cannot do it here, or layout and seat do not fit.
        """
        if seat.is_alone and layout.world_size == 1:
            return cls(seat, layout)
        if seat.world_size != layout.world_size:
            raise KnownFailure(
                f"the layout is of {layout.world_size} ranks, and the job has {seat.world_size}",
                reason="wrong_order",
            )
        library = kind.process_group
        if library is None or not dist.is_available() or not dist.is_gloo_available():
            raise KnownFailure(
                "torch moves no data between such devices here",
                reason="unsupported",
                hint="train on one device: set no size under `parallel:`",
            )
        mesh = cls(seat, layout)
        mesh._host = _join(seat, library, kind.group_options(index))
        return mesh

    def lay_out(self, device: torch.device) -> None:
        """Make a group of each axis; every rank must call it, once its device is open."""
        if self.axes:
            sizes = tuple(self.layout.size(axis) for axis in self.axes)
            self._devices = init_device_mesh(device.type, sizes, mesh_dim_names=self.axes)

    def relaid(self, layout: Layout, device: torch.device) -> Self:
        """Return a mesh of another layout of the same ranks; every rank must call it."""
        made = type(self)(self.seat, layout)
        made._host = self._host
        made.lay_out(device)
        return made

    # --- who is who -------------------------------------------------------------------------------

    @property
    def rank(self) -> int:
        """This rank, counted over the whole job."""
        return self.seat.rank

    @property
    def is_alone(self) -> bool:
        """Whether the job has no other rank."""
        return not self.axes

    @property
    def data_index(self) -> int:
        """Which of the data-parallel parts of a step this rank is given."""
        return self.layout.data_index(self.rank)

    def size(self, axis: Axis) -> int:
        """Return the ranks along an axis."""
        return self.layout.size(axis)

    def index(self, axis: Axis) -> int:
        """Return this rank's index along an axis."""
        return self.layout.index(self.rank, axis)

    def devices(self, *axes: Axis) -> DeviceMesh:
        """Return the part of the mesh along axes, each of which has more than one rank."""
        if self._devices is None:
            raise RuntimeError(f"the job has no mesh with {', '.join(axes)}")
        return self._devices[axes] if axes != self.axes else self._devices

    def joined(self, *axes: Axis) -> str | None:
        """Return the name of one dimension made of these axes; None if none has several ranks.

        Every rank must ask, as for each group.
        """
        several = tuple(axis for axis in axes if axis in self.axes)
        if len(several) < 2:
            return several[0] if several else None
        name = "_".join(several)
        self.devices(*several)._flatten(name)
        return name

    def named(self, *names: str) -> DeviceMesh:
        """Return the part of the mesh with these dimensions, joined ones among them."""
        if self._devices is None:
            raise RuntimeError(f"the job has no mesh with {', '.join(names)}")
        return self._devices[names]

    def group(self, axis: Axis) -> dist.ProcessGroup | None:
        """Return the ranks that differ from this one along the axis alone; None: there are none."""
        return self.devices(axis).get_group() if axis in self.axes else None

    def library(self, device: torch.device) -> str | None:
        """Return what moves tensors between the devices, as found in the group; None if alone."""
        if self.is_alone:
            return None
        group = dist.group.WORLD
        if type(group) is not dist.ProcessGroup:  # a vendor's own class
            return str(group.name())  # type: ignore[union-attr]
        return str(group._get_backend(device).name())

    # --- meeting ----------------------------------------------------------------------------------

    def barrier(self) -> None:
        """Return when all ranks have called it; devices may still be at work."""
        if self._host is not None:
            dist.barrier(group=self._host)

    def broadcast(self, value: Any) -> Any:
        """Return rank 0's value on every rank: what torch saves, in plain containers.

        What the other ranks pass is ignored.
        """
        if self._host is None:
            return value
        whole = _as_bytes(value) if self.rank == 0 else None
        size = torch.tensor([0 if whole is None else len(whole)])
        dist.broadcast(size, 0, group=self._host)
        if whole is None:
            whole = torch.empty(int(size), dtype=torch.uint8)
        dist.broadcast(whole, 0, group=self._host)
        return _from_bytes(whole) if self.rank else value

    def gather(self, value: Any) -> list[Any]:
        """Return every rank's value, in the order of ranks, on every rank."""
        if self._host is None:
            return [value]
        mine = _as_bytes(value)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.seat.world_size)]
        dist.all_gather(sizes, torch.tensor([len(mine)]), group=self._host)
        longest = max(int(size) for size in sizes)
        padded = torch.zeros(longest, dtype=torch.uint8)
        padded[: len(mine)] = mine
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded, group=self._host)
        return [_from_bytes(part[: int(size)]) for part, size in zip(parts, sizes, strict=True)]

    def mean(self, value: float) -> float:
        """Return the mean over all ranks of a number that is on the host."""
        values: list[float] = self.gather(value)
        return sum(values) / len(values)

    def turns(self) -> Turns:
        """Return this rank's turns at the compiler: each pipeline stage has its own program."""
        stage = self.index("pipeline")
        store = dist.PrefixStore(  # type: ignore[attr-defined]
            f"compile/{stage}", distributed_c10d._get_default_store()
        )
        own = self.seat.world_size // self.size("pipeline")
        return Turns(store, is_first=self.rank == stage * own)

    def leave(self) -> None:
        """Wait for all ranks and end the groups; not after an error, which others wait for."""
        if self._host is not None:
            self.barrier()  # rank 0 holds the store: it goes last
            dist.destroy_process_group()
            self._host = self._devices = None


ALONE_MESH = Mesh()


def _join(seat: Seat, library: str, options: Mapping[str, Any]) -> dist.ProcessGroup:
    """Join the default group and make gloo's; return that."""
    if seat.local_world_size == seat.world_size and sys.platform in _LOOPBACK:
        # Else gloo looks its address up by the host's name, which may have none.
        os.environ.setdefault(_GLOO_INTERFACE, _LOOPBACK[sys.platform])
    listening: dict[str, Any] = {}
    if seat.store_descriptor is not None:
        listening["master_listen_fd"] = seat.store_descriptor
    store = dist.TCPStore(  # type: ignore[attr-defined]
        seat.address,
        seat.port,
        seat.world_size,
        is_master=seat.rank == 0,
        wait_for_workers=False,
        timeout=PATIENCE,
        **listening,
    )
    dist.init_process_group(
        library,
        store=store,
        rank=seat.rank,
        world_size=seat.world_size,
        timeout=PATIENCE,
        **options,
    )
    if library == "gloo":
        world = dist.group.WORLD
        if world is None:
            raise RuntimeError("torch.distributed has no default group")
        return world
    made: dist.ProcessGroup = dist.new_group(backend="gloo", timeout=PATIENCE)
    return made


# --- values as bytes: torch's own functions for objects need numpy --------------------------------


def _as_bytes(value: Any) -> torch.Tensor:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)


def _from_bytes(whole: torch.Tensor) -> Any:
    content = ctypes.string_at(whole.data_ptr(), whole.numel())
    return torch.load(io.BytesIO(content), weights_only=True)
