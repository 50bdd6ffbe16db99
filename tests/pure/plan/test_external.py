"""Models that are not ours, from a config's words to a plan; nothing is asked of an interpreter."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.pure.run.plans import CPU, TODAY, make_case, make_machine
from trnbench.config.load import Conflict
from trnbench.config.model import ModelConfig
from trnbench.machine.describe import Devices
from trnbench.model.external import shape_of_config
from trnbench.model.flops import COUNTED_CONVENTION, DEFAULT_CONVENTION, parameter_count
from trnbench.plan.external import LARGEST_WHOLE_GATE, KnownExternal
from trnbench.plan.make import make_plan
from trnbench.plan.model import choose_model
from trnbench.protocol.orders import PROTOCOL_VERSION
from trnbench.protocol.records import Described
from trnbench.run.questions import external_of
from trnbench.schema.plan import Plan

USERS = "model={python: 'mine:build'}"
LLAMA: dict[str, Any] = {
    "model_type": "llama", "num_hidden_layers": 6, "hidden_size": 256, "num_attention_heads": 8,
    "num_key_value_heads": 4, "head_dim": 32, "intermediate_size": 512, "vocab_size": 4096,
    "max_position_embeddings": 256, "tie_word_embeddings": False, "bos_token_id": 4000,
}  # fmt: skip
LLAMA_WEIGHTS = (
    2 * 4096 * 256 + 256 + 6 * (256 * (256 + 2 * 128) + 256 * 256 + 3 * 256 * 512 + 2 * 256)
)


def described(**changes: Any) -> Described:
    base = Described(
        at_seconds=0.0, wire_version=PROTOCOL_VERSION, parameter_count=1000, trained_count=1000,
        embeddings_are_tied=False, vocabulary_size=256, config=None, flops_per_token=6000.0,
        flops_reason=None, versions={},
    )  # fmt: skip
    return replace(base, **changes)


def plan_external(told: Described, model: str = "{python: 'mine:build'}", **overrides: str) -> Plan:
    case = make_case({"model": model, **{k.replace("__", "."): v for k, v in overrides.items()}})
    asked = case.config.model
    assert isinstance(asked, ModelConfig)
    external = replace(external_of(asked), vocabulary_size=told.vocabulary_size)
    return make_plan(
        case, machine=make_machine(), devices=Devices((CPU,), {}), today=TODAY,
        describe=lambda *_: KnownExternal(external, told),
    )  # fmt: skip


def plan_llama(**overrides: str) -> Plan:
    told = described(
        config=json.dumps(LLAMA), parameter_count=LLAMA_WEIGHTS, vocabulary_size=4096,
        flops_per_token=1.0,
    )  # fmt: skip
    return plan_external(told, "{huggingface: LlamaForCausalLM}", **overrides)


def test_a_config_of_a_known_family_is_counted_by_its_formula() -> None:
    plan = plan_llama()
    assert plan.flops_convention == DEFAULT_CONVENTION
    assert plan.model.shape is not None
    assert plan.order.shape is None
    assert plan.order.external is not None
    assert plan.prediction.memory_verdict == "fits"


def test_a_config_that_does_not_come_to_its_weights_is_not_trusted() -> None:
    told = described(config=json.dumps(LLAMA), parameter_count=LLAMA_WEIGHTS + 1)
    plan = plan_external(told, "{huggingface: LlamaForCausalLM}")
    assert plan.model.shape is None
    assert plan.flops_convention == COUNTED_CONVENTION
    assert plan.prediction.flops_per_token == {COUNTED_CONVENTION: 6000.0}


def test_the_gate_of_a_known_family_has_small_sizes_in_the_configs_own_words() -> None:
    gate = plan_llama().order.gate
    assert gate is not None
    assert gate.external is not None
    small = json.loads(gate.external.arguments)
    assert (small["num_hidden_layers"], small["vocab_size"]) == (2, 2048)
    assert small["hidden_size"] == 128
    assert small["bos_token_id"] is None  # it lay beyond the small vocabulary
    assert gate.external.vocabulary_size == 2048


def test_a_small_module_is_its_own_gate_and_a_large_one_has_none() -> None:
    assert plan_external(described()).order.gate is not None
    large = described(parameter_count=LARGEST_WHOLE_GATE + 1)
    assert plan_external(large).order.gate is None
    named = plan_external(large, "{python: 'mine:build', small: {width: 8}}").order.gate
    assert named is not None
    assert named.external is not None
    assert json.loads(named.external.arguments) == {"width": 8}


def test_what_torch_could_not_count_has_no_count_and_says_why() -> None:
    plan = plan_external(described(flops_per_token=None, flops_reason="an operator of its own"))
    assert plan.prediction.flops_per_token == {}


def test_what_the_mask_hides_is_left_out_where_the_config_tells_it() -> None:
    config = json.dumps({"sliding_window": 32, "layer_types": ["sliding_attention"]})
    told = described(config=config, flops_per_token=6000.0, flops_per_key=12.0)
    plan = plan_external(told, "{huggingface: OwnForCausalLM}")
    hidden = 128 - (32 - 32**2 / 256)
    assert plan.prediction.flops_per_token[plan.flops_convention] == 6000 - 12 * hidden
    assert plan.flops_convention == DEFAULT_CONVENTION
    assert plan.prediction.flops_per_token[COUNTED_CONVENTION] == 6000
    unknown = plan_external(replace(told, flops_per_key=None), "{huggingface: OwnForCausalLM}")
    assert unknown.flops_convention == COUNTED_CONVENTION


def test_what_is_computed_without_need_is_no_model_flop() -> None:
    plan = plan_external(described(wasted_flops_per_token=900.0))
    assert plan.prediction.flops_per_token == {COUNTED_CONVENTION: 6000}
    assert plan.prediction.recomputed_flops_per_token == 900


def test_what_a_config_asks_for_and_is_not_done_is_noted_in_the_plan() -> None:
    told = described(config=json.dumps({"sliding_window": 256}), notes=["no second head"])
    notes = plan_external(told).model.notes
    assert notes == ("no second head", "sliding_window=256 is no window at 128 tokens")
    off = json.dumps({"sliding_window": 256, "use_sliding_window": False})
    assert plan_external(described(config=off)).model.notes == ()


@pytest.mark.parametrize(
    ("kinds", "window", "every"),
    [
        (["full_attention"] * 4, None, None),
        (["sliding_attention"] * 4, 128, None),
        (["sliding_attention", "full_attention"] * 2, 128, 2),
        (["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"], 128, 3),
    ],
)
def test_windows_are_those_of_the_layers_that_the_config_names(
    kinds: list[str], window: int | None, every: int | None
) -> None:
    shape = shape_of_config(
        {**LLAMA, "model_type": "mistral", "layer_types": kinds, "sliding_window": 128}
    )
    assert shape is not None
    assert (shape.sliding_window, shape.full_attention_every) == (window, every)


def test_layers_in_an_order_of_their_own_are_left_to_torchs_counter() -> None:
    for kinds in (["full_attention", "sliding_attention"], ["chunked_attention"] * 2):
        config = {**LLAMA, "model_type": "mistral", "layer_types": kinds, "sliding_window": 128}
        assert shape_of_config(config) is None


def test_a_config_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(Conflict, match="is a pipe"):
        external_of(ModelConfig(huggingface=str(tmp_path)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1, "a": 2}', "has the key 'a' twice"),
        ('{"b": 1, "a": 1, "a": 2, "b": 2}', "has the key 'a' and the key 'b' twice"),
        ('{"rope": {"theta": NaN}}', "theta is nan"),
        ('{"eps": -Infinity}', "eps is -inf"),
        ("[1]", "it holds a list"),
        ("{", "Expecting property name"),
    ],
)
def test_a_file_that_is_no_json_object_of_finite_numbers_is_refused(
    text: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(Conflict, match=f"is no config: .*{re.escape(says)}"):
        external_of(ModelConfig(huggingface=str(tmp_path / "config.json")))


def test_a_folder_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    text = json.dumps({"architectures": ["LlamaForCausalLM"], "hidden_size": 64})
    (tmp_path / "config.json").write_text(text, encoding="utf-8-sig")
    external = external_of(ModelConfig(huggingface=str(tmp_path)))
    assert (external.target, external.file_keys) == (
        "LlamaForCausalLM", ["architectures", "hidden_size"]
    )  # fmt: skip


def test_fewer_blocks_cut_the_files_lists_along(tmp_path: Path) -> None:
    file = {"architectures": ["LlamaForCausalLM"], "num_hidden_layers": 4, "layer_types": [*"abcd"]}
    (tmp_path / "config.json").write_text(json.dumps(file))
    asked = ModelConfig(huggingface=str(tmp_path), config={"num_hidden_layers": 2})
    assert json.loads(external_of(asked).arguments)["layer_types"] == ["a", "b"]


@pytest.mark.parametrize(
    ("target", "file", "hint"),
    [
        ("OwnForConditionalGeneration", {"text_config": {}}, "[OwnForCausalLM]"),
        ("OwnModel", {"auto_map": {"AutoModel": "x.Y"}}, "is not run"),
    ],
)
def test_a_file_whose_class_has_no_loss_leads_on(
    target: str, file: dict[str, Any], hint: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [target], **file}))
    with pytest.raises(Conflict) as caught:
        external_of(ModelConfig(huggingface=str(tmp_path)))
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("told", "overrides", "key", "says"),
    [
        (described(vocabulary_size=63), {}, ("model", "python"), "the token stream has 64"),
        (described(trained_count=0), {}, ("model", "python"), "no weight that can be trained"),
        (
            described(config=json.dumps({"n_positions": 64})), {},
            ("workload", "sequence_length"), "longer than the 64 positions",
        ),
        (described(), {"workload__loss": "chunked"}, ("workload", "loss"), "trnbench's own"),
        (
            described(), {"workload__activation_checkpointing": "full"},
            ("workload", "activation_checkpointing"), "trnbench's own",
        ),
        (described(), {"workload__lora": "{rank: 4}"}, ("workload", "lora"), "trnbench's own"),
        (
            described(), {"parallel__tensor_parallel_size": "2"},
            ("parallel", "tensor_parallel_size"), "a model of your own",
        ),
    ],
)  # fmt: skip
def test_what_an_external_model_cannot_do_is_refused_with_its_key(
    told: Described, overrides: dict[str, str], key: tuple[str, ...], says: str
) -> None:
    with pytest.raises(Conflict) as caught:
        plan_external(told, **overrides)
    assert caught.value.path == key
    assert says in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"python": "no_function"}, "names no function"),
        ({"python": "a:b", "huggingface": "LlamaForCausalLM"}, "does not go with"),
        ({"python": "a:b", "layers": 4}, "model.layers: does not go with model.python"),
        ({"huggingface": "meta-llama/Llama-3.1-8B"}, "neither a class nor the path"),
        ({"huggingface": "/nowhere/config.json"}, "cannot be read: No such file"),
        ({"huggingface": "LlamaModel"}, "no loss that the token stream is for"),
    ],
)
def test_words_that_name_no_model_are_refused(model: dict[str, Any], says: str) -> None:
    with pytest.raises(Conflict) as caught:
        external_of(ModelConfig(**model))
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"num_hidden_layers": -2}, "num_hidden_layers: -2 is not a size"),
        ({"n_layer": 0}, "n_layer: 0 is not a size"),
        ({"hidden_size": "64"}, "hidden_size: '64' is not a size"),
        ({"vocab_size": True}, "vocab_size: True is not a size"),
        (
            {"hidden_size": 64, "num_attention_heads": 6},
            "hidden_size=64 is not a multiple of num_attention_heads=6",
        ),
        (
            {"num_attention_heads": 4, "num_key_value_heads": 3},
            "num_attention_heads=4 is not a multiple of num_key_value_heads=3",
        ),
        ({"n_embd": 64, "n_head": 5}, "n_embd=64 is not a multiple of n_head=5"),
        (
            {"num_local_experts": 2, "num_experts_per_tok": 3},
            "num_experts_per_tok=3 is more than num_local_experts=2",
        ),
    ],
)
def test_sizes_that_a_config_cannot_have_are_named_before_anyone_is_asked(
    config: dict[str, Any], says: str
) -> None:
    with pytest.raises(Conflict) as caught:
        external_of(ModelConfig(huggingface="LlamaForCausalLM", config=config))
    assert caught.value.message == f"model.config: {says}"
    assert caught.value.hint


@pytest.mark.parametrize(
    "config",
    [
        {"hidden_size": 60, "num_attention_heads": 8, "head_dim": 16},
        {"head_dim": None, "sliding_window": None, "num_key_value_heads": None},
        {"n_inner": None},
    ],
)
def test_sizes_that_fit_or_are_left_to_the_class_pass(config: dict[str, Any]) -> None:
    external = external_of(ModelConfig(huggingface="LlamaForCausalLM", config=config))
    assert json.loads(external.arguments) == config


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("LlamaForCausalLm", "did you mean LlamaForCausalLM?"),
        ("GPT2LMHeadmodel", "did you mean GPT2LMHeadModel?"),
        ("ViTForImageClassification", "`model: vit-b16`"),
    ],
)
def test_a_class_without_a_loss_of_ours_leads_to_one_that_has_it(target: str, hint: str) -> None:
    with pytest.raises(Conflict) as caught:
        external_of(ModelConfig(huggingface=target))
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("key", ["config", "small"])
def test_words_for_external_models_beside_a_model_of_ours_are_refused(key: str) -> None:
    with pytest.raises(Conflict) as caught:
        choose_model(ModelConfig.model_validate({"base": "tiny-llama", key: {"layers": 2}}))
    assert caught.value.path == ("model", key)


def bert(target: str, **config: Any) -> Plan:
    values = {
        "model_type": "bert", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4,
        "intermediate_size": 96, "vocab_size": 512, "max_position_embeddings": 128,
        "tie_word_embeddings": True, "add_cross_attention": False, **config,
    }  # fmt: skip
    shape = shape_of_config({**values, "is_decoder": False})
    assert shape is not None
    told = described(
        config=json.dumps(values), parameter_count=parameter_count(shape), vocabulary_size=512
    )
    return plan_external(told, f"{{huggingface: {target}}}")


def test_an_encoder_that_predicts_the_next_token_has_not_the_formula_of_masked_ones() -> None:
    masked = bert("BertForMaskedLM", is_decoder=False)
    assert masked.model.shape is not None
    decoder = bert("BertLMHeadModel", is_decoder=True)
    assert decoder.model.shape is None
    assert decoder.flops_convention == COUNTED_CONVENTION
    with pytest.raises(Conflict, match="would see the tokens that it is to predict"):
        bert("BertLMHeadModel", is_decoder=False)


def test_a_config_json_names_its_class_and_yields_to_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"architectures": ["BertForMaskedLM"], "hidden_size": 64}))
    external = external_of(ModelConfig(huggingface=str(path), config={"hidden_size": 32}))
    assert (external.target, external.task) == ("BertForMaskedLM", "masked_token")
    assert json.loads(external.arguments)["hidden_size"] == 32
    assert external.checked_keys == ["hidden_size"]
    path.write_text(json.dumps({"architectures": "BertForMaskedLM"}))
    assert external_of(ModelConfig(huggingface=str(path))).target == "BertForMaskedLM"
    for document, says in (("{}", "does not name its class"), ("[1]", "it holds a list")):
        path.write_text(document)
        with pytest.raises(Conflict, match=says):
            external_of(ModelConfig(huggingface=str(path)))
