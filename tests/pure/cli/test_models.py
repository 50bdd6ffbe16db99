"""The list of the catalog's models: all weights, and of a mixture those that a token meets."""

import json

import pytest

from trnbench.cli.models import models
from trnbench.cli.options import OutputChoice


def test_a_mixture_is_listed_with_the_weights_that_a_token_meets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    models(form=OutputChoice())
    listed = capsys.readouterr().out
    assert "  46.7 B, 12.9 B active  " in listed
    assert "  46,702,792,704  " in listed
    assert "  8.03 B  " in listed


def test_the_document_has_them_of_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    models(form=OutputChoice(as_json=True))
    listed = {each["model"]: each for each in json.loads(capsys.readouterr().out)["models"]}
    assert listed["mixtral-8x7b"]["active_parameter_count"] == 12_879_925_248
    dense = listed["llama3-8b"]
    assert dense["active_parameter_count"] == dense["parameter_count"]


@pytest.mark.parametrize(
    ("model", "as_published_by_openai"), [("gpt-oss-20b", 3.6e9), ("gpt-oss-120b", 5.1e9)]
)
def test_openais_figure_is_ours_without_the_input_embedding(
    model: str, as_published_by_openai: float, capsys: pytest.CaptureFixture[str]
) -> None:
    models(form=OutputChoice(as_json=True))
    listed = {each["model"]: each for each in json.loads(capsys.readouterr().out)["models"]}
    embedding = 201_088 * 2_880
    met = listed[model]["active_parameter_count"] - embedding
    assert met == pytest.approx(as_published_by_openai, rel=0.01)
