"""From a config's model to a shape: catalog names, changed sizes, and sizes that do not fit."""

from typing import Any

import pytest

from tests.each import check_each
from tests.pure.run.plans import plan_case
from trnbench.catalog.models import models
from trnbench.config.load import Conflict
from trnbench.config.model import ModelConfig
from trnbench.model.flops import parameter_count
from trnbench.plan.model import choose_model
from trnbench.protocol.model import RopeScaling

OWN: dict[str, Any] = {
    "family": "llama",
    "layers": 2,
    "hidden_size": 96,
    "heads": 6,
    "intermediate_size": 200,
    "vocabulary_size": 512,
    "max_positions": 256,
}


def conflict_of(model: str | ModelConfig) -> Conflict:
    with pytest.raises(Conflict) as caught:
        choose_model(model)
    assert caught.value.hint
    return caught.value


def test_a_catalog_name_is_that_model_with_its_source() -> None:
    def check(name: str) -> None:
        chosen, known = choose_model(name), models()[name]
        assert (chosen.name, chosen.own_shape) == (name, known.shape)
        assert (chosen.parameter_count, chosen.source) == (known.parameter_count, known.source)

    check_each(sorted(models()), check)


def test_own_sizes_are_completed_and_counted() -> None:
    chosen = choose_model(ModelConfig(**OWN))
    assert chosen.own_shape.kv_heads == 6
    assert chosen.own_shape.head_dim == 16
    assert chosen.name == "own llama"
    assert chosen.source == "the config"
    assert chosen.parameter_count == parameter_count(chosen.own_shape)


@pytest.mark.parametrize("size", sorted(OWN))
def test_a_size_that_is_missing_is_named(size: str) -> None:
    sizes = {name: value for name, value in OWN.items() if name != size}
    conflict = conflict_of(ModelConfig(**sizes))
    assert conflict.message == f"model.{size}: is missing"
    assert "base" in conflict.hint


def test_a_base_gives_every_size_that_is_not_changed() -> None:
    base = models()["llama3.1-70b"].shape
    chosen = choose_model(ModelConfig(base="llama3.1-70b", layers=4))
    assert chosen.own_shape.layers == 4
    assert chosen.own_shape.rope_scaling == base.rope_scaling
    assert (chosen.own_shape.kv_heads, chosen.own_shape.head_dim) == (base.kv_heads, base.head_dim)
    assert chosen.parameter_count < models()["llama3.1-70b"].parameter_count


@pytest.mark.parametrize(
    ("given", "label"),
    [
        ({"base": "tiny-llama"}, "tiny-llama"),
        ({"base": "tiny-llama", "layers": 4}, "tiny-llama, changed"),
        ({"base": "tiny-llama", "layers": 4, "name": "mine"}, "mine"),
        ({**OWN, "name": "mine"}, "mine"),
    ],
)
def test_a_changed_model_does_not_carry_the_base_s_name(given: dict[str, Any], label: str) -> None:
    assert choose_model(ModelConfig(**given)).name == label


def test_another_width_gives_up_the_base_s_head_width() -> None:
    wider = choose_model(ModelConfig(base="tiny-llama", hidden_size=256)).own_shape
    assert (wider.head_dim, wider.heads, wider.kv_heads) == (64, 4, 2)
    kept = choose_model(ModelConfig(base="tiny-llama", hidden_size=256, head_dim=32)).own_shape
    assert kept.head_dim == 32


def test_other_heads_of_a_model_without_groups_stay_without_groups() -> None:
    more = choose_model(ModelConfig(base="tiny-gpt2", heads=8)).own_shape
    assert (more.heads, more.kv_heads, more.head_dim) == (8, 8, 16)


def test_rotary_scaling_can_be_given() -> None:
    scaling = {
        "factor": 8.0,
        "low_frequency_factor": 1.0,
        "high_frequency_factor": 4.0,
        "original_max_positions": 64,
    }
    chosen = choose_model(ModelConfig.model_validate({**OWN, "rope_scaling": scaling}))
    assert chosen.own_shape.rope_scaling == RopeScaling(
        factor=8.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_max_positions=64
    )


@pytest.mark.parametrize(
    ("change", "key", "message"),
    [
        ({"kv_heads": 4}, "kv_heads", "model.kv_heads: 4 does not divide heads=6"),
        ({"head_dim": 15}, "head_dim", "model.head_dim: 15 cannot be rotated in pairs"),
        ({"heads": 100, "kv_heads": 100}, "head_dim", "model.head_dim: 0 cannot be rotated"),
        ({"family": "gpt2", "kv_heads": 3}, "kv_heads", "gpt2 has no grouped heads"),
        ({"vocabulary_size": 63}, "vocabulary_size", "smaller than the token stream's"),
    ],
)
def test_sizes_that_do_not_fit_together_are_a_conflict(
    change: dict[str, Any], key: str, message: str
) -> None:
    conflict = conflict_of(ModelConfig(**{**OWN, **change}))
    assert conflict.path == ("model", key)
    assert message in conflict.message


def test_an_odd_head_is_fine_where_nothing_is_turned() -> None:
    chosen = choose_model(ModelConfig(**{**OWN, "family": "gpt2", "head_dim": 15}))
    assert chosen.own_shape.head_dim == 15


def test_the_smallest_vocabulary_is_the_alphabet() -> None:
    assert (
        choose_model(ModelConfig(**{**OWN, "vocabulary_size": 64})).own_shape.vocabulary_size == 64
    )


def test_a_plan_gives_the_child_the_chosen_shape() -> None:
    plan = plan_case({"model.base": "tiny-llama", "model.layers": "3"})
    assert plan.order.own_shape == plan.model.own_shape
    assert plan.order.own_shape.layers == 3
