"""Collective operations between ranks, each a process of its own with a device of its own."""

import datetime
from collections.abc import Callable
from types import TracebackType
from typing import Self

import torch
import torch.distributed as dist

from trnbench.train.backends.base import Backend, Unavailable
from trnbench.train.primitives import FLOAT_BYTES
from trnbench.wire import CollectiveTask, Microbench

LIBRARIES = {"cpu": "gloo", "cuda": "nccl"}
"""What torch.distributed moves data with, by backend. Neuron's own tool measures its chips."""
PATIENCE = datetime.timedelta(seconds=120)


class Ranks:
    """The other ranks; inside it they can be talked to. One rank alone talks to nobody."""

    def __init__(self, question: Microbench, backend: Backend) -> None:
        self._question = question
        self._backend = backend

    def __enter__(self) -> Self:
        """Meet the others.

        Raises:
            Unavailable: nothing here moves data between such devices.
        """
        asked = self._question
        if asked.ranks == 1:
            return self
        library = LIBRARIES.get(self._backend.name)
        if library is None or not dist.is_available() or not dist.is_backend_available(library):
            raise Unavailable(
                f"torch moves no data between {self._backend.name} devices here",
                hint="measure without collectives: --ranks 1",
            )
        dist.init_process_group(
            library,
            init_method=f"file://{asked.rendezvous}",
            rank=asked.rank,
            world_size=asked.ranks,
            timeout=PATIENCE,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None
    ) -> None:
        """Take leave, unless an error ends this process: the others must not be waited for."""
        if self._question.ranks > 1 and kind is None:
            dist.destroy_process_group()

    def slowest(self, seconds: float) -> float:
        """Return the seconds of the rank that took longest; every rank must ask."""
        if self._question.ranks == 1:
            return seconds
        held = torch.tensor([seconds], device=self._backend.device)
        dist.all_reduce(held, op=dist.ReduceOp.MAX)
        return float(held.item())

    def work(self, task: CollectiveTask) -> Callable[[], object]:
        """Return one collective operation over an array of this many bytes."""
        ranks, device = self._question.ranks, self._backend.device
        part = max(task.whole_bytes // FLOAT_BYTES // ranks, 1)
        # Zeros: sums of sums of anything else would grow until they are no numbers.
        whole_array = torch.zeros(part * ranks, device=device)
        part_array = torch.zeros(part, device=device)
        if task.operation == "all_reduce":
            return lambda: dist.all_reduce(whole_array)
        if task.operation == "all_gather":
            return lambda: dist.all_gather_into_tensor(whole_array, part_array)
        return lambda: dist.reduce_scatter_tensor(part_array, whole_array)
