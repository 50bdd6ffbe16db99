"""SkyPilot: a task for ~20 clouds, Kubernetes and Slurm, launched and followed by `sky`.

Source: SkyPilot 0.14.1 and its documentation, "SkyPilot YAML" and "Syncing Code and Artifacts";
names of accelerators by its sky/catalog/data_fetchers/fetch_aws.py and
sky/provision/kubernetes/utils.py.
"""

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from trnbench.catalog.instances import Instance, instances
from trnbench.errors import ConfigError
from trnbench.launchers.base import JobGoneError, JobRequest, State, as_yaml, comments, guarded_run
from trnbench.launchers.client import Stream, ask

NOT_HERE = "pip install 'skypilot[aws]', then `sky check`; or write the task with --write"

ACCELERATORS: Mapping[str, str] = {
    "trainium1": "Trainium",
    "trainium2": "Trainium2",
    "inferentia2": "Inferentia2",
    "a100-40": "A100",
    "a100-80": "A100-80GB",
    "h100-sxm": "H100",
    "h200": "H200",
    "b200": "B200",
    "b300": "B300",
    "gb200": "GB200",
    "a10g": "A10G",
    "l4": "L4",
    "l40s": "L40S",
    "t4": "T4",
    "mi300x": "MI300X",
}
"""SkyPilot's names of the catalog's chips."""

CLOUDS: Mapping[str, str] = {"aws": "aws", "gcp": "gcp", "azure": "azure", "lambda": "lambda"}
"""Providers of our tables that SkyPilot has under the same name."""

FOLDER = "trnbench-jobs"
"""In the home of a node."""

EXIT_CODES = {100: "FAILED", 103: "CANCELLED"}
"""Of `sky logs`. Source: SkyPilot 0.14.1, sky/exceptions.py, JobExitCode."""
NOT_FINISHED, NOT_FOUND = 101, 102


class SkyPilot:
    """Tasks for `sky launch`."""

    name: ClassVar[str] = "skypilot"
    options: ClassVar[Mapping[str, str | None]] = {"infra": None}
    sees_files: ClassVar[bool] = False
    idle_minutes: ClassVar[int] = 10
    """SkyPilot then ends the machines by itself, whether somebody follows the job or not."""

    def write(self, job: JobRequest) -> str:
        """Return the task as YAML."""
        return "\n".join([*comments(job.title), *self._comments(job), as_yaml(self.task(job))])

    def task(self, job: JobRequest) -> dict[str, Any]:
        """Return the task.

        Raises:
            ConfigError: SkyPilot has no name for the instance's chip, or nothing says what to rent.
        """
        variables = job.environment()
        pod = self._pod(job)
        return {
            "name": job.name,
            "num_nodes": job.nodes,
            "resources": self._resources(job),
            **({"envs": variables} if variables else {}),
            "run": _script(job),
            **({"config": {"kubernetes": {"pod_config": pod}}} if pod else {}),
        }

    def _resources(self, job: JobRequest) -> dict[str, Any]:
        instance = job.instance
        found: dict[str, Any] = {}
        infra = job.place.get("infra") or _infra(instance, job.region)
        if infra is not None:
            found["infra"] = infra
        if instance is not None and instance.chips:
            chip = instance.accelerator
            name = ACCELERATORS.get(chip.name) if chip else None
            if name is None:
                raise ConfigError(
                    f"--instance {instance.name}: SkyPilot's name of its chips is not known here",
                    hint="write the job for a like instance with --write, and edit it",
                )
            found["accelerators"] = f"{name}:{instance.chips}"
        elif instance is None and job.backend != "cpu":
            raise ConfigError(
                "--instance: is needed: it says how many of which chip are rented",
                hint="name one, e.g. --instance trn2.48xlarge",
            )
        if instance is not None and _must_name(instance) and _is_cloud(infra):
            found["instance_type"] = instance.name
        if job.is_spot:
            found["use_spot"] = True
        if job.image is not None:
            is_machine = re.match(r"(docker:|ami-|projects/|skypilot:)", job.image)
            found["image_id"] = job.image if is_machine else f"docker:{job.image}"
        if job.uses_efa:
            found["network_tier"] = "best"
        return {**found, "autostop": {"idle_minutes": self.idle_minutes, "down": True}}

    def _pod(self, job: JobRequest) -> dict[str, Any] | None:
        """Return what pods ask for beside their chips, where machines are Kubernetes'."""
        infra = job.place.get("infra") or ""
        if not infra.startswith(("k8s", "kubernetes")) or not job.uses_efa or job.instance is None:
            return None
        efa = {"vpc.amazonaws.com/efa": job.instance.efa_interfaces}
        return {"spec": {"containers": [{"resources": {"limits": efa, "requests": efa}}]}}

    def _comments(self, job: JobRequest) -> list[str]:
        lines = ["Machines are paid while they start, too; that is not in these dollars."]
        if job.instance is not None and not _must_name(job.instance):
            lines.append(f"The instance is {job.instance.name}.")
        if job.drives_neuron and job.image is None:
            lines.append(
                "SkyPilot's default image for Trainium is older than native TorchNeuron: name one "
                "by --image ami-…"
            )
        if job.uses_efa and job.instance and (job.instance.efa_interfaces or 0) > 1:
            lines.append(
                "On AWS SkyPilot attaches one EFA interface unless its own config has "
                "`aws: {use_internal_ips: true}`."
            )
        return comments(lines)

    def submit(self, job: JobRequest, text: str) -> "SkyPilotJob":
        """Hand the task to `sky launch`, which rents the machines and then prints the job's log."""
        folder = tempfile.TemporaryDirectory(prefix="trnbench-")
        path = Path(folder.name) / f"{job.name}.yaml"
        path.write_text(text, encoding="utf-8")
        words = ["sky", "launch", "--yes", "--cluster", job.name, str(path)]
        return SkyPilotJob(job.name, Stream(words, hint=NOT_HERE), folder)

    def attach(self, identifier: str, place: Mapping[str, str], output: Path) -> "SkyPilotJob":
        """Return a job by its cluster's name."""
        return SkyPilotJob(identifier)


def _is_cloud(infra: str | None) -> bool:
    return infra is not None and infra.partition("/")[0] in CLOUDS


def _infra(instance: Instance | None, region: str | None) -> str | None:
    """Return where the instance type is rented; None leaves it to SkyPilot."""
    cloud = CLOUDS.get(instance.provider) if instance else None
    return cloud and (f"{cloud}/{region}" if region else cloud)


def _must_name(instance: Instance) -> bool:
    """Whether so many of its chip are also another type's: SkyPilot would take the cheaper one."""
    alike = (instance.provider, instance.accelerator, instance.chips)
    return instance.accelerator is None or any(
        (each.provider, each.accelerator, each.chips) == alike and each.name != instance.name
        for each in instances().values()
    )


def _script(job: JobRequest) -> str:
    """Return what a node runs. The exit code is the first node's, beside its results."""
    folder = f"$HOME/{FOLDER}/{job.name}"
    suite = job.suite.text.rstrip("\n")
    return "\n".join(
        [
            f'mkdir -p "{folder}/results" && cd "{folder}" || exit 1',
            f"cat > suite.yaml <<'{_mark(suite)}'",
            suite,
            _mark(suite),
            *job.prelude(),
            *guarded_run(job, "suite.yaml", "results"),
            'if [ "$SKYPILOT_NODE_RANK" != 0 ]; then',
            '  echo "node $SKYPILOT_NODE_RANK: trnbench ended with code $code"; exit 0',
            "fi",
            'echo "$code" > exit-code',
            'exit "$code"',
            "",
        ]
    )


def _mark(text: str) -> str:
    """Return a line that ends a here-document and is none of its lines."""
    mark = "END_OF_SUITE"
    while mark in text:
        mark += "_"
    return mark


class SkyPilotJob:
    """A job on a cluster that SkyPilot has made for it."""

    def __init__(
        self,
        identifier: str,
        stream: Stream | None = None,
        folder: "tempfile.TemporaryDirectory[str] | None" = None,
    ) -> None:
        """Follow a job by its log, or by the `sky launch` that has begun and reads the folder."""
        self.identifier = identifier
        self.end_command = f"sky down --yes {identifier}"
        self.clean_command: str | None = None
        self._stream, self._folder = stream, folder
        self._last = ""

    def look(self) -> State:
        """Follow `sky launch` or `sky logs`, whose exit code says how the job ended."""
        if self._stream is None:
            self._stream = Stream(["sky", "logs", self.identifier], hint=NOT_HERE)
        code = self._stream.code
        if code is None:
            return State("RUNNING")
        if code == NOT_FINISHED:  # the connection was lost
            self._stream.close()
            self._stream = None
            return State("RUNNING (its log was cut off, and is read again)")
        if code == 0:
            return State("SUCCEEDED", is_over=True, exit_code=0)
        if code in EXIT_CODES:
            return State(EXIT_CODES[code], is_over=True, exit_code=self._own_exit_code(code))
        self._keep_last(self._stream.new_lines())
        said = self._last or f"sky ended with code {code}"
        what = "could not be launched" if self._folder else "is gone, or SkyPilot does not answer"
        raise JobGoneError(
            f"job {self.identifier}: {what}: {said}",
            hint="`sky status` lists the clusters that are there, `sky check` the clouds that can "
            f"be used; `{self.end_command}` ends what may have begun",
        )

    def _own_exit_code(self, code: int) -> int | None:
        """Return the exit code that the first node has kept; None where the job was ended."""
        if EXIT_CODES[code] != "FAILED":
            return None
        path = f"{FOLDER}/{self.identifier}/exit-code"
        answer = ask(["ssh", self.identifier, "cat", path], hint=NOT_HERE)
        text = answer.out.strip()
        return int(text) if answer.code == 0 and text.isdecimal() else None

    def new_lines(self) -> Sequence[str]:
        """Return what the job has printed since the last call."""
        lines = [] if self._stream is None else self._stream.new_lines()
        self._keep_last(lines)
        return lines

    def _keep_last(self, lines: Sequence[str]) -> None:
        self._last = next((line.strip() for line in reversed(lines) if line.strip()), self._last)

    def fetch(self, output: Path) -> str | None:
        """Copy the results from the first node, and then end the machines."""
        output.mkdir(parents=True, exist_ok=True)
        there = f"{self.identifier}:{FOLDER}/{self.identifier}/results/"
        answer = ask(["rsync", "--archive", "--compress", there, f"{output}/"], hint=NOT_HERE)
        if answer.code != 0:
            return (
                f"rsync says {answer.complaint}; {SkyPilot.idle_minutes} minutes after the job its "
                f"machines are ended: fetch {there} before, or keep them by `sky autostop --cancel`"
            )
        answer = ask(["sky", "down", "--yes", self.identifier], hint=NOT_HERE)
        return None if answer.code == 0 else f"`{self.end_command}` failed: {answer.complaint}"

    def close(self) -> None:
        """End `sky launch` or `sky logs`: SkyPilot's server goes on."""
        if self._stream is not None:
            self._stream.close()
        if self._folder is not None:
            self._folder.cleanup()
