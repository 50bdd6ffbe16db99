"""The step time that arithmetic expects."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trnbench.catalog.models import models
from trnbench.model.flops import flops_per_token
from trnbench.plan.predict import PLANNED_EFFICIENCY, estimate_step_seconds, pipeline_bubble
from trnbench.protocol.parallel import Layout


def test_the_worked_example_of_one_trainium_instance_holds() -> None:
    """Llama 3 8B, 64 ranks of 8,192 tokens on 16 chips of 667 TFLOP/s: 2.53 s at their peak."""
    seconds = estimate_step_seconds(
        flops_per_token=flops_per_token(models()["llama3-8b"].shape, 8192),
        tokens_per_step=64 * 8192,
        chips=16,
        peak_flops_per_second=667e12,
    )
    assert round(seconds * PLANNED_EFFICIENCY, 2) == 2.53
    assert round(seconds, 1) == 4.6


@given(st.floats(1e6, 1e13), st.integers(1, 10**8), st.integers(1, 10_000), st.floats(1e10, 1e16))
def test_more_chips_take_less_and_more_tokens_take_more(
    flops: float, tokens: int, chips: int, peak: float
) -> None:
    def seconds(tokens: int, chips: int) -> float:
        return estimate_step_seconds(
            flops_per_token=flops, tokens_per_step=tokens, chips=chips, peak_flops_per_second=peak
        )

    once = seconds(tokens, chips)
    assert seconds(2 * tokens, chips) == pytest.approx(2 * once)
    assert seconds(tokens, 2 * chips) == pytest.approx(once / 2)
    assert once > flops * tokens / chips / peak


def test_a_pipeline_waits_for_its_first_and_last_passes() -> None:
    assert pipeline_bubble(Layout(), 1) == 0
    assert pipeline_bubble(Layout(pipeline_parallel_size=4), 4) == pytest.approx(0.75)
    interleaved = Layout(pipeline_parallel_size=4, pipeline_stages_per_rank=2)
    assert pipeline_bubble(interleaved, 8) == pytest.approx(3 / 16)
