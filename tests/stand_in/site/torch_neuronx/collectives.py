"""torch.distributed's backend `neuron`: gloo between the CPU twins of the device's tensors.

Each rank is a process with one core. The group must be made before the device is touched, as the
real one says. Values of a collective are there when its Work is waited for, and not a moment
before: until then what it writes reads as NaN. On no rank does the device end a collective before
the slowest rank's device has come to it.

Refused as in the native package's early source: tensors of the CPU, a barrier of a part of the
ranks, unequal parts of all_to_all, an all_gather of numbers without a dimension. Its texts for
these are not known and say `(stand-in)`.
"""

import datetime
import ipaddress
import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed

from torch_neuronx.cores import named_cores
from torch_neuronx.device import DEVICE, NAME
from torch_neuronx.storage import is_ours, unwrap

dist: Any = torch.distributed
c10d: Any = torch._C._distributed_c10d
"""Their stubs have each method in several forms; torch calls one of them."""

TOO_EARLY = "Neuron runtime should not be initialized before the init_process_group."
_NEEDED = ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR")


class _Gloo(c10d.ProcessGroupGloo):  # type: ignore[misc]
    """What torch finds when it asks the group for its backend."""

    def name(self) -> str:
        return NAME


class NeuronGroup(dist.ProcessGroup):  # type: ignore[misc]
    """A group of ranks; torch calls its methods by the names that its own have."""

    def __init__(
        self, store: Any, rank: int, size: int, timeout: datetime.timedelta, is_whole: bool
    ) -> None:
        super().__init__(rank, size)
        is_fallback = DEVICE.settings.collectives == "gloo"
        kind = c10d.ProcessGroupGloo if is_fallback else _Gloo
        self._gloo: Any = kind(store, rank, size, timeout)
        self._is_whole = is_whole
        # Else the group has no name to be found by, and no device for objects.
        kinds = dist.ProcessGroup.BackendType
        own = kinds.GLOO if is_fallback else kinds.CUSTOM
        self._register_backend(torch.device(NAME), own, self._gloo)

    def allreduce(self, tensors: list[torch.Tensor], opts: Any = None) -> Any:
        return self._run("allreduce", tensors, tensors, opts or c10d.AllreduceOptions())

    def allreduce_coalesced(self, tensors: list[torch.Tensor], opts: Any = None) -> Any:
        one = c10d.AllreduceOptions()
        if opts is not None:
            one.reduceOp = opts.reduceOp
        return _Several([self.allreduce([tensor], one) for tensor in tensors], tensors)

    def broadcast(self, tensors: list[torch.Tensor], opts: Any = None) -> Any:
        return self._run("broadcast", tensors, tensors, opts or c10d.BroadcastOptions())

    def reduce(self, tensors: list[torch.Tensor], opts: Any = None) -> Any:
        return self._run("reduce", tensors, tensors, opts or c10d.ReduceOptions())

    def allgather(self, outputs: Any, inputs: list[torch.Tensor], opts: Any = None) -> Any:
        if any(tensor.dim() == 0 for tensor in inputs):
            raise IndexError("(stand-in) all_gather of a tensor without a dimension")
        return self._run("allgather", outputs, outputs, inputs, opts or c10d.AllgatherOptions())

    def _allgather_base(self, output: torch.Tensor, given: torch.Tensor, opts: Any = None) -> Any:
        opts = opts or c10d.AllgatherOptions()
        return self._run("_allgather_base", [output], output, given, opts)

    def allgather_into_tensor_coalesced(
        self, outputs: list[torch.Tensor], inputs: list[torch.Tensor], opts: Any = None
    ) -> Any:
        pairs = zip(outputs, inputs, strict=True)
        return _Several([self._allgather_base(*pair) for pair in pairs], outputs)

    def reduce_scatter(self, outputs: Any, inputs: Any, opts: Any = None) -> Any:
        opts = opts or c10d.ReduceScatterOptions()
        return self._run("reduce_scatter", outputs, outputs, inputs, opts)

    def _reduce_scatter_base(
        self, output: torch.Tensor, given: torch.Tensor, opts: Any = None
    ) -> Any:
        opts = opts or c10d.ReduceScatterOptions()
        return self._run("_reduce_scatter_base", [output], output, given, opts)

    def reduce_scatter_tensor_coalesced(
        self, outputs: list[torch.Tensor], inputs: list[torch.Tensor], opts: Any = None
    ) -> Any:
        pairs = zip(outputs, inputs, strict=True)
        return _Several([self._reduce_scatter_base(*pair, opts) for pair in pairs], outputs)

    def alltoall_base(
        self,
        output: torch.Tensor,
        given: torch.Tensor,
        output_sizes: list[int],
        input_sizes: list[int],
        opts: Any = None,
    ) -> Any:
        if len({*output_sizes}) > 1 or len({*input_sizes}) > 1:
            raise RuntimeError("(stand-in) all_to_all of unequal parts")
        opts = opts or c10d.AllToAllOptions()
        return self._run("alltoall_base", [output], output, given, output_sizes, input_sizes, opts)

    def gather(self, outputs: Any, inputs: list[torch.Tensor], opts: Any = None) -> Any:
        return self._run("gather", outputs, outputs, inputs, opts or c10d.GatherOptions())

    def scatter(self, outputs: list[torch.Tensor], inputs: Any, opts: Any = None) -> Any:
        return self._run("scatter", outputs, outputs, inputs, opts or c10d.ScatterOptions())

    def send(self, tensors: list[torch.Tensor], other: int, tag: int = 0) -> Any:
        return self._to_one("send", tensors, other, tag)

    def recv(self, tensors: list[torch.Tensor], other: int, tag: int = 0) -> Any:
        return self._to_one("recv", tensors, other, tag)

    def barrier(self, opts: Any = None) -> Any:
        if not self._is_whole:
            raise RuntimeError("(stand-in) a barrier is of all ranks, and of no part of them")
        DEVICE.begin_collective("c10d::barrier", 0)
        self._gloo.barrier(c10d.BarrierOptions()).wait()
        return _Held([])

    # In 2.13 these have names of their own too.
    all_gather_single = all_gather_into_tensor = _allgather_base
    reduce_scatter_single = reduce_scatter_tensor = _reduce_scatter_base
    all_to_all_single = alltoall_base

    def getBackendName(self) -> str:  # noqa: N802 - torch's name for it
        return str(self._gloo.name())

    def name(self) -> str:
        return str(self._gloo.name())

    def size(self) -> int:
        return int(self._gloo.size())

    def rank(self) -> int:
        return int(self._gloo.rank())

    getSize, getRank = size, rank  # noqa: N815 - torch's names for them

    def _set_sequence_number_for_group(self) -> None:
        """Do nothing: gloo numbers its own."""

    def abort(self) -> None:
        """Do nothing."""

    def shutdown(self) -> None:
        """Do nothing, or crash."""
        DEVICE.faults.at_end()

    def _run(self, method: str, outputs: Any, *arguments: Any) -> Any:
        low = [_low(argument) for argument in arguments]
        DEVICE.begin_collective(f"c10d::{method}", sum(twin.nbytes for twin in _flat(low)))
        getattr(self._gloo, method)(*low).wait()
        self._meet()
        return _Held(outputs)

    def _to_one(self, method: str, tensors: list[torch.Tensor], other: int, tag: int) -> Any:
        low = _low(tensors)
        DEVICE.begin_collective(f"c10d::{method}", sum(twin.nbytes for twin in low))
        # Not waited for: two ranks that send to each other first must not stop each other.
        return getattr(self._gloo, method)(low, other, tag)

    def _meet(self) -> None:
        """Let no rank's device be done before the slowest; the machine has one clock for all."""
        if not DEVICE.settings.takes_time:
            return
        latest = torch.tensor([DEVICE.clock.busy_until], dtype=torch.float64)
        options = c10d.AllreduceOptions()
        options.reduceOp = c10d.ReduceOp.MAX
        self._gloo.allreduce([latest], options).wait()
        DEVICE.clock.busy_until = float(latest)


class _Held(dist.Work):  # type: ignore[misc]
    """A collective under way: its values are held back until it is waited for."""

    def __init__(self, outputs: Any) -> None:
        super().__init__()
        self._outputs = outputs
        self._held = [(twin, twin.clone()) for twin in _flat(_low(outputs))]
        for twin, _ in self._held:
            spoil(twin)

    def wait(self, timeout: object = None) -> bool:
        while self._held:
            twin, value = self._held.pop()
            twin.copy_(value)
        return True

    def is_completed(self) -> bool:
        return not self._held

    def get_future(self) -> torch.futures.Future[Any]:
        self.wait()
        future: torch.futures.Future[Any] = torch.futures.Future()
        future.set_result(self._outputs)
        return future


class _Several(dist.Work):  # type: ignore[misc]
    """Collectives that are waited for as one."""

    def __init__(self, works: Sequence[Any], outputs: Any) -> None:
        super().__init__()
        self._works = works
        self._outputs = outputs

    def wait(self, timeout: object = None) -> bool:
        return all([work.wait() for work in self._works])

    def get_future(self) -> torch.futures.Future[Any]:
        self.wait()
        future: torch.futures.Future[Any] = torch.futures.Future()
        future.set_result(self._outputs)
        return future


def register() -> None:
    """Make the backend known to torch.distributed."""
    dist.Backend.register_backend(NAME, _create, extended_api=False, devices=[NAME])


def spoil(twin: torch.Tensor) -> None:
    """Write NaN, or -1 where there is none: whoever reads it too early is caught."""
    if twin.is_floating_point():
        twin.fill_(float("nan"))
    elif twin.dtype != torch.bool:
        twin.fill_(-1)


def _create(store: Any, rank: int, size: int, timeout: datetime.timedelta) -> NeuronGroup:
    """Make a group; the first one starts the runtime.

    Raises:
        RuntimeError: the runtime was started before, or the process has not one core alone.
    """
    is_whole = dist.GroupMember.WORLD is None
    if is_whole and DEVICE.is_started:
        raise RuntimeError(TOO_EARLY)
    if is_whole and size > 1:
        _require_place()
    DEVICE.touch()
    return NeuronGroup(store, rank, size, timeout, is_whole)


def _require_place() -> None:
    missing = [name for name in _NEEDED if name not in os.environ]
    if missing:
        raise RuntimeError(f"(stand-in) {', '.join(missing)} must be set")
    ipaddress.IPv4Address(os.environ["MASTER_ADDR"])  # the runtime takes <ipv4>:<port>
    visible = DEVICE.settings.visible_cores
    first, last = named_cores(visible)
    if first != last:
        raise RuntimeError(f"(stand-in) a rank has one core, and not {visible}")


def _low(value: Any) -> Any:
    """Put CPU twins over the same memory for tensors of the device; refuse the CPU's own."""
    if isinstance(value, torch.Tensor):
        if not is_ours(value):
            raise RuntimeError(f"No backend type associated with device type {value.device.type}")
        return unwrap(value)
    if isinstance(value, list | tuple):
        return [_low(part) for part in value]
    return value


def _flat(values: Any) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list):
            yield from _flat(value)
