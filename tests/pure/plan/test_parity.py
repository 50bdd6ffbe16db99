"""The parity model keeps what decides the arithmetic, and nothing of the size."""

import pytest

from tests.each import check_each
from tests.pure.run.plans import plan_case
from tests.pure.train.orders import make_order
from trnbench.catalog.models import models
from trnbench.plan.parity import LEAST_WIDTH, parity_shape, plan_gate
from trnbench.plan.rules import check_shape
from trnbench.protocol.orders import Precision
from trnbench.protocol.parallel import Layout

NAMES = sorted(models())


def test_every_model_of_the_catalog_has_a_small_one_of_its_make() -> None:
    def check(name: str) -> None:
        shape = models()[name].shape
        work = make_order(shape, sequence_length=64)
        small = parity_shape(work, work.own_shape, 64)
        assert small.layers == min(2, shape.layers)
        assert small.head_dim == shape.head_dim
        assert small.heads % small.kv_heads == 0
        assert small.heads // small.kv_heads == shape.heads // shape.kv_heads
        assert small.hidden_size <= shape.hidden_size
        assert small.hidden_size >= min(LEAST_WIDTH, shape.hidden_size)
        assert small.vocabulary_size <= 2048
        check_shape(small)
        wide = shape.intermediate_size / shape.hidden_size
        assert small.intermediate_size / small.hidden_size == pytest.approx(wide, rel=0.07)
        for kept in ("family", "tied_embeddings", "qk_norm", "norm_epsilon", "rope_theta"):
            assert getattr(small, kept) == getattr(shape, kept)

    check_each(NAMES, check)


def test_a_layout_divides_the_small_model_as_it_does_the_case() -> None:
    def check(layout: Layout, precision: Precision) -> None:
        for name in ("llama3-8b", "mixtral-8x7b"):
            work = make_order(
                models()[name].shape, layout=layout, sequence_length=4096, precision=precision
            )
            gate = plan_gate(work)
            small = gate.shape
            assert small is not None
            tensor, stages = layout.tensor_parallel_size, layout.pipeline_parallel_size
            stages *= layout.pipeline_stages_per_rank
            sizes = [small.kv_heads, small.heads, small.vocabulary_size, small.intermediate_size]
            if small.experts is not None:
                sizes.append(small.experts.count)
            assert [size % tensor for size in sizes] == [0] * len(sizes)
            assert small.layers % stages == 0
            assert gate.passes % layout.pipeline_parallel_size == 0
            assert gate.sequence_length % (2 * layout.context_parallel_size * tensor) == 0

    layouts = (
        Layout(tensor_parallel_size=4),
        Layout(tensor_parallel_size=8, context_parallel_size=8),
        Layout(pipeline_parallel_size=4),
        Layout(
            pipeline_parallel_size=4,
            pipeline_stages_per_rank=2,
            pipeline_schedule="interleaved_1f1b",
        ),
    )
    check_each([(each, name) for each in layouts for name in ("fp32", "bf16")], check)


def test_a_plan_orders_a_gate_with_the_case_s_own_optimizer_but_for_its_rate() -> None:
    order = plan_case({"workload.gradient_clip_norm": "0.5"}).order
    assert order.gate == plan_gate(order)
    assert order.gate is not None
    assert order.gate.optimizer.gradient_clip_norm == 0.5
    assert order.gate.optimizer.learning_rate != order.optimizer.learning_rate


def test_a_short_sequence_keeps_its_length() -> None:
    gate = plan_case({"workload.sequence_length": "32"}).order.gate
    assert gate is not None
    assert gate.sequence_length == 32


def test_without_the_gate_a_case_keeps_its_name() -> None:
    without, with_gate = plan_case({"measure.gate": "false"}), plan_case({})
    assert without.order.gate is None
    assert without.case_id == with_gate.case_id
