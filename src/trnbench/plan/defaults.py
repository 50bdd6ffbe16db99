"""The sizes of a step that a config leaves to us: a sequence length and a batch for the device.

Source: docs/models.md, "What is chosen for you".
"""

import math
from collections.abc import Iterator
from dataclasses import replace

from trnbench.config.load import Conflict
from trnbench.config.model import AUTO, Config
from trnbench.model.families import family_of
from trnbench.model.flops import DEFAULT_CONVENTION, flops_per_token
from trnbench.plan.device import Target
from trnbench.plan.layout import Choice, Job, choose_layout
from trnbench.plan.parallel import read_sizes, worlds_within
from trnbench.protocol.model import ModelShape

ACCELERATOR_LENGTH, HOST_LENGTH = 4096, 128
"""Tokens of a sequence where the model takes as many: what small models are pretrained with, and
what a processor gets through in seconds."""

PASS_TOKENS, HOST_PASS_TOKENS = 16_384, 1024
"""Of one rank: more of them make matmuls no faster on an accelerator, and leave a CPU's cache."""

HOST_STEP_FLOPS = 2e11
"""Of a step on a processor: a second or a few on a laptop."""

MOST_SEQUENCES = 64
"""Of one pass of one rank."""


def fill_length(config: Config, shape: ModelShape | None, target: Target) -> Config:
    """Return the config with a sequence length.

    Raises:
        Conflict: nothing says how long a sequence an external model takes.
    """
    asked = config.workload
    if asked.sequence_length != AUTO:
        return config
    if shape is None:
        raise Conflict(
            "workload.sequence_length",
            "is missing, and nothing says how long a sequence an external model takes",
            hint="add it, e.g. `workload: {sequence_length: 1024}`",
        )
    if shape.image is not None:
        length = shape.max_positions
    else:
        usual = HOST_LENGTH if target.likely_row.is_host else ACCELERATOR_LENGTH
        least = family_of(shape).least_sequence_length
        needed = (usual, least, asked.document_length or 0, shape.sliding_window or 0)
        length = min(shape.max_positions, max(needed))
    return with_sizes(config, sequence_length=length)


def choose_batch(job: Job, *, has_length: bool) -> Choice:
    """Choose the layout of a job, and its batch where the config gives none.

    Each rank gets the most sequences in a pass, of 1, 2, 4, …, with which the memory that is
    predicted fits and least is recomputed; one where it cannot be predicted.

    Raises:
        Conflict, UnavailableError: as `choose_layout` does.
    """
    asked = job.config.workload
    if asked.global_batch_size != AUTO:
        return _explained(choose_layout(job), "" if has_length else _say_length(job))
    count = groups_of(job)
    tried = [
        choose_layout(
            replace(
                job,
                config=with_sizes(
                    job.config, micro_batch_size=micro, global_batch_size=micro * count
                ),
            )
        )
        for micro in ([asked.micro_batch_size] if asked.micro_batch_size else passes_of(job))
    ]
    best = min(tried, key=_rank)
    said = "" if has_length else f"{_say_length(job)}; "
    return _explained(best, said + _say_batch(asked.micro_batch_size, tried, best))


def _rank(choice: Choice) -> tuple[tuple[int, int], int]:
    """Order choices: the least burden, then the most sequences; if none fits, the fewest."""
    micro = choice.workload.micro_batch_size
    return choice.burden, -micro if choice.fits else micro


def with_sizes(config: Config, **sizes: int) -> Config:
    """Return the config with these sizes of its workload."""
    return config.model_copy(update={"workload": config.workload.model_copy(update=sizes)})


def _explained(choice: Choice, reason: str) -> Choice:
    if not reason:
        return choice
    return replace(choice, workload=choice.workload.model_copy(update={"reason": reason}))


def groups_of(job: Job) -> int:
    """Return how many sequences make a step in which each group of ranks has one in each pass.

    A pipeline has as many passes as ranks, so that is the number of ranks without those that share
    one sequence.
    """
    asked = read_sizes(job.config.parallel)
    inner = asked.inner
    if asked.filled is None and not asked.has_free_data:
        return inner // asked.sizes["context"] // asked.sizes["tensor"]
    filled = next(worlds_within(job.supply, inner), 1)
    sizes = {**asked.sizes, asked.filled or "shard": filled}
    return math.prod(sizes.values()) // sizes["context"] // sizes["tensor"]


def passes_of(job: Job) -> Iterator[int]:
    """Yield the numbers of sequences in a pass that are worth a try, 1 first."""
    shape, length = job.model.shape, job.config.workload.sequence_length
    yield 1
    if shape is None:
        return
    most = PASS_TOKENS // length
    if job.target.likely_row.is_host:
        flops = flops_per_token(shape, length, DEFAULT_CONVENTION)
        most = int(min(HOST_PASS_TOKENS, HOST_STEP_FLOPS / flops) // length)
    elif job.target.accelerator is None or job.target.accelerator.memory_bytes is None:
        return
    micro = 2
    while micro <= min(most, MOST_SEQUENCES):
        yield micro
        micro *= 2


def _say_length(job: Job) -> str:
    length, shape = job.config.workload.sequence_length, job.model.own_shape
    if shape.image is not None:
        return f"{length} tokens are one image"
    if length == shape.max_positions:
        return f"{length} tokens are all that the model takes"
    row = job.target.likely_row
    where = "a CPU" if row.is_host else "an accelerator"
    return f"{length} of the model's {shape.max_positions:,} positions, as is usual on {where}"


def _say_batch(given: int | None, tried: list[Choice], best: Choice) -> str:
    micro = best.workload.micro_batch_size
    if given is not None:
        return f"one pass of {given} a rank, as micro_batch_size says"
    if best.verdict == "unknown" and len(tried) == 1:
        return f"{micro} a pass, for the device's memory or the model's need is not known"
    if not best.fits:
        said = "does not fit" if best.verdict == "does_not_fit" else "is tight"
        return f"{micro} a pass, and even that {said}"
    larger = [each for each in tried if each.workload.micro_batch_size > micro]
    if larger:
        next_one = min(larger, key=lambda choice: choice.workload.micro_batch_size)
        more = next_one.workload.micro_batch_size
        why = "does not fit" if not next_one.fits else "would recompute more"
        return f"{micro} a pass, for {more} {why}"
    return f"{micro} a pass, enough to keep the device busy"
