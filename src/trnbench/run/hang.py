"""A job that hangs: which rank is late, and where each of them stands.

Ranks wait for one another, so all fall silent when one does. The late one is found by what it sent,
by the state of its process, and by its Python stack: it is elsewhere than those that wait for it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from trnbench.run import outcomes
from trnbench.run.job import Job, Rank
from trnbench.run.outcomes import End

OUTPUT_CHARACTERS = 32 * 1024
"""Of what all ranks printed, in a hang's detail."""

_SECTION = re.compile(r"^(?=(?:Current thread|Thread) 0x)", re.MULTILINE)
_FRAME = re.compile(r'^  File "(.*)", line (\d+) in (.*)$', re.MULTILINE)
"""As CPython's faulthandler writes them, the innermost call first."""

_WAITS = ("/torch/distributed/", "/train/parallel/mesh.py", "/train/parallel/turns.py")
"""Files whose functions wait for other ranks, inside C++."""

_BACKWARD = "_engine_run_backward"
"""DDP and FSDP exchange gradients below it, where Python has no frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one rank was when the job had hung for too long."""

    phase: str
    progress: int
    """Phases and blocks that it has sent."""
    state: str | None
    """Of its process, where that explains the silence."""
    stack: str
    """Of its main thread, the innermost call first; empty if it wrote none."""

    @property
    def frame(self) -> str | None:
        """The innermost call."""
        found = _FRAME.search(self.stack)
        return None if found is None else f"{found[3]} ({_short(found[1])}:{found[2]})"

    @property
    def depth(self) -> int:
        """Return 2 where a rank may wait for others, 1 elsewhere in torch, 0 in other code."""
        found = _FRAME.search(self.stack)
        if found is None:
            return 0
        if any(part in found[1] for part in _WAITS) or found[3] == _BACKWARD:
            return 2
        return 1 if "/torch/" in found[1] else 0


def end_of(job: Job, silent_seconds: float, hint: str) -> End:
    """Return the end of a job that hangs, with its workers' stacks."""
    ranks = range(job.ranks)
    part = OUTPUT_CHARACTERS // job.ranks
    printed = [job.output_tail(rank).strip()[-part:] for rank in ranks]
    states = job.states()
    standings = [
        Standing(
            phase=job.phase(rank), progress=job.progress(rank), state=state, stack=main_stack(text)
        )
        for rank, state, text in zip(ranks, states, job.stacks(), strict=True)
    ]
    if job.ranks == 1:
        said, phases, who = printed[0], repr(job.phase()), "the worker"
    else:
        said = "\n".join(f"rank {rank}: {text}" for rank, text in enumerate(printed) if text)
        phases, who = say_groups([repr(each.phase) for each in standings]), "any rank"
    detail = "\n".join(filter(None, [say_stacks(standings), said]))
    end = outcomes.of_hang(silent_seconds, hint, phases, detail, who)
    late, why = find_late(standings)
    if not why:
        return end
    culprit = "the worker"
    if job.ranks > 1:
        culprit = f"{say_ranks(late)} of {job.ranks}{job.where(late)}"
    return replace(end, reason=f"{culprit} {why}: {end.reason}")


def find_late(standings: Sequence[Standing]) -> tuple[list[Rank], str]:
    """Return the ranks that the others wait for, and what shows it; none and "" if nothing does."""
    stopped = [rank for rank, each in enumerate(standings) if each.state is not None]
    if stopped:
        return stopped, standings[stopped[0]].state or ""
    if len(standings) == 1:
        return [], ""
    most = max(each.progress for each in standings)
    behind = [rank for rank, each in enumerate(standings) if each.progress < most]
    if behind:
        return behind, f"sent less than the others{_at(standings[behind[0]])}"
    seen = {rank: each for rank, each in enumerate(standings) if each.frame is not None}
    deepest = max((each.depth for each in seen.values()), default=0)
    for depth in range(deepest):
        out = [rank for rank, each in seen.items() if each.depth == depth]
        if out:
            return out, f"does not wait for the others{_at(standings[out[0]])}"
    frames = Counter(each.frame for each in seen.values())
    if len(frames) > 1:
        rare, count = frames.most_common()[-1]
        if count < frames.most_common()[0][1]:
            out = [rank for rank, each in seen.items() if each.frame == rare]
            return out, f"is elsewhere than the others{_at(standings[out[0]])}"
    return [], ""


def main_stack(text: str) -> str:
    """Return the main thread's part of what faulthandler wrote; empty if it wrote nothing."""
    stacks = [section for section in _SECTION.split(text)[1:] if _FRAME.search(section)]
    if not stacks:
        return ""
    own = [section for section in stacks if "entry.py" in section]
    current = [section for section in stacks if section.startswith("Current")]
    chosen = (own or current or stacks)[-1]
    return "\n".join(found[0] for found in _FRAME.finditer(chosen))


def say_stacks(standings: Sequence[Standing]) -> str:
    """Write each stack once, under the ranks that have it; nothing if there is none."""
    groups: dict[str, list[Rank]] = {}
    for rank, each in enumerate(standings):
        groups.setdefault(each.stack, []).append(rank)
    if not any(groups):
        return ""
    said = []
    for stack, ranks in groups.items():
        who = say_ranks(ranks) if len(standings) > 1 else "the worker"
        said.append(f"{who}, innermost call first:\n{stack}" if stack else f"{who}: no stack")
    return "\n".join(said)


def say_groups(values: Sequence[str]) -> str:
    """Write each value once, with the ranks that have it."""
    groups: dict[str, list[Rank]] = {}
    for rank, value in enumerate(values):
        groups.setdefault(value, []).append(rank)
    return ", ".join(f"{value} ({say_ranks(ranks)})" for value, ranks in groups.items())


def say_ranks(ranks: Iterable[Rank]) -> str:
    """Write ranks in ascending order, runs of them as ranges: `rank 3`, `ranks 0, 2-7`."""
    runs: list[list[Rank]] = []
    for rank in sorted(ranks):
        if runs and rank == runs[-1][-1] + 1:
            runs[-1].append(rank)
        else:
            runs.append([rank])
    said = ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
    return f"rank {said}" if len(runs) == 1 and len(runs[0]) == 1 else f"ranks {said}"


def _at(standing: Standing) -> str:
    return "" if standing.frame is None else f", in {standing.frame}"


def _short(path: str) -> str:
    """Return the last two parts of a path: enough to know the file, and no home folder."""
    return "/".join(path.split("/")[-2:])
