"""The one place of arithmetic: the sizes under `parallel`, and how they multiply to the ranks.

What the sizes do to a model's own is in `splits.py`; which of them are best, in `layout.py`.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from trnbench.config.load import Conflict
from trnbench.config.model import AUTO, ParallelConfig
from trnbench.errors import UnavailableError
from trnbench.plan.supply import Supply
from trnbench.protocol.parallel import Axis, Layout

KEYS: Mapping[Axis, str] = {
    "tensor": "tensor_parallel_size",
    "pipeline": "pipeline_parallel_size",
    "context": "context_parallel_size",
    "replicate": "data_parallel_replicate_size",
    "shard": "data_parallel_shard_size",
}
"""Of `parallel`, in the order of the equation."""

DATA: tuple[Axis, Axis] = ("replicate", "shard")

LONGEST_SEARCH, LARGEST_GROWTH = 4096, 64
"""Sizes that are tried for a hint: so many below, and up to so many times as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The sizes that a config gives."""

    sizes: Mapping[Axis, int]
    """Of every axis; 1 for those that are not written, or still to be filled."""
    filled: Axis | None
    """The axis that takes what is left; None where no size is `auto`."""
    has_free_data: bool
    """Whether no data axis is written, so that the data ranks are chosen."""
    written: tuple[str, ...]
    """The dotted keys that are written, to blame one of them."""

    @property
    def inner(self) -> int:
        """The ranks without those of the axis, or the data axes, that are filled."""
        return math.prod(self.sizes.values())


def read_sizes(parallel: ParallelConfig) -> Asked:
    """Read what is written under `parallel`.

    Raises:
        Conflict: two sizes would both be what is left.
    """
    given: dict[Axis, int] = {}
    for axis, key in KEYS.items():
        size = getattr(parallel, key)
        if size is not None:
            given[axis] = size
    filled = [axis for axis, size in given.items() if size == AUTO]
    if len(filled) > 1:
        raise Conflict(
            f"parallel.{KEYS[filled[1]]}",
            f"auto, as {KEYS[filled[0]]} is: only one size can be what is left",
            hint="give the other a number",
            others=[f"parallel.{KEYS[filled[0]]}"],
        )
    return Asked(
        sizes={axis: max(1, given.get(axis, 1)) for axis in KEYS},
        filled=filled[0] if filled else None,
        has_free_data=not filled and not any(axis in given for axis in DATA),
        written=tuple(f"parallel.{KEYS[axis]}" for axis in given),
    )


def layout_of(parallel: ParallelConfig, sizes: Mapping[Axis, int], *, has_experts: bool) -> Layout:
    """Return the layout of these sizes; what would have no effect has its default."""
    tensor, experts = sizes["tensor"], parallel.expert_parallel_size
    shared_out = tensor if experts in (None, AUTO) else experts
    layout = Layout(
        data_parallel_replicate_size=sizes["replicate"],
        data_parallel_shard_size=sizes["shard"],
        context_parallel_size=sizes["context"],
        tensor_parallel_size=tensor,
        pipeline_parallel_size=sizes["pipeline"],
        expert_parallel_size=(shared_out or 1) if has_experts else 1,
    )
    if tensor > 1:
        layout = replace(layout, sequence_parallel=parallel.sequence_parallel)
    if sizes["shard"] * sizes["context"] > 1:
        layout = replace(layout, reshard_after_forward=parallel.reshard_after_forward)
    if sizes["pipeline"] == 1:
        return layout
    return replace(
        layout,
        pipeline_schedule=parallel.pipeline_schedule,
        pipeline_stages_per_rank=parallel.pipeline_stages_per_rank,
    )


def sizes_of(layout: Layout) -> dict[Axis, int]:
    """Return a layout's size along each axis, in the order of the equation."""
    return {axis: layout.size(axis) for axis in KEYS}


def say_sizes(sizes: Mapping[Axis, int]) -> str:
    """Write the product out."""
    return " x ".join(f"{axis} {sizes[axis]}" for axis in KEYS)


def say_equation(sizes: Mapping[Axis, int]) -> str:
    """Write the whole equation, with its result."""
    world = math.prod(sizes.values())
    return f"{say_sizes(sizes)} = {world} rank{'' if world == 1 else 's'}"


# --- what is left ---------------------------------------------------------------------------------


def fill(asked: Asked, supply: Supply) -> dict[Axis, int]:
    """Return the sizes with the one that is `auto` as large as the devices allow.

    Raises:
        UnavailableError: the other sizes alone need more than there is.
    """
    if asked.filled is None:
        return dict(asked.sizes)
    for size in range(supply.fill // asked.inner, 0, -1):
        if supply.takes(size * asked.inner):
            return {**asked.sizes, asked.filled: size}
    raise refusal(asked.sizes, supply, lambda sizes: math.prod(sizes.values()) <= supply.fill)


def worlds_within(supply: Supply, inner: int) -> Iterator[int]:
    """Yield how many groups of `inner` ranks can be had, the most first."""
    for groups in range(supply.fill // inner, 0, -1):
        if supply.takes(groups * inner):
            yield groups


# --- what cannot be had ---------------------------------------------------------------------------


def check_world(
    sizes: Mapping[Axis, int],
    asked: Asked,
    supply: Supply,
    fits: Callable[[Mapping[Axis, int]], bool],
) -> int:
    """Refuse a number of ranks that there are no devices for; return the first device's index.

    Args:
        sizes: of every axis.
        asked: what of it is written, to be blamed.
        supply: the devices.
        fits: whether other sizes suit the model and the batch, for the hint.

    Raises:
        Conflict: the runtime does not support it, or the config contradicts itself.
        UnavailableError: there are not so many devices, or they are not free.
    """
    world = math.prod(sizes.values())
    start, count, free = supply.start_of(world), supply.count, supply.free
    if supply.supports(world) and start is not None and (count is None or world == count):
        return start
    is_contradiction = count is not None and count <= free and world != count
    is_seen = supply.instance is None and supply.total is not None
    if is_seen and not is_contradiction and (world > free or supply.supports(world)):
        raise refusal(sizes, supply, fits)
    why = supply.say()
    if world % supply.nodes:
        why = f"each of {supply.nodes} nodes has as many ranks"
    elif not is_contradiction and not supply.supports(world):
        why = f"the runtime supports {_or(supply.worlds or ())} on one machine"
    raise Conflict(
        "parallel",
        f"{say_equation(sizes)}; {why}",
        hint=_hint(sizes, supply, fits),
        others=[*asked.written, "device"],
    )


def refusal(
    sizes: Mapping[Axis, int], supply: Supply, fits: Callable[[Mapping[Axis, int]], bool]
) -> UnavailableError:
    """Return the error of a machine that has too few devices."""
    return UnavailableError(
        f"parallel: {say_equation(sizes)}; {supply.say()}", hint=_hint(sizes, supply, fits)
    )


def _hint(
    sizes: Mapping[Axis, int], supply: Supply, fits: Callable[[Mapping[Axis, int]], bool]
) -> str:
    near = nearest(sizes, lambda each: supply.takes(math.prod(each.values())) and fits(each))
    if near is None:
        return "leave the sizes out: then the plan takes the layout that suits the devices"
    changed = [axis for axis in KEYS if near[axis] != sizes[axis]]
    said = " and ".join(f"`{KEYS[axis]}: {near[axis]}`" for axis in changed)
    return f"the nearest that works is {said}: {say_equation(near)}"


def nearest(
    sizes: Mapping[Axis, int], works: Callable[[Mapping[Axis, int]], bool]
) -> dict[Axis, int] | None:
    """Return the nearest sizes that work, one or two of them changed; else None.

    The data ranks change first: they change least of what is measured.
    """
    order: tuple[Axis, ...] = ("shard", "replicate", "context", "pipeline", "tensor")
    for axis in order:
        larger = range(sizes[axis] + 1, LARGEST_GROWTH * sizes[axis] + 1) if axis in DATA else ()
        for size in (*_smaller(sizes[axis]), *larger):
            tried = {**sizes, axis: size}
            if works(tried):
                return tried
    for axis in order[2:]:
        for data in DATA:
            for size in _smaller(sizes[axis]):
                for ranks in (sizes[data], *_smaller(sizes[data])):
                    tried = {**sizes, axis: size, data: ranks}
                    if works(tried):
                        return tried
    return None


def _smaller(size: int) -> range:
    return range(min(size - 1, LONGEST_SEARCH), 0, -1)


def _or(numbers: tuple[int, ...]) -> str:
    *some, last = map(str, numbers)
    return f"{', '.join(some)} or {last} ranks" if some else f"{last} ranks"
