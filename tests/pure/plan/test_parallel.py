"""The arithmetic of sizes: what is left, the equation of what cannot be, the nearest that works."""

import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pure.run.plans import CPU, H100, TRN2, conflict_of, plan_case
from trnbench.config.device import DeviceConfig
from trnbench.config.model import AUTO, ParallelConfig
from trnbench.errors import UnavailableError
from trnbench.plan.parallel import KEYS, fill, nearest, read_sizes, say_equation
from trnbench.plan.supply import Supply
from trnbench.protocol.records import FoundDevice
from trnbench.schema.plan import PlannedParallel

TRN2_48 = FoundDevice(backend="neuron", device_name="trn2", device_count=64, proven=False)


def parallel_of(
    sizes: Mapping[str, object], *, found: tuple[FoundDevice, ...] = (CPU,), **more: str
) -> PlannedParallel:
    """Plan a model of eight heads and four layers, in steps of 64 sequences of one a pass."""
    keys = {
        "model": "{base: tiny-llama, heads: 8, kv_heads: 8, layers: 4}",
        "workload.global_batch_size": "64",
        "workload.micro_batch_size": "1",
        **{f"parallel.{key}": str(size) for key, size in sizes.items()},
        **more,
    }
    return plan_case(keys, found=found).parallel


def refusal_of(sizes: Mapping[str, object], found: FoundDevice, **more: str) -> UnavailableError:
    with pytest.raises(UnavailableError) as caught:
        parallel_of(sizes, found=(found, CPU), **more)
    return caught.value


# --- what is left ---------------------------------------------------------------------------------


@pytest.mark.parametrize("auto", ["auto", -1])
@pytest.mark.parametrize(
    ("given", "filled", "size"),
    [
        ({}, "data_parallel_shard_size", 8),
        ({}, "data_parallel_replicate_size", 8),
        ({"tensor_parallel_size": 2}, "data_parallel_shard_size", 4),
        ({"data_parallel_shard_size": 2}, "data_parallel_replicate_size", 4),
        ({"data_parallel_shard_size": 2}, "tensor_parallel_size", 4),
        ({"data_parallel_shard_size": 4}, "pipeline_parallel_size", 2),
        ({"data_parallel_shard_size": 4, "tensor_parallel_size": 2}, "context_parallel_size", 1),
    ],
)
def test_one_size_can_be_what_the_others_leave(
    auto: object, given: dict[str, object], filled: str, size: int
) -> None:
    planned = parallel_of({**given, filled: auto}, found=(H100, CPU))
    assert getattr(planned, filled) == size
    assert planned.world_size == 8
    assert planned.reason == f"{filled} is what the other sizes leave"


def test_two_sizes_cannot_both_be_what_is_left() -> None:
    conflict = conflict_of(
        {"parallel.tensor_parallel_size": "auto", "parallel.data_parallel_shard_size": "-1"}
    )
    assert conflict.path == ("parallel", "data_parallel_shard_size")
    assert "only one size can be what is left" in conflict.message


def test_what_is_left_is_a_world_that_the_runtime_supports() -> None:
    """Six of four cores' groups would be 24: the largest that a trn2 supports below is 16."""
    asked = read_sizes(ParallelConfig(tensor_parallel_size=4, data_parallel_shard_size=AUTO))
    supply = Supply(
        asked=DeviceConfig(kind="neuron"),
        indices=tuple(range(24)),
        total=24,
        worlds=(1, 2, 4, 8, 16, 32, 64),
    )
    assert fill(asked, supply)["shard"] == 4


def test_of_a_processor_one_process_is_left() -> None:
    assert parallel_of({"data_parallel_shard_size": "auto"}).world_size == 1
    two = parallel_of({"data_parallel_shard_size": "auto"}, device="{kind: cpu, count: 2}")
    assert two.data_parallel_shard_size == 2


# --- what cannot be -------------------------------------------------------------------------------


def test_the_error_prints_the_equation_and_what_is_here() -> None:
    found = FoundDevice(backend="neuron", device_name="trn2", device_count=32, proven=False)
    error = refusal_of({"tensor_parallel_size": 4, "data_parallel_shard_size": 16}, found)
    assert str(error) == (
        "parallel: tensor 4 x pipeline 1 x context 1 x replicate 1 x shard 16 = 64 ranks; "
        "32 devices are here"
    )
    assert error.problems[0].hint == (
        "the nearest that works is `data_parallel_shard_size: 8`: "
        "tensor 4 x pipeline 1 x context 1 x replicate 1 x shard 8 = 32 ranks"
    )


def test_the_nearest_divides_the_batch_and_the_model() -> None:
    error = refusal_of(
        {"data_parallel_replicate_size": 9}, H100, **{"workload.global_batch_size": "18"}
    )
    assert "`data_parallel_replicate_size: 6`" in error.problems[0].hint
    error = refusal_of({"tensor_parallel_size": 8}, TRN2)
    assert "`tensor_parallel_size: 4`" in error.problems[0].hint


def test_a_world_that_the_runtime_does_not_support_is_refused() -> None:
    conflict = conflict_of(
        {
            "device": "neuron",
            "price.instance": "trn2.48xlarge",
            "workload.global_batch_size": "48",
            "parallel.data_parallel_shard_size": "48",
        },
        found=None,
    )
    assert conflict.path == ("parallel",)
    assert conflict.message.endswith(
        "shard 48 = 48 ranks; the runtime supports 1, 2, 4, 8, 16, 32 or 64 ranks on one machine"
    )
    assert "`data_parallel_shard_size: 16`" in conflict.hint


def test_sizes_and_devices_that_contradict_each_other_are_refused() -> None:
    keys = {"device": "cuda:2-5", "parallel.data_parallel_shard_size": "8"}
    conflict = conflict_of(keys, found=(H100,))
    assert "shard 8 = 8 ranks; 4 devices are asked for (device: cuda:2-5)" in conflict.message
    assert "`data_parallel_shard_size: 4`" in conflict.hint
    fewer = {"device": "{kind: cuda, count: 8}", "parallel.data_parallel_shard_size": "2"}
    assert "`data_parallel_shard_size: 8`" in conflict_of(fewer, found=(H100,)).hint


# --- what has no effect ---------------------------------------------------------------------------


def test_settings_of_an_axis_that_is_not_there_are_the_defaults() -> None:
    keys = {"sequence_parallel": "false", "reshard_after_forward": "false"}
    assert parallel_of(keys) == parallel_of({})
    split = parallel_of({**keys, "tensor_parallel_size": 2, "data_parallel_shard_size": 2})
    assert not split.sequence_parallel
    assert not split.reshard_after_forward


# --- properties -----------------------------------------------------------------------------------

few = st.integers(1, 12)
sizes = st.fixed_dictionaries({axis: few for axis in KEYS})


@given(sizes, st.integers(1, 200))
def test_the_nearest_works_and_changes_two_sizes_at_most(
    wanted: dict[str, int], limit: int
) -> None:
    def works(each: Mapping[str, int]) -> bool:
        return math.prod(each.values()) <= limit

    found = nearest(wanted, works)  # type: ignore[arg-type]
    if found is not None:
        assert works(found)  # type: ignore[arg-type]
        assert sum(found[axis] != wanted[axis] for axis in KEYS) <= 2


@given(sizes)
def test_the_equation_is_true(wanted: dict[str, int]) -> None:
    left, _, right = say_equation(wanted).partition(" = ")  # type: ignore[arg-type]
    factors = [int(word) for word in left.split() if word.isdecimal()]
    assert math.prod(factors) == int(right.split()[0])
