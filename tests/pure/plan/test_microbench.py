"""From what `trnbench peak` was asked for to what will be timed, by whom."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from trnbench.errors import ConfigError
from trnbench.machine.neuron import OPERATIONS
from trnbench.plan.microbench import COLLECTIVES, MIB, Part, PeakPlan, PeakRequest, plan_peak
from trnbench.protocol.orders import AttentionTask, CollectiveTask, MatmulTask, MoveTask
from trnbench.protocol.records import FoundDevice

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
CPU = FoundDevice(backend="cpu", device_name="a processor", device_count=1, proven=True)
H100 = FoundDevice(
    backend="cuda", device_name="NVIDIA H100 80GB HBM3", device_count=8, proven=False
)
TRN2 = FoundDevice(backend="neuron", device_name="trn2", device_count=64, proven=False)


def plan(found: FoundDevice, **asked: Any) -> PeakPlan:
    request: dict[str, Any] = {
        "device_index": None, "model": None, "batch": None, "sequence_length": None,
        "precisions": ("fp32", "bf16"), "ranks": None, "seconds_per_repeat": 0.1, **asked,
    }  # fmt: skip
    return plan_peak(PeakRequest(**request), found, NOW)


def test_a_processor_is_given_work_of_its_size_and_two_processes() -> None:
    made = plan(CPU)
    alone, together = made.parts
    assert (made.document.model, made.document.tokens) == ("gpt2-124m", 1024)
    assert (alone.ranks, together.ranks) == (1, 2)
    assert {type(task) for task in alone.task.tasks} == {MatmulTask, MoveTask, AttentionTask}
    assert {type(task) for task in together.task.tasks} == {CollectiveTask}
    assert made.by_tool == []
    assert made.document.accelerator is None
    products = [each.task.name for each in alone.planned if each.group == "model"]
    assert made.document.planned_products == tuple(products)
    assert {name.partition(" ")[0] for name in products} == {"fp32", "bf16"}


def test_gpus_are_given_larger_work_and_take_part_in_each_number_that_divides_them() -> None:
    made = plan(H100)
    assert (made.document.model, made.document.tokens) == ("llama3-8b", 8192)
    assert [part.ranks for part in made.parts] == [1, 2, 4, 8]
    assert all(each.ranks == part.ranks for part in made.parts for each in part.planned)
    assert (made.document.accelerator, made.document.devices_per_chip) == ("h100-sxm", 1)


def test_a_part_of_the_machine_is_timed_with_the_smallest_and_the_largest_message() -> None:
    _, two, _, eight = plan(H100).parts

    def sizes(part: Part) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for task in part.task.tasks:
            assert isinstance(task, CollectiveTask)
            found.setdefault(task.operation, []).append(task.whole_bytes)
        return found

    assert set(sizes(two)) == set(sizes(eight)) == set(COLLECTIVES)
    # Of all-reduce the size too that jobs time after their steps.
    assert sizes(two).pop("all_reduce") == [64 * 1024, 16 * MIB, 1024 * MIB]
    others = {name: found for name, found in sizes(two).items() if name != "all_reduce"}
    assert set(map(tuple, others.values())) == {(64 * 1024, 1024 * MIB)}
    assert {len(each) for each in sizes(eight).values()} == {5}
    only = plan(H100, messages_mib=(1.0,)).parts
    assert set(map(tuple, sizes(only[1]).values())) == {(MIB,)}


def test_a_number_of_ranks_that_was_asked_for_is_the_only_one() -> None:
    assert [part.ranks for part in plan(H100, ranks=4).parts] == [1, 4]
    assert [part.ranks for part in plan(CPU, ranks=3).parts] == [1, 3]


def test_collectives_between_neuron_cores_are_left_to_the_vendor_s_tool() -> None:
    made = plan(TRN2)
    assert [part.ranks for part in made.parts] == [1]
    assert sorted({each.ranks for each in made.by_tool}) == [2, 4, 8, 16, 32, 64]
    told = {each.task.operation for each in made.by_tool if isinstance(each.task, CollectiveTask)}
    assert told == set(OPERATIONS), "what the tool is known to time"
    assert (made.document.accelerator, made.document.devices_per_chip) == ("trainium2", 4)


def test_a_number_of_ranks_that_the_runtime_does_not_support_is_left_out_or_refused() -> None:
    trn1 = replace(TRN2, device_name="trn1", device_count=32)
    assert sorted({each.ranks for each in plan(trn1).by_tool}) == [2, 8, 16, 32], "no 4"
    with pytest.raises(ConfigError, match=r"--ranks 4: .* supports 1, 2, 8, 16, 32"):
        plan(trn1, ranks=4)


def test_one_device_has_no_collectives() -> None:
    assert len(plan(CPU, ranks=1).parts) == 1
    assert plan(TRN2, ranks=1).by_tool == []
    assert len(plan(replace(H100, device_count=1)).parts) == 1


def test_sizes_that_were_asked_for_take_the_place_of_the_usual() -> None:
    made = plan(CPU, squares=(64,), array_mib=2, messages_mib=(0.5,), precisions=("bf16",))
    tasks = [each for part in made.parts for each in part.planned]
    assert [each.task.name for each in tasks if each.group == "square"] == ["bf16 square 64"]
    moved = [each.task for each in tasks if isinstance(each.task, MoveTask)]
    assert {each.array_bytes for each in moved} == {2 * 2**20}
    sent = [each.task for each in tasks if isinstance(each.task, CollectiveTask)]
    assert {each.whole_bytes for each in sent} == {2**19}


@pytest.mark.parametrize(
    ("found", "asked", "said"),
    [
        (CPU, {"model": "lama3-8b"}, "--model lama3-8b: is not in the catalog"),
        (CPU, {"sequence_length": 4096}, "--sequence-length 4096: gpt2-124m has 1024"),
        (H100, {"ranks": 9}, "--ranks 9: there are 8 cuda devices here"),
        (CPU, {"model": "vit-b16", "sequence_length": 64}, "makes 197 tokens of an image"),
    ],
)
def test_what_cannot_be_is_refused_with_its_option(
    found: FoundDevice, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        plan(found, **asked)
    assert refused.value.problems[0].hint


def test_a_processor_s_memory_is_never_filled() -> None:
    enough = 3 * 4 * 20_000**2 * 2
    assert plan(CPU, squares=(20_000,), memory_bytes=enough).parts
    with pytest.raises(ConfigError, match=r"--square 20000: takes 4\.47 GiB"):
        plan(CPU, squares=(20_000,), memory_bytes=enough - 1)
    assert plan(H100, squares=(65_536,), memory_bytes=enough).parts, "a GPU says so itself"


def test_a_model_s_products_and_attention_have_room_too() -> None:
    # The head's product is the largest: its operands and its logits, in fp32.
    logits = 4 * (1024 * 768 + 768 * 50257 + 1024 * 50257)
    assert plan(CPU, squares=(64,), array_mib=1, messages_mib=(1.0,), memory_bytes=2 * logits).parts
    for asked in ({"memory_bytes": 2 * logits - 1}, {"batch": 65_536, "memory_bytes": 2**37}):
        with pytest.raises(ConfigError, match=r"--model gpt2-124m, --batch \d+, --seq.*: takes"):
            plan(CPU, squares=(64,), array_mib=1, messages_mib=(1.0,), **asked)
    assert plan(H100, batch=65_536, memory_bytes=2**37).parts, "a GPU says so itself"


def test_fp8_is_timed_in_the_blocks_products_and_the_squares_of_a_gpu_that_has_it() -> None:
    (alone,) = plan(H100, precisions=("fp8",), ranks=1).parts
    products = [task for task in alone.task.tasks if isinstance(task, MatmulTask)]
    assert {task.precision for task in products} == {"fp8"}
    assert not any("head" in task.name for task in products)
    assert not any(isinstance(task, AttentionTask) for task in alone.task.tasks)


@pytest.mark.parametrize(
    ("found", "asked", "says"),
    [
        (CPU, {}, "--precision fp8: cpu has no fp8 matmuls that torch supports"),
        (TRN2, {}, "trainium2 has cFP8"),
        (H100, {"model": "mixtral-8x7b"}, "mixtral-8x7b is moe"),
        (H100, {"squares": (1000,)}, "--square 1000: 1000 is not a multiple of 16"),
        (
            H100,
            {"batch": 1, "sequence_length": 100},
            "--batch times --sequence-length: 100 is not a multiple of 16",
        ),
    ],
)
def test_fp8_is_refused_where_it_cannot_be_timed(
    found: FoundDevice, asked: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        plan(found, precisions=("bf16", "fp8"), **asked)
