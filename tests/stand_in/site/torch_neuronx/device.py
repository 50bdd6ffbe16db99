"""The one device of this process: its clock, memory, counts and faults, and how work reaches it."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from torch_neuronx import cores
from torch_neuronx.clock import DeviceClock
from torch_neuronx.faults import Faults
from torch_neuronx.memory import DeviceMemory
from torch_neuronx.settings import Settings, read_settings
from torch_neuronx.tracker import OpTracker

NAME = "neuron"

IN_FORKED_CHILD = (
    "Cannot re-initialize Neuron runtime in forked subprocess. To use Neuron with "
    "multiprocessing, use the 'spawn' start method"
)


class Device:
    """What the ops, the compiler and `torch.neuron` share."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clock = DeviceClock()
        self.memory = DeviceMemory(settings.memory, settings.memory_limit_bytes)
        self.tracker = OpTracker(settings.fallback, settings.fallback_shape)
        self.faults = Faults(settings.fault, settings.fault_at)
        self.is_started = False
        self.is_forked_after_start = False
        self._compiled: set[object] = set()
        self._thread = threading.local()
        os.register_at_fork(after_in_child=self._notice_fork)

    def touch(self) -> None:
        """Start the runtime, if it has not been.

        Raises:
            RuntimeError: it does not start, in the runtime's words.
        """
        if self.is_started:
            return
        if self.is_forked_after_start:
            raise RuntimeError(IN_FORKED_CHILD)
        self.faults.at_start()
        if self.settings.cores is not None:
            cores.claim(self.settings.cores, self.settings.visible_cores)
        self.is_started = True

    def check_index(self, index: int | None) -> None:
        """Refuse a core of another rank; 0 is each process's only one, as torch counts.

        Raises:
            RuntimeError: in a multi-rank launch, another than this rank's was named.
        """
        rank = self.settings.local_rank
        if rank is not None and index not in (None, 0, rank):
            raise RuntimeError(f"rank {rank} owns neuron:{rank} alone, not neuron:{index}")

    def begin_copy(self, name: str) -> None:
        """Queue a copy."""
        self.touch()
        self._begin(name, 0.0)

    def begin_op(
        self, name: str, tensors: Sequence[torch.Tensor], flops: Callable[[], int]
    ) -> None:
        """Queue an op that computes: compile it where it is new, and charge its time."""
        self.touch()
        if not self._is_in_graph():
            self.faults.at_compile()
            self._compile_eagerly(name, tensors)
        speed = self.settings.flops_per_second
        self._begin(name, flops() / speed if speed else 0.0)

    def begin_collective(self, name: str, size: int) -> None:
        """Queue a collective that moves so many bytes."""
        self.touch()
        speed = self.settings.link_bytes_per_second
        self._begin(name, size / speed if speed else 0.0)

    @contextmanager
    def in_graph(self) -> Iterator[None]:
        """Within it, this thread's ops belong to a compiled graph: none is compiled by itself."""
        self._thread.is_in_graph = True
        try:
            yield
        finally:
            self._thread.is_in_graph = False

    def _begin(self, name: str, seconds: float) -> None:
        self.tracker.count(name)
        self.faults.at_op()
        self.clock.give((self.settings.op_seconds + seconds) * self.settings.slowness)

    def _compile_eagerly(self, name: str, tensors: Sequence[torch.Tensor]) -> None:
        cost = self.settings.eager_compile_seconds
        key = (name, tuple((tuple(tensor.shape), tensor.dtype) for tensor in tensors))
        if cost and key not in self._compiled:
            self._compiled.add(key)
            time.sleep(cost)

    def _is_in_graph(self) -> bool:
        return getattr(self._thread, "is_in_graph", False)

    def _notice_fork(self) -> None:
        self.is_forked_after_start = self.is_forked_after_start or self.is_started
        self.is_started = False


DEVICE = Device(read_settings())
