"""A job of Kubernetes' by `kubectl`: how its pods stand, what the first prints, its results."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trnbench.errors import UnavailableError
from trnbench.launchers.archive import Archive, unpack
from trnbench.launchers.base import JobGoneError, State
from trnbench.launchers.client import Stream, ask

NOT_HERE = "install kubectl and point it to your cluster; or write the job with --write"

RESULTS = "/results"
"""In a pod."""

INSTANCE_LABEL = "app.kubernetes.io/instance"
INDEX = "batch.kubernetes.io/job-completion-index"

UNREACHABLE = ("was refused", "connection refused", "no such host", "timeout", "Unable to connect")


def kubectl(place: Mapping[str, str]) -> list[str]:
    """Return the words that a command of kubectl's begins with."""
    namespace = place.get("namespace")
    return ["kubectl", *(["--namespace", namespace] if namespace else [])]


class KubernetesJob:
    """A job of Kubernetes', by its name."""

    def __init__(self, identifier: str, place: Mapping[str, str]) -> None:
        self.identifier = identifier
        self._kind = place.get("form") or "job"
        self._kubectl = kubectl(place)
        own = "" if self._kind == "jobset" else ",service"
        self.end_command = " ".join([*self._kubectl, "delete", self._kind, identifier])
        self.clean_command = " ".join(
            [*self._kubectl, "delete", f"{self._kind},configmap{own}", identifier]
        )
        self._leader: str | None = None
        self._stream: Stream | None = None
        self._has_followed = False
        self._archive = Archive()

    def look(self) -> State:
        """Ask for its pods, and where there are none for the job itself."""
        words = ["get", "pods", "--selector", f"{INSTANCE_LABEL}={self.identifier}"]
        pods = self._get(words)["items"]
        leader = next((pod for pod in pods if _index(pod) == "0"), None)
        if leader is None:
            return self._without_pods()
        self._leader = leader["metadata"]["name"]
        state = _state_of_pods(leader, pods)
        if self._stream is None and not self._has_followed and _has_started(leader):
            self._stream = self._follow()
        if state.is_over and self._stream is not None and self._stream.code is None:
            return State("ending")  # its last lines are on the way
        return state

    def _without_pods(self) -> State:
        found = self._get(["get", self._kind, self.identifier])
        conditions = found.get("status", {}).get("conditions") or []
        failed = next(
            (c for c in conditions if c["type"] == "Failed" and c["status"] == "True"), None
        )
        if failed is not None:
            why = failed.get("message") or failed.get("reason") or "no reason is given"
            return State(f"FAILED: {why}", is_over=True)
        return State("PENDING (it has no pods yet)")

    def _follow(self) -> Stream:
        words = [*self._kubectl, "logs", "--follow", str(self._leader)]
        return Stream(words, hint=NOT_HERE)

    def _get(self, words: Sequence[str]) -> dict[str, Any]:
        answer = ask([*self._kubectl, *words, "--output", "json"], hint=NOT_HERE)
        if answer.code == 0:
            found: dict[str, Any] = json.loads(answer.out)
            return found
        said = answer.complaint
        if "NotFound" in said:
            raise JobGoneError(
                f"job {self.identifier}: is gone: {said}",
                hint=f"`{' '.join([*self._kubectl, 'get', self._kind])}` has those that are left",
            )
        raise UnavailableError(f"kubectl: {said}", hint="`kubectl cluster-info` says what it asks")

    def new_lines(self) -> Sequence[str]:
        """Return what the first pod has printed, without its results, which are kept."""
        if self._stream is None:
            return []
        ended = self._stream.code is not None
        lines = [line for line in self._stream.new_lines() if self._archive.passes(line)]
        if self._archive.waits and self._archive.content is None:
            self._copy()
        if ended:
            self._stream.close()
            self._stream, self._has_followed = None, True
        return lines

    def _copy(self) -> None:
        """Fetch an archive that is too large for a log, while its pod waits."""
        with tempfile.TemporaryDirectory() as folder:
            path, pod = Path(folder) / "run.tar.gz", str(self._leader)
            words = ["cp", f"{pod}:{RESULTS}/run.tar.gz", str(path)]
            if ask([*self._kubectl, *words], hint=NOT_HERE).code == 0 and path.is_file():
                self._archive.content = path.read_bytes()
                touch = ["exec", pod, "--", "touch", f"{RESULTS}/fetched"]
                ask([*self._kubectl, *touch], hint=NOT_HERE)

    def fetch(self, output: Path) -> str | None:
        """Unpack the results out of the log, which is read again if it was not followed whole."""
        if self._archive.content is None and self._leader is not None:
            self._archive = Archive()
            answer = ask([*self._kubectl, "logs", self._leader], hint=NOT_HERE)
            for line in answer.out.splitlines():
                self._archive.passes(line)
        if self._archive.content is None:
            return f"the log of {self._leader or self.identifier} holds {self._archive.lack}"
        return unpack(self._archive.content, output)

    def close(self) -> None:
        """End `kubectl logs`."""
        if self._stream is not None:
            self._stream.close()


def _index(pod: Mapping[str, Any]) -> str | None:
    metadata = pod["metadata"]
    named = {**metadata.get("labels", {}), **metadata.get("annotations", {})}
    found: str | None = named.get(INDEX)
    return found


def _container(pod: Mapping[str, Any]) -> dict[str, Any]:
    states = pod.get("status", {}).get("containerStatuses") or [{}]
    found: dict[str, Any] = states[0].get("state", {})
    return found


def _has_started(pod: Mapping[str, Any]) -> bool:
    return bool({"running", "terminated"} & set(_container(pod)))


def _state_of_pods(leader: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> State:
    """Return how a job stands: it is over when its first pod is."""
    ended = _container(leader).get("terminated")
    status = leader.get("status", {})
    if ended is not None:
        code = int(ended["exitCode"])
        reason = ended.get("reason", "")
        if reason in ("OOMKilled", "DeadlineExceeded"):
            return State(f"FAILED: the first pod was ended: {reason}", is_over=True)
        return State("SUCCEEDED" if code == 0 else "FAILED", is_over=True, exit_code=code)
    if status.get("phase") == "Failed":  # evicted, or its node is gone
        why = status.get("message") or status.get("reason") or "no reason is given"
        return State(f"FAILED: the first pod: {why}", is_over=True)
    running = sum("running" in _container(pod) for pod in pods)
    if running == len(pods):
        return State("RUNNING")
    return State(f"PENDING ({running} of {len(pods)} pods run{_why_not(pods)})")


def _why_not(pods: Sequence[Mapping[str, Any]]) -> str:
    """Return why a pod does not run: its image, or no node that has what it asks for."""
    for pod in pods:
        waiting = _container(pod).get("waiting", {})
        reason = waiting.get("reason", "")
        if reason and reason not in ("ContainerCreating", "PodInitializing"):
            return f"; {reason}: {waiting.get('message', 'no message')}"
        for condition in pod.get("status", {}).get("conditions") or ():
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return f"; {condition.get('message', condition.get('reason', 'not scheduled'))}"
    return ""
