"""A plan as text: what was asked for and what `auto` came to stands there before it is run."""

import pytest

from tests.builders import CORES, H100S, make_job_plan
from tests.pure.run.plans import CPU, H100, plan_case
from trnbench.analysis.idle import idle_note
from trnbench.protocol.parallel import Layout
from trnbench.protocol.records import FoundDevice
from trnbench.reports import plans, render
from trnbench.reports.document import Page
from trnbench.schema.plan import Plan


def line_of(
    name: str, overrides: dict[str, str], found: tuple[FoundDevice, ...] | None = (CPU,)
) -> str | None:
    """Return what a plan's line of this name says; None where there is none."""
    return line_of_plan(name, plan_case(overrides, found=found))


def line_of_plan(name: str, plan: Plan) -> str | None:
    text = render(plans.REPORT, [plan], "terminal", Page(width=1000))
    lines = (line[2:].partition("  ") for line in text.splitlines()[1:])
    return next((said.strip() for called, _, said in lines if called == name), None)


def test_what_auto_came_to_is_shown() -> None:
    assert line_of("execution", {}) == (
        "eager, activation checkpointing none, loss plain, AdamW by the device's own choice"
    )
    assert line_of("also", {}) is None


def test_what_was_asked_for_is_shown() -> None:
    asked = {
        "workload.execution": "compile",
        "workload.activation_checkpointing": "full",
        "workload.loss_chunk_tokens": "256",
        "workload.adamw": "foreach",
    }
    assert line_of("execution", asked) == (
        "compile, activation checkpointing full, loss chunked by 256 tokens, AdamW foreach"
    )


def test_what_is_not_there_by_default_has_a_line_of_its_own() -> None:
    asked = {"workload.document_length": "64", "workload.lora.rank": "8"}
    assert line_of("also", asked) == (
        "documents of 64 tokens packed, adapters of rank 8 (all), the rest frozen"
    )


def test_without_a_device_it_says_that_none_was_looked_at() -> None:
    said = line_of("execution", {}, found=None)
    assert said is not None
    assert said.startswith("eager (no device was inspected), ")
    said = line_of("execution", {}, found=(H100,))
    assert said is not None
    assert said.startswith("compile, ")


@pytest.mark.parametrize(
    ("overrides", "end"),
    [
        ({"workload.activation_checkpointing": "full"}, " more for recomputation"),
        (
            {"model": "tiny-moe", "workload.expert_capacity": "2"},
            " more for experts' empty places",
        ),
        ({}, "by matmul-full-v1"),
    ],
)
def test_operations_that_are_done_beyond_the_counted_ones_are_shown(
    overrides: dict[str, str], end: str
) -> None:
    said = line_of("operations", overrides)
    assert said is not None
    assert said.endswith(end)


def test_one_billed_chip_is_not_written_as_several() -> None:
    asked = {"device": "neuron", "price.instance": "trn2.3xlarge"}
    assert str(line_of("device", asked, found=None)).endswith("1 x trn2.3xlarge (1 chip)")


def test_the_layout_of_a_job_is_shown_with_its_reason_and_its_devices() -> None:
    layout = Layout(data_parallel_shard_size=16, tensor_parallel_size=4)
    whole = CORES.model_copy(update={"devices_used": 64, "chips_used": 16})
    plan = make_job_plan(layout, whole)
    assert line_of_plan("ranks", plan) == (
        "64 = shard 16 x tensor 4 (weights and moments do not fit one device)"
    )
    assert line_of_plan("device", plan) == (
        "neuron, 64 devices of 16 x trainium2; billed: 1 x trn2.48xlarge (16 chips)"
    )
    assert "on the fullest rank" in str(line_of_plan("memory", plan))
    assert line_of_plan("idle", plan) is None


def test_a_plan_that_leaves_devices_idle_says_what_that_costs() -> None:
    plan = make_job_plan(Layout(), CORES)
    assert line_of_plan("idle", plan) == idle_note(CORES)
    assert str(line_of_plan("device", plan)).startswith("neuron, 1 device of 1 x trainium2; billed")
    assert "on the device" in str(line_of_plan("memory", plan))
    assert line_of_plan("device", make_job_plan(Layout(data_parallel_shard_size=8), H100S)) == (
        "cuda, 8 x h100-sxm; billed: 1 x p5.48xlarge (8 chips)"
    )


@pytest.mark.parametrize(
    ("layout", "said"),
    [
        (Layout(), "one device"),
        (Layout(data_parallel_shard_size=8, reshard_after_forward=False),
         "shard 8, weights stay gathered after the forward pass"),
        (Layout(tensor_parallel_size=4, expert_parallel_size=4, sequence_parallel=False),
         "tensor 4, experts over 4 ranks, without sequence parallelism"),
        (Layout(pipeline_parallel_size=2, data_parallel_replicate_size=2, context_parallel_size=2,
                pipeline_schedule="interleaved_1f1b", pipeline_stages_per_rank=2),
         "pipeline 2 x replicate 2 x context 2, schedule interleaved_1f1b, 2 stages a rank"),
    ],
)  # fmt: skip
def test_a_layout_in_words_has_what_is_not_the_default(layout: Layout, said: str) -> None:
    device = H100S.model_copy(update={"devices_used": layout.world_size})
    assert make_job_plan(layout, device).parallel.in_words == said
