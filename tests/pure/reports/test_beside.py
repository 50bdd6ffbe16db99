"""Results beside the published runs of the same work."""

import json
from typing import Any

from tests.builders import three_results
from trnbench.reports import render
from trnbench.reports.beside import REPORT, Beside, beside
from trnbench.reports.document import Page
from trnbench.schema.result import Result


def llama(length: int = 8192, precision: str = "bf16") -> Result:
    result = three_results()[0]
    return result.model_copy(
        update={
            "model": result.model.model_copy(update={"name": "llama3-8b"}),
            "workload": result.workload.model_copy(
                update={"sequence_length": length, "precision": precision}
            ),
        }
    )


def published(found: Beside) -> list[Any]:
    return [run for run in found.runs if run.origin == "published"]


def test_the_runs_of_the_same_model_and_length_stand_beside_ours() -> None:
    found = beside([llama()])
    runs = published(found)
    assert {run.sequence_length for run in runs} == {8192}
    assert {run.model for run in runs} == {"Llama-3-8B", "Llama-3.1-8B"}
    assert not any("lora" in run.name for run in runs)
    assert sum(run.origin == "measured" for run in found.runs) == 1
    assert all(run.source and run.speed.value for run in runs)


def test_a_length_that_nobody_published_has_the_near_ones_alone() -> None:
    assert {run.sequence_length for run in published(beside([llama(6000)]))} == {4096, 8192}
    assert not published(beside([llama(128)]))


def test_where_nothing_is_like_the_page_says_so() -> None:
    text = render(REPORT, beside([llama(128)]), "terminal", Page(width=120))
    assert "no published run is like these: llama3-8b" in text


def test_json_keeps_the_results_and_adds_what_is_beside_them() -> None:
    document = json.loads(render(REPORT, beside([llama()]), "json", Page()))
    assert len(document["results"]) == 1
    assert {row["origin"] for row in document["beside"]} == {"measured", "published"}
