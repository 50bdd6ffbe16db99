"""Slurm: a batch script, and a job followed by `scontrol`.

Source: sbatch(1), srun(1), scontrol(1) and sacct(1) of Slurm 22.05, on which it was tried.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from trnbench.errors import ConfigError, UnavailableError
from trnbench.launchers.base import (
    GRACE_SECONDS,
    JobGoneError,
    JobRequest,
    State,
    comments,
    exports,
)
from trnbench.launchers.client import Answer, ask

NOT_HERE = "submit from a machine of the cluster, where sbatch is; or write the job with --write"

UNREACHABLE = ("Unable to contact slurm controller", "Connection refused", "timed out", "munge")
"""What its commands say where the controller does not answer."""

WAITING = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "RESIZING", "REQUEUED")

NEVER: Mapping[str, str] = {
    "PartitionConfig": "its partition never has so many nodes, or such nodes",
    "PartitionNodeLimit": "its partition gives no job so many nodes",
    "PartitionTimeLimit": "its partition gives no job so much time",
    "BadConstraints": "no node has what it asks for",
    "AssocMaxNodePerJobLimit": "its account gives no job so many nodes",
    "InvalidAccount": "its account is not known",
    "InvalidQOS": "its quality of service is not known",
    "QOSMaxNodePerJobLimit": "its quality of service gives no job so many nodes",
    "QOSNotAllowed": "its quality of service is not allowed there",
}
"""Reasons for which a job waits, and which waiting does not end. Source: squeue(1), JOB REASON
CODES."""

_FIELD = re.compile(r"([A-Z][\w:/]*)=(.*?)(?=\s[A-Z][\w:/]*=|\s*$)")

BY_ENGINE: Mapping[str, str] = {
    "TIMEOUT": "reached its time limit",
    "CANCELLED": "was cancelled",
    "NODE_FAIL": "lost a node",
    "PREEMPTED": "was preempted",
    "OUT_OF_MEMORY": "ran out of host memory",
    "BOOT_FAIL": "could not start its nodes",
    "DEADLINE": "reached its deadline",
}
"""Ends that are not those of `trnbench run`."""


class Slurm:
    """Jobs for `sbatch`."""

    name: ClassVar[str] = "slurm"
    options: ClassVar[Mapping[str, str | None]] = {"partition": None, "account": None}
    sees_files: ClassVar[bool] = True
    idle_minutes: ClassVar[int] = 0

    def write(self, job: JobRequest) -> str:
        """Return the batch script."""
        directives = [
            f"--job-name={job.name}",
            f"--nodes={job.nodes}",
            "--ntasks-per-node=1",
            "--exclusive",
            "--mem=0",
            "--no-requeue",
            f"--time={job.minutes}",
            f"--output={_log_of(job)}",
            f"--signal=B:TERM@{GRACE_SECONDS}",
            *(f"--{name}={value}" for name, value in job.place.items()),
            *job.directives,
        ]
        # One task a node, which starts a rank for each device and binds it itself.
        step = "srun --ntasks-per-node=1 --cpu-bind=none --kill-on-bad-exit=1 --wait=60"
        lines = [
            "#!/bin/bash",
            *comments(job.title),
            *(f"#SBATCH {directive}" for directive in directives),
            "",
            *exports(job.environment()),
            *job.prelude(),
            f"exec {step} {job.run(job.suite.argument, job.output)}",
        ]
        return "\n".join(lines) + "\n"

    def submit(self, job: JobRequest, text: str) -> "SlurmJob":
        """Hand the script to `sbatch`."""
        job.output.parent.mkdir(parents=True, exist_ok=True)  # Slurm makes no folder for its log
        answer = ask(["sbatch", "--parsable"], text=text, hint=NOT_HERE)
        if answer.code != 0:
            raise self._refused(answer, job.place)
        return SlurmJob(answer.out.strip().partition(";")[0], is_new=True)

    def attach(self, identifier: str, place: Mapping[str, str], output: Path) -> "SlurmJob":
        """Return a job by its number."""
        if not identifier.isdecimal():
            raise ConfigError(
                f"--follow {identifier}: is no number of a Slurm job", hint="`squeue --me` has them"
            )
        job = SlurmJob(identifier)
        job.look()
        return job

    def _refused(self, answer: Answer, place: Mapping[str, str]) -> ConfigError | UnavailableError:
        said = _cleaned(answer)
        if any(text in said for text in UNREACHABLE):
            return UnavailableError(f"sbatch: {said}", hint="is Slurm's controller up? `sinfo`")
        given = next((f"--{name} {place[name]}: " for name in place if name in said), "")
        return ConfigError(
            f"{given}Slurm refuses the job: {said}",
            hint="`sinfo` lists partitions and their nodes, `sacctmgr show associations` accounts",
        )


def _log_of(job: JobRequest) -> str:
    """Return the file of what the job prints, beside the folder of its results, as sbatch reads it.

    To sbatch `%` begins a pattern.
    """
    path = f"{job.output}-".replace("%", "%%") + "%j.out"
    return f'"{path}"' if " " in path else path


def _cleaned(answer: Answer) -> str:
    """Return what a command of Slurm's complained of, without its own name."""
    lines = [re.sub(r"^\w+: (error: )?", "", line) for line in answer.err.splitlines() if line]
    return "; ".join(dict.fromkeys(lines)) or answer.complaint


class SlurmJob:
    """A job of Slurm's, by its number."""

    clean_command: str | None = None

    def __init__(self, identifier: str, *, is_new: bool = False) -> None:
        """Follow one; of one that we submitted, refuse what would wait without an end."""
        self.identifier = identifier
        self._is_new = is_new
        self.end_command = f"scancel {identifier}"
        self._log: Path | None = None
        self._read_bytes = 0
        self._rest = ""

    def look(self) -> State:
        """Ask `scontrol`, and where it has forgotten the job `sacct`, which is often off."""
        words = ["scontrol", "show", "job", "--oneliner", self.identifier]
        answer = ask(words, hint=NOT_HERE)
        if answer.code != 0:
            return self._look_back(_cleaned(answer))
        found = _fields(answer.out)
        log, state, reason = found.get("StdOut"), found["JobState"], found.get("Reason", "")
        self._log = Path(log) if log else None
        if self._is_new and state == "PENDING" and reason in NEVER:
            ask(["scancel", self.identifier], hint=NOT_HERE)
            raise ConfigError(
                f"job {self.identifier}: {NEVER[reason]} ({reason})",
                hint="it was taken back; `sinfo` lists partitions with their nodes and time limits",
            )
        return _state(state, reason, found.get("ExitCode", ""))

    def _look_back(self, said: str) -> State:
        """Return how a job ended that the controller does not know any more."""
        if any(text in said for text in UNREACHABLE):
            raise UnavailableError(
                f"scontrol: {said}", hint="the job goes on; try again when `sinfo` answers"
            )
        words = ["sacct", "--noheader", "--parsable2", "--allocations", "--jobs", self.identifier]
        answer = ask([*words, "--format", "State,ExitCode"], hint=NOT_HERE)
        state, _, code = answer.out.strip().partition("|")
        if answer.code != 0 or not code:
            raise JobGoneError(
                f"job {self.identifier}: is gone: scontrol says {said}, and sacct knows none",
                hint="its results are in the folder that it was given; `squeue --me` has the jobs "
                "that are left",
            )
        return _state(state.split()[0], "", code)

    def new_lines(self) -> Sequence[str]:
        """Return what its file has had since the last call."""
        if self._log is None or not self._log.is_file():
            return []
        with self._log.open("rb") as stream:
            stream.seek(self._read_bytes)
            content = stream.read()
        self._read_bytes += len(content)
        *lines, self._rest = (self._rest + content.decode(errors="replace")).split("\n")
        return lines

    def fetch(self, output: Path) -> str | None:
        """Return None where the results are here: the job wrote them into this very folder."""
        if (output / "run.json").is_file():
            return None
        return (
            f"{output} has no results: a job writes them on its first node, and this folder must "
            "be on a file system that both see"
        )

    def close(self) -> None:
        """Nothing was started here."""


def _fields(text: str) -> dict[str, str]:
    """Return the fields of `scontrol show --oneliner`, whose values may hold blanks."""
    return dict(_FIELD.findall(text))


def _state(name: str, reason: str, exit_code: str) -> State:
    """Return a state; `exit_code` is `CODE:SIGNAL`."""
    name = name.rstrip("+")
    if name in WAITING:
        return State(name if reason in ("", "None") else f"{name} ({reason})")
    if name in BY_ENGINE:
        return State(f"{name}: it {BY_ENGINE[name]}", is_over=True)
    code, _, signal = exit_code.partition(":")
    if not code.isdecimal():
        raise UnavailableError(
            f"Slurm says {name} and exit code {exit_code!r}, which is not understood",
            hint="look at `scontrol show job`",
        )
    ended = int(code) or (128 + int(signal) if signal.isdecimal() and int(signal) else 0)
    return State(name, is_over=True, exit_code=ended)
