"""Others' processor time beside the worker's: shares between nothing and all, from real loads."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from subprocess import DEVNULL, PIPE

import psutil
import pytest

from trnbench.run.watch import MIN_SECONDS, LoadWatch

# Spins for so many seconds of processor time, tells, and stays until its input ends.
SPINS = """
import sys, time
while time.process_time() < float(sys.argv[1]):
    pass
print("spun", flush=True)
sys.stdin.read()
"""
SPIN_SECONDS = 0.5
CPUS = psutil.cpu_count() or 1


class Clock:
    """Says what it is told to say."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def bystander() -> Iterator[int]:
    """A process that does nothing, to be taken for the worker."""
    process = subprocess.Popen([sys.executable, "-c", SPINS, "0"], stdin=PIPE, stdout=PIPE)
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid


def busy_seconds() -> float:
    times = psutil.cpu_times()
    return sum(times) - times.idle - getattr(times, "iowait", 0.0)


def spin_here(seconds: float) -> None:
    began = time.process_time()
    while time.process_time() - began < seconds:
        pass


def test_too_soon_after_the_last_look_it_says_nothing(bystander: int) -> None:
    clock = Clock()
    watch = LoadWatch([bystander], clock)
    clock.now += MIN_SECONDS - 0.01
    assert watch.look(1.0, "warmup") is None
    clock.now += 0.02
    seen = watch.look(1.5, "measure")
    assert seen is not None
    assert (seen.at_seconds, seen.purpose) == (1.5, "measure")
    assert seen.seconds == pytest.approx(MIN_SECONDS + 0.01)


def test_each_look_covers_the_time_since_the_last(bystander: int) -> None:
    clock = Clock()
    watch = LoadWatch([bystander], clock)
    spans = []
    for elapsed in (3.0, 2.5):
        clock.now += elapsed
        seen = watch.look(0.0, "measure")
        assert seen is not None
        spans.append(seen.seconds)
    assert spans == [3.0, 2.5]


def test_another_process_s_work_is_foreign(bystander: int) -> None:
    clock = Clock()
    before = busy_seconds()
    watch = LoadWatch([bystander], clock)
    subprocess.run([sys.executable, "-c", SPINS, str(SPIN_SECONDS)], stdin=DEVNULL, stdout=DEVNULL)
    clock.now += MIN_SECONDS
    seen = watch.look(0.0, "measure")
    foreign_at_most = busy_seconds() - before
    assert seen is not None
    foreign_seconds = seen.foreign_cpu_share * MIN_SECONDS * CPUS
    assert SPIN_SECONDS - 0.05 <= foreign_seconds <= foreign_at_most + 0.05


def test_the_work_of_the_worker_its_descendants_and_ours_is_not() -> None:
    clock = Clock()
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SPINS!r}, '0.3'])"
    worker_code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", worker_code], stdin=PIPE, stdout=PIPE) as worker:
        before = busy_seconds()
        watch = LoadWatch([worker.pid], clock)
        spin_here(SPIN_SECONDS)
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"spun\n"
        clock.now += MIN_SECONDS
        seen = watch.look(0.0, "measure")
        others_at_most = busy_seconds() - before - SPIN_SECONDS - 0.3
    assert seen is not None
    assert seen.foreign_cpu_share * MIN_SECONDS * CPUS <= others_at_most + 0.1


def test_a_share_is_a_part_of_the_whole_time_and_never_negative(bystander: int) -> None:
    clock = Clock()
    watch = LoadWatch([bystander], clock)
    spin_here(0.1)
    clock.now += 1e9
    seen = watch.look(0.0, "measure")
    assert seen is not None
    assert 0.0 <= seen.foreign_cpu_share < 1e-6


def test_the_worker_s_memory_is_that_of_it_and_its_children(bystander: int) -> None:
    clock = Clock()
    # Seen from here, the bystander is a child of this very process.
    alone, all_of_us = LoadWatch([bystander], clock), LoadWatch([os.getpid()], clock)
    clock.now += MIN_SECONDS
    small, large = alone.look(0.0, "measure"), all_of_us.look(0.0, "measure")
    assert small is not None
    assert large is not None
    own = psutil.Process()
    family = [own, *own.children(recursive=True)]
    assert small.worker_rss_bytes == pytest.approx(psutil.Process(bystander).memory_info().rss)
    assert bystander in {member.pid for member in family}
    everybody = sum(member.memory_info().rss for member in family)
    assert large.worker_rss_bytes == pytest.approx(everybody, rel=0.1)


def test_a_worker_that_is_gone_is_no_fault() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as gone:
        pass
    clock = Clock()
    watch = LoadWatch([gone.pid], clock)
    clock.now += MIN_SECONDS
    seen = watch.look(0.0, "measure")
    assert seen is not None
    assert seen.worker_rss_bytes == 0
    assert 0.0 <= seen.foreign_cpu_share <= 1.0


def test_all_workers_that_work_at_once_are_ours(bystander: int) -> None:
    clock = Clock()
    with subprocess.Popen(
        [sys.executable, "-c", SPINS, str(SPIN_SECONDS)], stdin=PIPE, stdout=PIPE
    ) as worker:
        alone, both = (LoadWatch([bystander, *pids], clock) for pids in ((), (worker.pid,)))
        assert worker.stdout is not None
        worker.stdout.readline()
        clock.now += 4.0
        seen = [watch.look(1.0, "measure") for watch in (alone, both)]
    shares = [watch.foreign_cpu_share for watch in seen if watch is not None]
    assert shares[0] - shares[1] >= 0.8 * SPIN_SECONDS / (4.0 * CPUS)
