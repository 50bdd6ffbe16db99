"""What a job is, for any engine; what an engine must be able to do; and the lines that jobs share.

Sources of variables: AWS Neuron documentation 2.32, setup-trn1-multi-node-execution and
neuron-runtime/nrt-troubleshoot; Amazon EC2 User Guide, "Get started with EFA and NCCL"; NVIDIA
NCCL documentation, "Environment Variables".
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, ClassVar, Protocol

from trnbench.catalog.instances import Instance
from trnbench.errors import UnavailableError

GRACE_SECONDS = 120
"""From the request to end until the end by force: time to write down what was measured."""

EFA_VARIABLES: Mapping[str, str] = {"FI_PROVIDER": "efa", "FI_EFA_USE_DEVICE_RDMA": "1"}
"""Of every node of a job of several, where the instance type has EFA."""

NCCL_VARIABLES: Mapping[str, str] = {"NCCL_DEBUG": "INFO", "NCCL_DEBUG_SUBSYS": "INIT,NET"}
"""Let NCCL say once, at its start, which network it took: `NET/OFI` is EFA, `NET/Socket` TCP."""

NEURON_UNSET = ("NEURON_RT_VISIBLE_CORES", "NEURON_RT_NUM_CORES", "NEURON_RT_ROOT_COMM_ID")
"""Of the shell that submits: inherited, they would give every rank one core, or another job's
port."""

FORK_SAFE = """\
# libfabric needs it on kernels older than 5.15 alone
[ "$(printf '5.15\\n%s\\n' "$(uname -r)" | sort -V | head -n 1)" = 5.15 ] || \
export FI_EFA_FORK_SAFE=1"""

MOST_NAME = 40
"""Characters of a job's name: Kubernetes adds numbers and takes 63."""


class JobGoneError(UnavailableError):
    """The engine does not know the job, or not any more: asking again does not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteFile:
    """The suite of a job: by which word this machine knows it, and what stands in it."""

    argument: str
    """What `trnbench run` takes where the job sees this machine's files."""
    text: str
    """Its YAML, for jobs that do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """A job, as any engine takes it."""

    name: str
    """Lower-case letters, digits and dashes, at most `MOST_NAME` of them."""
    title: Sequence[str]
    """What it is and costs, a line each, for who reads the file."""
    suite: SuiteFile
    words: Sequence[str] = ()
    """Further words of `trnbench run`, without the folder of the results."""
    nodes: int
    minutes: int
    """After which the engine ends the job."""
    backend: str
    """The kind of device; `auto` where the config leaves it open."""
    instance: Instance | None = None
    """None where the machines' type is not known."""
    output: Path
    """Absolute: where the results come home to."""
    command: str = "trnbench"
    """How a shell starts trnbench on a node."""
    setup: str | None = None
    """Lines of a shell that each node runs first."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of the environment, by the user."""
    image: str | None = None
    region: str | None = None
    is_spot: bool = False
    """Whether the price is that of machines that can be taken away."""
    place: Mapping[str, str] = field(default_factory=dict)
    """What an engine's own options say, by name: partition, namespace, infra, …"""
    directives: Sequence[str] = ()

    @property
    def uses_efa(self) -> bool:
        """Whether its nodes talk over EFA."""
        return self.nodes > 1 and bool(self.instance and self.instance.efa_interfaces)

    @property
    def drives_neuron(self) -> bool:
        """Whether it trains on Trainium or Inferentia."""
        chip = self.instance.accelerator if self.instance else None
        return self.backend in ("neuron", "xla") or bool(chip and chip.vendor == "AWS")

    def environment(self) -> dict[str, str]:
        """Return the variables of every node, the user's over ours."""
        chip = self.instance.accelerator if self.instance else None
        is_nvidia = chip is not None and chip.vendor == "NVIDIA"
        return {
            **(EFA_VARIABLES if self.uses_efa else {}),
            **(NCCL_VARIABLES if is_nvidia and self.nodes > 1 else {}),
            **self.variables,
        }

    def prelude(self) -> list[str]:
        """Return the shell lines that every node runs first, without `environment`."""
        lines = []
        if self.drives_neuron:
            lines.append(f"unset {' '.join(NEURON_UNSET)}")
        if self.uses_efa and self.drives_neuron and "FI_EFA_FORK_SAFE" not in self.variables:
            lines += FORK_SAFE.splitlines()
        return [*lines, *(self.setup or "").splitlines()]

    def run(self, suite: str, output: str | PurePath) -> str:
        """Return the command line of a node, for a suite and a folder as the node sees them."""
        return f"{self.command} run {shlex.join([suite, *self.words, '-o', str(output)])}"


@dataclass(frozen=True, slots=True)
class State:
    """How a job stands."""

    says: str
    """In the engine's own word, with its reason where it has one."""
    is_over: bool = False
    exit_code: int | None = None
    """Of `trnbench run` on the first node; None while it runs, and where the engine ended it."""


class RunningJob(Protocol):
    """A job that was submitted. Whoever has one calls `close` at the end."""

    identifier: str
    end_command: str
    """Ends it by hand."""
    clean_command: str | None
    """Removes by hand what the engine keeps of it after its end."""

    def look(self) -> State:
        """Return how it stands.

        Raises:
            JobGoneError: the engine does not know it.
            UnavailableError: the engine does not answer.
        """
        ...

    def new_lines(self) -> Sequence[str]:
        """Return what the first node has printed since the last call; never wait for more."""
        ...

    def fetch(self, output: Path) -> str | None:
        """Bring the results home once it is over; return why they did not come, or None."""
        ...

    def close(self) -> None:
        """End what was started here to follow it; the job itself goes on."""
        ...


class Engine(Protocol):
    """Writes jobs for one engine, and submits them by the engine's own client."""

    name: ClassVar[str]
    options: ClassVar[Mapping[str, str | None]]
    """Its own options with what they are by default: the keys of `JobRequest.place`."""
    sees_files: ClassVar[bool]
    """Whether its jobs see this machine's files."""
    idle_minutes: ClassVar[int]
    """For which machines may be paid after a job, and nothing runs on them."""

    def write(self, job: JobRequest) -> str:
        """Return the job as the text that the engine takes.

        Raises:
            ConfigError: the engine needs something that the request lacks.
        """
        ...

    def submit(self, job: JobRequest, text: str) -> RunningJob:
        """Submit it.

        Raises:
            ConfigError: the engine refuses something that the user chose.
            UnavailableError: its client is not installed, or it does not answer.
        """
        ...

    def attach(self, identifier: str, place: Mapping[str, str], output: Path) -> RunningJob:
        """Return a job that was submitted before.

        Raises:
            ConfigError: the identifier cannot be one.
            UnavailableError: as `submit`.
        """
        ...


def job_name(words: str, mark: str) -> str:
    """Return a name that every engine takes, from the suite's and a mark that tells jobs apart."""
    tame = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
    room = MOST_NAME - len("trnbench--") - len(mark)
    return f"trnbench-{tame[:room].strip('-') or 'suite'}-{mark}"


def comments(lines: Sequence[str]) -> list[str]:
    """Return lines as comments of a shell or of YAML."""
    return [f"# {line}" for line in lines]


def as_yaml(*documents: Mapping[str, Any]) -> str:
    """Return documents as YAML, texts of several lines as blocks, as people write them."""
    import yaml

    class Blocks(yaml.SafeDumper):
        """Writes a text of several lines as a block."""

    def represent(dumper: Any, text: str) -> Any:
        style = "|" if "\n" in text else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Blocks.add_representer(str, represent)
    parts = (yaml.dump(each, Dumper=Blocks, sort_keys=False, width=10_000) for each in documents)
    return "---\n".join(parts)


def exports(variables: Mapping[str, str]) -> list[str]:
    """Return the shell's lines that set variables."""
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]


def guarded_run(job: JobRequest, suite: str, folder: str) -> list[str]:
    """Return the shell's lines of a node whose engine has no limit that asks before it kills.

    `timeout` asks `trnbench run` to end, and so does a request to the shell; `$code` is its exit
    code.
    """
    limit = f"timeout --preserve-status --signal=TERM --kill-after={GRACE_SECONDS} {job.minutes}m"
    return [
        "child=; asked=",
        'trap \'asked=yes; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null\' TERM INT',
        f"{limit} {job.run(suite, folder)} & child=$!",
        "# asked between the two",
        '[ -z "$asked" ] || kill -TERM "$child" 2>/dev/null',
        'code=0; wait "$child" || code=$?',
        "# a signal ends `wait`, not the run",
        'while kill -0 "$child" 2>/dev/null; do code=0; wait "$child" || code=$?; done',
    ]
