"""The other nodes of a job, as its leader sees them: started or met, heard, and told to leave.

Under Slurm, where nothing of ours runs on them yet, each is a process at the end of a one-task
`srun`, whose pipes carry the lines: several tasks of one srun would tear long ones. Where a
launcher has started one process a node, all meet in torch's own store, and a worker on each
(`train/parallel/link.py`) carries the lines. Decision 0035.
"""

import selectors
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from trnbench import __version__
from trnbench.errors import TrnbenchError, UnavailableError
from trnbench.machine.describe import Devices, Machine, redact_variables
from trnbench.process import Child, Guardian, LineTooLongError
from trnbench.protocol.codec import ProtocolError, decode, encode
from trnbench.protocol.nodes import (
    FROM_NODE,
    Bye,
    FromLeader,
    Gone,
    Hello,
    Looked,
    Lost,
    RankExited,
    RankLine,
    RankOverflow,
    RanksEnded,
    Signalled,
    StartRanks,
)
from trnbench.protocol.orders import Task, encode_task
from trnbench.protocol.records import Failed, Phase
from trnbench.redact import redact
from trnbench.run.allocation import Allocation
from trnbench.run.link import join_task, start_link
from trnbench.run.looking import facts_of
from trnbench.run.meeting import Meeting
from trnbench.run.remote import RemoteRanks
from trnbench.run.rendezvous import address_of_slurm_node, own_address, rendezvous_seconds
from trnbench.run.watch import Interruption
from trnbench.schema.plan import Plan

NODE_MODULE = "trnbench.run.node"

SRUN = (
    "srun", "--overlap", "--quiet", "--nodes=1", "--ntasks=1", "--mem=0", "--cpu-bind=none",
    "--mpi=none",
)  # fmt: skip
"""One task beside others, with all of the node that the job has. Source: srun(1), Slurm 22.05."""

GONE_SECONDS = 10.0

HOST = "cpu"

_ALLOWANCE = 0.25


class Nodes:
    """Every other node of a job; leaving its `with` block sends them home."""

    def __init__(self, allocation: Allocation, python: str) -> None:
        """Start what carries lines to the other nodes, and return at once.

        Raises:
            ConfigError: the interpreter cannot be started.
            UnavailableError: node 0 has no address, or srun is not here.
        """
        self.allocation = allocation
        self.count = allocation.nodes
        self.exit_code = 0
        """With which the other nodes leave."""
        self.interruption: Interruption | None = None
        """Notified where another node is asked to stop by a signal."""
        self.hellos: dict[int, Hello] = {}
        self.lost: dict[int, str] = {}
        """Nodes of which nothing will come any more, and why."""
        self._others = range(1, self.count)
        self._gone: set[int] = set()
        self._ranks: dict[int, RemoteRanks] = {}
        self._launch = 0
        self._guardian = Guardian()
        self._links: list[Child] = []
        self._of_link: dict[Child, range] = {}
        self._seconds = rendezvous_seconds()
        self._deadline = time.monotonic() + self._seconds
        self._failure: Failed | None = None
        try:
            if allocation.others:
                self._start_by_srun(python)
            else:
                self._meet_in_store(python)
        except BaseException:
            self._close()
            raise

    def _start_by_srun(self, python: str) -> None:
        first = address_of_slurm_node(self.allocation.others[0])
        self.address = own_address(first)
        self.place = f"by srun on {len(self.allocation.others)} nodes"
        for node, name in enumerate(self.allocation.others, start=1):
            command = [*SRUN, "--nodelist", name, sys.executable, "-m", NODE_MODULE]
            command += [str(node), "--python", python]
            try:
                link = Child(command, guardian=self._guardian)
            except OSError as error:
                raise UnavailableError(
                    f"srun: cannot be started: {error.strerror}",
                    hint="start one trnbench a node: `srun --ntasks-per-node=1 trnbench run …`",
                ) from error
            self._add(link, range(node, node + 1))

    def _meet_in_store(self, python: str) -> None:
        task = join_task(self.allocation, self._seconds)
        self.address = own_address(task.address)
        self.place = f"at {task.address}:{task.port}"
        self._add(start_link(python, task, self._guardian), self._others)

    def _add(self, link: Child, nodes: range) -> None:
        self._links.append(link)
        self._of_link[link] = nodes

    # --- the beginning ----------------------------------------------------------------------------

    def wait(self) -> list[Hello]:
        """Return what each node says of itself, in order, once all have come.

        Raises:
            UnavailableError: one did not come in time, cannot train, or is of another version.
        """
        while missing := [n for n in self._others if n not in self.hellos and n not in self.lost]:
            if time.monotonic() > self._deadline:
                raise self._absent(missing)
            self._pump_within(_ALLOWANCE)
        if self.lost:
            node, why = min(self.lost.items())
            raise UnavailableError(
                f"node {node} of {self.count} did not come {self.place}: {why}", hint=self._advice()
            )
        for hello in self.hellos.values():
            if hello.version != __version__:
                raise UnavailableError(
                    f"node {hello.node} has trnbench {hello.version}, and node 0 has {__version__}",
                    hint="install the same version on every node, or share one environment",
                )
            if hello.reason is not None:
                raise UnavailableError(
                    f"node {hello.node} cannot train: {hello.reason}",
                    hint="run `trnbench doctor` on that node",
                )
        return [self.hellos[node] for node in self._others]

    def require_alike(self, devices: Devices) -> None:
        """Require that every node has come, with the devices that this one has.

        Raises:
            UnavailableError: one has not, or has others.
        """
        own = {each.backend: each.device_count for each in devices.found}
        for hello in self.wait():
            there = {each.backend: each.device_count for each in hello.devices}
            for backend in sorted(own.keys() | there.keys()):
                has, wanted = there.get(backend, 0), own.get(backend, 0)
                if has != wanted and backend != HOST:
                    raise UnavailableError(
                        f"node {hello.node} has {has} {backend} devices, and node 0 has {wanted}: "
                        "a job has as many ranks on each node",
                        hint="run `trnbench doctor` on that node, or leave it out of the job",
                    )

    def _absent(self, missing: Sequence[int]) -> UnavailableError:
        which = f"node{'s' if len(missing) > 1 else ''} {', '.join(map(str, missing[:4]))}"
        more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
        return UnavailableError(
            f"{which}{more} of {self.count} did not come {self.place} within {self._seconds:g} s",
            hint=self._advice(),
        )

    def _advice(self) -> str:
        if self.allocation.others:
            return "is trnbench in the same place on every node (a shared disk, the same image)?"
        return (
            "is trnbench started on every node, do firewalls and security groups let the nodes "
            "reach that port, and does the name lead to node 0? TRNBENCH_RENDEZVOUS_SECONDS allows "
            "more time"
        )

    # --- a launch's ranks -------------------------------------------------------------------------

    def start_ranks(self, tasks: Sequence[Task], each: int) -> "list[RemoteRanks]":
        """Start the ranks of the other nodes, `each` on every one, by their tasks in order."""
        self._launch += 1
        self._ranks = {}
        for at in range(0, len(tasks), each):
            node = 1 + at // each
            self._ranks[node] = RemoteRanks(self, node, self._launch, each)
            texts = [encode_task(task) for task in tasks[at : at + each]]
            self.send(node, StartRanks(launch=self._launch, tasks=texts))
        self._mark_lost()
        return list(self._ranks.values())

    @property
    def descriptors(self) -> list[int]:
        """What to wait on for something from the nodes."""
        return [descriptor for link in self._links for descriptor in link.descriptors]

    def pump(self) -> "set[tuple[int, int]]":
        """Take in what came; return the ranks that sent something, as (node, rank of the node)."""
        touched: set[tuple[int, int]] = set()
        for link in self._links:
            for frame in self._frames(link):
                touched |= self._take(frame)
        touched |= self._mark_lost()
        return touched

    def _frames(self, link: Child) -> Iterator[Any]:
        exit_code = link.exit_code  # before reading: all that it sent is there then
        link.read_output()
        try:
            lines = link.read_lines()
        except LineTooLongError:
            lines = [b"a line without an end"]
        for line in lines:
            try:
                yield decode(line, (*FROM_NODE, Failed, Phase))
            except ProtocolError:
                # What a launcher or a library prints on the way is none of ours.
                continue
        if exit_code is not None and not lines:
            yield from self._losses_of(link, exit_code)

    def _losses_of(self, link: Child, exit_code: int) -> Iterator[Lost]:
        said = redact(link.output_tail().strip()).splitlines()
        if self._failure is not None:
            why = self._failure.message
        else:
            why = f"its connection ended with exit code {exit_code}"
            why += f": {said[-1][:200]}" if said else ""
        for node in self._of_link[link]:
            if node not in self.lost and node not in self._gone:
                yield Lost(node=node, reason=why)

    def _take(self, frame: Any) -> set[tuple[int, int]]:
        match frame:
            case Hello():
                self.hellos[frame.node] = frame
            case Lost():
                self.lost.setdefault(frame.node, frame.reason)
            case Failed():
                self._failure = frame
            case Gone():
                self._gone.add(frame.node)
            case Signalled():
                if self.interruption is not None:
                    self.interruption.note(frame.number, None)
            case RankLine() | RankOverflow() | RankExited() | Looked() | RanksEnded():
                ranks = self._ranks.get(frame.node)
                if ranks is not None and ranks.launch == frame.launch:
                    ranks.take(frame)
                    rank = getattr(frame, "rank", None)
                    return set() if rank is None else {(frame.node, rank)}
        return set()

    def _mark_lost(self) -> set[tuple[int, int]]:
        touched: set[tuple[int, int]] = set()
        for node, reason in self.lost.items():
            ranks = self._ranks.get(node)
            if ranks is not None and not ranks.is_over:
                ranks.lose(reason)
                touched |= {(node, rank) for rank in range(len(ranks.workers))}
        return touched

    def _pump_within(self, seconds: float) -> None:
        """Take in what comes within a moment; return as soon as there was any."""
        with selectors.DefaultSelector() as selector:
            for descriptor in self.descriptors:
                selector.register(descriptor, selectors.EVENT_READ)
            selector.select(seconds) if self.descriptors else time.sleep(seconds)
        self.pump()

    def pump_until(self, done: Callable[[], bool], seconds: float) -> None:
        """Take in what comes until something holds, or for so long."""
        deadline = time.monotonic() + seconds
        while not done() and (left := deadline - time.monotonic()) > 0:
            self._pump_within(min(left, _ALLOWANCE))

    def send(self, node: int, frame: FromLeader) -> None:
        """Send a node a frame; what nobody reads any more is dropped."""
        if node in self.lost or node in self._gone:
            return
        link = next(link for link in self._links if node in self._of_link[link])
        line = encode(frame)
        link.write(f"{line}\n".encode() if self.allocation.others else f"{node} {line}\n".encode())

    # --- the end ----------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None:
            self.exit_code = exit_code_of(error)
        for node in self._others:
            self.send(node, Bye(exit_code=self.exit_code))
        there = [node for node in self._others if node in self.hellos]
        self.pump_until(lambda: all(n in self._gone or n in self.lost for n in there), GONE_SECONDS)
        self._close()

    def _close(self) -> None:
        for link in self._links:
            link.end(grace_seconds=0.0)
        self._guardian.close()


def exit_code_of(error: BaseException) -> int:
    """Return the exit code that an exception comes to at the command line."""
    if isinstance(error, TrnbenchError):
        return int(error.exit_code)
    if isinstance(error, KeyboardInterrupt):
        return 130
    code = getattr(error, "exit_code", getattr(error, "code", 1))  # click's, and SystemExit's
    return code if isinstance(code, int) else 1


def meeting_of(plan: Plan, nodes: Nodes | None) -> Meeting:
    """Return where a case's ranks meet.

    Raises:
        UnavailableError: no port can be had, or there are fewer nodes than were planned for.
    """
    ranks, wanted, here = plan.parallel.world_size, plan.parallel.nodes, 1
    if wanted == 1:
        return Meeting.of(plan.order.backend, ranks)
    if nodes is None or (here := nodes.count) < wanted:
        raise UnavailableError(
            f"the case was planned for {wanted} nodes, and this allocation has {here}",
            hint="run it in an allocation of as many, or into another folder (-o)",
        )
    return Meeting.of(plan.order.backend, ranks, wanted, nodes.address)


def facts_of_nodes(
    plan: Plan, nodes: Nodes | None, machine: Machine, devices: Devices
) -> list[dict[str, str]] | None:
    """Return what each node of a case must have alike, in order; None of one node."""
    if nodes is None or plan.parallel.nodes == 1:
        return None
    others = [hello.facts for hello in nodes.wait()[: plan.parallel.nodes - 1]]
    return [redact_variables(facts) for facts in (facts_of(machine, devices), *others)]
