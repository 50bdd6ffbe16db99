"""Adapters: training begins where the frozen model stands, and they alone are trained."""

from dataclasses import replace
from typing import Any, Literal

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.pure.train.orders import GPT2, LLAMA, MOE, make_order
from tests.torch.train.models.test_counts import (
    SEQUENCES,
    TOKENS,
    adapt_on_meta,
    build_on_meta,
    pass_of,
)
from trnbench.model.flops import FULL_CONVENTION, flops_per_token, lora_parameter_count
from trnbench.protocol.model import ModelShape
from trnbench.protocol.orders import Lora, Precision, StepSettings
from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.build import build_objective, make_stream
from trnbench.train.loop import StepOutcomes, TrainingStep, prepare_tokens
from trnbench.train.models import build_model

ALL = Lora(rank=4, alpha=8.0, targets="all")
CASES = [(LLAMA, ALL), (GPT2, ALL), (MOE, replace(ALL, targets="attention"))]


@pytest.mark.parametrize(("shape", "lora"), CASES, ids=lambda part: getattr(part, "family", ""))
def test_a_fresh_adapter_changes_nothing_and_its_weights_are_those_counted(
    shape: ModelShape, lora: Lora
) -> None:
    plain, adapted = build_model(shape, 16, 1), build_model(shape, 16, 1, StepSettings(lora=lora))
    tokens = torch.arange(16)[None, :]
    assert torch.equal(plain(tokens), adapted(tokens))
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    counted = lora_parameter_count(shape, StepSettings(lora=lora))
    assert sum(p.numel() for p in trained) == counted > 0


@pytest.mark.parametrize("targets", ["attention", "all"])
def test_adapters_are_scaled_by_alpha_over_rank(targets: Literal["attention", "all"]) -> None:
    shape, lora = replace(LLAMA, layers=1), Lora(rank=4, alpha=2.0, targets=targets)
    x = torch.randn(3, LLAMA.hidden_size)
    query: Any = build_model(shape, 8, 1).get_submodule("blocks.0.attention.query")
    before = query(x)
    model = build_model(shape, 8, 1, StepSettings(lora=lora))
    adapted: Any = model.get_submodule("blocks.0.attention.query")
    with torch.no_grad():
        adapted.adapter_out.fill_(0.1)
    expected = before + 0.5 * (x @ adapted.adapter_in.T) @ adapted.adapter_out.T
    torch.testing.assert_close(adapted(x), expected)
    assert hasattr(model.get_submodule("blocks.0.mlp.up"), "adapter_in") == (targets == "all")


@pytest.mark.parametrize(
    ("precision", "frozen", "trained"),
    [
        ("fp32", torch.float32, torch.float32),
        ("bf16", torch.bfloat16, torch.float32),
        ("pure_bf16", torch.bfloat16, torch.bfloat16),
    ],
)
def test_a_step_moves_adapters_alone_and_what_is_frozen_is_as_narrow_as_products_read_it(
    precision: Precision, frozen: torch.dtype, trained: torch.dtype
) -> None:
    order = make_order(precision=precision, step=StepSettings(lora=ALL))
    backend = CpuBackend(Claim(precision=precision))
    objective = build_objective(order, backend)
    before = {name: p.detach().clone() for name, p in objective.named_parameters()}
    step, outcomes = TrainingStep(objective, order, backend), StepOutcomes()
    for tokens in prepare_tokens(make_stream(order), order, 0, 2, backend):
        step.run(tokens, outcomes)
    for name, parameter in objective.named_parameters():
        is_adapter = "adapter_" in name
        assert parameter.dtype == (trained if is_adapter else frozen), name
        assert torch.equal(parameter, before[name]) != is_adapter, name


@pytest.mark.parametrize("shape", [LLAMA, GPT2], ids=["llama", "gpt2"])
@pytest.mark.parametrize("targets", ["attention", "all"])
def test_frozen_products_cost_four_a_weight_and_adapters_six(
    shape: ModelShape, targets: Literal["attention", "all"]
) -> None:
    lora = replace(ALL, targets=targets)
    model = build_on_meta(shape)
    adapt_on_meta(model, lora)
    with FlopCounterMode(display=False) as counter:
        pass_of(shape)(model).backward()
    step = StepSettings(lora=lora)
    told = SEQUENCES * TOKENS * flops_per_token(shape, TOKENS, FULL_CONVENTION, step)
    # What comes out of a frozen embedding asks for no gradient: the first products of the first
    # block spare theirs, and so do the adapters beside them.
    d, q, kv = shape.hidden_size, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    products = 1 if shape.family == "gpt2" else 3
    spared = 2 * SEQUENCES * TOKENS * (d * (q + 2 * kv) + products * lora.rank * d)
    assert counter.get_total_flops() == pytest.approx(told - spared, rel=1e-12)
