"""A rank's processors: those near its device, chosen before any library starts its threads."""

import os


def bind(processors: str | None) -> str:
    """Bind this process to processors, and return what came of it, for the record.

    Of those that this process may not use, as in a container, none is taken.
    """
    if processors is None:
        return "none"
    if not hasattr(os, "sched_setaffinity"):
        return f"none: this system cannot bind a process to {processors}"
    allowed = os.sched_getaffinity(0)
    wanted = _numbers(processors) & allowed
    if not wanted:
        return f"none: this process may use none of {processors}"
    os.sched_setaffinity(0, wanted)
    return processors if len(wanted) < len(allowed) else f"{processors}, which are all"


def _numbers(processors: str) -> set[int]:
    found: set[int] = set()
    for part in processors.split(","):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found
