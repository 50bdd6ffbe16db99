"""Classes of transformers as people's config.json files have them: counted, tried, or refused."""

import contextlib
import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from trnbench.model.external import attended_keys
from trnbench.protocol.model import ExternalModel
from trnbench.protocol.orders import PROTOCOL_VERSION, DescribeModel
from trnbench.protocol.records import Described
from trnbench.train import count as counting
from trnbench.train import describe as description
from trnbench.train.count import TooLong, count, flops_of_convolution_backward, limited
from trnbench.train.describe import describe
from trnbench.train.external import BadModel, build_external
from trnbench.train.huggingface import _unknown_keys, _with_floats

pytestmark = [pytest.mark.xdist_group("transformers")]
transformers = pytest.importorskip("transformers", minversion="5.0")

SIZES: dict[str, Any] = {
    "num_hidden_layers": 4, "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 16, "intermediate_size": 96, "vocab_size": 256, "tie_word_embeddings": False,
}  # fmt: skip
ATTENTION = 64 * (64 + 2 * 32) + 64 * 64
HEAD = 64 * 256


def of_file(target: str, given: dict[str, Any] | None = None, **file: Any) -> ExternalModel:
    """Return a class whose config.json has `file`, and `given` under `model.config`."""
    written = given or {}
    return ExternalModel(
        kind="huggingface", target=target, arguments=json.dumps({**file, **written}),
        checked_keys=sorted(written), file_keys=sorted(file),
        task="masked_token" if target.endswith("MaskedLM") else "next_token",
    )  # fmt: skip


def described(external: ExternalModel, length: int = 128) -> Described:
    task = DescribeModel(external=external, sequence_length=length)
    return Described(at_seconds=0.0, wire_version=PROTOCOL_VERSION, **describe(task))


def refusal(external: ExternalModel, length: int = 128) -> BadModel:
    with pytest.raises(BadModel) as caught:
        described(external, length)
    return caught.value


# --- FLOPs ----------------------------------------------------------------------------------------


def test_experts_of_a_family_that_is_not_ours_are_counted_by_those_that_a_token_meets() -> None:
    experts = {"num_experts": 8, "num_experts_per_tok": 2}
    found = described(of_file("OlmoeForCausalLM", **{**SIZES, **experts}))
    matmuls = 4 * (ATTENTION + 64 * 8 + 2 * 3 * 64 * 96) + HEAD
    assert found.flops_per_token == 6 * matmuls + 12 * 64 * 4 * 128
    assert found.flops_per_key == 12 * 64 * 4
    assert found.wasted_flops_per_token == 0


def test_experts_that_compute_every_token_are_counted_by_the_need_and_the_rest_apart() -> None:
    sizes = {**SIZES, "num_local_experts": 4, "num_experts_per_tok": 1}
    found = described(of_file("Llama4ForCausalLM", **sizes, intermediate_size_mlp=96))
    expert = 3 * 64 * 96
    matmuls = 4 * (ATTENTION + 2 * expert + 64 * 4) + HEAD  # one routed, one shared
    assert found.flops_per_token == 6 * matmuls + 12 * 64 * 4 * 128
    assert found.wasted_flops_per_token == 6 * 4 * 3 * expert


@pytest.mark.parametrize("target", ["OPTForCausalLM", "BloomForCausalLM"])
def test_a_class_that_takes_no_mask_of_four_dimensions_is_counted(target: str) -> None:
    sizes: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4}
    more: dict[str, Any] = (
        {"ffn_dim": 256, "word_embed_proj_dim": 64} if target.startswith("OPT") else {}
    )
    found = described(of_file(target, **sizes, **more, vocab_size=256, pad_token_id=1))
    assert found.flops_per_token == 6 * (4 * 12 * 64**2 + HEAD) + 12 * 64 * 4 * 128


def test_a_grouped_convolution_is_counted_by_its_groups() -> None:
    layer = torch.nn.Conv1d(16, 16, 3, groups=16, padding=2, bias=False)
    module = torch.nn.Sequential(layer)
    gradient, inputs, weight = (1, 16, 34), (1, 16, 32), tuple(layer.weight.shape)
    rest = (None, [1], [2], [1], False, [0], 16, [True, True])
    forward = 2 * 34 * 16 * 3
    assert flops_of_convolution_backward(gradient, inputs, weight, *rest) == 2 * forward
    with FlopCounterMode(display=False, custom_mapping=counting.FORMULAS) as counter:
        module(torch.zeros(1, 16, 32, requires_grad=True)).sum().backward()
    assert counter.get_total_flops() == 3 * forward


def test_blocks_that_are_alike_are_run_once_and_come_to_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kinds = ["sliding_attention", "sliding_attention", "full_attention"] * 3
    sizes = {**SIZES, "num_hidden_layers": 9, "layer_types": kinds, "sliding_window": 32}
    external = replace(of_file("Gemma3ForCausalLM", **sizes), vocabulary_size=256)
    with torch.device("meta"):
        module = build_external(external, seed=0)
    quick = count(module, external, 64)
    monkeypatch.setattr(counting, "LEAST_BLOCKS", 100)
    assert count(module, external, 64) == quick
    assert quick.per_key == 9 * 12 * 64


def test_blocks_that_are_told_their_input_by_their_place_are_counted_without_being_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Heads of full attention are twice as wide, and the class gives each block its positions."""
    monkeypatch.setattr(counting, "SMALL_PARAMETERS", 0)
    found = described(
        of_file(
            "Gemma4ForCausalLM", **{**SIZES, "num_hidden_layers": 6}, global_head_dim=32,
            layer_types=["sliding_attention"] * 5 + ["full_attention"], sliding_window=32,
            hidden_size_per_layer_input=0, num_kv_shared_layers=0,
        )
    )  # fmt: skip
    matmuls = 5 * ATTENTION + 2 * ATTENTION + 6 * 3 * 64 * 96 + HEAD
    assert found.flops_per_token == 6 * matmuls + 12 * (5 * 64 + 128) * 128


def test_a_large_class_that_takes_no_null_for_a_token_is_cut() -> None:
    config = transformers.CwmConfig()
    values = description.cut_values(config)
    small = transformers.CwmConfig(**{**config.to_dict(), **values})
    assert small.vocab_size == description.CUT_VOCABULARY
    assert small.bos_token_id == 0


def test_the_causal_figure_is_that_of_the_windows_in_the_config() -> None:
    config = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 32}
    assert attended_keys(config, 128) == ((32 - 32**2 / 256) + 64) / 2
    assert attended_keys({"sliding_window": 4096}, 128) == 64
    assert attended_keys({"sliding_window": 32, "use_sliding_window": False}, 128) == 64
    assert attended_keys({"layer_types": ["linear_attention", "full_attention"]}, 128) == 64
    chunked = {"layer_types": ["chunked_attention"], "attention_chunk_size": 48}
    assert attended_keys(chunked, 128) == (2 * 48**2 + 32**2) / 256
    assert attended_keys({"layer_types": ["indexed_attention"]}, 128) is None
    assert attended_keys({"layer_types": ["linear_attention"]}, 128) is None


def test_counting_gives_up_by_itself_and_the_model_is_planned_without() -> None:
    def loop() -> None:
        while True:
            with contextlib.suppress(Exception):  # as a model's code may
                sum(range(1000))

    with pytest.raises(TooLong), limited(0.01):
        loop()


def test_a_model_that_takes_too_long_has_no_count_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*_: object) -> None:
        raise TooLong

    monkeypatch.setattr(counting, "_counted", stop)
    monkeypatch.setattr(description, "_try_whole", stop)
    found = described(of_file("LlamaForCausalLM", **SIZES))
    assert found.flops_per_token is None
    assert "of processor time" in (found.flops_reason or "")
    assert any("was not tried before the run" in note for note in found.notes)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "external",
    [
        of_file("Qwen2ForCausalLM", **SIZES, is_causal=False),
        of_file("XLNetLMHeadModel", d_model=64, n_layer=2, n_head=4, d_inner=96, vocab_size=256),
    ],
    ids=["by its config", "by its class"],
)
def test_a_decoder_that_sees_the_future_is_refused_by_its_logits(external: ExternalModel) -> None:
    assert "would see the tokens that it is to predict" in str(refusal(external))


def test_a_large_decoder_is_tried_with_few_of_its_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(description, "TRIAL_FLOPS", 0.0)
    assert described(of_file("Qwen3ForCausalLM", **SIZES)).notes == []
    assert "would see" in str(refusal(of_file("Qwen3ForCausalLM", **SIZES, is_causal=False)))
    monkeypatch.setattr(description, "CUT_PARAMETERS", 10)
    (note,) = described(of_file("Qwen3ForCausalLM", **SIZES)).notes
    assert "was not tried before the run: its weights are too many" in note


def test_sizes_in_words_that_the_class_does_not_know_are_refused_by_name() -> None:
    said = str(refusal(of_file("LlamaForCausalLM", dim=64, n_layers=2, vocab_size=256)))
    assert "no hidden_size and no num_hidden_layers" in said
    assert "LlamaConfig does not know dim, n_layers" in said


def test_positions_beside_those_of_the_padding_are_the_most() -> None:
    sizes = {**SIZES, "max_position_embeddings": 66, "pad_token_id": 1}
    said = str(refusal(of_file("RobertaForMaskedLM", **sizes), length=65))
    assert "65 is longer than the 64 positions" in said
    assert "pad_token_id=1" in said
    assert described(of_file("RobertaForMaskedLM", **sizes), length=64).parameter_count > 0


@pytest.mark.parametrize(
    ("target", "file", "says", "hint"),
    [
        ("DeepseekV3ForCausalLM", {"model_type": "new_kind"}, "its config of new_kind", "takes it"),
        ("LlamaForCausalLM", {"model_type": "qwen3"}, "its config of qwen3", "Qwen3ForCausalLM"),
        (
            "Gemma3ForCausalLM", {"model_type": "gemma3", "text_config": {"hidden_size": 64}},
            "its config of gemma3", "`text_config`",
        ),
        ("LLaMAForCausalLM", {}, "has no model class", "did you mean LlamaForCausalLM?"),
        ("OwnForCausalLM", {"auto_map": {"AutoModel": "a.B"}}, "no model class", "is not run"),
        (
            "LlamaForCausalLM", {**SIZES, "rope_scaling": {"type": "own", "factor": 2.0}},
            "rope_scaling.type: transformers knows no 'own'", "documentation",
        ),
        # Values that do not fit a default of the class, which no file says.
        (
            "Phi3ForCausalLM", SIZES, "pad_token_id=32000 is no token of vocab_size=256",
            "`pad_token_id: 0`",
        ),
        (
            "OlmoeForCausalLM", {**SIZES, "num_experts": 4},
            "num_experts_per_tok=8 is more than num_experts=4", "give both",
        ),
    ],
)  # fmt: skip
def test_a_config_that_no_class_takes_is_explained(
    target: str, file: dict[str, Any], says: str, hint: str
) -> None:
    error = refusal(of_file(target, **file))
    assert says in str(error)
    assert hint in error.hint


# --- what is taken --------------------------------------------------------------------------------


def test_keys_that_every_file_has_are_taken_from_the_user_too() -> None:
    given = {
        "rope_theta": 5e5, "rope_scaling": None, "torch_dtype": "float32",
        "quantization_config": None, "return_dict": False, "model_type": None,
    }  # fmt: skip
    found = described(of_file("LlamaForCausalLM", given, **SIZES, rope_theta=1e4))
    config = json.loads(found.config or "")
    assert config["rope_parameters"]["rope_theta"] == 5e5
    assert found.notes == []


def test_a_key_that_the_models_code_alone_reads_is_taken() -> None:
    sizes = {key: size for key, size in SIZES.items() if key != "head_dim"}
    narrow, wide = (
        described(of_file("Qwen2ForCausalLM", {"head_dim": size}, **sizes)) for size in (8, 32)
    )
    assert narrow.notes == wide.notes == []
    assert wide.parameter_count > narrow.parameter_count


def test_what_changes_the_work_and_is_not_done_is_noted() -> None:
    found = described(
        of_file(
            "LlamaForCausalLM", **SIZES, quantization_config={"quant_method": "fp8"},
            num_nextn_predict_layers=1, an_own_key=3,
        )
    )  # fmt: skip
    quantization, layers, unknown = found.notes
    assert "quantization_config (fp8) is not applied" in quantization
    assert "num_nextn_predict_layers=1" in layers
    assert "LlamaConfig does not know it: an_own_key" in unknown


def test_a_file_that_was_written_whole_has_no_key_without_effect() -> None:
    """`head_dim` and others of this class are derived, and its infinity stands as a mapping."""
    kind = transformers.BailingHybridForCausalLM
    file = json.loads(kind.config_class().to_json_string(use_diff=False))
    assert _unknown_keys({**file, "an_own_key": 3}, kind, kind.config_class) == ["an_own_key"]
    file = json.loads(transformers.BambaConfig().to_json_string(use_diff=False))
    assert _with_floats(file)["time_step_limit"] == [0.0, math.inf]


def test_a_balance_loss_has_the_weight_that_its_config_names() -> None:
    sizes: dict[str, Any] = {
        "num_hidden_layers": 1, "hidden_size": 32, "num_key_value_heads": 2, "kv_channels": 8,
        "intermediate_size": 32, "num_local_experts": 4, "num_experts_per_tok": 2,
        "vocab_size": 256, "output_router_logits": True,
    }  # fmt: skip
    assert described(of_file("JetMoeForCausalLM", **sizes), length=32).parameter_count > 0
