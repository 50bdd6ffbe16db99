"""Faults of workers that train with torch: fewer of them, for each takes ten times as long."""

import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.faulting import reader
from benchmarks.faulting.commands import Started, Way, children
from benchmarks.faulting.kinds import RECORDED, STOPPED
from benchmarks.faulting.scene import Scene, Shot, Skipped
from tests.stand_in import stand_in_environment

MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")


def allow_time(scene: Scene, hang_seconds: float = 120.0) -> None:
    """Wait long enough for torch, on a machine that others use too, and measure little."""
    scene.hang_seconds, scene.end_seconds = hang_seconds, 900.0
    scene.least_samples = scene.samples = 8
    scene.launches = 1


def begin(scene: Scene, hang_seconds: float = 120.0) -> tuple[Started, list[int]]:
    """Start the suite with torch, and wait for some records; return it and its ranks."""
    scene.python = sys.executable
    allow_time(scene, hang_seconds)
    started = scene.start()
    least, had = scene.chance.randint(3, 16), 0
    while not started.has_ended_within(0.02):
        now = reader.read_run(scene.run).records
        if now >= least and (ranks := children(started.pid, "entry.py")):
            scene.what = f"{scene.ranks} ranks, after {now} records"
            return started, ranks
        had = now
    raise RuntimeError(
        f"the suite ended by itself after {had} records: {started.wait(scene.end_seconds)}"
    )


def kill_parent(scene: Scene) -> Shot:
    """The guardian then ends the ranks."""
    started, _ = begin(scene)
    os.kill(started.pid, signal.SIGKILL)
    return Shot(ended=started.wait(scene.end_seconds), codes={-9})


def kill_rank(scene: Scene) -> Shot:
    """One that trains, or the one of two."""
    started, ranks = begin(scene)
    os.kill(scene.chance.choice(ranks), signal.SIGKILL)
    return Shot(ended=started.wait(scene.end_seconds), codes={4}, statuses={"died"})


def stop_rank(scene: Scene) -> Shot:
    """Its peer waits for it in a collective."""
    started, ranks = begin(scene, hang_seconds=45.0)
    os.kill(scene.chance.choice(ranks), signal.SIGSTOP)
    return Shot(ended=started.wait(scene.end_seconds), codes={4}, statuses={"hung"})


def signal_parent(scene: Scene) -> Shot:
    """While ranks train."""
    number = scene.chance.choice([*STOPPED])
    started, _ = begin(scene)
    os.kill(started.pid, number)
    return Shot(
        ended=started.wait(scene.end_seconds), codes={STOPPED[number]}, statuses={RECORDED[number]}
    )


def _python_once(scene: Scene, words: str) -> Callable[[], None]:
    """Have Python start behind some words of the shell; return what takes them away."""
    allow_time(scene)
    mended = scene.folder / "mended"
    path = scene.folder / "python-with-a-limit"
    path.write_text(
        f"#!/bin/sh\n[ -e {shlex.quote(str(mended))} ] || {{ {words}; }}\n"
        f'exec {shlex.quote(sys.executable)} "$@"\n'
    )
    path.chmod(0o755)
    scene.python = str(path)
    return mended.touch


def limit_memory(scene: Scene) -> Shot:
    """A limit on a worker's address space: torch cannot be loaded, or cannot allocate."""
    mebibytes = scene.chance.choice([400, 1200, 1800, 2400, 3200, 4000])
    scene.what = f"{mebibytes} MiB"
    repair = _python_once(scene, f"ulimit -v {mebibytes * 1024}")
    ended = scene.call()
    statuses = ("out_of_memory", "died", "device_failure", "unavailable")
    return Shot(
        ended=ended, codes={0, 3, 4}, statuses=statuses if ended.code == 4 else (), repair=repair
    )


def kill_for_memory(scene: Scene) -> Shot:
    """The kernel's out-of-memory killer, in a memory control group of the ranks' own."""
    group = MEMORY_GROUPS / f"faults-{scene.mark}"
    mebibytes = scene.chance.choice([40, 150, 250])
    scene.what = f"{mebibytes} MiB"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(f"{mebibytes}M")
    except OSError as error:
        raise Skipped(f"no memory control group can be made: {error.strerror}") from None
    mend = _python_once(scene, f"echo $$ > {group}/cgroup.procs")
    ended = scene.call()

    def repair() -> None:
        mend()
        group.rmdir()

    return Shot(
        ended=ended, codes={0, 3, 4}, statuses=("died",) if ended.code == 4 else (), repair=repair
    )


def fill_device(scene: Scene) -> Shot:
    """A device without room, on the stand-in for a Trainium."""
    allow_time(scene)
    scene.ranks = 1
    scene.python = sys.executable
    scene.options = ["--device", "neuron:0"]
    cache = {"XDG_CACHE_HOME": str(scene.folder / "cache")}
    step = scene.chance.randint(20, 60)
    scene.what = f"memory@{step}"
    scene.again = Way(is_executed=True, environment={**stand_in_environment(), **cache})
    environment = {**stand_in_environment(fault=f"memory@{step}"), **cache}
    ended = scene.call(Way(is_executed=True, environment=environment))
    retry = ["--retry", "all"]  # else out of memory is kept as the answer
    return Shot(
        ended=ended, codes={4}, statuses={"out_of_memory"},
        repair=lambda: scene.options.extend(retry),
    )  # fmt: skip


KINDS: dict[str, tuple[Callable[[Scene], Shot], int]] = {
    "torch: kill -9 of the parent": (kill_parent, 4),
    "torch: kill -9 of a rank": (kill_rank, 4),
    "torch: SIGSTOP of a rank": (stop_rank, 3),
    "torch: SIGINT, SIGTERM, SIGHUP": (signal_parent, 4),
    "torch: little address space": (limit_memory, 5),
    "torch: the kernel's out-of-memory killer": (kill_for_memory, 2),
    "torch: a device without room (stand-in)": (fill_device, 2),
}
