"""Nothing is left of a worker: not when it resists, and not when its parent is killed."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.command import heed_signals
from tests.process.run.processes import all_events, are_gone, next_line, script_command
from trnbench.run.job import Exited, Job

ROOT = Path(__file__).resolve().parents[3]

RESISTS = """\
signal.signal(signal.SIGTERM, signal.SIG_IGN)
nested = ("import signal, sys, subprocess; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
          "print(subprocess.os.getpid(), flush=True); signal.pause()")
child = subprocess.Popen([sys.executable, "-c", nested], stdout=subprocess.PIPE)
child.stdout.readline()
say(f"{os.getpid()} {child.pid}\\n")
signal.pause()
"""

# Starts a worker and tells whose pids it has; then waits, without ever ending the worker.
PARENT = """\
import signal, sys
from tests.process.run.processes import next_line
from trnbench.run.job import Job
worker = Job([sys.argv[1:]] * 3)
pids = [next_line(worker).decode().strip() for _ in range(3)]
print(*pids, worker._guardian.pid, flush=True)
sys.stdin.read()
"""


def start_parent(folder: Path) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", PARENT, *script_command(folder, RESISTS)]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        preexec_fn=heed_signals,
    )


def test_a_worker_and_its_child_that_ignore_the_request_are_killed(tmp_path: Path) -> None:
    worker = Job([script_command(tmp_path, RESISTS)])
    pids = [int(pid) for pid in next_line(worker).split()]
    assert all(psutil.pid_exists(pid) for pid in pids)
    worker.end(grace_seconds=0.1)
    assert are_gone(pids)


def test_a_worker_is_asked_before_it_is_killed(tmp_path: Path) -> None:
    said = tmp_path / "said"
    body = (
        "def leave(number, frame):\n"
        f"    open({str(said)!r}, 'w').write('goodbye')\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, leave)\n"
        "say('ready\\n')\n"
        "signal.pause()\n"
    )
    worker = Job([script_command(tmp_path, body)])
    assert next_line(worker) == b"ready\n"
    worker.end(grace_seconds=30.0)
    assert said.read_text() == "goodbye"


def test_what_a_worker_that_is_over_left_running_is_killed(tmp_path: Path) -> None:
    body = (
        "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\n"
        "say(f'{child.pid}\\n'); os._exit(0)"
    )
    worker = Job([script_command(tmp_path, body)])
    child = int(next_line(worker))
    assert all_events(worker)[-1] == Exited(0, 0)
    assert psutil.pid_exists(child)
    worker.end()
    assert are_gone([child])


@pytest.mark.parametrize(
    ("body", "hear"),
    [("pass", all_events), ("wait()", lambda worker: None), (RESISTS, next_line)],
    ids=["over", "waiting", "resisting"],
)
def test_ending_leaves_no_process_no_zombie_and_no_descriptor(
    tmp_path: Path, body: str, hear: Callable[[Job], object]
) -> None:
    here = psutil.Process()
    descriptors, children = here.num_fds(), here.children()
    worker = Job([script_command(tmp_path, body)])
    hear(worker)
    worker.end(grace_seconds=0.1)
    assert here.num_fds() == descriptors
    assert here.children() == children


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_parent_that_is_killed_takes_its_workers_with_it(
    tmp_path: Path, how: signal.Signals
) -> None:
    with start_parent(tmp_path) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 7  # three workers, their children, the guardian
        assert all(psutil.pid_exists(pid) for pid in pids)
        parent.send_signal(how)
    assert parent.returncode == -how
    assert are_gone(pids)


def test_a_parent_that_ends_by_itself_takes_its_worker_with_it_too(tmp_path: Path) -> None:
    with start_parent(tmp_path) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert are_gone(pids)


def test_two_workers_are_ended_each_by_itself(tmp_path: Path) -> None:
    command = script_command(tmp_path, "say('ready\\n'); wait()")
    one, other = Job([command]), Job([command])
    one_pid, other_pid = *one.pids, *other.pids
    assert next_line(one) == next_line(other) == b"ready\n"
    one.end()
    assert not psutil.pid_exists(one_pid)
    assert psutil.Process(other_pid).status() != psutil.STATUS_ZOMBIE
    other.end()
    assert not psutil.pid_exists(other_pid)
