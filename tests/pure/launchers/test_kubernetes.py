"""Objects for Kubernetes, how pods stand, and results that come home in a log."""

import base64
import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.each import check_each
from tests.jobs import make_job
from trnbench.errors import ConfigError, UnavailableError
from trnbench.launchers.archive import BEGIN, END, WAIT, Archive, unpack
from trnbench.launchers.base import JobRequest
from trnbench.launchers.client import Answer
from trnbench.launchers.kubernetes import Kubernetes, _refused
from trnbench.launchers.kubernetes_job import INDEX, _index, _state_of_pods

NAME = "trnbench-mine-1a2b3c"


def objects_of(job: JobRequest) -> list[dict[str, Any]]:
    text = Kubernetes().write(job)
    assert text.startswith("# mine: a job of a test\n")
    return [*yaml.safe_load_all(text)]


def container_of(job: JobRequest) -> dict[str, Any]:
    spec = objects_of(job)[-1]["spec"]
    if "replicatedJobs" in spec:
        spec = spec["replicatedJobs"][0]["template"]["spec"]
    found: dict[str, Any] = spec["template"]["spec"]["containers"][0]
    return found


def test_two_machines_are_an_indexed_job_whose_first_pod_has_a_name() -> None:
    suite, service, job = objects_of(make_job(place={"namespace": "bench"}))
    assert [each["kind"] for each in (suite, service, job)] == ["ConfigMap", "Service", "Job"]
    assert {each["metadata"]["namespace"] for each in (suite, service, job)} == {"bench"}
    assert suite["data"] == {"suite.yaml": "name: mine\nmodel: tiny-llama\n"}
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    spec = job["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert (spec["completions"], spec["parallelism"], spec["backoffLimit"]) == (2, 2, 0)
    assert spec["completionMode"] == "Indexed"
    pod = spec["template"]["spec"]
    assert (pod["restartPolicy"], pod["subdomain"]) == ("Never", service["metadata"]["name"])
    assert pod["nodeSelector"] == {"node.kubernetes.io/instance-type": "trn2.48xlarge"}
    variables = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
    assert variables["MASTER_ADDR"] == f"{NAME}-0.{NAME}"
    assert variables["FI_PROVIDER"] == "efa"
    assert {"name": "shm", "emptyDir": {"medium": "Memory"}} in pod["volumes"]


def test_a_job_set_names_its_pods_itself() -> None:
    suite, jobs = objects_of(make_job(place={"form": "jobset"}))
    assert (suite["kind"], jobs["kind"]) == ("ConfigMap", "JobSet")
    assert jobs["spec"]["failurePolicy"] == {"maxRestarts": 0}
    variables = {
        each["name"]: each["value"]
        for each in container_of(make_job(place={"form": "jobset"}))["env"]
    }
    assert variables["MASTER_ADDR"] == f"{NAME}-node-0-0.{NAME}"


def test_a_pod_asks_for_every_chip_of_its_machine_and_for_efa_where_there_are_several() -> None:
    def check(instance: str | None, nodes: int, limits: dict[str, Any] | None) -> None:
        backend = "cpu" if instance is None else "auto"
        job = make_job(instance=instance, nodes=nodes, backend=backend)
        assert container_of(job).get("resources", {}).get("limits") == limits

    efa = {"hugepages-2Mi": "5120Mi"}
    check_each(
        [
            ("trn2.48xlarge", 1, {"aws.amazon.com/neuron": "16"}),
            (
                "trn2.48xlarge",
                2,
                {"aws.amazon.com/neuron": "16", "vpc.amazonaws.com/efa": "16", **efa},
            ),
            (
                "trn1.32xlarge",
                2,
                {"aws.amazon.com/neuron": "16", "vpc.amazonaws.com/efa": "8", **efa},
            ),
            ("p5.48xlarge", 2, {"nvidia.com/gpu": "8", "vpc.amazonaws.com/efa": "32", **efa}),
            ("p5en.48xlarge", 2, {"nvidia.com/gpu": "8", "vpc.amazonaws.com/efa": "16", **efa}),
            ("g6.2xlarge", 2, {"nvidia.com/gpu": "1"}),
            (None, 2, None),
        ],
        check,
    )
    # Kubernetes gives huge pages only beside a request for a processor or for memory.
    requests = container_of(make_job())["resources"]["requests"]
    assert requests["cpu"] == "1"


def test_what_a_pod_needs_and_a_job_does_not_say_is_refused() -> None:
    def check(changes: dict[str, Any], option: str) -> None:
        with pytest.raises(ConfigError) as raised:
            Kubernetes().write(make_job(**changes))
        assert str(raised.value).startswith(option)

    check_each(
        [
            ({"image": None}, "--image: is needed"),
            ({"instance": None, "backend": "auto"}, "--instance: is needed"),
            ({"place": {"form": "deployment"}}, "--form deployment: is not known"),
            ({"instance": "v5p-8"}, "tpu-v5p: by which resource"),
        ],
        check,
    )


def test_what_kubectl_refuses() -> None:
    def check(said: str, kind: type[Exception], told: str) -> None:
        refused = _refused(Answer(1, "", said), {"namespace": "bench"})
        assert isinstance(refused, kind)
        assert told in str(refused)

    check_each(
        [
            (
                'Error from server (NotFound): error when creating "STDIN": namespaces "bench" not '
                "found\n",
                ConfigError,
                "--namespace bench: the cluster has none of that name",
            ),
            (
                "The connection to the server localhost:8080 was refused - did you specify the "
                "right host or port?\n",
                UnavailableError,
                "kubectl: The connection",
            ),
            (
                'error: resource mapping not found for name: "x" namespace: "" from "STDIN": no '
                'matches for kind "JobSet" in version "jobset.x-k8s.io/v1alpha2"\nensure CRDs are '
                "installed first\n",
                UnavailableError,
                "this cluster has no JobSet",
            ),
            ('The Job "x" is invalid: spec.x\n', ConfigError, "refuses the job: The Job"),
        ],
        check,
    )


def pod(index: int = 0, phase: str = "Running", **state: Any) -> dict[str, Any]:
    statuses = [{"state": state}] if state else []
    return {
        "metadata": {"name": f"{NAME}-{index}-abcde", "annotations": {INDEX: str(index)}},
        "status": {"phase": phase, "containerStatuses": statuses},
    }


def test_a_job_stands_as_its_first_pod_does() -> None:
    def check(leader: dict[str, Any], says: str, is_over: bool, code: int | None) -> None:
        state = _state_of_pods(leader, [leader, pod(1, running={})])
        assert (state.says, state.is_over, state.exit_code) == (says, is_over, code)

    waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}
    lacking = pod(phase="Pending") | {
        "status": {
            "phase": "Pending",
            "conditions": [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "message": "0/3 nodes are available: 3 Insufficient aws.amazon.com/neuron.",
                }
            ],
        }
    }
    evicted = pod(phase="Failed") | {"status": {"phase": "Failed", "reason": "Evicted"}}
    check_each(
        [
            (pod(running={}), "RUNNING", False, None),
            (
                pod(phase="Pending", waiting=waiting),
                "PENDING (1 of 2 pods run; ImagePullBackOff: Back-off pulling image)",
                False,
                None,
            ),
            (
                pod(phase="Pending", waiting={"reason": "ContainerCreating"}),
                "PENDING (1 of 2 pods run)",
                False,
                None,
            ),
            (
                lacking,
                "PENDING (1 of 2 pods run; 0/3 nodes are available: 3 Insufficient "
                "aws.amazon.com/neuron.)",
                False,
                None,
            ),
            (pod(terminated={"exitCode": 0, "reason": "Completed"}), "SUCCEEDED", True, 0),
            (pod(terminated={"exitCode": 4, "reason": "Error"}), "FAILED", True, 4),
            (
                pod(terminated={"exitCode": 137, "reason": "OOMKilled"}),
                "FAILED: the first pod was ended: OOMKilled",
                True,
                None,
            ),
            (evicted, "FAILED: the first pod: Evicted", True, None),
        ],
        check,
    )
    assert _index(pod(3)) == "3"


# --- results in a log -----------------------------------------------------------------------------


def archive_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def log_of(content: bytes) -> list[str]:
    body = base64.encodebytes(content).decode().splitlines()
    return ["a table", BEGIN, *body, f"{END} {hashlib.sha256(content).hexdigest()}", "bye"]


def test_results_come_home_in_a_log_and_are_not_shown(tmp_path: Path) -> None:
    content = archive_of({"./run.json": b"{}", "./case/plan.json": b"[]"})
    archive = Archive()
    assert [line for line in log_of(content) if archive.passes(line)] == ["a table", "bye"]
    assert archive.content == content
    assert unpack(content, tmp_path / "home") is None
    assert (tmp_path / "home/run.json").read_bytes() == b"{}"
    assert (tmp_path / "home/case/plan.json").read_bytes() == b"[]"


def test_a_log_that_is_cut_or_changed_is_noticed() -> None:
    content = archive_of({"./run.json": b"{}"})
    whole = log_of(content)

    def check(lines: list[str], lack: str) -> None:
        archive = Archive()
        for line in lines:
            archive.passes(line)
        assert archive.content is None
        assert lack in archive.lack

    check_each(
        [
            (whole[:1], "no results"),
            (whole[:2], "cut off"),
            ([*whole[:2], *whole[3:]], "their own digest"),
            ([BEGIN, "not base64!", f"{END} 0"], "their own digest"),
            ([f"{WAIT} 7000000"], "too large"),
        ],
        check,
    )


def test_an_archive_writes_nothing_outside_its_folder(tmp_path: Path) -> None:
    for name in ("../evil", "/evil", "a/../../evil"):
        said = unpack(archive_of({name: b"x"}), tmp_path / "home")
        assert said is not None
        assert "not inside" in said
    assert not [*tmp_path.rglob("evil")]
    assert "cannot be unpacked" in str(unpack(b"no archive", tmp_path / "home"))
