"""A job of several workers: all are heard, the one that failed is named, and none is left."""

import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from tests.process.run.processes import are_gone, script_command
from trnbench.errors import ConfigError
from trnbench.protocol.orders import Finish, RunBlock
from trnbench.protocol.records import ChildRecord, Finished, Phase
from trnbench.run.job import Event, Exited, Job, Line, Rank
from trnbench.run.outcomes import End
from trnbench.run.watch import descendants_cpu_seconds
from trnbench.run.worker import converse

SAY = """\
import json

def send(kind, **fields):
    say(json.dumps(dict(kind=kind, at_seconds=0.0, **fields)) + '\\n')

def fail(reason, message, detail=''):
    send('failed', reason=reason, message=message, hint=None, detail=detail)
    os._exit(0)

def wait_for_failures():
    # Until the parent has heard the others fail.
    with open(os.path.join(os.path.dirname(os.path.dirname(__file__)), 'heard')) as heard:
        heard.read()

def lose_peer():
    # A collective waits for the others, and ends as soon as one of them is gone.
    fail('bug', 'Connection closed by peer [127.0.0.1]:41027')

send('phase', name='train')
"""
"""What every rank of these tests begins with."""

LOST = "lose_peer()"
QUIET = "print('waiting for the others', flush=True); wait()"


class Ending(Job):
    """Lets ranks that `wait_for_failures` go on, and its clock, as ranks end."""

    def __init__(self, commands: Sequence[Sequence[str]], folder: Path, failures: int) -> None:
        """Start it; so many must fail before the others go on, and one more before time passes."""
        self._heard, self._failures, self._now = folder / "heard", failures, 0.0
        self._ended: set[Rank] = set()
        os.mkfifo(self._heard)
        super().__init__(commands)

    def events(self) -> Iterator[Event]:
        for event in super().events():
            if isinstance(event, Exited) or (isinstance(event, Line) and b'"failed"' in event.text):
                has_waiting = len(self._ended) < self._failures
                self._ended.add(event.rank)
                if has_waiting and len(self._ended) == self._failures:
                    self._heard.write_text("all")
            yield event

    def clock(self) -> float:
        self._now += len(self._ended) > self._failures
        return self._now


class Clock:
    """Says what it is told to say."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def commands(folder: Path, *bodies: str) -> list[list[str]]:
    """Return the command of a rank for each body."""
    made = []
    for rank, body in enumerate(bodies):
        own = folder / f"rank-{rank}"
        own.mkdir()
        made.append(script_command(own, SAY + body))
    return made


def talk(job: Job) -> Iterator[tuple[Rank, ChildRecord]]:
    return converse(job, backend="cpu", hang=60.0, hang_hint="allow more")


def steps_of(job: Job) -> dict[Rank, int]:
    """Return how many steps each rank says that it made."""
    return {rank: record.steps for rank, record in talk(job) if isinstance(record, Finished)}


def end_of(folder: Path, *bodies: str, after: int = 0) -> End:
    """Return how a job of these ranks ended, once nothing is left of it.

    Args:
        folder: of their scripts.
        bodies: what each does.
        after: how many failures those hear of that wait for them.
    """
    with Ending(commands(folder, *bodies), folder, after) as job:
        pids = job.pids
        with pytest.raises(End) as raised:
            list(converse(job, backend="cpu", hang=60, hang_hint="allow more", clock=job.clock))
    assert are_gone(pids)
    return raised.value


def test_what_all_ranks_say_is_yielded_with_the_rank_that_said_it(tmp_path: Path) -> None:
    names = ("gate", "build", "teardown")
    bodies = [f"send('phase', name={name!r}); send('finished', steps=3)" for name in names]
    with Job(commands(tmp_path, *bodies)) as job:
        heard = list(talk(job))
    for rank, name in enumerate(names):
        own = [record for each, record in heard if each == rank]
        assert [r.name for r in own if isinstance(r, Phase)] == ["train", name]
        assert own[2:] == [Finished(at_seconds=0.0, steps=3)]


def test_the_job_is_over_when_the_last_rank_has_finished(tmp_path: Path) -> None:
    # The second finishes after a command that it gets when the first has finished and is gone.
    bodies = ("send('finished', steps=1); os._exit(0)", "wait(); send('finished', steps=2)")
    with Job(commands(tmp_path, *bodies)) as job:
        finished = []
        for rank, record in talk(job):
            if isinstance(record, Finished):
                finished.append(rank)
                job.send(Finish())
    assert finished == [0, 1]


def test_a_command_reaches_every_rank(tmp_path: Path) -> None:
    body = "send('finished', steps=json.loads(wait())['steps'])"
    with Job(commands(tmp_path, body, body, body)) as job:
        job.send(RunBlock(steps=7, purpose="measure"))
        assert steps_of(job) == dict.fromkeys(range(3), 7)


@pytest.mark.parametrize(
    ("culprit", "status", "said"),
    [
        ("wait_for_failures(); os.kill(os.getpid(), signal.SIGKILL)", "died", "signal 9"),
        (
            "wait_for_failures(); print('a driver broke', flush=True); os._exit(7)",
            "died",
            "a driver",
        ),
        ("wait_for_failures(); fail('out_of_memory', 'no room')", "out_of_memory", "no room"),
        ("wait_for_failures(); fail('bug', 'KeyError: 3')", "bug", "KeyError: 3"),
    ],
    ids=["killed", "exits", "out of memory", "raises"],
)
def test_an_echo_that_is_heard_first_is_not_the_culprit(
    culprit: str, status: str, said: str, tmp_path: Path
) -> None:
    end = end_of(tmp_path, LOST, LOST, culprit, QUIET, after=2)
    assert end.status == status
    assert end.reason.startswith("rank 2 of 4: ")
    assert said in end.reason
    assert end.detail is not None
    assert "ranks 0-1: another rank ended first" in end.detail
    assert re.search(r"rank 3: was still in phase '(start|train)' when the job was", end.detail)


def test_each_rank_s_end_is_kept_with_its_node_its_phase_and_its_words(tmp_path: Path) -> None:
    def on(node: int) -> str:
        fields = f"rank={node}, node={node}, device='cpu', device_id=None, process_group='gloo'"
        return f"send('seated', {fields}, program='p')\n"

    bodies = (
        on(0) + "fail('bug', 'KeyError: 3', 'Traceback: first')",
        on(1) + "wait_for_failures(); send('phase', name='teardown')\n"
        "print('own', flush=True); os._exit(7)",
        on(1) + "fail('bug', 'Connection closed by peer [127.0.0.1]:41027', 'Traceback: third')",
    )
    no_time_passes = Clock()  # so all are heard
    with Ending(commands(tmp_path, *bodies), tmp_path, 2) as job, pytest.raises(End) as raised:
        list(converse(job, backend="cpu", hang=60, hang_hint="", clock=no_time_passes))
    end = raised.value
    assert end.reason == "rank 0 of 3 on node 0: KeyError: 3"
    assert end.detail is not None
    first, second, third = re.split(r"^(?=rank)", end.detail, flags=re.MULTILINE)
    assert first == "Traceback: first\n"
    how = "the worker died (exit code 7) in phase 'teardown': own"
    assert second == f"rank 1 on node 1: {how}\nown\n"
    assert third.startswith("rank 2 on node 1: another rank ended first, or its connection broke")
    assert third.endswith("\nTraceback: third")


def test_of_two_that_failed_by_themselves_the_first_is_named(tmp_path: Path) -> None:
    second = "wait_for_failures(); fail('bug', 'second')"
    end = end_of(tmp_path, second, "fail('bug', 'first')", after=1)
    assert (end.status, end.reason) == ("bug", "rank 1 of 2: first")


def test_ranks_that_all_lost_each_other_are_ended_and_one_is_named(tmp_path: Path) -> None:
    end = end_of(tmp_path, QUIET, LOST)
    assert end.reason.startswith("rank 1 of 2: another rank ended first, or its connection broke: ")
    assert end.reason.endswith("Connection closed by peer [127.0.0.1]:41027")


@pytest.mark.parametrize(
    "words",
    [
        "[../gloo/transport/tcp/pair.cc:546] Connection closed by peer [127.0.0.1]:41027",
        "Timed out waiting 8000ms for recv operation to complete",
        "failed to recv, got 0 bytes. Connection was likely closed. Did the remote server shut",
        "wait timeout after 300000ms, keys: /default_pg/0//cuda//timeout_dump",
        "The client socket has timed out after 60000ms while trying to connect",
        "NCCL Error 6: remote process exited or there was a network error",
    ],
)
def test_the_echo_of_another_s_end_is_not_the_culprit(words: str, tmp_path: Path) -> None:
    end = end_of(
        tmp_path,
        f"fail('bug', {words!r})",
        f"print({words!r}, flush=True); os.abort()",
        "wait_for_failures(); fail('bug', 'an own mistake')",
        after=2,
    )
    assert end.reason == "rank 2 of 3: an own mistake"
    assert end.detail is not None
    assert words[:40] in end.detail


def test_a_rank_that_finishes_meanwhile_is_no_second_failure(tmp_path: Path) -> None:
    late = "wait_for_failures(); send('finished', steps=1); os._exit(0)"
    end = end_of(tmp_path, "fail('bug', 'an own mistake')", late, after=1)
    assert end.reason == "rank 0 of 2: an own mistake"
    assert "rank 1" not in (end.detail or "")


def test_an_abort_over_unequal_sizes_is_no_echo(tmp_path: Path) -> None:
    # As gloo ends a process whose collective has another size than its peer's.
    abort = "terminate called after throwing an instance of 'gloo::EnforceNotMet'"
    end = end_of(
        tmp_path,
        LOST,
        f"wait_for_failures(); print({abort!r}, flush=True); os.abort()",
        after=1,
    )
    assert end.reason.startswith("rank 1 of 2: ")
    assert "gloo::EnforceNotMet" in end.reason


def test_a_rank_that_prints_without_end_takes_no_memory_of_ours(tmp_path: Path) -> None:
    prints = "for _ in range(256): os.write(1, b'x' * 2**20)\nsend('finished', steps=1)"
    before = psutil.Process().memory_info().rss
    with Job(commands(tmp_path, prints, "send('finished', steps=2)")) as job:
        assert steps_of(job) == {0: 1, 1: 2}
        assert len(job.output_tail(0)) == 32 * 1024
    assert psutil.Process().memory_info().rss - before < 2**24


def test_a_rank_that_is_stopped_is_named_and_the_others_stacks_are_told(tmp_path: Path) -> None:
    stacks = "import faulthandler; faulthandler.register(signal.SIGUSR1, chain=False)\n"
    clock = Clock()
    stop = "os.kill(os.getpid(), signal.SIGSTOP)"
    with Job(commands(tmp_path, stacks + QUIET, QUIET.replace("wait()", stop))) as job:
        pids = job.pids

        def look() -> None:
            is_stopped = psutil.Process(pids[1]).status() == psutil.STATUS_STOPPED
            if is_stopped and "waiting" in job.output_tail(0):
                clock.now += 60.1

        with pytest.raises(End) as raised:
            list(converse(job, hang=60, clock=clock, check=look))
    assert raised.value.reason.startswith("rank 1 of 2 is stopped by a signal: no record")
    assert raised.value.detail is not None
    assert "rank 0, innermost call first:\n  File" in raised.value.detail
    assert 'child.py", line ' in raised.value.detail
    assert "rank 1: no stack" in raised.value.detail
    assert are_gone(pids)


def test_the_others_are_ended_without_waiting_for_what_they_wait_for(tmp_path: Path) -> None:
    end = end_of(tmp_path, QUIET, "fail('compile_failure', 'no such operator')", QUIET)
    assert end.reason == "rank 1 of 3: no such operator"


def test_garbage_is_told_with_its_rank(tmp_path: Path) -> None:
    end = end_of(tmp_path, QUIET, "say('Segmentation fault, sort of\\n'); wait()")
    assert end.status == "garbage"
    assert end.reason.startswith("rank 1 of 2: ")


def test_a_rank_that_leaves_before_it_has_finished_has_died(tmp_path: Path) -> None:
    end = end_of(tmp_path, "send('finished', steps=1)", "os._exit(0)")
    assert end.reason == "rank 1 of 2: the worker died (exit code 0) in phase 'train'"


def test_a_job_hangs_when_all_ranks_are_silent_and_says_where_each_is(tmp_path: Path) -> None:
    clock = Clock()
    with Job(commands(tmp_path, "send('phase', name='gate'); " + QUIET, QUIET)) as job:

        def look() -> None:
            are_silent = all("waiting" in job.output_tail(rank) for rank in range(2))
            if are_silent and job.phase(0) == "gate" and job.phase(1) == "train":
                clock.now += 60.1

        with pytest.raises(End) as raised:
            list(
                converse(
                    job, backend=None, hang=60, hang_hint="allow more", clock=clock, check=look
                )
            )
    end = raised.value
    assert end.status == "hung"
    assert "'gate' (rank 0), 'train' (rank 1)" in end.reason
    assert end.detail is not None
    assert "rank 1: waiting for the others" in end.detail
    assert end.hint == "allow more"


def test_one_rank_that_speaks_is_a_job_that_does_not_hang(tmp_path: Path) -> None:
    clock, finished = Clock(), 0
    speaks = "for _ in range(12): send('phase', name='gate'); wait()\n"
    is_silent = "for _ in range(12): wait()\n"
    bodies = (f"{each}send('finished', steps=0)" for each in (speaks, is_silent))
    with Job(commands(tmp_path, *bodies)) as job:
        for _, record in converse(job, backend=None, hang=2.0, hang_hint="", clock=clock):
            if isinstance(record, Phase) and record.name == "gate":
                clock.now += 1.5
                job.send(RunBlock(steps=1, purpose="measure"))
            finished += isinstance(record, Finished)
    assert finished == 2
    assert clock.now == 18.0


def test_work_below_a_silent_worker_does_not_keep_it_for_ever(tmp_path: Path) -> None:
    spins = "['/bin/sh', '-c', 'while :; do :; done']"
    body = f"print(subprocess.Popen({spins}).pid, flush=True); wait()"
    with Job(commands(tmp_path, body)) as job:
        (pid,) = job.pids

        def clock() -> float:
            return descendants_cpu_seconds(pid)  # it is the spinner's work that passes the time

        with pytest.raises(End) as raised:
            list(converse(job, backend=None, hang=0.1, hang_hint="", clock=clock))
    assert raised.value.status == "hung"
    assert raised.value.detail is not None
    assert are_gone([pid, int(raised.value.detail)])


def test_whoever_looks_between_events_can_end_it(tmp_path: Path) -> None:
    def look() -> None:
        raise End("interrupted", "stopped by Ctrl-C")

    with Job(commands(tmp_path, QUIET, QUIET)) as job:
        pids = job.pids
        with pytest.raises(End, match="stopped") as raised:
            list(converse(job, backend=None, hang=math.inf, hang_hint="", check=look))
    assert raised.value.status == "interrupted"
    assert are_gone(pids)


def test_an_interpreter_that_cannot_be_started_leaves_none_of_the_others(tmp_path: Path) -> None:
    good, _ = commands(tmp_path, QUIET, QUIET)
    here = psutil.Process()
    before, descriptors = here.children(), here.num_fds()
    with pytest.raises(ConfigError, match="no-such-python"):
        Job([good, good, [str(tmp_path / "no-such-python")]])
    assert here.children() == before
    assert here.num_fds() == descriptors


def test_variables_are_each_rank_s_own(tmp_path: Path) -> None:
    body = "send('finished', steps=int(os.environ['RANK']))"
    with Job(commands(tmp_path, body, body), [{"RANK": "5"}, {"RANK": "6"}]) as job:
        assert steps_of(job) == {0: 5, 1: 6}
