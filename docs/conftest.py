"""Runs the shell commands of pages in order, each page in a folder of its own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, SkipParser


def run(example: Example) -> str | None:
    """Run a block; return what is wrong with it."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", example.parsed],
        cwd=example.namespace["folder"],
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "NO_COLOR": "1",
        },
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    if done.returncode == 0:
        return None
    return f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the commands of one page share."""
    return tmp_path_factory.mktemp("page")


pytest_collect_file: Any = Sybil(
    parsers=[CodeBlockParser(language="sh", evaluator=run), SkipParser()],
    patterns=["tutorial.md", "planning.md"],
    fixtures=["folder"],
).pytest()
