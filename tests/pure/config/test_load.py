"""A suite from YAML text to cases: `--set`, the sweep, and where a fault is placed."""

import itertools
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.configs import parse_config
from trnbench.config.device import DeviceConfig
from trnbench.config.load import (
    MAX_CASES,
    CaseConfig,
    Conflict,
    check_document,
    open_suite,
)
from trnbench.config.model import AUTO, ModelConfig, ParallelConfig
from trnbench.config.yaml import parse_document, read_document
from trnbench.errors import ConfigError, Problem

SUITE = """\
name: my suite
model: tiny-llama
workload:
  sequence_length: 128
  global_batch_size: 8
"""


def problems(text: str, overrides: Mapping[str, str] | None = None) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "suite.yaml", overrides)
    assert all(problem.hint for problem in caught.value.problems)
    return caught.value.problems


def only_problem(text: str, overrides: Mapping[str, str] | None = None) -> Problem:
    (problem,) = problems(text, overrides)
    return problem


def only_case(text: str, overrides: Mapping[str, str] | None = None) -> CaseConfig:
    (case,) = parse_config(text, "suite.yaml", overrides)
    return case


def test_a_suite_without_a_sweep_is_one_case_with_the_defaults() -> None:
    case = only_case(SUITE)
    assert case.swept == {}
    assert case.config.name == "my suite"
    assert case.config.model == "tiny-llama"
    assert case.config.workload.precision == "auto"
    assert case.config.parallel == ParallelConfig()
    assert case.config.measure.relative_precision == 0.005
    assert case.config.price.instance == "auto"
    assert case.config.device == DeviceConfig()


def test_a_model_alone_is_a_config_named_after_its_file() -> None:
    (case,) = parse_config("model: llama3.2-1b\n", "suites/my first.yaml")
    assert case.config.name == "my first"
    assert case.config.workload.sequence_length == AUTO
    assert case.config.workload.global_batch_size == AUTO


def test_a_swept_model_needs_no_other() -> None:
    cases = parse_config("sweep: {model: [tiny-llama, tiny-gpt2]}", "suite.yaml")
    assert [case.config.model for case in cases] == ["tiny-llama", "tiny-gpt2"]


def test_the_faults_of_all_cases_are_told_at_once() -> None:
    found = problems("sweep: {model: [tiny-lama, tiny-llama, gpt-2]}")
    assert [each.message for each in found] == [
        "suite.yaml, line 1: model: 'tiny-lama' is not in the catalog",
        "suite.yaml, line 1: model: 'gpt-2' is not in the catalog",
    ]


def test_a_file_is_read_like_its_text(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE)
    (case,) = check_document(read_document(path), {"device": "cpu"})
    assert case.config == only_case(SUITE, {"device": "cpu"}).config


def test_a_fault_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE + "device: abacus\n")
    with pytest.raises(ConfigError) as caught:
        check_document(read_document(path))
    assert caught.value.problems[0].message.startswith(f"{path}, line 6: device: 'abacus'")


# --- --set ---------------------------------------------------------------------------------------


def test_set_replaces_a_value_and_makes_the_mappings_on_the_way() -> None:
    config = only_case(
        SUITE, {"workload.sequence_length": "256", "measure.max_usd": "20", "name": "other"}
    ).config
    assert config.workload.sequence_length == 256
    assert config.workload.global_batch_size == 8
    assert config.measure.max_usd == 20
    assert config.name == "other"


def test_set_to_null_brings_back_the_default() -> None:
    text = SUITE + "price: {option: spot, region: us-east-2}\n"
    price = only_case(text, {"price.option": "null", "price.region": ""}).config.price
    assert price.option is None
    assert price.region is None


def test_set_takes_a_whole_mapping() -> None:
    config = only_case(SUITE, {"workload": "{sequence_length: 1, global_batch_size: 2}"}).config
    assert (config.workload.sequence_length, config.workload.global_batch_size) == (1, 2)


def test_set_into_a_named_model_keeps_its_name_as_the_base() -> None:
    model = only_case(SUITE, {"model.layers": "3", "model.hidden_size": "64"}).config.model
    assert model == ModelConfig(base="tiny-llama", layers=3, hidden_size=64)


def test_set_two_levels_into_a_named_model_keeps_its_name_as_the_base() -> None:
    scaling = {"factor": 2, "low_frequency_factor": 1, "high_frequency_factor": 4}
    overrides = {f"model.rope_scaling.{key}": str(value) for key, value in scaling.items()}
    model = only_case(SUITE, {**overrides, "model.rope_scaling.original_max_positions": "8"})
    assert isinstance(model.config.model, ModelConfig)
    assert model.config.model.base == "tiny-llama"
    assert model.config.model.rope_scaling is not None


def test_set_into_a_model_of_own_sizes_keeps_the_others() -> None:
    text = SUITE.replace("tiny-llama", "{base: tiny-gpt2, layers: 4}")
    model = only_case(text, {"model.heads": "2"}).config.model
    assert model == ModelConfig(base="tiny-gpt2", layers=4, heads=2)


def test_set_adds_a_sweep() -> None:
    cases = parse_config(SUITE, "suite.yaml", {"sweep": "{workload.seed: [1, 2, 3]}"})
    assert [case.config.workload.seed for case in cases] == [1, 2, 3]


def test_a_dotted_key_of_the_sweep_is_set_as_one_key() -> None:
    text = SUITE + "sweep: {workload.seed: [1, 2], device: [cpu]}\n"
    cases = parse_config(text, "suite.yaml", {"sweep.workload.seed": "[3, 4]"})
    assert [case.config.workload.seed for case in cases] == [3, 4]
    (case,) = parse_config(SUITE, "suite.yaml", {"sweep.model.rope_theta": "[5.0]"})
    assert case.swept == {"model.rope_theta": 5.0}


def test_a_fault_in_a_dotted_key_of_the_sweep_is_placed_at_set() -> None:
    problem = only_problem(SUITE, {"sweep.workload.seed": "3"})
    assert problem.message == (
        "--set sweep.workload.seed=3: sweep.workload.seed: got 3, expected a list"
    )
    assert problem.hint == "list what it takes in turn, e.g. `workload.seed: [3]`"
    problem = only_problem(SUITE, {"sweep.workload.seed": "[two]"})
    assert problem.message.startswith("--set sweep.workload.seed=[two]: workload.seed: got 'two'")


def test_a_long_value_of_set_is_shortened_where_it_is_shown() -> None:
    problem = only_problem(SUITE, {"workload.seed": "x" * 200})
    assert problem.message.startswith(f"--set workload.seed={'x' * 57}…: workload.seed: got")


def test_of_two_settings_of_one_key_the_last_is_blamed() -> None:
    whole = "{sequence_length: 1, global_batch_size: 2, seed: two}"
    problem = only_problem(SUITE, {"workload.seed": "3", "workload": whole})
    assert problem.message.startswith("--set workload={sequence_length: 1")


def test_what_is_missing_in_a_mapping_that_set_has_made_is_placed_at_set() -> None:
    text = SUITE.replace("tiny-llama", "{base: tiny-llama}")
    problem = problems(text, {"model.rope_scaling.factor": "2"})[0]
    assert problem.message.startswith("--set model.rope_scaling.factor=2: model.rope_scaling.")


def test_set_changes_one_of_two_aliased_mappings() -> None:
    text = SUITE + "parallel: &none {}\nmeasure: *none\n"
    assert only_case(text, {"measure.max_minutes": "3"}).config.measure.max_minutes == 3


def test_a_wrong_value_in_set_is_placed_there_and_not_in_the_file() -> None:
    problem = only_problem(SUITE, {"workload.sequence_length": "many"})
    assert problem.message == (
        "--set workload.sequence_length=many: workload.sequence_length: "
        "got 'many', expected a whole number"
    )


def test_a_wrong_key_in_set_is_told_with_its_nearest() -> None:
    problem = only_problem(SUITE, {"workload.sede": "1"})
    assert problem.message.startswith("--set workload.sede=1: workload.sede: is not a key")
    assert "`seed`" in problem.hint


def test_a_fault_inside_a_mapping_of_set_is_placed_at_set() -> None:
    problem = only_problem(SUITE, {"measure": "{max_minutes: soon}"})
    assert problem.message.startswith(
        "--set measure={max_minutes: soon}: measure.max_minutes: got 'soon'"
    )


def test_a_set_that_is_not_yaml_is_told() -> None:
    assert only_problem(SUITE, {"model": "[1"}).message.startswith("--set model, line ")


def test_a_set_through_a_value_that_is_no_mapping_is_told() -> None:
    problem = only_problem(SUITE, {"name.first": "x"})
    assert problem.message == "--set name.first=x: name.first: name is 'my suite', not a mapping"


def test_a_set_through_a_value_two_levels_down_is_told() -> None:
    problem = only_problem(SUITE, {"workload.sequence_length.first": "x"})
    assert "workload.sequence_length is 128, not a mapping" in problem.message


def test_a_set_through_a_list_is_told() -> None:
    problem = only_problem(SUITE, {"workload": "[1]", "workload.seed": "1"})
    assert "workload is a list of 1 values, not a mapping" in problem.message


def test_characters_from_a_shell_that_are_not_text_are_told() -> None:
    assert only_problem(SUITE, {"name": "\udcff"}).message.startswith("--set name: is not YAML")


# --- sweep ---------------------------------------------------------------------------------------


def test_a_sweep_makes_every_combination_in_order() -> None:
    text = SUITE + "sweep:\n  workload.seed: [1, 2]\n  workload.precision: [fp32, bf16]\n"
    cases = parse_config(text, "suite.yaml")
    assert [dict(case.swept) for case in cases] == [
        {"workload.seed": 1, "workload.precision": "fp32"},
        {"workload.seed": 1, "workload.precision": "bf16"},
        {"workload.seed": 2, "workload.precision": "fp32"},
        {"workload.seed": 2, "workload.precision": "bf16"},
    ]
    for case in cases:
        assert case.config.workload.seed == case.swept["workload.seed"]
        assert case.config.workload.precision == case.swept["workload.precision"]
        assert case.config.sweep == {}


def test_a_sweep_reaches_into_a_named_model() -> None:
    cases = parse_config(SUITE + "sweep: {model.layers: [1, 2]}\n", "suite.yaml")
    assert [case.config.model for case in cases] == [
        ModelConfig(base="tiny-llama", layers=1),
        ModelConfig(base="tiny-llama", layers=2),
    ]


@pytest.mark.parametrize("keys", [("model", "model.layers"), ("model.layers", "model")])
def test_a_swept_part_survives_its_swept_whole(keys: tuple[str, str]) -> None:
    values = {"model": "[tiny-llama, tiny-gpt2]", "model.layers": "[1, 2]"}
    text = SUITE + "sweep:\n" + "".join(f"  {key}: {values[key]}\n" for key in keys)
    cases = parse_config(text, "suite.yaml")
    assert len(cases) == 4
    for case in cases:
        assert case.config.model == ModelConfig(
            base=case.swept["model"], layers=case.swept["model.layers"]
        )


def test_a_swept_mapping_is_not_changed_by_what_is_swept_inside_it() -> None:
    text = SUITE + "sweep: {price: [{option: spot}], price.region: [a, b]}\n"
    cases = parse_config(text, "suite.yaml")
    assert [case.config.price.region for case in cases] == ["a", "b"]
    assert all(case.swept["price"] == {"option": "spot"} for case in cases)


def test_an_empty_sweep_is_one_case() -> None:
    assert only_case(SUITE + "sweep: {}\n").swept == {}


def test_an_unknown_sweep_key_is_told_at_its_line_with_its_nearest() -> None:
    text = SUITE + "sweep:\n  device: [cpu]\n  workload.micro_batch: [3]\n"
    problem = only_problem(text)
    assert problem.message == (
        "suite.yaml, line 8: workload.micro_batch: is not a key (its value is 3)"
    )
    assert "did you mean `micro_batch_size`?" in problem.hint


def test_a_wrong_swept_value_is_told_at_its_line() -> None:
    problem = only_problem(SUITE + "sweep:\n  workload.seed: [1, two]\n")
    assert (
        problem.message == "suite.yaml, line 7: workload.seed: got 'two', expected a whole number"
    )


def test_a_wrong_value_of_a_sweep_from_set_is_placed_at_set() -> None:
    problem = only_problem(SUITE, {"sweep": "{workload.seed: [two]}"})
    assert problem.message.startswith(
        "--set sweep={workload.seed: [two]}: workload.seed: got 'two'"
    )


def test_a_swept_value_inside_a_set_mapping_is_placed_in_the_sweep() -> None:
    text = SUITE + "sweep: {measure.max_minutes: [soon]}\n"
    problem = only_problem(text, {"measure": "{max_usd: 3}"})
    assert problem.message.startswith("suite.yaml, line 6: measure.max_minutes: got 'soon'")


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("[1, 2]", "sweep: got a list of 2 values, expected a mapping"),
        ("{workload.seed: 3}", "sweep.workload.seed: got 3, expected a list"),
        (
            "{workload.seed: []}",
            "sweep.workload.seed: got a list of 0 values, expected at least one value",
        ),
        ("{sweep: [{device: [cpu]}]}", "sweep.sweep: a sweep cannot be swept"),
        ("{sweep.device: [cpu]}", "sweep.sweep.device: a sweep cannot be swept"),
        ("{name.first: [x]}", "name.first: name is 'my suite', not a mapping"),
    ],
)
def test_a_sweep_that_cannot_be_expanded_is_told(sweep: str, message: str) -> None:
    problem = only_problem(SUITE + f"sweep: {sweep}\n")
    assert problem.message.startswith(f"suite.yaml, line 6: {message}")


def test_a_key_cannot_be_set_and_swept() -> None:
    text = SUITE + "sweep: {workload.seed: [1, 2]}\n"
    problem = only_problem(text, {"workload.seed": "3"})
    assert problem.message == "--set workload.seed=3: workload.seed is swept (suite.yaml, line 6)"
    case = only_case(text, {"workload.seed": "3", "sweep": "{}"})
    assert case.config.workload.seed == 3


@pytest.mark.timeout(60)
def test_a_sweep_of_too_many_cases_is_refused_before_it_is_expanded() -> None:
    hundred = str(list(range(100)))
    keys = ("seed", "sequence_length", "global_batch_size", "micro_batch_size", "threads")
    lines = "".join(f"  workload.{key}: {hundred}\n" for key in keys)
    problem = only_problem(SUITE + "sweep:\n" + lines)
    assert problem.message == "suite.yaml, line 6: sweep makes 10,000,000,000 cases"


def test_of_a_sweep_of_too_many_cases_a_part_is_expanded() -> None:
    lists = {"seed": 251, "threads": 400}
    keys = "".join(f"  workload.{key}: {list(range(1, n + 1))}\n" for key, n in lists.items())
    suite = open_suite(parse_document(f"{SUITE}sweep:\n{keys}", "suite.yaml"))
    assert suite.count == 251 * 400 > MAX_CASES
    first = suite.cases(most=30)
    assert len(first) == 30
    assert len({case.config.workload.seed for case in first}) > 20  # and not the first seed alone
    for most in (None, MAX_CASES + 1):
        with pytest.raises(ConfigError, match="sweep makes 100,400 cases"):
            suite.cases(most)


# --- conflicts -----------------------------------------------------------------------------------


def test_a_conflict_gets_the_place_of_its_key() -> None:
    text = SUITE + "sweep: {workload.seed: [1]}\n"
    case = only_case(text, {"workload.micro_batch_size": "3"})
    places = {
        "workload.micro_batch_size": "--set workload.micro_batch_size=3",
        "workload.seed": "suite.yaml, line 6",
        "workload.global_batch_size": "suite.yaml, line 5",
        "workload.threads": "suite.yaml, line 3",
        "device": "suite.yaml, line 1",
    }
    for key, place in places.items():
        error = case.explain(Conflict(key, "3 does not divide 8", hint="use 4"))
        assert error.problems == (Problem(f"{place}: {key}: 3 does not divide 8", "use 4"),)


def test_a_conflict_with_a_key_that_was_set_or_swept_blames_that_one() -> None:
    text = SUITE + "sweep: {workload.micro_batch_size: [3]}\n"
    batch = "workload.global_batch_size"
    others = ["workload.micro_batch_size", "parallel.data_parallel_replicate_size"]
    places = [
        (text, {}, "suite.yaml, line 6"),
        (SUITE, {}, "suite.yaml, line 5"),
        (SUITE, {"workload.micro_batch_size": "3"}, "--set workload.micro_batch_size=3"),
        (
            SUITE,
            {"parallel.data_parallel_replicate_size": "3"},
            "--set parallel.data_parallel_replicate_size=3",
        ),
        (text, {"workload.global_batch_size": "4"}, "--set workload.global_batch_size=4"),
    ]
    for written, overrides, place in places:
        error = only_case(written, overrides).explain(
            Conflict(batch, "4 is no multiple of 3", hint="use 6", others=others)
        )
        assert error.problems == (Problem(f"{place}: {batch}: 4 is no multiple of 3", "use 6"),)


# --- properties ----------------------------------------------------------------------------------


lists = st.lists(st.integers(0, 1000), min_size=1, max_size=4)


@given(lists, lists)
def test_a_sweep_is_the_product_of_its_lists(seeds: list[int], warmups: list[int]) -> None:
    text = SUITE + f"sweep: {{workload.seed: {seeds}, workload.lr_warmup_steps: {warmups}}}\n"
    found = [
        (case.config.workload.seed, case.config.workload.lr_warmup_steps)
        for case in parse_config(text, "suite.yaml")
    ]
    assert found == list(itertools.product(seeds, warmups))


snippets = st.lists(
    st.sampled_from(
        [
            "name", "model", "workload", "sweep", "price", "measure", "device", "usd_per_hour",
            "workload.seed", "sequence_length", "base", ": ", ":\n  ", "\n", ", ", "{", "}", "[",
            "]", "1", "0.5", "cpu", "null", "&a ", "*a", "<<: *a", "'", "- ", "# ", "true", ".nan",
        ]
    ),
    max_size=25,
).map("".join)  # fmt: skip
keys = st.sampled_from(["", ".", "model", "model.layers", "workload", "sweep", "sweep.x", "x..y"])


@given(
    st.one_of(st.text(), snippets, snippets.map(SUITE.__add__)),
    st.dictionaries(keys, st.one_of(st.text(), snippets), max_size=2),
)
def test_whatever_is_written_is_a_suite_or_a_config_error(
    text: str, overrides: dict[str, str]
) -> None:
    try:
        cases = parse_config(text, "suite.yaml", overrides)
    except ConfigError as error:
        found = [problem.hint for problem in error.problems]
    else:
        found = [case.config.name for case in cases]
    assert all(found)
