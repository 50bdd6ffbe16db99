"""A plan as text: what was asked for and what `auto` came to stands there before it is run."""

import pytest

from tests.pure.run.plans import CPU, H100, plan_case
from trnbench.protocol.records import FoundDevice
from trnbench.reports import plans, render
from trnbench.reports.document import Page


def line_of(
    name: str, overrides: dict[str, str], found: tuple[FoundDevice, ...] | None = (CPU,)
) -> str | None:
    """Return what a plan's line of this name says; None where there is none."""
    text = render(plans.REPORT, [plan_case(overrides, found=found)], "terminal", Page(width=1000))
    lines = (line[2:].partition("  ") for line in text.splitlines()[1:])
    return next((said.strip() for called, _, said in lines if called == name), None)


def test_what_auto_came_to_is_shown() -> None:
    assert line_of("carried out", {}) == (
        "execution eager, activation checkpointing none, loss plain, "
        "AdamW by the device's own choice"
    )
    assert line_of("also", {}) is None


def test_what_was_asked_for_is_shown() -> None:
    asked = {
        "workload.execution": "compile",
        "workload.activation_checkpointing": "full",
        "workload.loss_chunk_tokens": "256",
        "workload.adamw": "foreach",
    }
    assert line_of("carried out", asked) == (
        "execution compile, activation checkpointing full, loss chunked by 256 tokens, "
        "AdamW foreach"
    )


def test_what_is_not_there_by_default_has_a_line_of_its_own() -> None:
    asked = {"workload.document_length": "64", "workload.lora.rank": "8"}
    assert line_of("also", asked) == (
        "documents of 64 tokens packed, adapters of rank 8 (all), the rest frozen"
    )


def test_without_a_device_it_says_that_none_was_looked_at() -> None:
    said = line_of("carried out", {}, found=None)
    assert said is not None
    assert said.startswith("execution eager (no device was inspected), ")
    said = line_of("carried out", {}, found=(H100,))
    assert said is not None
    assert said.startswith("execution compile, ")


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
