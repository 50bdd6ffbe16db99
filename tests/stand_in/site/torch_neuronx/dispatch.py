"""How ops reach the device: one boxed kernel for all, and a few that must be written out.

The boxed kernel checks that all tensors are on the device, runs the op on their CPU twins and hands
back tensors of the device. Results are computed at once, in the order of the calls; that the device
is still at work is the clock's affair.
"""

import functools
import math
from typing import Any

import torch

from torch_neuronx.device import DEVICE, NAME
from torch_neuronx.storage import ON_CPU, adopt, block_of, is_ours, unwrap, wrap, wrap_beside

Op = torch._ops.OpOverload

_SCALED_DOT_PRODUCT_BY_PLAIN_OPS = 0

_WAITS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


def run_op(op: Op, *arguments: Any, **named: Any) -> Any:
    """Run any op: what torch has no explicit kernel for arrives here."""
    if _is_view(op):
        return op.redispatch(ON_CPU, *arguments, **named)
    call = _Call(op._schema.name)
    low = [call.lower(argument) for argument in arguments]
    low_named = {name: call.lower(argument) for name, argument in named.items()}
    DEVICE.begin_op(call.name, call.tensors, lambda: _flops(op, low, low_named))
    if _host_must_wait(op):
        DEVICE.clock.wait()
    results = _computed(op, low, low_named)
    call.take_over_resized()
    return call.lift(results)


_PRODUCTS = (torch.ops.aten.mm, torch.ops.aten.bmm, torch.ops.aten.addmm)


def _computed(op: Op, arguments: Any, named: Any) -> Any:
    """Run an op on the CPU; bf16's products in fp32, rounded once, as a chip makes them.

    A processor without instructions for bf16 takes longer for one than the device is to seem to.
    """
    dtypes = {value.dtype for value in arguments if isinstance(value, torch.Tensor)}
    if op.overloadpacket not in _PRODUCTS or dtypes != {torch.bfloat16}:
        return op(*arguments, **named)
    wide = [v.float() if isinstance(v, torch.Tensor) else v for v in arguments]
    options = {name: value for name, value in named.items() if name != "out"}
    made = op.overloadpacket(*wide, **options)
    if "out" not in named:
        return made.to(torch.bfloat16)
    out: torch.Tensor = named["out"]
    return (out if out.shape == made.shape else out.resize_(made.shape)).copy_(made)


class _Call:
    """One op's tensors, and the CPU tensors that stand for them while it runs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tensors: list[torch.Tensor] = []
        self._twins: list[torch.Tensor] = []

    def lower(self, value: Any) -> Any:
        """Put CPU twins for tensors of the device, wherever they are in an argument."""
        if isinstance(value, torch.Tensor):
            return self._twin(value)
        if isinstance(value, list | tuple):
            return type(value)(self.lower(part) for part in value)
        if isinstance(value, torch.device) and value.type == NAME:
            return torch.device("cpu")
        return value

    def lift(self, value: Any) -> Any:
        """Put tensors of the device for the CPU tensors in a result."""
        if isinstance(value, list | tuple):
            return type(value)(self.lift(part) for part in value)
        if not isinstance(value, torch.Tensor):
            return value
        for tensor, twin in zip(self.tensors, self._twins, strict=True):
            if value is twin:
                return tensor
            # Some ops return a view that their schema does not declare.
            if value.numel() and value.untyped_storage().data_ptr() == _pointer(tensor):
                return wrap_beside(value, tensor)
        return wrap(value)

    def take_over_resized(self) -> None:
        """Give the tensors what the op made of their twins, as with `out=` of another shape."""
        for tensor, twin in zip(self.tensors, self._twins, strict=True):
            if (
                tensor.size() != twin.size()
                or tensor.stride() != twin.stride()
                or twin.untyped_storage().data_ptr() != _pointer(tensor)
            ):
                adopt(tensor, wrap(twin))

    def _twin(self, tensor: torch.Tensor) -> torch.Tensor:
        if is_ours(tensor):
            twin = unwrap(tensor)
            self.tensors.append(tensor)
            self._twins.append(twin)
            return twin
        if tensor.dim() == 0 and tensor.device.type == "cpu":
            return tensor  # a number, which every device takes
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{NAME}:0 and {tensor.device}! (when calling {self.name})"
        )


def empty(
    size: Any,
    *,
    dtype: torch.dtype | None = None,
    layout: object = None,
    device: torch.device | None = None,
    pin_memory: bool | None = None,
    memory_format: torch.memory_format | None = None,
) -> torch.Tensor:
    """Allocate."""
    _allocate_on(device)
    _require_room(math.prod(size), dtype)
    form = memory_format or torch.contiguous_format
    return wrap(torch.empty(size, dtype=dtype, memory_format=form, device="cpu"))


def empty_strided(
    size: Any,
    stride: Any,
    *,
    dtype: torch.dtype | None = None,
    layout: object = None,
    device: torch.device | None = None,
    pin_memory: bool | None = None,
) -> torch.Tensor:
    """Allocate with strides."""
    _allocate_on(device)
    _require_room(math.prod(size), dtype)
    return wrap(torch.empty_strided(size, stride, dtype=dtype, device="cpu"))


def copy_from(
    source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False
) -> torch.Tensor:
    """Copy within the device, to it, or to the host, which waits."""
    DEVICE.begin_copy("aten::_copy_from")
    if not is_ours(target):
        DEVICE.clock.wait()
    low_source = unwrap(source) if is_ours(source) else source
    low_target = unwrap(target) if is_ours(target) else target
    low_target.copy_(low_source)
    return target


def copy_from_and_resize(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Copy into a tensor that may have another shape."""
    if source.shape != target.shape:
        target.resize_(source.shape)
    return copy_from(source, target)


def resize_(self: torch.Tensor, size: Any, memory_format: object = None) -> torch.Tensor:
    """Change the size; more memory is taken where it grows."""
    twin = unwrap(self).clone() if self.numel() else torch.empty(0, dtype=self.dtype)
    return adopt(self, wrap(twin.resize_(size)))


def choose_attention(*arguments: Any, **named: Any) -> int:
    """Have attention done by matrix products and a softmax."""
    return _SCALED_DOT_PRODUCT_BY_PLAIN_OPS


KERNELS = {
    "empty.memory_format": empty,
    "empty_strided": empty_strided,
    "_copy_from": copy_from,
    "_copy_from_and_resize": copy_from_and_resize,
    "resize_": resize_,
    "_fused_sdp_choice": choose_attention,
}
"""What torch calls underneath its own code, or before it asks the boxed kernel."""


def _allocate_on(device: torch.device | None) -> None:
    # torch has put 0 where no index was given: that one cannot be told from "neuron:0".
    DEVICE.check_index((device.index if device is not None else None) or None)
    DEVICE.touch()


def _require_room(elements: int, dtype: torch.dtype | None) -> None:
    DEVICE.memory.require_room(elements * (dtype or torch.get_default_dtype()).itemsize)


def _pointer(tensor: torch.Tensor) -> int:
    return block_of(tensor).memory.data_ptr()


@functools.cache
def _is_view(op: Op) -> bool:
    """Tell whether the op's result is its argument's memory, seen otherwise."""
    aliases = [returned.alias_info for returned in op._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)


@functools.cache
def _host_must_wait(op: Op) -> bool:
    """Tell whether the host needs values to go on: it takes a number, or the result's shape."""
    is_read = any("Tensor" not in str(returned.type) for returned in op._schema.returns)
    return is_read or any(tag in op.tags for tag in _WAITS)


def _flops(op: Op, arguments: Any, named: Any) -> int:
    """Return the floating point operations of a matrix product; 0 for what is none."""
    from torch.utils.flop_counter import flop_registry

    count = flop_registry.get(op.overloadpacket)
    return 0 if count is None else int(count(*arguments, **named, out_val=None))
