"""Predicted memory beside torch's own count of what is alive, on the fullest rank."""

from dataclasses import replace

import pytest

from trnbench.catalog.models import models
from trnbench.model.memory import predict_memory
from trnbench.protocol.orders import Recompute, StepSettings
from trnbench.protocol.parallel import Layout
from trnbench.units import GIB

SHAPE = replace(models()["llama3-8b"].shape, layers=8)


@pytest.mark.parametrize(
    ("layout", "recompute", "passes", "counted_gib"),
    [  # printed by benchmarks/memory.py
        (Layout(pipeline_parallel_size=4), "none", 8, 25.06),
        (Layout(pipeline_parallel_size=4), "full", 8, 20.69),
        (Layout(pipeline_parallel_size=4, pipeline_schedule="gpipe"), "none", 8, 52.32),
        (Layout(pipeline_parallel_size=4, pipeline_stages_per_rank=2,
                pipeline_schedule="interleaved_1f1b"), "none", 8, 30.12),
        (Layout(pipeline_parallel_size=4, pipeline_schedule="zero_bubble"), "none", 8, 40.22),
        (Layout(pipeline_parallel_size=4, pipeline_schedule="zero_bubble"), "full", 8, 39.06),
        (Layout(pipeline_parallel_size=2, tensor_parallel_size=4), "none", 8, 8.29),
        (Layout(pipeline_parallel_size=2, data_parallel_shard_size=4), "none", 4, 18.75),
    ],
)  # fmt: skip
def test_the_fullest_rank_of_a_pipeline_needs_what_torch_counts(
    layout: Layout, recompute: Recompute, passes: int, counted_gib: float
) -> None:
    found = predict_memory(
        SHAPE,
        sequence_length=4096,
        micro_batch_size=1,
        precision="bf16",
        layout=layout,
        passes=passes,
        step=StepSettings(recompute=recompute, loss_chunk_rows=2048),
    )
    assert found.total_bytes / GIB == pytest.approx(counted_gib, rel=0.1)


@pytest.mark.parametrize(
    ("layout", "counted_gib"),
    [  # printed by benchmarks/memory.py
        (Layout(context_parallel_size=4), 9.93),
        (Layout(context_parallel_size=4, data_parallel_replicate_size=2), 9.93),
        (Layout(context_parallel_size=4, tensor_parallel_size=2), 5.06),
    ],
)
def test_the_state_is_shared_out_over_context_ranks(layout: Layout, counted_gib: float) -> None:
    found = predict_memory(
        models()["llama3.2-1b"].shape,
        sequence_length=4096,
        micro_batch_size=1,
        precision="bf16",
        layout=layout,
        step=StepSettings(loss_chunk_rows=2048),
    )
    assert found.total_bytes / GIB == pytest.approx(counted_gib, rel=0.1)
