"""Kubernetes: an Indexed Job or a JobSet, followed by `kubectl`.

The results come home in the first pod's log, as an archive with its digest: a log is there after
the pod has ended, and `kubectl cp` needs one that runs. Where the archive is too large for a log,
the pod waits for `kubectl cp`.

Sources: Kubernetes documentation, "Jobs" (Indexed, pod host names), "Manage HugePages", "Logging
Architecture" (a log is cut at 10 MiB); JobSet API v1alpha2; AWS Neuron documentation 2.32,
containers/kubernetes-getting-started, and Amazon EKS User Guide, node-efa, for the resources.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from trnbench.errors import ConfigError, UnavailableError
from trnbench.launchers.archive import BEGIN, END, MOST_LOG_BYTES, WAIT, WAIT_SECONDS
from trnbench.launchers.base import GRACE_SECONDS, JobRequest, as_yaml, comments, guarded_run
from trnbench.launchers.client import Answer, ask
from trnbench.launchers.kubernetes_job import (
    INSTANCE_LABEL,
    NOT_HERE,
    RESULTS,
    UNREACHABLE,
    KubernetesJob,
    kubectl,
)

HUGEPAGES = "5120Mi"
"""Of the 5,128 pages of 2 MiB that EFA's installer sets aside. Source: EKS User Guide, node-efa."""

TYPE_LABEL = "node.kubernetes.io/instance-type"
"""Source: Kubernetes documentation, "Well-Known Labels, Annotations and Taints"."""


class Kubernetes:
    """Jobs for `kubectl apply`."""

    name: ClassVar[str] = "kubernetes"
    options: ClassVar[Mapping[str, str | None]] = {"namespace": None, "form": "job"}
    sees_files: ClassVar[bool] = False
    idle_minutes: ClassVar[int] = 0

    def write(self, job: JobRequest) -> str:
        """Return the objects as YAML: the suite, a headless service, and the job."""
        return "\n".join([*comments(job.title), as_yaml(*self.objects(job))])

    def objects(self, job: JobRequest) -> list[dict[str, Any]]:
        """Return the objects.

        Raises:
            ConfigError: no image, or no instance type for a pod with chips.
        """
        if job.image is None:
            raise ConfigError(
                "--image: is needed: a pod's image has torch for the device, and trnbench",
                hint="name one; docs/launch.md says how one is made",
            )
        if job.instance is None and job.backend != "cpu":
            raise ConfigError(
                "--instance: is needed: it says how many chips a pod asks for",
                hint="name one, e.g. --instance trn2.48xlarge",
            )
        form = job.place.get("form", "job")
        if form not in FORMS:
            raise ConfigError(f"--form {form}: is not known", hint=f"forms: {', '.join(FORMS)}")
        # A headless service gives the pods names; a JobSet makes its own.
        suite = {"suite.yaml": job.suite.text}
        made = [{"apiVersion": "v1", "kind": "ConfigMap", **_named(job), "data": suite}]
        if form == "job":
            made.append(
                {"apiVersion": "v1", "kind": "Service", **_named(job), "spec": _service(job)}
            )
        return [*made, FORMS[form](job)]

    def submit(self, job: JobRequest, text: str) -> "KubernetesJob":
        """Hand the objects to `kubectl apply`."""
        answer = ask([*kubectl(job.place), "apply", "-f", "-"], text=text, hint=NOT_HERE)
        if answer.code != 0:
            raise _refused(answer, job.place)
        return KubernetesJob(job.name, job.place)

    def attach(self, identifier: str, place: Mapping[str, str], output: Path) -> "KubernetesJob":
        """Return a job by its name."""
        job = KubernetesJob(identifier, place)
        job.look()
        return job


def _refused(answer: Answer, place: Mapping[str, str]) -> ConfigError | UnavailableError:
    said = answer.complaint
    if "no matches for kind" in said or "no matches for kind" in answer.err:
        return UnavailableError(
            "--form jobset: this cluster has no JobSet", hint="use --form job, which every one has"
        )
    if "namespaces" in said and "not found" in said:
        return ConfigError(
            f"--namespace {place.get('namespace')}: the cluster has none of that name",
            hint="`kubectl get namespaces` lists them",
        )
    if any(text in said for text in UNREACHABLE):
        return UnavailableError(f"kubectl: {said}", hint="`kubectl cluster-info` says what it asks")
    return ConfigError(f"Kubernetes refuses the job: {said}", hint="change it, or use --write")


# --- the objects ----------------------------------------------------------------------------------


def _named(job: JobRequest) -> dict[str, Any]:
    place = {"namespace": job.place["namespace"]} if job.place.get("namespace") else {}
    return {"metadata": {"name": job.name, **place, "labels": {INSTANCE_LABEL: job.name}}}


def _service(job: JobRequest) -> dict[str, Any]:
    return {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {INSTANCE_LABEL: job.name},
    }


def _job_spec(job: JobRequest, leader: str) -> dict[str, Any]:
    """Return what a Job and a JobSet share: one pod a node, none of which is ever started again."""
    return {
        "completionMode": "Indexed",
        "completions": job.nodes,
        "parallelism": job.nodes,
        "backoffLimit": 0,
        "template": {
            "metadata": {"labels": {INSTANCE_LABEL: job.name}},
            "spec": _pod(job, leader),
        },
    }


def _plain_job(job: JobRequest) -> dict[str, Any]:
    spec = _job_spec(job, f"{job.name}-0.{job.name}")
    spec["template"]["spec"]["subdomain"] = job.name
    return {"apiVersion": "batch/v1", "kind": "Job", **_named(job), "spec": spec}


def _job_set(job: JobRequest) -> dict[str, Any]:
    spec = _job_spec(job, f"{job.name}-node-0-0.{job.name}")
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        **_named(job),
        "spec": {
            "failurePolicy": {"maxRestarts": 0},
            "network": {"enableDNSHostnames": True, "subdomain": job.name},
            "replicatedJobs": [{"name": "node", "replicas": 1, "template": {"spec": spec}}],
        },
    }


FORMS = {"job": _plain_job, "jobset": _job_set}


def _pod(job: JobRequest, leader: str) -> dict[str, Any]:
    variables = {"MASTER_ADDR": leader, "PET_NNODES": str(job.nodes), **job.environment()}
    resources = _resources(job)
    container: dict[str, Any] = {
        "name": "trnbench",
        "image": job.image,
        "command": ["/bin/sh", "-c", _script(job)],
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        **({"resources": resources} if resources else {}),
        "volumeMounts": [
            {"name": "suite", "mountPath": "/suite"},
            {"name": "results", "mountPath": RESULTS},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }
    selected = {TYPE_LABEL: job.instance.name} if job.instance else {}
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        # Only where the shell's own limit has failed: it ends a pod and its log stays.
        "activeDeadlineSeconds": job.minutes * 60 + GRACE_SECONDS + WAIT_SECONDS,
        **({"nodeSelector": selected} if selected else {}),
        **({"tolerations": _tolerations(job)} if job.instance and job.instance.chips else {}),
        "containers": [container],
        "volumes": [
            {"name": "suite", "configMap": {"name": job.name}},
            {"name": "results", "emptyDir": {}},
            # Ranks of one node exchange tensors through it; Kubernetes gives 64 MiB.
            {"name": "shm", "emptyDir": {"medium": "Memory"}},
        ],
    }


def _chips(job: JobRequest) -> str | None:
    """Return the resource by which a device plugin gives out the instance's chips."""
    chip = job.instance.accelerator if job.instance else None
    if chip is None:
        return None
    known = {"AWS": "aws.amazon.com/neuron", "NVIDIA": "nvidia.com/gpu", "AMD": "amd.com/gpu"}
    if chip.vendor not in known:
        raise ConfigError(
            f"{chip.name}: by which resource Kubernetes gives it out is not known here",
            hint="write the job for an instance with Trainium or GPUs, and edit it",
        )
    return known[chip.vendor]


def _resources(job: JobRequest) -> dict[str, Any]:
    """Return what a pod asks for: every chip of its node, and its EFA."""
    limits: dict[str, str] = {}  # quantities, which Kubernetes keeps as texts
    chips = _chips(job)
    if chips is not None and job.instance is not None:
        limits[chips] = str(job.instance.chips)
    if not job.uses_efa or job.instance is None:
        return {"limits": limits} if limits else {}
    limits["vpc.amazonaws.com/efa"] = str(job.instance.efa_interfaces)
    limits["hugepages-2Mi"] = HUGEPAGES
    # Huge pages are given only beside a request for a processor or for memory.
    return {"limits": limits, "requests": {"cpu": "1", **limits}}


def _tolerations(job: JobRequest) -> list[dict[str, str]]:
    """Return that pods may stand on nodes that are kept for their chips."""
    chips = _chips(job)
    return [{"key": chips, "operator": "Exists", "effect": "NoSchedule"}] if chips else []


def _script(job: JobRequest) -> str:
    """Return what a pod runs: the suite, and on the first node the archive of its results.

    The exit code of the job is the first node's; another that failed must not end it before it has
    written what was measured.
    """
    folder, archive = f"{RESULTS}/run", f"{RESULTS}/run.tar.gz"
    return "\n".join(
        [
            *job.prelude(),
            *guarded_run(job, "/suite/suite.yaml", folder),
            'if [ "$JOB_COMPLETION_INDEX" != 0 ]; then',
            '  echo "node $JOB_COMPLETION_INDEX: trnbench ended with code $code"; exit 0',
            "fi",
            f'[ -d {folder} ] || exit "$code"',
            f"tar -C {folder} -czf {archive} .",
            f"bytes=$(wc -c < {archive})",
            f'if [ "$bytes" -le {MOST_LOG_BYTES} ]; then',
            f"  echo '{BEGIN}'; base64 {archive}",
            f"  echo \"{END} $(sha256sum < {archive} | cut -d ' ' -f 1)\"",
            "else",
            f'  echo "{WAIT} $bytes"; tries={WAIT_SECONDS // 10}',
            f'  while [ ! -e {RESULTS}/fetched ] && [ "$tries" -gt 0 ]; do',
            "    sleep 10; tries=$((tries - 1))",
            "  done",
            "fi",
            'exit "$code"',
        ]
    )
