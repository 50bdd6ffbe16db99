"""`micro_batch_size: max`: which sizes of a pass are worth a trial, and which one comes first.

Layout and recomputation are those of one sequence a pass, so that the sizes differ in nothing else.
The trials themselves are `run/largest.py`'s.
"""

from collections.abc import Iterator
from dataclasses import replace

from trnbench.config.load import Conflict
from trnbench.config.model import AUTO
from trnbench.plan.defaults import MOST_SEQUENCES, groups_of, passes_of, with_sizes
from trnbench.plan.layout import Choice, Job, choose_layout
from trnbench.plan.parallel import KEYS
from trnbench.schema.plan import PassSearch, PassSize
from trnbench.units import say_bytes


def choose_largest(job: Job, take: int | None = None) -> Choice:
    """Return the choice with `take` sequences a pass, or by default with the first size to try.

    Raises:
        Conflict, UnavailableError: as `choose_layout` does, with one sequence a pass.
    """
    asked = job.config.workload
    has_batch = asked.global_batch_size != AUTO
    count = 1 if has_batch else groups_of(job)
    batch = asked.global_batch_size if has_batch else count
    one_config = with_sizes(job.config, micro_batch_size=1, global_batch_size=batch)
    one = choose_layout(replace(job, config=one_config))
    pinned = _pinned(job, one)
    sizes = _divisors(batch // one.parallel.layout.data_parallel_size)
    if not has_batch:
        sizes = passes_of(job) if job.target.likely_row.is_host else _doublings()
    found: dict[int, Choice] = {}
    for size in sizes:
        total = batch if has_batch else size * count
        config = with_sizes(pinned.config, micro_batch_size=size, global_batch_size=total)
        try:
            found[size] = choose_layout(replace(pinned, config=config))
        except Conflict:  # a pipeline has fewer passes than ranks
            continue
    found.setdefault(1, one)
    fitting = [size for size, choice in found.items() if choice.verdict == "fits"]
    first = max(fitting, default=min(found))
    search = PassSearch(
        sizes=tuple(
            PassSize(
                micro_batch_size=size,
                memory_bytes=found[size].memory_bytes,
                memory_verdict=found[size].verdict,
            )
            for size in sorted(found)
        ),
        first=first,
        is_batch_given=has_batch,
    )
    taken = found[take or first]
    workload = taken.workload.model_copy(update={"reason": _say(search, taken), "search": search})
    return replace(
        taken,
        workload=workload,
        parallel=taken.parallel.model_copy(update={"reason": one.parallel.reason}),
        first_device=one.first_device,
    )


def _pinned(job: Job, one: Choice) -> Job:
    """Return the job with layout and recomputation as they are with one sequence a pass."""
    layout, config = one.parallel.layout, job.config
    sizes = {key: layout.size(axis) for axis, key in KEYS.items()}
    workload = config.workload.model_copy(
        update={"activation_checkpointing": one.workload.step.recompute}
    )
    parallel = config.parallel.model_copy(update=sizes)
    return replace(
        job, config=config.model_copy(update={"workload": workload, "parallel": parallel})
    )


def _divisors(number: int) -> Iterator[int]:
    return (size for size in range(1, number + 1) if number % size == 0)


def _doublings() -> Iterator[int]:
    size = 1
    while size <= MOST_SEQUENCES:
        yield size
        size *= 2


def _say(search: PassSearch, taken: Choice) -> str:
    """Say what is tried first, and why."""
    sizes = ", ".join(str(each.micro_batch_size) for each in search.sizes)
    need, room = taken.memory_bytes, taken.device.memory_bytes
    if taken.verdict == "unknown" or need is None or room is None:
        why = "the smallest, for the device's memory or the model's need is not known"
    elif taken.verdict == "fits":
        why = f"the most that is predicted to fit ({say_bytes(need)} of {say_bytes(room)})"
    else:
        why = f"the fewest, and even that is predicted to need {say_bytes(need)} of "
        why += say_bytes(room)
    batch = "the global batch stays" if search.is_batch_given else "the global batch grows with it"
    return f"micro_batch_size max: of {sizes} a pass, {search.first} is tried first: {why}; {batch}"
