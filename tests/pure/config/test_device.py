"""`device` in its forms, and the sizes of `parallel`."""

import pytest

from tests.configs import parse_config
from trnbench.config.device import DeviceConfig
from trnbench.config.model import Config
from trnbench.errors import ConfigError, Problem

SUITE = "name: x\nmodel: tiny-llama\nworkload: {sequence_length: 8, global_batch_size: 8}\n"


def read(text: str) -> Config:
    (case,) = parse_config(SUITE + text, "suite.yaml")
    return case.config


def problem_of(text: str) -> Problem:
    with pytest.raises(ConfigError) as caught:
        read(text)
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("text", "expected", "said"),
    [
        ("", DeviceConfig(), "auto"),
        ("device: neuron", DeviceConfig(kind="neuron"), "neuron"),
        ("device: cuda:1", DeviceConfig(kind="cuda", first=1, count=1), "cuda:1"),
        ("device: neuron:0-15", DeviceConfig(kind="neuron", first=0, count=16), "neuron:0-15"),
        ("device: cuda:3-3", DeviceConfig(kind="cuda", first=3, count=1), "cuda:3"),
        (
            "device: {kind: neuron, count: 16}", DeviceConfig(kind="neuron", count=16),
            "16 x neuron",
        ),
        ("device: {count: 2}", DeviceConfig(count=2), "2 x auto"),
        ("device: {kind: cuda, first: 4}", DeviceConfig(kind="cuda", first=4), "cuda from 4"),
    ],
)  # fmt: skip
def test_a_device_has_short_forms_and_a_mapping(
    text: str, expected: DeviceConfig, said: str
) -> None:
    assert read(text).device == expected
    assert str(expected) == said


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("device: tpu", "'tpu' is not known", "use one of auto, neuron"),
        ("device: auto:1", "'auto:1' has no index", "cuda:0"),
        ("device: cuda:x", "'cuda:x' has no index", "cuda:0-3"),
        ("device: cuda:1-", "'cuda:1-' has no index", "cuda:0-3"),
        ("device: cuda:5-2", "'cuda:5-2' ends before it begins", "cuda:2-5"),
        ("device: {kind: neuro}", "device.kind: 'neuro' is not known", "'neuron'"),
        ("device: {counts: 2}", "device.counts: is not a key", "`count`"),
        ("device: {count: 0}", "device.count: got 0", "count: 16"),
        ("device: 5", "got 5, expected a mapping", "kind, count, first"),
    ],
)
def test_a_device_that_cannot_be_read_is_refused_with_what_to_write(
    text: str, message: str, hint: str
) -> None:
    problem = problem_of(text)
    assert message in problem.message
    assert problem.message.startswith("suite.yaml, line 4: device")
    assert hint in problem.hint


@pytest.mark.parametrize(("text", "size"), [("4", 4), ("auto", -1), ("-1", -1), ("null", None)])
def test_a_size_is_a_number_or_what_is_left(text: str, size: int | None) -> None:
    assert read(f"parallel: {{tensor_parallel_size: {text}}}").parallel.tensor_parallel_size == size


@pytest.mark.parametrize(
    ("key", "value", "message", "hint"),
    [
        ("tensor_parallel_size", "0", "0 is no number of ranks", "auto for what is left"),
        ("tensor_parallel_size", "-2", "-2 is no number of ranks", "use 1 to"),
        ("tensor_parallel_size", "many", "got 'many', expected a whole number", "e.g."),
        ("tensor_parallel_size", "true", "got true, expected a whole number", "e.g."),
        ("pipeline_schedule", "x", "'x' is not known", "'1f1b'"),
        ("data_parallel_size", "4", "is no longer a key (its value is 4)",
         "use parallel.data_parallel_shard_size for FSDP2"),
        ("data_parallel", "ddp", "is no longer a key (its value is 'ddp')",
         "parallel.data_parallel_replicate_size for ddp"),
        ("tensor_parallel", "4", "is not a key", "did you mean `tensor_parallel_size`"),
    ],
)  # fmt: skip
def test_a_wrong_size_is_refused_at_its_line_with_what_to_write(
    key: str, value: str, message: str, hint: str
) -> None:
    problem = problem_of(f"parallel:\n  {key}: {value}\n")
    assert problem.message.startswith(f"suite.yaml, line 5: parallel.{key}: ")
    assert message in problem.message
    assert hint in problem.hint
