"""The page for a first run on a Trainium names what the code sets, knows and accepts."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.run.plans import plan_case
from trnbench.catalog.faults import faults
from trnbench.run.configs import shipped_configs
from trnbench.run.environment import environment_of_probe, environment_of_worker
from trnbench.schema.config import Config

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "trainium.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading."""
    section = PAGE.partition(f"## {heading}")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [
        [c.strip().replace("\\|", "|") for c in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines
    ]


def test_each_fault_that_is_known_stands_there_with_its_meaning_and_its_fix() -> None:
    said = {(meaning, fix): texts for texts, meaning, fix in rows("When a step fails")}
    for fault in faults():
        if "neuron" in fault.backends:
            texts = said.pop((fault.meaning, fault.fix))
            assert all(fault.pattern.search(text) for text in re.findall(r"`([^`]+)`", texts))
    assert all("`" in texts for texts in said.values())


@pytest.mark.parametrize("backend", ["neuron", "xla"])
def test_it_names_every_variable_that_is_set(backend: str) -> None:
    order = plan_case({"device": "cpu"}).order
    profiling = {"NEURON_RT_INSPECT_ENABLE": "1", "NKI_DEBUG_INFO": "1", "XLA_IR_DEBUG": "1"}
    from dataclasses import replace

    variables = environment_of_worker(replace(order, backend=backend), profiling, Path("/home"))
    variables |= environment_of_probe("native")
    table = PAGE.partition("## Variables that trnbench sets")[2].partition("## The compile cache")[
        0
    ]
    for name in variables:
        assert f"`{name}`" in table, name


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


def test_it_says_that_nobody_has_run_it() -> None:
    assert "Nobody of the project has run trnbench on a Trainium" in " ".join(PAGE.split())
    assert "| not confirmed" in PAGE
