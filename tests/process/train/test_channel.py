"""The child's end of the door: stamped lines out, commands in, the end with the parent."""

import io
import subprocess
import sys

import pytest

from trnbench.protocol.codec import ProtocolError, decode, encode
from trnbench.protocol.orders import Finish, RunBlock
from trnbench.protocol.records import CHILD_RECORDS, Finished, Memory, Phase
from trnbench.train.channel import Channel

WAITS = """
import os, sys
from trnbench.train.channel import Channel
channel = Channel(os.fdopen(1, "wb"), sys.stdin.buffer)
try:
    while True:
        print(channel.receive(), file=sys.stderr, flush=True)
finally:
    print("went on without a parent", file=sys.stderr, flush=True)
"""


def test_a_record_is_a_line_stamped_with_a_time_that_never_goes_back() -> None:
    records = io.BytesIO()
    channel = Channel(records, io.BytesIO())
    before = channel.now()
    channel.send(Phase, name="build")
    channel.send(Memory, peak_bytes=5, counted="process_rss")
    channel.send(Finished, steps=2)
    after = channel.now()
    phase, memory, finished = (
        decode(line, CHILD_RECORDS) for line in records.getvalue().splitlines(keepends=True)
    )
    assert phase == Phase(at_seconds=phase.at_seconds, name="build")
    assert memory == Memory(at_seconds=memory.at_seconds, peak_bytes=5, counted="process_rss")
    times = [before, phase.at_seconds, memory.at_seconds, finished.at_seconds, after]
    assert times == sorted(times)
    assert times[0] >= 0


def test_a_record_is_handed_over_at_once() -> None:
    raw = io.BytesIO()
    channel = Channel(io.BufferedWriter(raw), io.BytesIO())
    channel.send(Phase, name="train")
    assert raw.getvalue().endswith(b"\n")


def test_commands_are_read_one_at_a_time() -> None:
    sent = [RunBlock(steps=3, purpose="warmup"), RunBlock(steps=9, purpose="measure"), Finish()]
    channel = Channel(io.BytesIO(), io.BytesIO(b"".join(encode(c).encode() + b"\n" for c in sent)))
    assert [channel.receive() for _ in sent] == sent


@pytest.mark.parametrize(
    "line", [b"run 3\n", b'{"kind":"dance"}\n', b'{"kind":"run","steps":"3","purpose":"measure"}\n']
)
def test_a_line_that_is_no_command_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        Channel(io.BytesIO(), io.BytesIO(line)).receive()


def test_the_end_of_the_commands_ends_the_process_on_the_spot() -> None:
    command = encode(RunBlock(steps=2, purpose="measure")) + "\n"
    ended = subprocess.run(
        [sys.executable, "-c", WAITS], input=command, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    assert "steps=2" in ended.stderr
    assert "went on" not in ended.stderr
