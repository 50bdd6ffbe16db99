"""Config: its JSON Schema is valid and agrees with the parser; its parts cannot change."""

import json
from typing import Any

import jsonschema
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.configs import parse_config
from trnbench.config.model import Config
from trnbench.errors import ConfigError

SCHEMA = Config.model_json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_the_schema_is_valid_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["required"] == ["model"]


def test_no_mapping_of_the_schema_takes_stray_keys() -> None:
    nodes = [SCHEMA, *SCHEMA["$defs"].values()]
    assert len(nodes) > 6
    assert [node["title"] for node in nodes if node["additionalProperties"] is not False] == []


def test_every_key_that_is_not_plain_is_described() -> None:
    described = {"layers", "hidden_size", "precision", "max_usd", "instance", "sweep", "device"}
    nodes = [SCHEMA, *SCHEMA["$defs"].values()]
    found = {
        key for node in nodes for key, value in node["properties"].items() if "description" in value
    }
    assert described - {"layers", "hidden_size"} <= found


SMALLEST: dict[str, Any] = {
    "name": "x",
    "model": "tiny-llama",
    "workload": {"sequence_length": 1, "global_batch_size": 1},
}
FULL: dict[str, Any] = {
    "name": "x",
    "model": {
        "base": "llama3-8b",
        "layers": 2,
        "rope_theta": 500000,
        "qk_norm": True,
        "rope_scaling": {
            "factor": 8,
            "low_frequency_factor": 1,
            "high_frequency_factor": 4.0,
            "original_max_positions": 8192,
        },
    },
    "workload": {
        "sequence_length": 4096,
        "global_batch_size": 64,
        "micro_batch_size": 1,
        "precision": "bf16",
        "optimizer": "adamw",
        "learning_rate": 1e-4,
        "threads": None,
    },
    "parallel": {"tensor_parallel_size": 4, "data_parallel_shard_size": 2},
    "device": "neuron",
    "measure": {"relative_precision": 0.01, "max_minutes": 15, "max_usd": 20, "hang_seconds": 1},
    "price": {"instance": "trn2.48xlarge", "option": "capacity_block", "usd_per_hour": 35.7608},
    "sweep": {"workload.micro_batch_size": [1, 2, 4]},
}


@pytest.mark.parametrize("document", [SMALLEST, FULL], ids=["smallest", "full"])
def test_schema_and_parser_accept_the_same_suite(document: dict[str, Any]) -> None:
    VALIDATOR.validate(document)
    assert parse_config(json.dumps(document), "suite.json")[0].config.name == "x"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", ""),
        ("name", 3),
        ("names", "x"),
        ("model", None),
        ("model.family", "rwkv"),
        ("model.layers", 0),
        ("model.rope_scaling.factor", 0),
        ("workload.sequence_length", None),
        ("workload.sequence_length", "8"),
        ("workload.global_batch_size", 0),
        ("workload.global_batch_size", 10**10),
        ("workload.precision", "fp4"),
        ("workload.learning_rate", 2),
        ("workload.threads", 5000),
        ("parallel.data_parallel_shard_size", 0),
        ("device", "tpu"),
        ("measure.relative_precision", 1),
        ("measure.min_samples", 7),
        ("measure.max_usd", 0),
        ("price.option", "cheap"),
        ("price.usd_per_hour", 0),
        ("price.usd_per_hour", 100_001),
        ("sweep", {"workload.seed": []}),
        ("sweep", {"workload.seed": 3}),
    ],
)
def test_schema_and_parser_refuse_the_same_suite(path: str, value: Any) -> None:
    document = json.loads(json.dumps(FULL))
    *parents, last = path.split(".")
    node = document
    for key in parents:
        node = node[key]
    node[last] = value
    assert not VALIDATOR.is_valid(document)
    with pytest.raises(ConfigError):
        parse_config(json.dumps(document), "suite.json")


words = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=5)
scalars = st.none() | st.booleans() | st.integers(-2, 5000) | words
numbers = st.floats(0.001, 50.0).filter(lambda x: not x.is_integer())


@st.composite
def suites(draw: st.DrawFn) -> dict[str, Any]:
    """A suite with some keys replaced; a whole-numbered float is no JSON integer to the parser."""
    document = json.loads(json.dumps(FULL))
    for section in draw(st.sets(st.sampled_from(["workload", "measure", "price", "parallel"]))):
        key = draw(st.sampled_from([*SCHEMA["$defs"][f"{section.title()}Config"]["properties"]]))
        document[section][key] = draw(scalars | numbers)
    # A rate may also be written as text, which editors are not told of.
    if isinstance(document["price"]["usd_per_hour"], str):
        document["price"]["usd_per_hour"] = 1
    del document["sweep"]
    return document


@settings(max_examples=settings().max_examples // 2)
@given(suites())
def test_the_schema_accepts_exactly_what_the_parser_accepts(document: dict[str, Any]) -> None:
    try:
        is_parsed = bool(parse_config(json.dumps(document), "suite.json"))
    except ConfigError:
        is_parsed = False
    assert VALIDATOR.is_valid(document) == is_parsed


def test_a_rate_is_kept_as_it_is_written() -> None:
    for written in ("35.7608", "'35.7608'", "0.1"):
        text = json.dumps(SMALLEST)[:-1] + f", price: {{usd_per_hour: {written}}}}}"
        rate = parse_config(text, "suite.yaml")[0].config.price.usd_per_hour
        assert str(rate) == written.strip("'")


def test_a_config_cannot_be_changed() -> None:
    config = parse_config(json.dumps(FULL), "suite.json")[0].config
    for target, key in ((config, "name"), (config.workload, "seed"), (config.model, "layers")):
        with pytest.raises(pydantic.ValidationError, match="frozen"):
            setattr(target, key, 1)
