"""One optimizer step: its arithmetic, its learning rate, its groups and its number formats."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from torch.utils._python_dispatch import TorchDispatchMode

from tests.pure.train.orders import (
    BERT,
    GPT2,
    LLAMA,
    MOE,
    SETTINGS,
    STREAM,
    VIT,
    make_order,
    order_of,
)
from trnbench.protocol.model import ModelShape
from trnbench.protocol.orders import Finish, Precision, RunBlock, StepSettings, WorkOrder
from trnbench.train import loop, worker
from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.build import build_objective, make_stream
from trnbench.train.data import TokenStream
from trnbench.train.loop import StepOutcomes, StepTokens, TrainingStep, prepare_tokens
from trnbench.train.models import build_model
from trnbench.train.optimizer import MasterAdamW, make_adamw
from trnbench.train.parallel.mesh import ALONE_MESH

SHAPES = [LLAMA, GPT2, MOE, BERT, VIT]


def make_step(order: WorkOrder) -> tuple[torch.nn.Module, TrainingStep]:
    backend = CpuBackend(Claim(precision=order.precision))
    objective = build_objective(order, backend)
    return objective.model, TrainingStep(objective, order, backend)


def make_tokens(order: WorkOrder, first: int, steps: int) -> list[StepTokens]:
    return prepare_tokens(make_stream(order), order, first, steps, CpuBackend(Claim()))


def run_steps(order: WorkOrder, steps: int) -> tuple[torch.nn.Module, StepOutcomes]:
    model, step = make_step(order)
    outcomes = StepOutcomes()
    for tokens in make_tokens(order, 0, steps):
        step.run(tokens, outcomes)
    return model, outcomes


def optimizer_of(step: TrainingStep) -> torch.optim.Optimizer | MasterAdamW:
    return step._optimizer


def test_a_step_is_the_textbook_one() -> None:
    order = make_order(optimizer=replace(SETTINGS, lr_warmup_steps=0, gradient_clip_norm=0.5))
    model, outcomes = run_steps(order, 3)

    plain = build_model(order.own_shape, order.sequence_length, order.seed)
    parameters = list(plain.parameters())
    moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in parameters]
    for number, tokens in enumerate(make_tokens(order, 0, 3), start=1):
        ((inputs, targets, _),) = tokens.passes
        loss = F.cross_entropy(plain(inputs).transpose(1, 2), targets)
        gradients = torch.autograd.grad(loss, parameters)
        norm = torch.stack([(g * g).sum() for g in gradients]).sum().sqrt()
        assert outcomes.losses[number - 1].item() == pytest.approx(loss.item(), rel=1e-6)
        assert outcomes.gradient_norms[number - 1].item() == pytest.approx(norm.item(), rel=1e-5)
        assert norm.item() > 0.5, "nothing is clipped, so clipping is not tested"
        with torch.no_grad():
            for p, g, (m, v) in zip(parameters, gradients, moments, strict=True):
                g = g * 0.5 / (norm + 1e-6)
                m.lerp_(g, 1 - SETTINGS.beta1)
                v.lerp_(g * g, 1 - SETTINGS.beta2)
                decay = SETTINGS.weight_decay if p.ndim >= 2 else 0.0
                p.mul_(1 - SETTINGS.learning_rate * decay)
                mean = m / (1 - SETTINGS.beta1**number)
                spread = (v / (1 - SETTINGS.beta2**number)).sqrt() + SETTINGS.epsilon
                p.sub_(SETTINGS.learning_rate * mean / spread)
    for (name, ours), expected in zip(model.named_parameters(), parameters, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=2e-6, msg=name)


@pytest.mark.parametrize("shape", [LLAMA, GPT2], ids=["llama", "gpt2"])
def test_accumulated_passes_equal_one_big_batch(shape: Any) -> None:
    big = make_order(shape, micro_batch_size=8, gradient_accumulation_steps=1)
    small = make_order(shape, micro_batch_size=2, gradient_accumulation_steps=4)
    one, of_one = run_steps(big, 3)
    other, of_other = run_steps(small, 3)
    assert torch.stack(of_one.losses).allclose(torch.stack(of_other.losses), rtol=1e-5)
    norms = torch.stack(of_one.gradient_norms), torch.stack(of_other.gradient_norms)
    assert norms[0].allclose(norms[1], rtol=1e-4)
    for (name, a), (_, b) in zip(one.named_parameters(), other.named_parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5, msg=name)


def test_each_step_has_the_next_sequences_of_the_stream_and_none_is_used_twice() -> None:
    order = make_order(micro_batch_size=2, gradient_accumulation_steps=3)
    prepared = make_tokens(order, 4, 2)
    assert [len(tokens.passes) for tokens in prepared] == [3, 3]
    inputs = torch.cat([inputs for tokens in prepared for inputs, _, _ in tokens.passes])
    targets = torch.cat([targets for tokens in prepared for _, targets, _ in tokens.passes])
    batch = TokenStream(STREAM, LLAMA.vocabulary_size, order.sequence_length).batch(4 * 6, 2 * 6)
    assert torch.equal(inputs, batch.inputs)
    assert torch.equal(targets, batch.targets)
    assert sum(t.oracle_loss for t in prepared) / 2 == pytest.approx(batch.oracle_loss)


def test_the_learning_rate_rises_evenly_and_stays() -> None:
    order = make_order(optimizer=replace(SETTINGS, learning_rate=0.8, lr_warmup_steps=4))
    _, step = make_step(order)
    seen = []
    for tokens in make_tokens(order, 0, 6):
        step.run(tokens, StepOutcomes())
        seen.append([group["lr"] for group in optimizer_of(step).param_groups])
    assert seen == [pytest.approx([part] * 2) for part in (0.2, 0.4, 0.6, 0.8, 0.8, 0.8)]
    assert step.steps_done == 6


def test_without_warm_up_the_first_step_has_the_whole_learning_rate() -> None:
    order = make_order(optimizer=replace(SETTINGS, learning_rate=0.5, lr_warmup_steps=0))
    _, step = make_step(order)
    step.run(make_tokens(order, 0, 1)[0], StepOutcomes())
    assert {group["lr"] for group in optimizer_of(step).param_groups} == {0.5}


@pytest.mark.parametrize("shape", [LLAMA, GPT2], ids=["llama", "gpt2"])
def test_weight_decay_is_for_matrices_alone_and_leaves_none_out(shape: Any) -> None:
    model = build_model(shape, 16, 1)
    optimizer = make_adamw(list(model.parameters()), replace(SETTINGS, weight_decay=0.25), "fused")
    decay_of = {
        id(parameter): group["weight_decay"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    for name, parameter in model.named_parameters():
        expected = 0.0 if "norm" in name or name.endswith("bias") else 0.25
        assert decay_of.pop(id(parameter)) == expected, name
    assert decay_of == {}


def test_the_norm_is_told_before_clipping_and_the_gradient_is_clipped() -> None:
    tight = make_order(optimizer=replace(SETTINGS, gradient_clip_norm=1e-6))
    loose = make_order(optimizer=replace(SETTINGS, gradient_clip_norm=1e6))
    _, clipped = run_steps(tight, 1)
    _, free = run_steps(loose, 1)
    assert clipped.gradient_norms[0].item() == free.gradient_norms[0].item() > 0.1


@pytest.mark.parametrize(
    ("precision", "kept"),
    [("fp32", torch.float32), ("bf16", torch.float32), ("pure_bf16", torch.bfloat16)],
)
def test_weights_and_moments_have_the_precision_s_type(
    precision: Precision, kept: torch.dtype
) -> None:
    order = make_order(precision=precision)
    model, step = make_step(order)
    step.run(make_tokens(order, 0, 1)[0], StepOutcomes())
    assert {p.dtype for p in model.parameters()} == {kept}
    state = optimizer_of(step).state
    assert len(state) == len(list(model.parameters()))
    assert {s[moment].dtype for s in state.values() for moment in ("exp_avg", "exp_avg_sq")} == {
        kept
    }


class Noted(TorchDispatchMode):
    """Notes the type of number of every matrix product, forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, torch.dtype]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        name = func.__name__.partition(".")[0]
        if name in ("mm", "addmm", "bmm", "_grouped_mm"):
            self.seen.append((name, made.dtype))
        elif name.startswith("_scaled_dot_product"):
            self.seen.extend((name, part.dtype) for part in (*args[:3], made[0]))
        return made


@pytest.mark.parametrize(
    ("precision", "products"),
    [
        ("fp32", torch.float32),
        ("bf16", torch.bfloat16),
        ("pure_bf16", torch.bfloat16),
        ("bf16_master", torch.bfloat16),
    ],
)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.family)
@pytest.mark.parametrize("chunk", [None, 8])
def test_every_matrix_product_is_made_in_the_precision_s_type(
    shape: ModelShape,
    precision: Precision,
    products: torch.dtype,
    chunk: int | None,
) -> None:
    order = order_of(shape, precision=precision, step=StepSettings(loss_chunk_rows=chunk))
    _, step = make_step(order)
    (tokens,) = make_tokens(order, 0, 1)
    with Noted() as noted:
        step.run(tokens, StepOutcomes())
    assert {dtype for _, dtype in noted.seen} == {products}
    per_block = {"llama": 7, "gpt2": 4, "moe": 5, "bert": 4, "vit": 4}[shape.family]
    by_weights = [name for name, _ in noted.seen if name in ("mm", "addmm")]
    assert len(by_weights) >= 3 * (shape.layers * per_block + 1)


@pytest.mark.parametrize("precision", ["bf16", "pure_bf16"])
def test_the_loss_is_taken_in_fp32_whatever_the_logits_are(precision: Precision) -> None:
    order = make_order(precision=precision)
    _, outcomes = run_steps(order, 1)
    model, _ = make_step(order)
    ((inputs, targets, _),) = make_tokens(order, 0, 1)[0].passes
    logits = model(inputs)
    assert logits.dtype == torch.bfloat16
    in_fp32 = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
    assert outcomes.losses[0].dtype == torch.float32
    assert outcomes.losses[0].item() == pytest.approx(in_fp32.item(), rel=1e-6)
    assert in_fp32.item() != in_fp32.bfloat16().item(), "bf16 would have held it too"


def test_no_gradient_is_left_over_for_the_next_step() -> None:
    order = make_order()
    model, step = make_step(order)
    step.run(make_tokens(order, 0, 1)[0], StepOutcomes())
    assert [p.grad for p in model.parameters()] == [None] * len(list(model.parameters()))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "pure_bf16"])
def test_the_same_order_gives_the_same_losses_to_the_bit(precision: Precision) -> None:
    order = make_order(precision=precision)
    _, one = run_steps(order, 3)
    _, other = run_steps(order, 3)
    assert torch.equal(torch.stack(one.losses), torch.stack(other.losses))


# --- faults that no run can see ------------------------------------------------------------------


def test_late_steps_move_the_weights_as_early_ones_do() -> None:
    """The parity gate sees the first twenty steps alone."""
    order = make_order()
    model, step = make_step(order)
    for number, tokens in enumerate(make_tokens(order, 0, 60)):
        before = [parameter.detach().clone() for parameter in model.parameters()]
        step.run(tokens, StepOutcomes())
        moved = [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
        assert all(moved), f"step {number}"


@pytest.mark.parametrize(("recompute", "times"), [("none", 1), ("full", 2)])
def test_each_block_runs_as_often_as_was_asked_for(recompute: Any, times: int) -> None:
    order = order_of(LLAMA, step=StepSettings(recompute=recompute))
    model, step = make_step(order)
    calls: list[int] = []
    block: Any = model.get_submodule("blocks.0")
    block.register_forward_pre_hook(lambda *_: calls.append(1))
    (tokens,) = make_tokens(order, 0, 1)
    step.run(tokens, StepOutcomes())
    assert len(calls) == times * order.gradient_accumulation_steps


def test_no_token_is_made_while_the_clock_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    order, said = make_order(gate=None), list[str]()
    _, step = make_step(order)

    def noted(name: str, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            said.append(name)
            made = function(*arguments, **options)
            said.append(f"{name} ends")
            return made

        return call

    monkeypatch.setattr(loop, "timed_block", noted("timing", loop.timed_block))
    monkeypatch.setattr(loop, "prepare_tokens", noted("tokens", loop.prepare_tokens))
    commands = [RunBlock(steps=2, purpose="measure"), Finish()]
    channel = SimpleNamespace(
        receive=lambda: commands.pop(0), now=lambda: 0.0, send=lambda *_, **__: None
    )
    backend = CpuBackend(Claim())
    worker._obey(order, step, make_stream(order), backend, ALONE_MESH, cast(Any, channel))
    assert said == ["tokens", "tokens ends", "timing", "timing ends"]
