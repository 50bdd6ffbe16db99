"""Ways of laying out a job on so many devices, and the fastest of them that fits."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from trnbench.estimate.calibration import Calibration, calibration
from trnbench.estimate.step import Quick, Standard
from trnbench.estimate.terms import Setup
from trnbench.protocol.orders import Recompute
from trnbench.protocol.parallel import Layout

MICRO_BATCHES = (1, 2, 4, 8, 16)
RECOMPUTES: tuple[Recompute, ...] = ("none", "selective", "full")
PIPELINES = (1, 2, 4, 8, 16, 32)
STAGES = (1, 2, 4)
CONTEXTS = (1, 2, 4, 8, 16, 32)
LEAST_CONTEXT_TOKENS = 8192
"""Of a sequence on each context rank: with fewer, attention no longer hides what it is sent."""

FITNESS = {"fits": 0, "unknown": 0, "tight": 1, "does_not_fit": 2}


def possible_setups(setup: Setup) -> Iterator[Setup]:
    """Yield a setup with every layout, micro batch and recomputation that its sizes allow.

    Tensor ranks stay inside a node. What is left over after tensor and pipeline ranks shards data,
    or copies the model where shards would be too small to matter.
    """
    shape, machine = setup.shape, setup.machine
    devices = setup.chips * machine.chip.devices_per_chip
    most = min(devices, machine.chips_per_node * machine.chip.devices_per_chip, 64)
    tensors = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= most and _divides(setup, n)]
    is_split = shape.family in ("llama", "moe", "gpt2")
    steps = [replace(setup.step, recompute=each) for each in RECOMPUTES]
    for tensor in tensors if is_split else (1,):
        for pipeline in PIPELINES if is_split else (1,):
            if devices % (tensor * pipeline) or shape.layers < pipeline:
                continue
            for layout in _data_layouts(setup, tensor, pipeline, devices // (tensor * pipeline)):
                data = layout.data_parallel_size
                for micro in MICRO_BATCHES:
                    passes, rest = divmod(setup.global_batch_size, data * micro)
                    if rest or (pipeline > 1 and passes < pipeline):
                        continue
                    for step in steps:
                        yield replace(setup, layout=layout, micro_batch_size=micro, step=step)


def _data_layouts(setup: Setup, tensor: int, pipeline: int, rest: int) -> Iterator[Layout]:
    """Yield ways of sharing sequences and data between the ranks that are left."""
    experts = tensor if setup.shape.experts is not None else 1
    longest = max(1, setup.sequence_length // LEAST_CONTEXT_TOKENS)
    contexts = [n for n in CONTEXTS if n <= longest and rest % n == 0]
    for stages in STAGES if pipeline > 1 else (1,):
        if setup.shape.layers < pipeline * stages:
            continue
        for context in contexts:
            data = rest // context
            one = Layout(
                tensor_parallel_size=tensor,
                context_parallel_size=context,
                pipeline_parallel_size=pipeline,
                expert_parallel_size=experts,
                pipeline_stages_per_rank=stages,
                pipeline_schedule="interleaved_1f1b" if stages > 1 else "1f1b",
            )
            yield replace(one, data_parallel_shard_size=data)
            if data > 1:
                yield replace(one, data_parallel_replicate_size=data)


def _divides(setup: Setup, tensor: int) -> bool:
    """Whether so many tensor ranks can share out heads, groups of keys and values, and experts."""
    shape = setup.shape
    if shape.experts is not None and shape.experts.count % tensor:
        return False
    heads = shape.heads % tensor == 0
    return heads and (shape.kv_heads % tensor == 0 or tensor % shape.kv_heads == 0)


class Found(NamedTuple):
    """What a search found."""

    best: Quick
    """The fastest way that fits, or else the one that needs the least memory."""
    other: Quick | None
    """The fastest on another mesh that fits as well; None where nothing fits."""
    candidates: int


def fastest(setup: Setup, known: Calibration | None = None) -> Quick | None:
    """Return the fastest way that fits, or else the one that needs the least memory; None: none."""
    found = search(possible_setups(setup), known)
    return found.best if found else None


def search(setups: Iterable[Setup], known: Calibration | None = None) -> Found | None:
    """Search ways of one model and machine, checked before; None: there are none.

    The fastest are looked at first, and memory is predicted until two meshes fit.
    """
    known = known or calibration()
    timed: list[tuple[float, int, Setup]] = []
    too_large: list[Setup] = []
    standard: Standard | None = None
    has_room: dict[Layout, bool] = {}
    for setup in setups:
        standard = standard or Standard.of(setup, known)
        if setup.layout not in has_room:
            has_room[setup.layout] = standard.has_room_for_states(setup)
        if has_room[setup.layout]:
            timed.append((standard.seconds(setup), len(timed), setup))
        else:
            too_large.append(setup)
    if standard is None:
        return None
    by_fitness: dict[int, list[Quick]] = {0: [], 1: [], 2: []}
    fitting = by_fitness[0]
    for seconds, _, setup in sorted(timed):
        each = standard.judge(setup, seconds)
        by_fitness[FITNESS[each.verdict]].append(each)
        if fitting and fitting[-1].setup.layout != fitting[0].setup.layout:
            break
    candidates = len(timed) + len(too_large)
    kept = fitting or by_fitness[1]
    if kept:
        best = kept[0]
        other = next((each for each in kept if each.setup.layout != best.setup.layout), None)
        return Found(best, other, candidates)
    large = (standard.judge(setup, standard.seconds(setup)) for setup in too_large)
    smallest = min([*by_fitness[2], *large], key=lambda each: each.memory_bytes)
    return Found(smallest, None, candidates)
