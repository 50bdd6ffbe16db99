"""The page for a first run on a Trainium names what the code sets, knows and accepts."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.configs import parse_config
from tests.pure.run.plans import plan_case
from trnbench.catalog.backends import BACKENDS
from trnbench.catalog.facts import diagnose, faults
from trnbench.config.model import Config
from trnbench.run.configs import shipped_configs
from trnbench.run.environment import environment_of_probe, environment_of_worker

PROFILING = BACKENDS["neuron"].profiling_variables
ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "trainium.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading."""
    section = PAGE.partition(f"## {heading}")[2].partition("\n## ")[0]
    table = re.search(r"^(\|.*\n)+", section, re.M)
    lines = table[0].splitlines()[2:] if table else []
    return [
        [c.strip().replace("\\|", "|") for c in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines
    ]


def test_each_fault_that_is_known_stands_there_with_its_meaning_and_its_fix() -> None:
    said = {(meaning, fix): texts for texts, meaning, fix in rows("When a step fails")}
    for fault in faults():
        if "neuron" in fault.backends:
            texts = re.findall(r"`([^`]+)`", said.pop((fault.meaning, fault.fix)))
            assert texts
            for text in texts:
                known = diagnose("neuron", [text])
                assert known is not None, text
                assert known.fault is fault, text
    assert said == {}, "the catalog knows nothing of these"


@pytest.mark.parametrize("backend", ["neuron", "xla"])
def test_it_names_every_variable_that_is_set(backend: str) -> None:
    order = plan_case({"device": "cpu"}).order
    profiling = dict.fromkeys(PROFILING, "1")
    variables = environment_of_worker(replace(order, backend=backend), profiling, Path("/home"))
    variables |= environment_of_probe("native")
    table = PAGE.partition("## Variables that trnbench sets")[2].partition("## The compile cache")[
        0
    ]
    for name in variables:
        assert f"`{name}`" in table, name


def test_it_names_no_variable_that_is_not_set() -> None:
    order = plan_case({"device": "cpu"}).order
    decided: set[str] = set(environment_of_probe("native"))
    for backend in ("neuron", "xla"):
        profiling = dict.fromkeys(PROFILING, "1")
        decided |= set(environment_of_worker(replace(order, backend=backend), profiling, Path("/")))
    names = [re.findall(r"`(\w+)`", cells[0]) for cells in rows("Variables that trnbench sets")]
    assert {name for several in names for name in several} == decided


def test_its_config_is_planned_as_the_page_says() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    cases = parse_config(text, "mine.yaml")
    assert [case.config.workload.execution for case in cases] == ["compile", "eager"]
    plan = plan_case({"workload.execution": "compile"}, found=None, text=text.split("sweep:")[0])
    assert plan.order.backend == "neuron"
    assert plan.device.accelerator == "trainium2"
    assert plan.device.devices_per_chip == 4
    assert plan.prediction.memory_verdict == "fits"
    assert plan.price is not None


def test_the_option_of_its_pytest_command_exists(request: pytest.FixtureRequest) -> None:
    assert "--require-device" in PAGE
    assert request.config.getoption("--require-device") is False


def test_the_keys_and_configs_of_its_commands_exist() -> None:
    commands = [
        line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()
    ]
    runs = [
        line.partition("trnbench run")[2].split() for line in commands if "trnbench run" in line
    ]
    assert len(runs) >= 3
    for words in runs:
        assert words[0] in {*shipped_configs(), "mine.yaml"}
        for setting in (words[i + 1] for i, word in enumerate(words) if word == "--set"):
            section, key = setting.partition("=")[0].split(".")
            annotation: Any = Config.model_fields[section].annotation
            assert key in annotation.model_fields, setting


def test_it_says_that_the_project_has_not_run_it() -> None:
    assert "The project has not run trnbench on a Trainium" in " ".join(PAGE.split())
    assert "| not confirmed" in PAGE
