"""Tensors of the device: plain torch.Tensor over memory of the CPU that is labelled otherwise.

A storage that says `neuron:0` is laid over the memory of a CPU storage. Its Python object lives as
long as the C++ storage does, so what hangs on it keeps the memory alive and counts it.
"""

from typing import Any

import torch
from torch._C import DispatchKey, DispatchKeySet

from torch_neuronx.device import DEVICE, NAME

ON_CPU = DispatchKeySet(DispatchKey.CPU)
"""Ops sent here change a tensor's storage, shape or strides, and never look at its values."""


_FREED = 255
"""In each byte: NaN in every floating point format."""


class Block:
    """The memory under one storage of the device; counted for as long as it lives."""

    def __init__(self, memory: Any) -> None:
        self.size = 0  # for __del__, should there be no room
        DEVICE.memory.take(memory.nbytes())
        self.size = memory.nbytes()
        self.memory = memory

    def resize(self, size: int) -> None:
        """Free the whole, or take it again.

        Raises:
            RuntimeError: another size is asked for, or there is no room.
        """
        if size == self.size:
            return
        if size not in (0, self.memory.nbytes()):
            raise RuntimeError("(stand-in) a storage can be emptied and refilled, and no more")
        if size:
            DEVICE.memory.take(size)
        else:
            self.memory.fill_(_FREED)
            DEVICE.memory.give_back(self.size)
        self.size = size

    def __del__(self) -> None:
        DEVICE.memory.give_back(self.size)


def let_storages_be_emptied() -> None:
    """Have `resize_` empty and refill the storages of the device: FSDP2 frees what it gathered.

    The memory stays, filled with what reads as NaN, and counts as freed: a use after that is
    caught. C++ never sees a change.
    """
    plain = {name: getattr(torch.UntypedStorage, name) for name in ("resize_", "size", "nbytes")}

    def resize_(storage: Any, size: int) -> Any:
        block = getattr(storage, "_block", None)
        if block is None:
            return plain["resize_"](storage, size)
        block.resize(size)
        return storage

    def size(storage: Any) -> int:
        block = getattr(storage, "_block", None)
        return int(plain["size"](storage)) if block is None else block.size

    def nbytes(storage: Any) -> int:
        block = getattr(storage, "_block", None)
        return int(plain["nbytes"](storage)) if block is None else block.size

    for function in (resize_, size, nbytes):
        setattr(torch.UntypedStorage, function.__name__, function)


def is_ours(value: object) -> bool:
    """Tell whether it is a tensor of the device."""
    return isinstance(value, torch.Tensor) and value.device.type == NAME


def block_of(tensor: torch.Tensor) -> Block:
    """Return the memory under a tensor of the device."""
    return tensor.untyped_storage()._block  # type: ignore[attr-defined]


def wrap(twin: torch.Tensor) -> torch.Tensor:
    """Make a tensor of the device out of a CPU tensor that nobody else keeps.

    Raises:
        RuntimeError: the device has no room for it.
    """
    memory = twin.untyped_storage()
    storage: Any = torch._C._construct_storage_from_data_pointer(
        memory.data_ptr(), torch.device(NAME, 0), memory.nbytes()
    )
    storage._block = Block(memory)
    return _over(storage, twin)


def wrap_beside(twin: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """Make a tensor of the device over the memory of another one, of which `twin` is a view."""
    return _over(tensor.untyped_storage(), twin)


def unwrap(tensor: torch.Tensor) -> torch.Tensor:
    """Return the CPU tensor over the same memory."""
    twin = torch.empty(0, dtype=tensor.dtype)
    twin.set_(block_of(tensor).memory, tensor.storage_offset(), tensor.size(), tensor.stride())
    return twin


def adopt(tensor: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Give a tensor the memory, shape and strides of another; its views keep the old memory."""
    return _set(tensor, other.untyped_storage(), other)


def _over(storage: Any, twin: torch.Tensor) -> torch.Tensor:
    empty = torch._C._acc.create_empty_tensor((0,), twin.dtype)
    return _set(empty, storage, twin)


def _set(tensor: torch.Tensor, storage: Any, like: torch.Tensor) -> torch.Tensor:
    torch.ops.aten.set_.source_Storage_storage_offset.redispatch(
        ON_CPU, tensor, storage, like.storage_offset(), like.size(), like.stride()
    )
    return tensor
