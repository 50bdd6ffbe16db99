"""What runs on every node of a job but the first: it starts that node's ranks, and passes on.

It leads nothing: the leader decides, and its own ranks are watched, and ended with all that they
started, here. Started by srun it is `python -m trnbench.run.node`; elsewhere it is the `trnbench
run` that the launcher started on the node (`follow`).
"""

import argparse
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from trnbench import __version__
from trnbench.errors import ConfigError, ExitCode, TrnbenchError
from trnbench.process import MAX_LINE_BYTES, Child, LineTooLongError
from trnbench.protocol.codec import ProtocolError, decode, encode
from trnbench.protocol.nodes import (
    FROM_LEADER,
    Bye,
    EndRanks,
    FromNode,
    Gone,
    Hello,
    Look,
    Looked,
    Lost,
    RankExited,
    RankLine,
    RankOverflow,
    RanksEnded,
    Signalled,
    StartRanks,
    ToRanks,
)
from trnbench.protocol.orders import Task, Train, decode_task
from trnbench.protocol.records import Failed, Phase
from trnbench.redact import redact
from trnbench.run.allocation import Allocation
from trnbench.run.environment import environment_of_rank, user_cache_folder
from trnbench.run.job import Exited, Job, Line, Overflow
from trnbench.run.link import join_task, start_link
from trnbench.run.looking import facts_of, look_around
from trnbench.run.rendezvous import SECONDS_VARIABLE, rendezvous_seconds
from trnbench.run.watch import Interruption, noted_signals
from trnbench.run.worker import ENTRY

SIGNALLED_SECONDS = 30.0
"""How long the leader has to write down what was measured, after this node was asked to stop."""

_TICK_SECONDS = 0.2


class Leader(Protocol):
    """The way to the leader and back."""

    @property
    def descriptors(self) -> list[int]:
        """What to wait on; empty once the leader is gone."""
        ...

    def read_lines(self) -> list[bytes]:
        """Return the whole lines that came since the last time; never wait."""
        ...

    def write(self, content: bytes) -> None:
        """Send whole lines."""
        ...


class Pipes:
    """Standard input and output: srun's other end is the leader."""

    def __init__(self) -> None:
        os.set_blocking(0, False)
        self._rest = b""
        self._is_open = True

    @property
    def descriptors(self) -> list[int]:
        """Standard input, until it has ended."""
        return [0] if self._is_open else []

    def read_lines(self) -> list[bytes]:
        """Return the whole lines that came since the last time; never wait."""
        try:
            while content := os.read(0, 2**16):
                self._rest += content
                if len(self._rest) > 2 * MAX_LINE_BYTES:
                    raise LineTooLongError
            self._is_open = False
        except BlockingIOError:
            pass
        *lines, self._rest = self._rest.split(b"\n")
        return lines

    def write(self, content: bytes) -> None:
        """Send whole lines; a leader that is gone shows on standard input."""
        try:
            while content:
                content = content[os.write(1, content) :]
        except BrokenPipeError:
            self._is_open = False


class Link:
    """The worker that leads to node 0 by torch's store."""

    def __init__(self, child: Child) -> None:
        self._child = child

    @property
    def descriptors(self) -> list[int]:
        """The pipes that it has not closed; none once no more lines will come."""
        return [] if self._child.has_closed_lines else self._child.descriptors

    def read_lines(self) -> list[bytes]:
        """Return the whole lines that came since the last time; never wait."""
        self._child.read_output()
        return self._child.read_lines()

    def write(self, content: bytes) -> None:
        """Send whole lines; a link that is gone shows on its pipes."""
        self._child.write(content)


class Node:
    """One node that follows a leader."""

    def __init__(
        self, number: int, python: str, leader: Leader, interruption: Interruption
    ) -> None:
        self._number = number
        self._python = python
        self._leader = leader
        self._interruption = interruption
        self._job: Job | None = None
        self._launch = 0
        self._exited: set[int] = set()
        self._signalled_at: float | None = None
        self._bye: Bye | None = None
        self.failure: str | None = None
        """Why the way to the leader ended, where it was said."""
        self.never_met = False
        """Whether it was never there."""

    def serve(self) -> int | None:
        """Say hello and do as the leader says, until it says bye.

        Returns:
            The leader's exit code; None where it is gone without a word.
        """
        self._send(self._hello())
        try:
            while self._bye is None and self._leader.descriptors and not self._is_overdue():
                self._wait()
                self._heed_signal()
        finally:
            self._end_ranks(0.0 if self._bye is None else 3.0)
        if self._bye is None:
            return None
        self._send(Gone(node=self._number))
        return self._bye.exit_code

    def _hello(self) -> Hello:
        try:
            machine, devices = look_around(self._python, is_quiet=True)
        except TrnbenchError as error:
            reason = redact(error.problems[0].message)
            return Hello(
                node=self._number, version=__version__, facts={}, devices=[], reason=reason
            )
        return Hello(
            node=self._number,
            version=__version__,
            facts=facts_of(machine, devices),
            devices=list(devices.found),
        )

    def _wait(self) -> None:
        """Wait for a moment, and pass on what came in both directions."""
        if self._job is None:
            select.select(self._leader.descriptors, [], [], _TICK_SECONDS)
        else:
            self._pass_up(self._job)
        for line in self._leader.read_lines():
            self._obey(line)

    def _pass_up(self, job: Job) -> None:
        """Pass on the next events of the ranks, until there are none for a moment."""
        for event in job.events():
            match event:
                case Line(rank, text):
                    line = text.decode(errors="replace").rstrip("\n")
                    self._send(self._of_launch(RankLine, rank=rank, line=line))
                case Overflow(rank):
                    self._send(self._of_launch(RankOverflow, rank=rank))
                case Exited(rank, exit_code):
                    self._exited.add(rank)
                    output = job.output_tail(rank)
                    self._send(
                        self._of_launch(RankExited, rank=rank, exit_code=exit_code, output=output)
                    )
            if not job.has_more:
                return
        select.select(self._leader.descriptors, [], [], _TICK_SECONDS)  # every rank is gone

    def _of_launch(self, make: Callable[..., Any], **fields: object) -> Any:
        return make(node=self._number, launch=self._launch, **fields)

    def _send(self, frame: FromNode) -> None:
        self._leader.write(encode(frame).encode() + b"\n")

    # --- what the leader says ---------------------------------------------------------------------

    def _obey(self, line: bytes) -> None:
        try:
            frame = decode(line, (*FROM_LEADER, Lost, Failed, Phase))
        except ProtocolError as error:
            raise ConfigError(
                f"node {self._number}: the leader sent what is no command: {error}",
                hint="install the same trnbench on every node",
            ) from None
        match frame:
            case StartRanks():
                self._start(frame)
            case ToRanks() if self._is_of(frame) and self._job is not None:
                self._job.pass_on(frame.line.encode() + b"\n")
            case Look() if self._is_of(frame) and self._job is not None:
                self._send(self._look(self._job, stacks=frame.stacks))
            case EndRanks():
                self._end_ranks(frame.grace_seconds)
                self._send(RanksEnded(node=self._number, launch=frame.launch))
            case Bye():
                self._bye = frame
            case Lost():
                self.failure = f"no sign of life from node 0: {frame.reason}"
                self._bye = Bye(exit_code=int(ExitCode.RUN))
            case Failed():
                self.failure = frame.message
                self.never_met = frame.reason == "unavailable"

    def _is_of(self, frame: ToRanks | Look) -> bool:
        return frame.launch == self._launch

    def _start(self, frame: StartRanks) -> None:
        """Start ranks; where that fails, they say so as workers do."""
        self._end_ranks(0.0)
        self._launch, self._exited = frame.launch, set()
        tasks = [decode_task(text) for text in frame.tasks]
        try:
            variables = [self._variables_of(task) for task in tasks]
            self._job = Job(
                [[self._python, str(ENTRY)]] * len(tasks), variables, wake=self._leader.descriptors
            )
        except ConfigError as error:
            problem = error.problems[0]
            failed = Failed(
                at_seconds=0.0,
                reason="unavailable",
                message=redact(problem.message),
                hint=problem.hint,
                detail="",
            )
            for rank in range(len(tasks)):
                self._send(self._of_launch(RankLine, rank=rank, line=encode(failed)))
            return
        for rank, task in enumerate(tasks):
            self._job.give(rank, task)

    def _variables_of(self, task: Task) -> dict[str, str | None]:
        if not isinstance(task, Train):
            raise ConfigError(
                f"node {self._number}: ranks of several nodes train, and do nothing else",
                hint="report it: it is a bug of trnbench",
            )
        return environment_of_rank(task.order, task.seat, os.environ, user_cache_folder())

    def _look(self, job: Job, *, stacks: bool) -> Looked:
        ranks = range(job.ranks)
        return Looked(
            node=self._number,
            launch=self._launch,
            outputs=[job.output_tail(rank) for rank in ranks],
            states=job.states(),
            stacks=job.stacks() if stacks else ["" for _ in ranks],
            work_seconds=job.work_seconds(*job.pids),
        )

    def _end_ranks(self, grace_seconds: float) -> None:
        if self._job is not None:
            self._job.end(grace_seconds)
            self._job = None

    # --- a request to stop ------------------------------------------------------------------------

    def _heed_signal(self) -> None:
        """Tell the leader of a signal once: it writes down what was measured, and says bye."""
        number = self._interruption.signal
        if number is not None and self._signalled_at is None:
            self._signalled_at = time.monotonic()
            self._send(Signalled(node=self._number, number=number))

    def _is_overdue(self) -> bool:
        at = self._signalled_at
        return at is not None and time.monotonic() - at > SIGNALLED_SECONDS


def follow(allocation: Allocation, python: str) -> int:
    """Follow the leader that torch's store leads to; return the exit code of this node.

    Raises:
        ConfigError, UnavailableError: the interpreter or node 0's address is not there.
    """
    task = join_task(allocation, rendezvous_seconds())
    link = start_link(python, task)
    try:
        with noted_signals() as interruption:
            node = Node(allocation.node_rank, python, Link(link), interruption)
            code = node.serve()
        if code is not None and node.failure is None:
            return code
        if interruption.signal is not None and node.failure is None:
            return 128 + interruption.signal
        said = redact(link.output_tail().strip()).splitlines()
        why = node.failure or (said[-1][:200] if said else "its connection ended")
        sys.stderr.write(
            f"trnbench: node {allocation.node_rank} of {allocation.nodes} has no node 0 at "
            f"{task.address}:{task.port}: {why}\n"
            "          is trnbench started on every node, and do firewalls let the nodes reach "
            f"that port? {SECONDS_VARIABLE} allows more time\n"
        )
        return int(ExitCode.UNAVAILABLE if node.never_met else ExitCode.RUN)
    finally:
        link.close_input()  # its last line may still be on the way: it ends once it has sent it
        link.end(grace_seconds=2.0)


def main(arguments: Sequence[str]) -> int:
    """Follow the leader at the other end of srun's pipes."""
    parser = argparse.ArgumentParser(prog="trnbench node")
    parser.add_argument("node", type=int)
    parser.add_argument("--python", required=True)
    asked = parser.parse_args(arguments)
    with noted_signals() as interruption:
        code = Node(asked.node, asked.python, Pipes(), interruption).serve()
    return 0 if code is not None else int(ExitCode.RUN)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    sys.exit(main(sys.argv[1:]))
