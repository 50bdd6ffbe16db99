"""Tasks for SkyPilot."""

from typing import Any

import pytest
import yaml

from tests.each import check_each
from tests.jobs import make_job
from trnbench.catalog.accelerators import accelerators
from trnbench.errors import ConfigError
from trnbench.launchers.base import JobRequest
from trnbench.launchers.skypilot import ACCELERATORS, SkyPilot


def task_of(job: JobRequest) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(SkyPilot().write(job))
    return found


def test_two_machines_with_trainium() -> None:
    task = task_of(make_job(region="us-east-2", image="ami-0123456789abcdef0"))
    assert (task["name"], task["num_nodes"]) == ("trnbench-mine-1a2b3c", 2)
    assert task["resources"] == {
        "infra": "aws/us-east-2",
        "accelerators": "Trainium2:16",
        "instance_type": "trn2.48xlarge",  # a trn2u.48xlarge has as many
        "image_id": "ami-0123456789abcdef0",
        "network_tier": "best",
        "autostop": {"idle_minutes": 10, "down": True},
    }
    assert task["envs"] == {"FI_PROVIDER": "efa", "FI_EFA_USE_DEVICE_RDMA": "1"}
    lines = task["run"].splitlines()
    assert lines[1:5] == [
        "cat > suite.yaml <<'END_OF_SUITE'",
        "name: mine",
        "model: tiny-llama",
        "END_OF_SUITE",
    ]
    assert any("40m trnbench run suite.yaml -o results" in line for line in lines)
    assert lines[-2:] == ['echo "$code" > exit-code', 'exit "$code"']


def test_what_is_rented() -> None:
    def check(instance: str | None, changes: dict[str, Any], resources: dict[str, Any]) -> None:
        found = task_of(make_job(instance, image=None, nodes=1, **changes))["resources"]
        assert {name: found.get(name) for name in resources} == resources

    check_each(
        [
            ("p5.48xlarge", {}, {"accelerators": "H100:8", "instance_type": None, "infra": "aws"}),
            ("p5en.48xlarge", {}, {"accelerators": "H200:8", "instance_type": "p5en.48xlarge"}),
            ("trn2.3xlarge", {}, {"accelerators": "Trainium2:1", "instance_type": None}),
            (
                "c7i.4xlarge",
                {"backend": "cpu"},
                {"accelerators": None, "instance_type": "c7i.4xlarge"},
            ),
            (None, {"backend": "cpu"}, {"accelerators": None, "infra": None}),
            ("p5en.48xlarge", {"is_spot": True}, {"use_spot": True}),
            ("p5en.48xlarge", {}, {"use_spot": None, "network_tier": None}),
            (
                "trn2.48xlarge",
                {"place": {"infra": "k8s/ctx"}},
                {"infra": "k8s/ctx", "instance_type": None, "accelerators": "Trainium2:16"},
            ),
        ],
        check,
    )


def test_a_container_is_named_as_one() -> None:
    assert task_of(make_job(image="a/b:1"))["resources"]["image_id"] == "docker:a/b:1"
    assert task_of(make_job(image="docker:a/b:1"))["resources"]["image_id"] == "docker:a/b:1"


def test_pods_of_a_cluster_ask_for_efa() -> None:
    task = task_of(make_job(place={"infra": "kubernetes"}))
    (container,) = task["config"]["kubernetes"]["pod_config"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"vpc.amazonaws.com/efa": 16}
    assert "config" not in task_of(make_job(place={"infra": "kubernetes"}, nodes=1))


def test_what_it_cannot_rent_is_refused() -> None:
    for changes in ({"instance": None, "backend": "auto"}, {"instance": "v5p-8"}):
        with pytest.raises(ConfigError, match="--instance"):
            SkyPilot().write(make_job(**changes))


def test_every_chip_that_has_a_name_is_in_the_catalog() -> None:
    assert {*ACCELERATORS} <= {*accelerators()}


def test_a_suite_cannot_end_the_text_that_holds_it() -> None:
    from trnbench.launchers.base import SuiteFile

    text = "name: x\nmodel: tiny-llama  # END_OF_SUITE\nEND_OF_SUITE\n"
    run = task_of(make_job(suite=SuiteFile(argument="x", text=text)))["run"]
    assert "<<'END_OF_SUITE_'" in run
    assert "\nEND_OF_SUITE\nEND_OF_SUITE_\n" in run
