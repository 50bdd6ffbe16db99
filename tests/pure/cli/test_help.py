"""`--help`: panels, examples that can be typed, one spelling of what commands share; completion."""

import re
import shlex
from typing import Any

import pytest
import typer.main

from tests.command import in_process
from trnbench.cli import complete
from trnbench.cli.help import MOST_WIDTH
from trnbench.cli.main import COMMANDS, app, purpose_of

GROUP: Any = typer.main.get_command(app)

READERS = {
    "results", "report", "cost", "rank", "published", "check-claim", "doctor", "models", "prices",
    "compare", "estimate",
}  # fmt: skip
MEASURERS = {"run", "profile", "noise", "peak"}
PRICERS = {"run", "noise", "report", "compare", "cost", "rank", "estimate"}


def options_of(name: str) -> dict[str, Any]:
    return {spelled: each for each in GROUP.commands[name].params for spelled in each.opts}


def test_every_format_and_every_output_is_spelled_alike() -> None:
    for name in READERS | MEASURERS:
        options = options_of(name)
        assert {"--format", "-f", "--json", "-o", "--output"} <= {*options}, name
        assert options["--output"].metavar == ("FILE" if name in READERS else "FOLDER"), name


def test_every_command_that_prices_takes_the_same_options() -> None:
    for name in PRICERS:
        taken = {"--price-option", "--region", "--prices", "--price-source"}
        assert taken <= {*options_of(name)}, name


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_has_panels_and_ends_in_examples(name: str) -> None:
    said = in_process(name, "--help").out
    assert "<list" not in said
    assert "<int" not in said
    lines = said.splitlines()
    examples = [line.strip() for line in lines[lines.index("Examples:") + 1 :] if line.strip()]
    assert examples == [*GROUP.commands[name].epilog.splitlines()]
    assert max(len(line) for line in lines if not line.startswith("  trnbench")) <= MOST_WIDTH
    is_small = len(options_of(name)) < 8
    assert is_small or len(re.findall(r"^[A-Z]\w+:$", said, re.M)) >= 3


@pytest.mark.parametrize("name", COMMANDS)
def test_an_example_has_no_option_that_the_command_does_not_know(name: str) -> None:
    for line in GROUP.commands[name].epilog.splitlines():
        program, command, *words = shlex.split(line)
        assert (program, command) == ("trnbench", name)
        typed = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert typed <= {*options_of(name)}, line


@pytest.mark.parametrize(
    ("completer", "typed", "found"),
    [
        (complete.configs, "qu", "quick"),
        (complete.configs, "qwen3-0", "qwen3-0.6b"),
        (complete.models, "llama3.2-", "llama3.2-1b"),
        (complete.instances, "trn2.4", "trn2.48xlarge"),
        (complete.regions, "us-east-", "us-east-2"),
        (complete.devices, "neu", "neuron"),
        (complete.metrics, "tokens_per", "tokens_per_second"),
        (complete.settings, "workload.micro", "workload.micro_batch_size="),
        (complete.settings, "model.exp", "model.experts.count="),
        (complete.settings, "workload.precision=b", "workload.precision=bf16"),
        (complete.settings, "mod", "model="),
    ],
)
def test_what_a_shell_completes(completer: Any, typed: str, found: str) -> None:
    offered = completer(typed)
    assert found in offered
    assert all(each.startswith(typed) for each in offered)


def test_files_of_a_folder_are_completed(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "mine.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert complete.configs("suites/m") == ["suites/mine.yaml"]
    assert complete.configs("nowhere/m") == []


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_is_for_is_what_its_own_help_says(name: str) -> None:
    help_text = " ".join(GROUP.commands[name].help.strip().partition("\n\n")[0].split())
    assert purpose_of(name) == help_text
    assert help_text.endswith(".")
