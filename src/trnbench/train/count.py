"""FLOPs of an external model, by torch's counter on the `meta` device, which has no memory.

Of blocks that are alike one is run. A class that cannot run there is run on the CPU, if it is
small; counting gives up by itself where it takes too long. What torch counts wrongly is counted
here: grouped matmuls, and the backward pass of grouped convolutions.
"""

import contextlib
import json
import math
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from trnbench.protocol.model import ExternalModel, masked_positions
from trnbench.train.channel import first_line
from trnbench.train.external import BadModel, ExternalObjective, blaming, build_external
from trnbench.train.loop import Pass

SMALL_PARAMETERS = 50_000_000
"""Up to this many weights, a model that must run to be counted runs on the CPU."""

COUNTING_SECONDS = 15.0
"""Of processor time: the scan of a state space model is a loop over tokens."""

EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
EXPERTS_PER_TOKEN = ("num_experts_per_tok", "num_experts_per_token", "moe_k", "moe_top_k", "top_k")

LEAST_BLOCKS = 3
"""From so many alike on, one of them is run for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """FLOPs of a forward and a backward pass over one sequence, over its tokens."""

    flops: float | None = None
    """Needed, attention over all keys; None: `reason` says why."""
    wasted: float = 0.0
    """Computed beyond that: experts that a token is not sent to."""
    per_key: float | None = None
    """Of `flops`, what each key costs a token; None where it is not known."""
    reason: str | None = None


class TooLong(BaseException):
    """Processor time is used up; no `except Exception` of the model's code may catch it."""


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise `TooLong` in the main thread after so much processor time."""

    def stop(*_: object) -> None:
        raise TooLong

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def count(module: nn.Module, external: ExternalModel, sequence_length: int) -> Count:
    """Count a module that is on the `meta` device, or was built on the CPU for want of it."""
    try:
        with limited(COUNTING_SECONDS):
            return _count(module, external, sequence_length)
    except TooLong:
        return Count(
            reason=f"counting took more than {COUNTING_SECONDS:g} s of processor time: it loops "
            "over the tokens"
        )


def _count(module: nn.Module, external: ExternalModel, length: int) -> Count:
    if not next(module.parameters()).is_meta:
        return _counted(module, external, length, _Way())
    errors: list[Exception] = []
    for way in _ways(external):
        try:
            return _counted(module.to(way.dtype), external, length, way)
        except BadModel:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - another's, on no device
            errors.append(error if isinstance(error, Exception) else RuntimeError(str(error)))
    if sum(p.numel() for p in module.parameters()) > SMALL_PARAMETERS:
        kind, said = type(errors[0]).__name__, first_line(errors[0])
        return Count(
            reason=f"torch's counter would have to run it ({kind}: {said[:200]}), and it has more "
            f"than {SMALL_PARAMETERS:,} weights"
        )
    hint = "its sizes, or workload.sequence_length, do not fit together"
    with blaming(external, f"a sequence of {length} tokens", hint):
        return _counted(build_external(external, seed=0), external, length, _Way())


# --- one way to run it ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Way:
    """How a class is called so that it runs without values."""

    mask: int | None = None
    """Dimensions of the attention mask that it is given; None: none."""
    dtype: torch.dtype = torch.float32


def _ways(external: ExternalModel) -> list[_Way]:
    """Return the ways, the likeliest first.

    To make a mask of its own, a class may read values; a mask of four dimensions is taken as it is
    where it is taken at all. torch's grouped matmul takes bf16 alone on `meta`.
    """
    if external.kind == "python":
        return [_Way()]
    arguments = json.loads(external.arguments)
    dtypes = [torch.float32, torch.bfloat16]
    if any(key in arguments for key in EXPERTS):
        dtypes.reverse()
    return [_Way(mask, dtype) for mask in (4, None, 2) for dtype in dtypes]


def _counted(module: nn.Module, external: ExternalModel, length: int, way: _Way) -> Count:
    """Count one forward and backward pass over one sequence, with attention by matmuls."""
    blocks = _blocks(module)
    alike = [] if blocks is None else _alike(blocks)
    if blocks is not None and len(alike) * LEAST_BLOCKS <= len(blocks):
        # A class may look up by a block's place what that block is given: then all are run.
        with contextlib.suppress(Exception):
            return _counted_by_kinds(module, external, length, way, blocks, alike)
    return _as_count(_run(module, external, length, way), external, length)


def _counted_by_kinds(
    module: nn.Module,
    external: ExternalModel,
    length: int,
    way: _Way,
    blocks: nn.ModuleList,
    alike: list[list[int]],
) -> Count:
    """Count with one block of each kind, and from that with all."""
    everything = [*blocks]
    one_each = [blocks[each[0]] for each in alike]
    try:
        _put(blocks, one_each)
        once = _run(module, external, length, way)
        found = once
        for number, each in enumerate(alike):
            _put(blocks, [*one_each[: number + 1], *one_each[number:]])
            found = found.plus(_run(module, external, length, way).minus(once).times(len(each) - 1))
    finally:
        _put(blocks, everything)
    return _as_count(found, external, length)


@dataclass(frozen=True, slots=True)
class _Sums:
    """FLOPs of a sequence, and which operations torch's counter does not know."""

    flops: float
    wasted: float
    core: float
    """Of attention: scores and weighted values."""
    uncounted: frozenset[str]

    def plus(self, other: "_Sums") -> "_Sums":
        return _Sums(
            self.flops + other.flops,
            self.wasted + other.wasted,
            self.core + other.core,
            self.uncounted | other.uncounted,
        )

    def minus(self, other: "_Sums") -> "_Sums":
        return self.plus(other.times(-1))

    def times(self, factor: int) -> "_Sums":
        return _Sums(self.flops * factor, self.wasted * factor, self.core * factor, self.uncounted)


def _as_count(found: _Sums, external: ExternalModel, length: int) -> Count:
    if found.uncounted:
        names = ", ".join(sorted(found.uncounted))
        return Count(reason=f"torch's counter knows no operations of {names}")
    return Count(
        flops=(found.flops - found.wasted) / length,
        wasted=found.wasted / length,
        per_key=found.core / length**2 if external.kind == "huggingface" and found.core else None,
    )


def _run(module: nn.Module, external: ExternalModel, length: int, way: _Way) -> _Sums:
    objective = ExternalObjective(module, external, "fp32")
    place = next(module.parameters()).device
    if way.mask is not None:
        shape = (1, 1, length, length) if way.mask == 4 else (1, length)
        kind = torch.bool if way.mask == 4 else torch.int64
        objective.extra = {"attention_mask": torch.ones(shape, dtype=kind, device=place)}
    counting = FlopCounterMode(display=False, custom_mapping=FORMULAS)
    seen = _Seen(module, external, length)
    with sdpa_kernel(SDPBackend.MATH), counting as counter, seen:
        objective(*_made_up(external, length, place)).total.backward()
    module.zero_grad(set_to_none=True)
    total = float(counter.get_total_flops())
    return _Sums(total, seen.wasted(), seen.core, frozenset(seen.uncounted))


def _made_up(external: ExternalModel, sequence_length: int, place: torch.device) -> Pass:
    """Return one sequence as the model's arguments, of tokens that differ: experts share them."""
    inputs = torch.arange(sequence_length, device=place)[None] % (external.vocabulary_size or 2)
    if external.task == "next_token":
        return Pass(inputs, inputs)
    positions = masked_positions(sequence_length)
    return Pass(inputs, inputs[:, :positions], torch.arange(positions, device=place)[None])


# --- blocks that are alike ------------------------------------------------------------------------


def _blocks(module: nn.Module) -> nn.ModuleList | None:
    """Return the longest list of modules on `meta` that is not inside another one."""
    if not next(module.parameters()).is_meta:
        return None
    outermost: list[nn.ModuleList] = []
    inside: tuple[str, ...] = ()
    for name, each in module.named_modules():
        if isinstance(each, nn.ModuleList) and not name.startswith(inside or ("\0",)):
            outermost.append(each)
            inside = (*inside, f"{name}.")
    return max(outermost, key=len, default=None)


def _alike(blocks: nn.ModuleList) -> list[list[int]]:
    """Return the numbers of the blocks that are alike, group by group."""
    groups: dict[str, list[int]] = {}
    for number, block in enumerate(blocks):
        groups.setdefault(_signature(block), []).append(number)
    return [*groups.values()]


def _signature(block: nn.Module) -> str:
    """Return all that decides what a block computes: classes, plain attributes, sizes of weights.

    What says only which block it is, is left out.
    """
    parts = []
    for name, each in block.named_modules():
        plain = {
            key: value
            for key, value in vars(each).items()
            if isinstance(value, bool | int | float | str) and not key.endswith(OWN_NUMBER)
        }
        sizes = [tuple(weight.shape) for weight in each.parameters(recurse=False)]
        parts.append(f"{name} {type(each).__qualname__} {sorted(plain.items())} {sizes}")
    return "\n".join(parts)


ALL = -1
"""In the place of an expert's offset: one matmul with all experts of a storage."""

OWN_NUMBER = ("idx", "index", "layer_id", "layer_number")
"""Ends of the names by which a block keeps its number."""


def _put(blocks: nn.ModuleList, modules: list[nn.Module]) -> None:
    blocks._modules = {str(number): each for number, each in enumerate(modules)}


# --- what torch's counter does not say ------------------------------------------------------------


class _Seen(TorchDispatchMode):
    """Collects operations that the counter leaves out, attention, and experts without need.

    Matmuls are recognised by their forward pass alone: in the backward pass, which takes two
    matmuls for each, the gradient of a weight is of no weight.
    """

    def __init__(self, module: nn.Module, external: ExternalModel, tokens: int) -> None:
        super().__init__()
        self.uncounted: set[str] = set()
        self.core = 0.0
        self._tokens = tokens
        self._idle_share = _idle_share(module) if external.kind == "huggingface" else 0.0
        self._weights = {_storage(weight) for weight in module.parameters()}
        self._experts = {
            _storage(weight): weight.shape[0] if weight.ndim == 3 else 1
            for name, weight in module.named_parameters()
            if self._idle_share and ".experts." in name and "shared" not in name
        }
        self._used: dict[int, dict[int, int]] = {}
        """FLOPs over all tokens, by storage of an expert's weight and place in it."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        packet = func._overloadpacket
        name = str(packet)
        is_torchs = name.startswith(("aten.", "prims."))
        is_matmul = not is_torchs or any(part in name for part in UNCOUNTED)
        if is_matmul and packet not in flop_registry and packet not in FORMULAS:
            self.uncounted.add(name)
        if packet in MATMULS and torch._C._current_graph_task_id() == -1:
            self._note(*args[-2:])
        return func(*args, **(kwargs or {}))

    def _note(self, left: torch.Tensor, right: torch.Tensor) -> None:
        flops, place = 2 * left.numel() * right.shape[-1], _storage(right)
        sizes = (*left.shape[-2:], right.shape[-1])
        if place in self._experts and left.shape[-2] == self._tokens:
            used = self._used.setdefault(place, {})
            part = ALL if right.ndim == 3 else int(right.storage_offset())
            used[part] = used.get(part, 0) + flops
        is_of_weight = place in self._weights or _storage(left) in self._weights
        if left.ndim == 3 and not is_of_weight and sizes.count(self._tokens) > 1:
            self.core += 3 * flops

    def wasted(self) -> float:
        """Return the FLOPs of idle experts, where each expert computes every token."""
        used = [
            (found, 1 if ALL in found else self._experts[place])
            for place, found in self._used.items()
        ]
        is_each_whole = all(len(found) == parts for found, parts in used)
        if not is_each_whole or len(self._used) < len(self._experts):
            return 0.0
        return 3 * self._idle_share * sum(sum(found.values()) for found, _ in used)


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _idle_share(module: nn.Module) -> float:
    """Return the part of the routed experts that a token is not sent to."""
    config = getattr(module, "config", None)
    counts = [getattr(config, name, None) for name in EXPERTS]
    taken = [getattr(config, name, None) for name in EXPERTS_PER_TOKEN]
    count = next((n for n in counts if isinstance(n, int) and n > 1), None)
    used = next((n for n in taken if isinstance(n, int)), None)
    return 0.0 if count is None or used is None else 1 - used / count


# --- formulas -------------------------------------------------------------------------------------

Shape = tuple[int, ...]


def flops_of_grouped_matmul(left: Shape, right: Shape, *_: object, **__: object) -> int:
    """Return the FLOPs of a grouped matmul in which every row is in one run.

    (R, I) by (E, I, O) and (M, R) by (R, N) are cut along R, (E, M, K) by (K, N) along N.
    """
    runs = left[0] if len(left) == 3 and len(right) == 2 else 1
    return 2 * math.prod(left) * right[-1] // runs


def flops_of_convolution_backward(
    gradient: Shape, inputs: Shape, weight: Shape, *rest: Any, **_: object
) -> int:
    """Return the FLOPs of a convolution's gradients: as many as its forward pass for each.

    A weight is (outputs, inputs / groups, edges...), of a transposed convolution (inputs,
    outputs / groups, edges...). torch 2.13's own formula leaves the groups out.
    """
    is_transposed, output_mask = rest[4], rest[7]
    places = (inputs if is_transposed else gradient)[2:]
    forward = 2 * inputs[0] * math.prod(places) * math.prod(weight)
    return forward * (int(output_mask[0]) + int(output_mask[1]))


FORMULAS: dict[Any, Any] = {torch.ops.aten.convolution_backward: flops_of_convolution_backward}
"""For operators of which torch's counter has no formula, or a wrong one."""

_GROUPED = getattr(torch.ops.aten, "_grouped_mm", None)
if _GROUPED is not None:
    FORMULAS[_GROUPED] = flops_of_grouped_matmul

MATMULS = (torch.ops.aten.mm, torch.ops.aten.bmm, torch.ops.aten.addmm)
"""Their operands come last."""

UNCOUNTED = ("grouped_mm", "attention_for_cpu", "mkldnn", "lstm", "gru", "int_mm")
"""Parts of the names of torch's operators that contain matmuls."""
