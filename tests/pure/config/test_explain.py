"""What is said of each fault of a config: place, key, value, and what to write instead."""

import pytest

from tests.configs import parse_config
from trnbench.config.explain import covers, say_value
from trnbench.errors import ConfigError, Problem

LINES = {
    "name": "name: my suite",
    "model": "model: tiny-llama",
    "workload": "workload: {sequence_length: 128, global_batch_size: 8}",
}


def problems(**changed: str | None) -> tuple[Problem, ...]:
    """Return what is wrong with a suite in which some lines are changed, added or left out."""
    lines = [line for line in {**LINES, **changed}.values() if line is not None]
    with pytest.raises(ConfigError) as caught:
        parse_config("\n".join(lines), "suite.yaml")
    assert all(problem.hint for problem in caught.value.problems)
    return caught.value.problems


def only_problem(**changed: str | None) -> Problem:
    (problem,) = problems(**changed)
    return problem


def test_an_unknown_key_is_told_with_its_value_the_nearest_and_all() -> None:
    problem = only_problem(price="price: {regoin: us-east-2}")
    assert problem.message == (
        "suite.yaml, line 4: price.regoin: is not a key (its value is 'us-east-2')"
    )
    assert (
        problem.hint == "did you mean `region`? Keys here: file, instance, option, region, source, "
        "usd_per_hour, zone"
    )


def test_an_unknown_key_without_a_near_one_is_told_with_all() -> None:
    problem = only_problem(extra="xyzzy: 1")
    assert problem.message == "suite.yaml, line 4: xyzzy: is not a key (its value is 1)"
    assert problem.hint == (
        "keys here: device, measure, model, name, parallel, price, sweep, sweep_order, workload"
    )


def test_an_unknown_key_of_a_model_is_told_as_the_models() -> None:
    problem = only_problem(model="model:\n  base: tiny-llama\n  layer: 3")
    assert problem.message == "suite.yaml, line 4: model.layer: is not a key (its value is 3)"
    assert "did you mean `layers`?" in problem.hint


def test_an_unknown_key_two_levels_down_is_told_there() -> None:
    problem = only_problem(
        model="model:\n"
        "  base: tiny-llama\n"
        "  rope_scaling: {factor: 2, low_frequency_factor: 1, high_frequency_factor: 4,\n"
        "    original_max_positions: 8,\n"
        "    factr: 2.0}"
    )
    assert problem.message == (
        "suite.yaml, line 6: model.rope_scaling.factr: is not a key (its value is 2.0)"
    )
    assert "did you mean `factor`?" in problem.hint


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("device: tpu", "device: 'tpu' is not known"),
        ("device: no", "device: 'no' is not known"),
        ("measure: {min_samples: 1.5}", "measure.min_samples: got 1.5, expected a whole number"),
        ("measure: {min_samples: 12:30}", "measure.min_samples: got '12:30', expected a whole"),
        ("measure: {min_samples: true}", "measure.min_samples: got true, expected a whole number"),
        ("measure: {max_minutes: '5'}", "measure.max_minutes: got '5', expected a number"),
        ("measure: {max_minutes: null}", "measure.max_minutes: got nothing, expected a number"),
        ("measure: {max_minutes: .inf}", "measure.max_minutes: got inf, expected a finite number"),
        ("measure: {max_minutes: .nan}", "measure.max_minutes: got nan, expected a finite number"),
        ("measure: {max_minutes: 0}", "measure.max_minutes: got 0, expected more than 0"),
        ("measure: {min_samples: 7}", "measure.min_samples: got 7, expected at least 8"),
        ("measure: [1, 2]", "measure: got a list of 2 values, expected a mapping"),
        ("measure: soon", "measure: got 'soon', expected a mapping"),
        ("price: {region: [us-east-2]}", "price.region: got a list of 1 values, expected text"),
        ("price: {region: {a: 1}}", "price.region: got a mapping of 1 keys, expected text"),
        ("price: {option: cheap}", "price.option: 'cheap' is not known"),
        ("price: {usd_per_hour: 0}", "price.usd_per_hour: got 0, expected more than 0"),
        ("price: {usd_per_hour: -3}", "price.usd_per_hour: got -3, expected more than 0"),
        (
            "price: {usd_per_hour: 1e6}",
            "price.usd_per_hour: got 1000000.0, expected at most 100,000",
        ),
        ("price: {usd_per_hour: .nan}", "price.usd_per_hour: got NaN, expected a finite number"),
        ("price: {usd_per_hour: cheap}", "price.usd_per_hour: got 'cheap', expected a number"),
        ("price: {usd_per_hour: true}", "price.usd_per_hour: got true, expected a number"),
    ],
)
def test_a_wrong_value_is_told_with_its_line_key_and_what_is_expected(
    line: str, message: str
) -> None:
    problem = only_problem(extra=line)
    assert problem.message.startswith(f"suite.yaml, line 4: {message}")


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        (
            "measure: {relative_precision: tight}",
            "write e.g. `relative_precision: 0.01` (Half-width",
        ),
        ("measure: {min_samples: few}", "write e.g. `min_samples: 50` (Timed samples of a launch"),
        ("measure: {max_usd: little}", "write e.g. `max_usd: 0.5` (Dollars for the case"),
        ("price: {usd_per_hour: cheap}", "write e.g. `usd_per_hour: 35.76` (Your own rate"),
        ("price: {instance: [x]}", "write e.g. `instance: trn2.48xlarge` (The instance type"),
        ("device: tpu", "use one of auto, neuron, xla, cuda, xpu, mps, cpu"),
        ("device: cuda:first", "write e.g. cuda:0"),
        ("parallel: 3", "keys here: nodes, data_parallel_replicate_size,"),
    ],
)
def test_a_hint_shows_what_to_write_and_what_it_means(line: str, hint: str) -> None:
    assert only_problem(extra=line).hint.startswith(hint)


def test_a_missing_model_is_told_with_a_name() -> None:
    assert only_problem(model=None) == Problem(
        "suite.yaml, line 1: model: is missing",
        "add it, e.g. `model: llama3.2-1b`; `trnbench models` lists the names",
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("sweep: {model: []}", "sweep.model: got a list of 0 values, expected at least one value"),
        ("measure: {gate: }", "measure.gate: got nothing, expected true or false"),
    ],
)
def test_an_empty_value_is_called_empty(line: str, said: str) -> None:
    assert said in only_problem(extra=line).message


def test_an_empty_choice_is_called_nothing() -> None:
    problem = only_problem(
        workload="workload: {sequence_length: 64, global_batch_size: 8, precision: }"
    )
    assert problem.message == "suite.yaml, line 3: workload.precision: got nothing"


def test_a_missing_value_is_told_with_an_example() -> None:
    found = problems(model="model: {base: llama3.2-1b, image: {patch_size: 16}}")
    assert found == (
        Problem(
            "suite.yaml, line 2: model.image.size: is missing",
            "add it, e.g. `size: 224`",
        ),
    )


def test_an_unknown_model_is_told_with_its_neighbours() -> None:
    problem = only_problem(model="model: llama3-8")
    assert problem.message == "suite.yaml, line 2: model: 'llama3-8' is not in the catalog"
    assert "did you mean llama3-8b" in problem.hint


def test_a_name_like_no_other_is_told_without_a_guess() -> None:
    hint = only_problem(model="model: zzzzzzzz").hint
    assert "did you mean" not in hint
    assert "trnbench models" in hint


def test_an_unknown_base_is_told_at_its_own_key() -> None:
    problem = only_problem(model="model: {base: lama3-8b}")
    assert problem.message.startswith("suite.yaml, line 2: model.base: 'lama3-8b'")


def test_faults_of_the_model_and_of_other_keys_are_told_at_once() -> None:
    found = problems(
        model="model: lama3.2-1b", workload="workload: {precision: fp9}", measure="measure: 3"
    )
    assert [each.message.split(": ")[1] for each in found] == [
        "model", "workload.precision", "measure",
    ]  # fmt: skip
    assert "did you mean llama3.2-1b" in found[0].hint


@pytest.mark.parametrize("value", ["3", "[1]", "null", "true"])
def test_a_model_that_is_neither_name_nor_mapping_is_told_once(value: str) -> None:
    problem = only_problem(model=f"model: {value}")
    assert problem.message.startswith("suite.yaml, line 2: model: got ")
    assert "base, family, layers" in problem.hint


@pytest.mark.parametrize(
    ("text", "said"), [("[1, 2]", "a list of 2 values"), ("3", "3"), ("word", "'word'")]
)
def test_a_document_that_is_no_mapping_is_told(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "suite.yaml")
    (problem,) = caught.value.problems
    assert problem.message == f"suite.yaml, line 1: the document: got {said}, expected a mapping"
    assert problem.hint.startswith("keys here: name, model, workload")


def test_all_faults_are_told_at_once_and_in_order() -> None:
    found = problems(
        workload="workload:\n  sequence_length: 0\n  global_batch_size: x\n  speed: 3",
        device="device: abacus",
    )
    assert [problem.message.split(": ")[:2] for problem in found] == [
        ["suite.yaml, line 4", "workload.sequence_length"],
        ["suite.yaml, line 5", "workload.global_batch_size"],
        ["suite.yaml, line 6", "workload.speed"],
        ["suite.yaml, line 7", "device"],
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "nothing"),
        (True, "true"),
        (3, "3"),
        (1e-4, "0.0001"),
        ("a b", "'a b'"),
        ({"a": 1}, "a mapping of 1 keys"),
        ([1, 2, 3], "a list of 3 values"),
    ],
)
def test_a_value_is_shown_as_its_writer_would_know_it(value: object, said: str) -> None:
    assert say_value(value) == said


def test_a_long_value_is_shown_by_its_beginning() -> None:
    said = say_value("x" * 5000)
    assert said.startswith("'xxx")
    assert said.endswith("…")
    assert len(said) < 70


@pytest.mark.parametrize(
    ("key", "dotted", "does"),
    [("a", "a", True), ("a", "a.b", True), ("a.b", "a", False), ("a", "ab", False)],
)
def test_a_key_covers_itself_and_what_is_inside_it(key: str, dotted: str, does: bool) -> None:
    assert covers(key, dotted) is does
