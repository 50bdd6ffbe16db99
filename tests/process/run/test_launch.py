"""A worker as the parent hears it: whole lines, silence, its end, and its last words."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import psutil
import pytest

from tests.process.run.processes import all_events, lines_of, next_line, script_command
from trnbench.errors import ConfigError
from trnbench.process import MAX_LINE_BYTES
from trnbench.protocol.codec import decode
from trnbench.protocol.orders import COMMANDS, Command, Finish, ProbeDevices, RunBlock
from trnbench.protocol.records import CHILD_RECORDS, Finished, Phase, Probe
from trnbench.run.job import TICK_SECONDS, Exited, Job, Line, Overflow, Silence
from trnbench.run.worker import start as start_job

Start = Callable[[str], Job]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start workers from the bodies of their scripts; end them all."""
    started: list[Job] = []

    def start_worker(body: str) -> Job:
        started.append(Job([script_command(tmp_path, body)]))
        return started[-1]

    yield start_worker
    for worker in started:
        worker.end(grace_seconds=0.1)


# --- lines --------------------------------------------------------------------------------------


def test_lines_arrive_whole_and_in_order_and_before_the_end(start: Start) -> None:
    events = all_events(start(r"say(''.join(f'{n}\n' for n in range(20_000)))"))
    assert lines_of(events) == [f"{n}\n".encode() for n in range(20_000)]
    assert events[-1] == Exited(0, 0)
    assert events.count(Exited(0, 0)) == 1


def test_a_worker_speaks_english(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    events = all_events(start(r"import os; say(os.environ['LC_ALL'] + '\n')"))
    assert lines_of(events) == [b"C.UTF-8\n"]


def test_a_line_that_comes_in_parts_is_one_line(start: Start) -> None:
    worker = start(r"say('{\"half'); wait(); say('-half\"}\n'); wait()")
    events = worker.events()
    assert [next(events) for _ in range(2)] == [Silence()] * 2
    worker.send(Finish())
    assert next_line(worker) == b'{"half-half"}\n'


def test_the_part_of_a_line_that_a_dead_worker_left_is_no_line(start: Start) -> None:
    events = all_events(start(r"say('whole\n{\"kind\":\"blo')"))
    assert lines_of(events) == [b"whole\n"]


def test_a_line_without_an_end_overflows_before_it_fills_the_memory(start: Start) -> None:
    worker = start(f"say(b'x' * {MAX_LINE_BYTES + 2**20}); wait()")
    event = next(event for event in worker.events() if not isinstance(event, Silence))
    assert event == Overflow(0)


def test_a_long_line_that_ends_is_no_overflow(start: Start) -> None:
    worker = start(r"say(b'x' * 2**21 + b'\n')")
    events = [event for event in worker.events() if not isinstance(event, Silence)]
    assert [type(event) for event in events] == [Line, Exited]
    assert len(lines_of(events)[0]) == 2**21 + 1


# --- silence ------------------------------------------------------------------------------------


def test_a_silent_worker_is_heard_to_be_silent_several_times_a_second(start: Start) -> None:
    worker = start("wait()")
    began = time.monotonic()
    assert list(islice(worker.events(), 5)) == [Silence()] * 5
    assert time.monotonic() - began > 4 * TICK_SECONDS > 0.5, "it waits, and does not spin"
    assert TICK_SECONDS <= 0.25


def test_a_worker_that_babbles_does_not_keep_the_parent_from_looking_up(start: Start) -> None:
    worker = start("while True: os.write(1, b'babble ' * 1000)")
    assert list(islice(worker.events(), 3)) == [Silence()] * 3


def test_a_worker_that_closes_its_pipes_and_stays_is_silent_and_not_ended(start: Start) -> None:
    worker = start("os.close(records); os.close(1); os.close(2); wait()")
    assert list(islice(worker.events(), 3)) == [Silence()] * 3
    worker.send(Finish())
    assert all_events(worker)[-1] == Exited(0, 0)


# --- the end ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "exit_code"),
    [
        ("sys.exit(3)", 3),
        ("os._exit(0)", 0),
        ("raise RuntimeError('x')", 1),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    ],
)
def test_how_a_worker_ended_is_told_after_all_that_it_sent(
    start: Start, body: str, exit_code: int
) -> None:
    events = all_events(start(f"say('last\\n'); {body}"))
    assert lines_of(events) == [b"last\n"]
    assert events[-1] == Exited(0, exit_code)


def test_a_child_of_the_worker_that_holds_its_pipes_does_not_delay_the_end(start: Start) -> None:
    worker = start(
        "child = subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'],\n"
        "                         pass_fds=(records,))\n"
        "say(f'{child.pid}\\n'); os._exit(5)"
    )
    events = all_events(worker)
    assert events[-1] == Exited(0, 5)
    assert psutil.pid_exists(int(lines_of(events)[0]))


# --- words --------------------------------------------------------------------------------------


def test_what_is_printed_is_kept_apart_from_the_records(start: Start) -> None:
    worker = start("print('to people', flush=True); print('a warning', file=sys.stderr)")
    assert lines_of(all_events(worker)) == []
    assert worker.output_tail().splitlines() == ["to people", "a warning"]


def test_of_a_long_print_the_end_is_kept(start: Start) -> None:
    worker = start("print('x' * 10**6); print('the very last')")
    all_events(worker)
    words = worker.output_tail()
    assert words.endswith("the very last\n")
    assert len(words) == 32 * 1024


def test_words_that_are_no_text_are_still_told(start: Start) -> None:
    worker = start("os.write(2, b'bad \\xff byte')")
    all_events(worker)
    assert worker.output_tail() == "bad � byte"


def test_a_traceback_can_be_read_in_the_last_words(start: Start) -> None:
    worker = start("raise RuntimeError('driver not loaded')")
    all_events(worker)
    assert worker.output_tail().rstrip().endswith("RuntimeError: driver not loaded")


# --- commands -----------------------------------------------------------------------------------


def test_a_command_arrives_as_one_line_and_the_pipe_stays_open(start: Start) -> None:
    worker = start("say(wait()); say(wait())")
    sent: list[Command] = [RunBlock(steps=4, purpose="measure"), Finish()]
    for command in sent:
        worker.send(command)
        assert decode(next_line(worker), COMMANDS) == command


def test_telling_a_worker_that_is_gone_is_no_fault(start: Start) -> None:
    worker = start("pass")
    assert all_events(worker)[-1] == Exited(0, 0)
    for _ in range(3):
        worker.send(Finish())


# --- the start ----------------------------------------------------------------------------------


def test_the_worker_leads_a_session_of_its_own(start: Start) -> None:
    # A Ctrl-C in the terminal goes to the parent's group alone.
    worker = start("say(f'{os.getsid(0)} {os.getpgid(0)}\\n'); wait()")
    assert next_line(worker).split() == [str(worker.pids[0]).encode()] * 2
    assert os.getsid(0) != worker.pids[0]


def test_variables_are_added_to_the_parent_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FROM_THE_PARENT", "yes")
    monkeypatch.setenv("REPLACED", "no")
    command = script_command(
        tmp_path,
        "say(' '.join(os.environ[n] for n in ('FROM_THE_PARENT', 'REPLACED', 'OMP_NUM_THREADS')))"
        "; say('\\n')",
    )
    worker = Job([command], [{"REPLACED": "yes", "OMP_NUM_THREADS": "2"}])
    try:
        assert next_line(worker) == b"yes yes 2\n"
    finally:
        worker.end()


def test_the_worker_has_no_descriptor_of_the_parent_s_but_its_own(start: Start) -> None:
    with Path(os.devnull).open() as held:
        os.set_inheritable(held.fileno(), True)
        worker = start(
            f"try: os.fstat({held.fileno()}); say('leaked\\n')\nexcept OSError: say('closed\\n')\n"
        )
        assert next_line(worker) == b"closed\n"


@pytest.mark.parametrize("name", ["no-such-python", "not-executable"])
def test_an_interpreter_that_cannot_be_started_is_a_fault_of_the_command(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "not-executable").write_text("text")
    before = psutil.Process().num_fds()
    python = str(tmp_path / name)
    with pytest.raises(ConfigError, match="cannot be started") as refused:
        start_job(python, [ProbeDevices()])
    assert refused.value.problems[0].message.startswith(python)
    assert "--python" in refused.value.problems[0].hint
    assert psutil.Process().num_fds() == before


def test_the_real_worker_answers_a_probe() -> None:
    worker = start_job(sys.executable, [ProbeDevices()])
    try:
        events = all_events(worker)
    finally:
        worker.end()
    records = [decode(line, CHILD_RECORDS) for line in lines_of(events)]
    assert [type(record) for record in records] == [Phase, Probe, Finished]
    assert events[-1] == Exited(0, 0)
