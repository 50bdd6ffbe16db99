"""Jobs for tests of the launchers: a request with what a test does not care about filled in."""

from pathlib import Path
from typing import Any

from trnbench.catalog.instances import instances
from trnbench.launchers.base import JobRequest, SuiteFile

SUITE = SuiteFile(argument="/suites/mine.yaml", text="name: mine\nmodel: tiny-llama\n")


def make_job(instance: str | None = "trn2.48xlarge", **changes: Any) -> JobRequest:
    """Return a job of two machines, with some fields changed."""
    fields: dict[str, Any] = {
        "name": "trnbench-mine-1a2b3c",
        "title": ["mine: a job of a test"],
        "suite": SUITE,
        "nodes": 2,
        "minutes": 40,
        "backend": "neuron",
        "instance": None if instance is None else instances()[instance],
        "output": Path("/home/me/results/mine"),
        "image": "registry.example/trnbench:1",
    }
    return JobRequest(**(fields | changes))
