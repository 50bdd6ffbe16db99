"""Ways of laying out a job on so many devices, and the fastest of them that fits."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from trnbench.estimate.calibration import Calibration
from trnbench.estimate.step import Quick, estimate_layouts
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
    for tensor in tensors if is_split else (1,):
        for pipeline in PIPELINES if is_split else (1,):
            if devices % (tensor * pipeline) or shape.layers < pipeline:
                continue
            for layout in _data_layouts(setup, tensor, pipeline, devices // (tensor * pipeline)):
                data = layout.data_parallel_size
                for micro in MICRO_BATCHES:
                    if setup.global_batch_size % (data * micro):
                        continue
                    found = replace(setup, layout=layout, micro_batch_size=micro)
                    if pipeline > 1 and found.passes < pipeline:
                        continue
                    for recompute in RECOMPUTES:
                        step = replace(setup.step, recompute=recompute)
                        yield replace(found, step=step)


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


def fastest(setup: Setup, known: Calibration | None = None) -> Quick | None:
    """Return the fastest way that fits, or else the one that needs the least memory; None: none."""
    return fastest_of(possible_setups(setup), known)


def fastest_of(setups: Iterable[Setup], known: Calibration | None = None) -> Quick | None:
    """Return the same of these ways, which are of one model and machine."""
    found = list(estimate_layouts(setups, known))
    if not found:
        return None

    def order(each: Quick) -> tuple[int, float]:
        worst = FITNESS[each.verdict]
        return worst, each.memory_bytes if worst == FITNESS["does_not_fit"] else each.seconds

    return min(found, key=order)
