"""The ways that a config leaves open, and the planner's order of them."""

from collections.abc import Mapping

import pytest

from tests.configs import parse_config
from tests.pure.run.plans import CPU, H100, SUITE, TODAY, make_machine
from trnbench.errors import ConfigError, UnavailableError
from trnbench.machine.describe import Devices
from trnbench.plan.make import plan_all
from trnbench.protocol.records import FoundDevice
from trnbench.tune.space import (
    EXECUTION,
    MICRO,
    RECOMPUTE,
    Space,
    check_swept,
    make_space,
    open_sizes,
)

LARGE = """\
model: llama3-8b
workload: {sequence_length: 8192, global_batch_size: 64, execution: eager}
"""


def space_of(
    overrides: Mapping[str, str] | None = None,
    *,
    text: str = SUITE,
    found: FoundDevice = CPU,
    has_chips: bool = True,
) -> Space:
    cases = open_sizes(parse_config(text, "suite.yaml", overrides))
    check_swept(cases)
    devices = Devices((found,), {"torch": "2.13.0"})
    machine = make_machine(has_chips=has_chips)
    return make_space(
        cases,
        lambda case: plan_all([case], machine=machine, devices=devices, today=TODAY)[0],
    )


def values_of(space: Space, key: str) -> set[object]:
    return {way.settings[key] for way in space.ways}


def test_what_is_open_is_searched_and_the_work_stays() -> None:
    space = space_of()
    assert values_of(space, MICRO) == {1, 2, 4, 8}
    assert values_of(space, RECOMPUTE) == {"none", "selective", "full"}
    assert values_of(space, EXECUTION) == {"eager", "compile"}
    assert len(space.ways) == 24
    assert {way.plan.workload.tokens_per_step for way in space.ways} == {1024}
    assert {way.plan.workload.precision for way in space.ways} == {"fp32"}
    assert space.is_guessed
    first = space.ways[0].settings
    assert (first[MICRO], first[RECOMPUTE], first[EXECUTION]) == (8, "none", "eager")


def test_what_is_written_is_not_searched_and_max_is_open() -> None:
    space = space_of({"workload.execution": "eager", "workload.micro_batch_size": "max"})
    assert space.keys == [MICRO, RECOMPUTE]
    assert space.say(space.ways[0]) == "micro_batch_size=8, activation_checkpointing=none"


def test_a_sweep_adds_what_is_not_open_by_itself() -> None:
    space = space_of({"sweep": "{workload.precision: [fp32, bf16], workload.adamw: [fused]}"})
    assert {way.plan.workload.precision for way in space.ways} == {"fp32", "bf16"}
    assert len(space.ways) == 48


def test_layouts_are_searched_and_ordered_by_the_estimate() -> None:
    space = space_of(text=LARGE, found=H100)
    assert not space.is_guessed
    assert {way.plan.parallel.world_size for way in space.ways} == {8}
    words = {way.plan.parallel.in_words for way in space.ways}
    assert len(words) > 8
    seconds = [way.expected_seconds for way in space.ways]
    assert seconds == sorted(seconds)
    assert space.does_not_fit > 0
    assert all(way.plan.prediction.memory_verdict != "does_not_fit" for way in space.ways)


def test_a_host_too_small_for_some_ways_leaves_them_out_and_for_all_is_refused() -> None:
    text = LARGE.replace("llama3-8b", "llama3.2-1b")
    small = space_of(text=text, found=H100, has_chips=False)
    assert small.does_not_fit > space_of(text=text, found=H100).does_not_fit
    copies = {"parallel.data_parallel_replicate_size": "8"}
    with pytest.raises(UnavailableError, match="this machine has 16 GiB"):
        space_of(copies, text=LARGE, found=H100, has_chips=False)


def test_a_layout_that_is_written_stays() -> None:
    space = space_of({"parallel.data_parallel_shard_size": "8"}, text=LARGE, found=H100)
    assert {way.plan.parallel.in_words for way in space.ways} == {
        space.ways[0].plan.parallel.in_words
    }


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"sweep": "{model: [tiny-llama, tiny-gpt2]}"}, "sweep.model: tune cannot search it"),
        (
            {"sweep": "{workload.precision: [fp32, bf16]}", "measure.gate": "false"},
            "the parity gate decides",
        ),
        (
            {
                "workload.micro_batch_size": "8",
                "workload.activation_checkpointing": "none",
                "workload.execution": "eager",
            },
            "there is nothing to search",
        ),
    ],
)
def test_what_is_no_search_is_refused(overrides: Mapping[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        space_of(overrides)


def test_a_space_of_which_nothing_fits_is_refused() -> None:
    overrides = {"model": "qwen3-14b", "parallel.data_parallel_replicate_size": "8"}
    with pytest.raises(ConfigError, match="ways is predicted to fit"):
        space_of(overrides, text=LARGE, found=H100)
