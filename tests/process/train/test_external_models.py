"""Models that are not ours: built, described without a device, and held against themselves."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.process.train.children import run_child
from tests.pure.train.orders import make_order
from trnbench.protocol.model import ExternalModel
from trnbench.protocol.orders import (
    PROTOCOL_VERSION,
    DescribeModel,
    Finish,
    GateOrder,
    RunBlock,
    Train,
    WorkOrder,
)
from trnbench.protocol.records import Described
from trnbench.train import count as counting
from trnbench.train import describe as description
from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.build import build_objective, is_tied
from trnbench.train.count import flops_of_grouped_matmul
from trnbench.train.describe import describe
from trnbench.train.external import BadModel, ExternalObjective, build_external, loss_of
from trnbench.train.parity import run_parity_gate

MODULE = "tests.torch.train.external_models"
LLAMA: dict[str, Any] = {
    "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 96, "vocab_size": 256,
}  # fmt: skip


def users(function: str, **arguments: Any) -> ExternalModel:
    return ExternalModel(
        kind="python", target=f"{MODULE}:{function}", arguments=json.dumps(arguments),
        checked_keys=sorted(arguments), vocabulary_size=128,
    )  # fmt: skip


def theirs(target: str = "LlamaForCausalLM", **config: Any) -> ExternalModel:
    given = config or LLAMA
    return ExternalModel(
        kind="huggingface", target=target, arguments=json.dumps(given), checked_keys=sorted(given),
        task="masked_token" if target.endswith("MaskedLM") else "next_token", vocabulary_size=256,
    )  # fmt: skip


def described(external: ExternalModel, sequence_length: int = 32) -> Described:
    task = DescribeModel(external=external, sequence_length=sequence_length)
    return Described(at_seconds=0.0, wire_version=PROTOCOL_VERSION, **describe(task))


def order_of(external: ExternalModel, **changes: Any) -> WorkOrder:
    return replace(make_order(sequence_length=32, **changes), shape=None, external=external)


def test_a_users_module_is_described_by_its_own_words() -> None:
    found = described(users("bigram", width=48, vocabulary_size=100))
    assert found.vocabulary_size == 100
    assert found.parameter_count == 100 * 48 + 48 * 100 + 100
    assert found.flops_per_token == 6 * 48 * 100  # the lookup is no product
    assert not found.embeddings_are_tied
    assert found.config is None


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("lossless", "returns no loss, but a float32 tensor of shape (2, 32, 128)"),
        (
            "broken",
            "its first tokens raised RuntimeError: the parts do not fit (external_mo",
        ),
        ("frozen", "has no weight that can be trained"),
        ("empty", "has no weight that can be trained"),
        ("refuses", "building it raised RuntimeError: cannot build (external_models.py, line"),
        ("exits", "building it raised SystemExit: 5 (external_models.py, line"),
        ("leaves", "its first tokens raised SystemExit: 3 (external_models.py, line"),
        ("nan", "the loss of its first tokens is nan"),
        ("constant", "no weight has a gradient"),
        ("unused", "spare.weight has no part in the loss"),
        ("small_table", "its first tokens raised IndexError: index out of range"),
        ("one_by_one", "its first tokens raised ValueError: batches of one only"),
        ("not_a_module", "returns str, not a torch.nn.Module"),
        ("nothing", "has no function nothing"),
    ],
)
def test_a_module_that_cannot_train_is_refused_with_its_name(function: str, says: str) -> None:
    with pytest.raises(BadModel) as caught:
        described(users(function))
    assert says in str(caught.value)
    assert caught.value.hint


def test_arguments_that_a_function_does_not_take_are_refused() -> None:
    with pytest.raises(BadModel, match="colour"):
        described(users("bigram", colour="blue"))


def test_a_training_step_of_its_own_wins_over_forward() -> None:
    found = described(users("with_step"))
    assert found.flops_per_token == 6 * 32 * 128


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("raise ValueError('boom')", "importing a_model raised ValueError: boom (a_model.py, line"),
        ("import sys; sys.exit(0)", "importing a_model raised SystemExit: 0 (a_model.py, line 1)"),
        ("def build(:", "importing a_model raised SyntaxError: invalid syntax"),
        ("import nobody_has_this", "cannot import a_model: No module named 'nobody_has_this'"),
    ],
)
def test_a_module_that_cannot_be_imported_is_told_by_its_own_line(
    text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_model.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(BadModel) as caught:
        build_external(replace(users("build"), target="a_model:build"), seed=0)
    assert says in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_an_external_model_too_large_to_be_tried_is_described_untried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(description, "TRIAL_FLOPS", 0.0)
    assert described(users("one_by_one")).parameter_count > 0


def test_a_loss_is_found_wherever_libraries_put_it() -> None:
    loss = torch.tensor(1.5)
    for returned in (loss, {"loss": loss}, (loss, "more"), type("Out", (), {"loss": loss})()):
        assert loss_of(returned, "m") is loss
    for returned in (None, {}, (), torch.tensor([1.5]), torch.tensor(1)):
        with pytest.raises(BadModel, match="no loss"):
            loss_of(returned, "m")


@pytest.mark.xdist_group("transformers")
def test_a_class_of_transformers_is_described_from_its_config() -> None:
    pytest.importorskip("transformers")
    found = described(theirs())
    assert found.vocabulary_size == 256
    assert found.config is not None
    assert json.loads(found.config)["num_hidden_layers"] == 2
    # Products with weights, and attention over all keys of both layers.
    products = 2 * (64 * (64 + 2 * 32) + 64 * 64 + 3 * 64 * 96) + 256 * 64
    assert found.flops_per_token == 6 * products + 12 * 64 * 32 * 2
    assert "transformers" in found.versions


@pytest.mark.xdist_group("transformers")
def test_products_of_experts_are_counted_by_their_rows() -> None:
    pytest.importorskip("transformers", minversion="5.0")
    sizes = {**LLAMA, "num_local_experts": 4, "num_experts_per_tok": 2}
    found = described(theirs("MixtralForCausalLM", **sizes), sequence_length=16)
    attention = 64 * (64 + 2 * 32) + 64 * 64
    experts = 64 * 4 + 2 * 3 * 64 * 96  # the router, and two of the four
    products = 2 * (attention + experts) + 256 * 64
    assert found.flops_per_token == 6 * products + 12 * 64 * 16 * 2
    assert found.flops_reason is None


@pytest.mark.parametrize(
    ("left", "right", "flops"),
    [
        ((6, 8), (3, 8, 5), 2 * 6 * 8 * 5),
        ((8, 6), (6, 5), 2 * 8 * 6 * 5),
        ((3, 4, 8), (8, 6), 2 * 4 * 8 * 6),
        ((3, 4, 8), (3, 8, 5), 2 * 3 * 4 * 8 * 5),
    ],
)
def test_every_row_of_a_run_is_multiplied_once(
    left: tuple[int, ...], right: tuple[int, ...], flops: int
) -> None:
    assert flops_of_grouped_matmul(left, right) == flops


def test_operations_that_torchs_counter_would_pass_over_are_not_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counting, "UNCOUNTED", ("embedding",))
    found = described(users("bigram"))
    assert found.flops_per_token is None
    assert "embedding" in (found.flops_reason or "")


@pytest.mark.xdist_group("transformers")
@pytest.mark.parametrize(
    ("target", "changes", "says"),
    [
        ("LlamaForCausalLM", {"model_type": "qwen3"}, "of model_type llama, and its config of qw"),
        ("LlamaForCausalLM", {"hidden_act": "foo"}, "hidden_act: transformers knows no 'foo'"),
        ("LlamaForCausalLM", {"num_attention_heads": 3, "head_dim": None}, "hidden size"),
        ("MixtralForCausalLM", {"num_experts_per_tok": 9}, "num_experts_per_tok=9 is more than"),
    ],
)
def test_a_config_that_its_class_refuses_is_told_with_the_reason(
    target: str, changes: dict[str, Any], says: str
) -> None:
    pytest.importorskip("transformers", minversion="5.0")
    with pytest.raises(BadModel) as caught:
        described(theirs(target, **{**LLAMA, **changes}))
    assert says in str(caught.value)
    assert caught.value.hint


@pytest.mark.xdist_group("transformers")
def test_a_key_that_a_config_would_swallow_is_refused_with_its_neighbour() -> None:
    pytest.importorskip("transformers")
    with pytest.raises(BadModel, match="num_hiden_layers") as caught:
        described(theirs(num_hiden_layers=2))
    assert "num_hidden_layers" in caught.value.hint


@pytest.mark.xdist_group("transformers")
def test_a_class_that_is_not_there_is_refused_with_its_neighbour() -> None:
    pytest.importorskip("transformers")
    with pytest.raises(BadModel, match="no model class LlamaForCausalLMs") as caught:
        described(theirs("LlamaForCausalLMs"))
    assert "LlamaForCausalLM" in caught.value.hint


@pytest.mark.xdist_group("transformers")
def test_dropout_is_left_out_unless_it_was_asked_for() -> None:
    pytest.importorskip("transformers")
    sizes: dict[str, Any] = {"n_layer": 1, "n_embd": 32, "n_head": 2, "vocab_size": 128}
    plain = build_external(theirs("GPT2LMHeadModel", **sizes), seed=1)
    asked = build_external(theirs("GPT2LMHeadModel", **sizes, resid_pdrop=0.25), seed=1)
    rates = [
        {m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)}
        for model in (plain, asked)
    ]
    assert rates[0] == {0.0}
    assert 0.25 in rates[1]


def test_the_same_seed_draws_the_same_weights() -> None:
    one, same, other = (build_external(users("bigram"), seed) for seed in (1, 1, 2))
    assert torch.equal(one.head.weight, same.head.weight)  # type: ignore[arg-type, union-attr]
    assert not torch.equal(one.head.weight, other.head.weight)  # type: ignore[arg-type, union-attr]


@pytest.mark.xdist_group("transformers")
def test_a_classs_loss_is_the_mean_over_every_target() -> None:
    pytest.importorskip("transformers")
    external = theirs()
    module = build_external(external, seed=1)
    tokens = torch.arange(24).reshape(2, 12)
    losses = ExternalObjective(module, external, "fp32")(tokens, tokens + 1)
    logits = module(input_ids=tokens).logits.flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(logits, (tokens + 1).flatten())
    assert losses.cross_entropy.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "pure_bf16"])
def test_an_external_model_stands_in_the_types_of_its_precision(precision: Any) -> None:
    backend = CpuBackend.open(Claim(precision=precision, threads=1))
    objective = build_objective(order_of(users("bigram"), precision=precision), backend)
    kept = {p.dtype for p in objective.parameters()}
    assert kept == {torch.bfloat16 if precision == "pure_bf16" else torch.float32}
    assert not is_tied(objective.model)


def test_the_gate_holds_an_external_model_against_itself_on_the_cpu(tmp_path: Path) -> None:
    external = users("bigram")
    base = make_order(sequence_length=32)
    gate = GateOrder(
        shape=None, external=external, sequence_length=32, sequences_a_pass=2, passes=2, steps=3,
        optimizer=base.optimizer,
    )  # fmt: skip
    order = replace(order_of(external), gate=gate)
    told = run_parity_gate(order, CpuBackend.open(Claim(threads=1)), tmp_path)
    assert [point.start for point in told["points"]] == ["production"]
    assert told["losses"] == pytest.approx(told["reference_losses"], rel=1e-5)
    assert all(point.worst_distance < 1e-5 for point in told["points"])
    assert not list(tmp_path.iterdir())  # its code may change under the same name


@pytest.mark.parametrize(("function", "what"), [("nan", "no numbers"), ("constant", "none")])
def test_the_gate_blames_an_external_model_without_gradients(function: str, what: str) -> None:
    external = users(function)
    gate = GateOrder(
        shape=None, external=external, sequence_length=32, sequences_a_pass=2, passes=1, steps=1,
        optimizer=make_order().optimizer,
    )  # fmt: skip
    with pytest.raises(BadModel, match=f"the gradients of its first tokens are {what}"):
        run_parity_gate(
            replace(order_of(external), gate=gate), CpuBackend.open(Claim(threads=1)), None
        )


def test_a_child_trains_an_external_model_from_its_order(tmp_path: Path) -> None:
    order = order_of(users("bigram"), threads=1)
    ended = run_child(
        tmp_path,
        Train(order=order),
        commands=[RunBlock(steps=2, purpose="measure"), Finish()],
    )
    assert ended.kinds[-2:] == ["memory", "finished"], ended.records[-1]
    (built,) = [record for record in ended.records if record.kind == "built"]
    assert built.parameter_count == 128 * 32 + 32 * 128 + 128


def test_a_child_says_what_an_external_model_is_and_imports_no_more_than_it_must(
    tmp_path: Path,
) -> None:
    task = DescribeModel(external=users("lossless"), sequence_length=16)
    assert run_child(tmp_path, task).records[-1].reason == "bad_model"
    ended = run_child(tmp_path, replace(task, external=users("bigram")))
    assert ended.kinds[-2:] == ["described", "finished"]
    assert ended.records[-2].parameter_count > 0
