"""action.yml, its script and the example workflow: as they are documented, and run for real."""

import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.comparisons import BASE, CAND, write_side
from trnbench.compare.gates import parse_gates
from trnbench.schema.comparison import Comparison

ROOT = Path(__file__).resolve().parents[2]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
SCRIPT = (ROOT / "scripts" / "compare_in_ci.sh").read_text()
EXAMPLE_TEXT = (ROOT / "docs" / "examples" / "trnbench-gate.yml").read_text()
EXAMPLE: dict[str, Any] = yaml.safe_load(EXAMPLE_TEXT)

COMPOSITE = {
    "type": "object",
    "required": ["name", "description", "runs"],
    "properties": {
        "name": {"type": "string"},
        "description": {"type": "string"},
        "inputs": {
            "additionalProperties": {
                "type": "object",
                "required": ["description"],
                "properties": {
                    "description": {"type": "string"},
                    "required": {"type": "boolean"},
                    "default": {"type": "string"},
                },
                "additionalProperties": False,
            }
        },
        "outputs": {
            "additionalProperties": {
                "type": "object",
                "required": ["description", "value"],
                "properties": {"description": {"type": "string"}, "value": {"type": "string"}},
            }
        },
        "runs": {
            "type": "object",
            "required": ["using", "steps"],
            "properties": {
                "using": {"const": "composite"},
                "steps": {"type": "array", "items": {"required": ["run", "shell"]}},
            },
        },
    },
    "additionalProperties": False,
}
"""What a composite action's file has to hold.

Source: GitHub Docs, "Metadata syntax for GitHub Actions" (read 2026-11), in our words.
"""


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """Return a folder with results of both sides, and `trnbench` on a PATH of its own."""
    write_side(tmp_path / "base", BASE)
    write_side(tmp_path / "cand", CAND, start=20)
    command = tmp_path / "bin" / "trnbench"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m trnbench "$@"\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return tmp_path


def run_script(workplace: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    variables = {
        **os.environ,
        "PATH": f"{workplace / 'bin'}:{os.environ['PATH']}",
        "GITHUB_OUTPUT": str(workplace / "output"),
        "GITHUB_STEP_SUMMARY": str(workplace / "summary"),
        **{f"INPUT_{name.upper()}": value for name, value in inputs.items()},
    }
    return subprocess.run(
        ["bash", ROOT / "scripts" / "compare_in_ci.sh"],
        cwd=workplace, env=variables, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_action_is_a_composite_one() -> None:
    jsonschema.validate(ACTION, COMPOSITE)


def test_no_input_is_written_into_a_script() -> None:
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step["run"]


def test_every_input_reaches_the_script_and_none_that_is_not_there() -> None:
    handed = ACTION["runs"]["steps"][1]["env"]
    assert set(ACTION["inputs"]) - {"install"} == {
        name.removeprefix("INPUT_").lower() for name in handed
    }
    for name, value in handed.items():
        assert value == f"${{{{ inputs.{name.removeprefix('INPUT_').lower()} }}}}"
        assert name in SCRIPT


def test_the_script_gates_and_writes_every_report(workplace: Path) -> None:
    done = run_script(workplace, base="base\n", cand="  cand  \n\n", gates="mfu > -2%\n")
    assert done.returncode == 6, done.stderr
    assert (workplace / "output").read_text() == "outcome=failed\nreports=trnbench-reports\n"
    assert "1 FAILED" in (workplace / "summary").read_text()
    reports = workplace / "trnbench-reports"
    assert {path.name for path in reports.iterdir()} == {
        "comparison.json", "junit.xml", "benchmarks.json", "bencher.json", "metrics.txt",
    }  # fmt: skip
    found = Comparison.model_validate_json((reports / "comparison.json").read_text())
    assert found.cases[0].cand.used == 6


def test_the_script_tells_what_passed_from_what_is_wrong(workplace: Path) -> None:
    done = run_script(workplace, base="base", cand="base", strict="true", reports="a b/c")
    assert done.returncode == 0, done.stderr
    assert "outcome=passed" in (workplace / "output").read_text()
    assert (workplace / "a b" / "c" / "junit.xml").exists()
    done = run_script(workplace, base="nowhere", cand="base")
    assert done.returncode == 5
    assert "outcome=error" in (workplace / "output").read_text()


def test_hostile_inputs_are_words_and_nothing_else(workplace: Path) -> None:
    hostile = "$(touch pwned); touch pwned `touch pwned` \" ' --help"
    done = run_script(workplace, base=hostile, cand="cand", gates=hostile, allow=hostile)
    assert done.returncode == 2
    assert not (workplace / "pwned").exists()


def test_several_folders_a_line_each_are_one_side(workplace: Path) -> None:
    done = run_script(workplace, base="base/1\nbase/2\nbase/3", cand="cand", allow="precision\n")
    assert done.returncode == 0, done.stderr
    text = (workplace / "trnbench-reports" / "comparison.json").read_text()
    found = Comparison.model_validate_json(text)
    assert found.cases[0].base.used == 3
    assert found.allowed == ("precision",)


# --- the example ----------------------------------------------------------------------------------


def steps() -> list[dict[str, Any]]:
    (job,) = EXAMPLE["jobs"].values()
    found: list[dict[str, Any]] = job["steps"]
    return found


def test_the_example_uses_the_action_as_it_is() -> None:
    (step,) = [step for step in steps() if step.get("uses", "").startswith("OWNER/trnbench")]
    assert set(step["with"]) <= set(ACTION["inputs"])
    required = {name for name, value in ACTION["inputs"].items() if value.get("required")}
    assert required <= set(step["with"])
    parse_gates(step["with"]["gates"].split("\n")[:-1])


def test_the_example_calls_commands_with_options_that_they_have() -> None:
    lines = [line for step in steps() for line in step.get("run", "").splitlines()]
    calls = [
        shlex.split(line.strip()) for line in lines if "trnbench " in line and "git" not in line
    ]
    assert len(calls) == 2
    for call in calls:
        command = call[call.index("trnbench") + 1]
        listed = subprocess.run(
            [sys.executable, "-m", "trnbench", command, "--help"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        for option in [word for word in call if word.startswith("-")]:
            assert re.search(rf"(?<!\S){option}\b", listed), option


def test_no_text_of_a_pull_request_is_written_into_a_script_of_the_example() -> None:
    for step in steps():
        assert "${{" not in step.get("run", "")


def test_the_commands_of_the_pages_have_the_options_that_they_name() -> None:
    listed = "".join(
        subprocess.run(
            [sys.executable, "-m", "trnbench", command, "--help"],
            capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "200"},
        ).stdout
        for command in ("compare", "run", "noise")
    )  # fmt: skip
    for page in ("docs/compare.md", "docs/ci.md"):
        text = (ROOT / page).read_text()
        options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - {
            "--set",
            "--adapter",
            "--file",
        }
        assert len(options) >= 6
        for option in options:
            assert option in listed, f"{page}: {option}"
