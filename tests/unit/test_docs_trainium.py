"""The page for a first run on a Trainium names what the code sets, knows and accepts."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.run.plans import plan_case
from trnbench.catalog.faults import describe_faults
from trnbench.run.configs import shipped_configs
from trnbench.run.environment import environment_of_probe, environment_of_worker
from trnbench.schema.config import Config

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "trainium.md").read_text()


def test_it_holds_every_text_that_is_known_to_go_wrong() -> None:
    assert describe_faults("neuron") in PAGE, "put what `describe_faults` returns into the page"


@pytest.mark.parametrize("backend", ["neuron", "xla"])
def test_it_names_every_variable_that_is_set(backend: str) -> None:
    order = plan_case({"device": "cpu"}).order
    profiling = {"NEURON_RT_INSPECT_ENABLE": "1", "NKI_DEBUG_INFO": "1", "XLA_IR_DEBUG": "1"}
    from dataclasses import replace

    variables = environment_of_worker(replace(order, backend=backend), profiling, Path("/home"))
    variables |= environment_of_probe("native")
    table = PAGE.partition("## What trnbench sets")[2].partition("## When a step fails")[0]
    for name in variables:
        assert f"`{name}`" in table, name


def test_the_keys_and_configs_of_its_commands_exist() -> None:
    commands = [
        line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()
    ]
    runs = [line.partition("#")[0].split() for line in commands if line.startswith("trnbench run")]
    assert len(runs) >= 3
    for words in runs:
        assert words[2] in shipped_configs()
        for setting in (words[i + 1] for i, word in enumerate(words) if word == "--set"):
            section, key = setting.partition("=")[0].split(".")
            annotation: Any = Config.model_fields[section].annotation
            assert key in annotation.model_fields, setting


def test_it_says_that_nobody_has_run_it() -> None:
    assert "Nobody of this project has a Trainium" in " ".join(PAGE.split())
    assert "| not confirmed" in PAGE
