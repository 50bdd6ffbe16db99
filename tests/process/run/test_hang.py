"""Silence is a hang, unless something that the worker has started uses the processor."""

import os
import subprocess
import sys
from subprocess import PIPE

from trnbench.run.watch import LOOK_SECONDS, MOST_SILENCES, HangWatch, descendants_cpu_seconds

# Starts a child that spins for so many seconds of processor time and ends, tells, and waits.
PARENT_OF_A_SPINNER = """
import subprocess, sys
spin = "import time\\nwhile time.process_time() < float({0}): pass"
subprocess.run([sys.executable, "-c", spin.format(sys.argv[1])], check=True)
print("spun", flush=True)
sys.stdin.read()
"""


class Work:
    """Processor seconds of a compiler, as a test sets them."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, _pid: int) -> float:
        return self.seconds


def test_a_silence_up_to_the_limit_is_none_and_nobody_is_asked() -> None:
    def refuse(_pid: int) -> float:
        raise AssertionError("looked at processes while there was no need")

    watch = HangWatch([1], 600.0, 0.0, refuse)
    assert not watch.is_hung(600.0)
    watch.reset(600.0)
    assert not watch.is_hung(1200.0)


def test_a_longer_one_without_work_is_a_hang() -> None:
    watch = HangWatch([1], 600.0, 0.0, Work())
    assert watch.is_hung(600.1)
    assert watch.silent_seconds(600.1) == 600.1


def test_a_compiler_at_work_is_no_hang_until_it_stops_working() -> None:
    work = Work()
    watch = HangWatch([1], 600.0, 0.0, work)
    now = 600.0
    for _ in range(100):
        now += LOOK_SECONDS + 0.1
        work.seconds += 0.9 * LOOK_SECONDS
        assert not watch.is_hung(now)
    assert watch.is_hung(now + LOOK_SECONDS + 0.1)


def test_work_without_an_end_is_a_hang_too() -> None:
    work = Work()
    watch = HangWatch([1], 60.0, 0.0, work)
    now = 0.0
    while not watch.is_hung(now):
        now += 1.0
        work.seconds += 1.0
    assert MOST_SILENCES * 60.0 < now <= MOST_SILENCES * 60.0 + LOOK_SECONDS + 1.0


def test_processes_that_wait_below_the_worker_do_not_count_as_work() -> None:
    work = Work()
    watch = HangWatch([1], 600.0, 0.0, work)
    work.seconds = 1.0  # the pool of compilers came up, and idles
    assert watch.is_hung(600.1)


def test_a_word_begins_the_time_anew() -> None:
    watch = HangWatch([1], 600.0, 0.0, Work())
    watch.reset(599.0)
    assert not watch.is_hung(1199.0)
    assert watch.is_hung(1199.1)


def test_work_is_that_of_all_descendants_ended_ones_too_and_not_the_worker_s_own() -> None:
    command = [sys.executable, "-c", PARENT_OF_A_SPINNER, "0.3"]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert 0.25 <= descendants_cpu_seconds(process.pid) < 30
    assert descendants_cpu_seconds(process.pid) == 0.0, "a process that is gone has done nothing"
    grandparent = descendants_cpu_seconds(os.getpid())
    assert grandparent >= 0.25, "the child that was waited for counts to us"


def test_a_compiler_below_any_rank_is_work_of_the_job() -> None:
    work = {1: 0.0, 2: 0.0}
    watch = HangWatch([1, 2], 600.0, 0.0, lambda *pids: sum(work[pid] for pid in pids))
    work[2] = 400.0
    assert not watch.is_hung(600.1)
    assert watch.is_hung(600.1 + LOOK_SECONDS + 0.1)
