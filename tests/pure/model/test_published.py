"""The MFU of published runs in our convention, beside what their sources print."""

import dataclasses

import pytest

from trnbench.catalog.published import PublishedResult, published_results
from trnbench.model.published import published_shape, published_utilization

ROWS = {run.name: run for run in published_results()}


def of(publication: str, **fields: object) -> list[PublishedResult]:
    return [
        run
        for run in ROWS.values()
        if run.publication == publication
        and all(getattr(run, key) == value for key, value in fields.items())
    ]


def test_vendors_who_count_as_we_do_print_our_tflops() -> None:
    # Megatron-Bridge counts causal attention and the head; some releases round tokens/s.
    found = 0
    for run in of("Megatron-Bridge", architecture="dense"):
        ours = published_utilization(run)
        if run.is_adapter_training or ours.mfu is None or run.tflops_per_accelerator is None:
            continue
        assert ours.peak_flops_per_second
        found += 1
        assert ours.mfu * ours.peak_flops_per_second / 1e12 == pytest.approx(
            run.tflops_per_accelerator, rel=0.05
        ), run.name
    assert found >= 30


def test_a_source_that_counts_all_keys_prints_more() -> None:
    for run in of("LLM Foundry", precision="bf16", accelerator="A100"):
        ours = published_utilization(run)
        assert ours.mfu is not None
        assert run.mfu_percent is not None
        assert ours.mfu < run.mfu_percent / 100, run.name


def test_every_run_has_a_utilization_or_a_reason() -> None:
    for run in ROWS.values():
        ours = published_utilization(run)
        assert (ours.mfu is None) == (ours.reason is not None), run.name
        assert ours.mfu is None or 0 < ours.mfu < 1, run.name


def test_what_no_shape_of_ours_describes_has_a_reason() -> None:
    deepseek = next(run for run in ROWS.values() if run.model.startswith("DeepSeek"))
    assert published_shape(deepseek) == (
        None,
        "DeepSeek-V3-671B: its attention (MLA) is of no family here",
    )


def test_a_rate_comes_from_the_time_of_a_step() -> None:
    run = next(run for run in of("LLM Foundry") if run.global_batch_size)
    assert run.global_batch_size
    assert run.sequence_length
    assert run.tokens_per_second
    seconds = run.global_batch_size * run.sequence_length / run.tokens_per_second
    timed = dataclasses.replace(
        run,
        tokens_per_second=None,
        tokens_per_second_per_accelerator=None,
        step_seconds=seconds,
    )
    ours = published_utilization(run).mfu
    assert ours is not None
    assert published_utilization(timed).mfu == pytest.approx(ours)
