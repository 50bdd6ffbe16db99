"""Every job that `trnbench launch` writes is one to the engine's own schema or client.

`make test-jobs` makes the environment; elsewhere these tests are skipped.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import yaml

from tests.command import in_process
from tests.each import check_each
from tests.pure.plan.test_shipped import WHOLE

KUBERNETES = "1.37.0"

SPREAD = ("qwen3-8b", "--set", "workload.global_batch_size=256")
"""Its sizes are open: it takes several machines."""


def cases() -> Iterator[tuple[str, ...]]:
    """Yield the words of jobs: whole machines, several of them, and a processor."""
    for name in WHOLE:
        yield (name,)
    for instance in ("trn2.48xlarge", "trn1.32xlarge", "p5en.48xlarge", "p4d.24xlarge"):
        yield (*SPREAD, "--instance", instance, "--nodes", "2")
    yield ("quick", "--device", "cpu", "--env", "A=b c", "--setup", "ulimit -n 65535")


def job_of(engine: str, words: Sequence[str], *more: str) -> str:
    done = in_process("launch", engine, *words, "--image", "registry.example/x:1", *more)
    assert done.code == 0, done.err
    return done.out


def lost(given: Any, kept: Any, path: str = "") -> list[str]:
    """Return the keys and values that a reader has not kept: those it does not know."""
    if isinstance(given, Mapping) and isinstance(kept, Mapping):
        return [
            key
            for name, value in given.items()
            for key in (
                lost(value, kept[name], f"{path}.{name}") if name in kept else [f"{path}.{name}"]
            )
        ]
    if isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        return [
            key
            for number, (one, other) in enumerate(zip(given, kept, strict=True))
            for key in lost(one, other, f"{path}[{number}]")
        ]
    return [] if str(given) == str(kept) else [f"{path}: {given!r} is {kept!r}"]


def misspelt(document: Any) -> Iterator[tuple[str, Any]]:
    """Yield each key of a document with a copy in which it is misspelt."""

    def walk(node: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        inside = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in inside:
            if isinstance(node, dict):
                yield (*path, key)
            if isinstance(value, dict | list):
                yield from walk(value, (*path, key))

    for *path, last in walk(document, ()):
        changed = copy.deepcopy(document)
        inside = changed
        for step in path:
            inside = inside[step]
        inside[f"{last}x"] = inside.pop(last)
        yield "|".join(map(str, [*path, last])), changed


def test_objects_of_kubernetes_are_strictly_valid() -> None:
    validate = pytest.importorskip("kubernetes_validate")

    def check(*words: str) -> None:
        for document in yaml.safe_load_all(job_of("kubernetes", words)):
            try:
                validate.validate(document, KUBERNETES, strict=True)
            except validate.ValidationError as error:
                raise AssertionError(error) from error

    check_each(cases(), check)


def test_the_strict_schema_finds_a_misspelt_field_of_a_job() -> None:
    validate = pytest.importorskip("kubernetes_validate")
    *_, job = yaml.safe_load_all(job_of("kubernetes", (*SPREAD, "--instance", "trn2.48xlarge")))
    for path in (("completions",), ("template", "spec", "restartPolicy")):
        changed = copy.deepcopy(job)
        inside = changed["spec"]
        for step in path[:-1]:
            inside = inside[step]
        inside[f"{path[-1]}x"] = inside.pop(path[-1])
        with pytest.raises(validate.ValidationError):
            validate.validate(changed, KUBERNETES, strict=True)


def test_a_job_set_is_one_and_none_of_it_is_lost() -> None:
    api = pytest.importorskip("kubeflow_trainer_api.models")
    kind = api.JobsetV1alpha2JobSet

    def check(*words: str) -> None:
        *_, jobs = yaml.safe_load_all(job_of("kubernetes", words, "--form", "jobset"))
        assert jobs["kind"] == "JobSet"
        assert lost(jobs, kind.from_dict(jobs).to_dict()) == []

    check_each(cases(), check)


def test_a_misspelt_key_of_a_job_set_is_lost() -> None:
    api = pytest.importorskip("kubeflow_trainer_api.models")
    kind = api.JobsetV1alpha2JobSet
    words = (*SPREAD, "--instance", "trn2.48xlarge", "--nodes", "2")
    *_, jobs = yaml.safe_load_all(job_of("kubernetes", words, "--form", "jobset"))

    def is_noticed(changed: Any) -> bool:
        try:
            return bool(lost(changed, kind.from_dict(changed).to_dict()))
        except ValueError:
            return True

    missed = [key for key, changed in misspelt(jobs) if not is_noticed(changed)]
    # Maps whose keys are anybody's.
    assert {key.split("|")[-2] for key in missed} <= {
        "labels", "nodeSelector", "limits", "requests",
    }  # fmt: skip


def test_tasks_of_skypilot_are_read_by_its_own_client() -> None:
    sky = pytest.importorskip("sky")

    def check(*words: str) -> None:
        task = yaml.safe_load(job_of("skypilot", words))
        # Which types a cloud has, SkyPilot looks up in a catalog that it downloads.
        instance = task["resources"].pop("instance_type", None)
        assert instance is None or instance in words or instance in words[0]
        try:
            read = sky.Task.from_yaml_config(copy.deepcopy(task))
        except ValueError as error:
            raise AssertionError(error) from error
        kept = read.to_yaml_config()
        assert read.num_nodes == task["num_nodes"]
        assert kept["run"] == task["run"]
        assert kept.get("envs", {}) == task.get("envs", {})
        (resources,) = read.resources
        name, _, count = task["resources"].get("accelerators", "").partition(":")
        assert resources.accelerators == ({name: int(count)} if name else None)

    check_each(cases(), check)


def test_skypilot_finds_a_misspelt_key() -> None:
    sky = pytest.importorskip("sky")
    task = yaml.safe_load(job_of("skypilot", ("llama3-8b-p5.48xlarge",)))
    for changed in (
        {"num_node": task["num_nodes"], **{k: v for k, v in task.items() if k != "num_nodes"}},
        task | {"resources": {"acelerators": "H100:8"}},
    ):
        with pytest.raises(ValueError, match="did you mean"):
            sky.Task.from_yaml_config(changed)
