"""`trnbench init`: the config that it writes, and what it refuses."""

from pathlib import Path

import pytest

from tests.command import in_process
from tests.pure.run.plans import plan_case

INSTANCES = ["trn2.48xlarge", "trn2.3xlarge", "trn1.32xlarge", "p5.48xlarge", "g6.xlarge"]


@pytest.mark.parametrize("instance", INSTANCES)
def test_the_config_of_an_instance_is_a_plan_of_all_of_it(instance: str, tmp_path: Path) -> None:
    done = in_process("init", "--instance", instance, "--region", "us-east-2", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "next: trnbench run trnbench.yaml --dry-run" in done.out
    text = (tmp_path / "trnbench.yaml").read_text()
    plan = plan_case(text=text, found=None)
    assert plan.suite == f"{plan.model.name} on {instance}"
    assert plan.device.instance == instance
    assert plan.device.devices_idle == 0
    assert plan.prediction.memory_verdict == "fits"
    assert plan.price is not None
    assert plan.workload.reason is None  # every size is written


def test_a_price_that_needs_a_region_is_told_in_the_config(tmp_path: Path) -> None:
    done = in_process("init", "--instance", "p5.48xlarge", cwd=tmp_path)
    assert done.code == 0, done.err
    text = (tmp_path / "trnbench.yaml").read_text()
    assert "costs differently by region" in text
    assert max(map(len, text.splitlines())) <= 120
    assert plan_case(text=text, found=None).price is None


def test_a_processor_s_config_says_nothing_of_this_machine_s_memory(tmp_path: Path) -> None:
    done = in_process("init", "--instance", "c7i.8xlarge", cwd=tmp_path)
    assert done.code == 0, done.err
    text = (tmp_path / "trnbench.yaml").read_text()
    assert "GiB" not in text
    assert plan_case(text=text, found=None).order.backend == "cpu"


def test_a_file_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("model: tiny-llama\n")
    done = in_process("init", "--instance", "trn2.3xlarge", "-o", "mine.yaml", cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert "mine.yaml: is there already, and is left as it is" in done.err
    assert (tmp_path / "mine.yaml").read_text() == "model: tiny-llama\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--instance", "trn2.48xlarg"], "did you mean trn2.48xlarge"),
        (["--instance", "trn2.3xlarge", "--model", "lama3-8b"], "--model lama3-8b: model: "),
        (["--instance", "trn2.3xlarge", "-o", ""], "is empty"),
        (["--instance", "trn2.3xlarge", "-o", "nowhere/x.yaml"], "cannot be written"),
    ],
)
def test_bad_input_writes_nothing(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = in_process("init", *arguments, cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert not [*tmp_path.iterdir()]
