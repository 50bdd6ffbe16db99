"""The layout that a job has where no size is written, and the reason that the plan gives."""

from typing import Any

import pytest

from tests.pure.run.plans import CPU, H100, TRN2, plan_case
from trnbench.protocol.records import FoundDevice
from trnbench.schema.plan import Plan

TRN2_48 = FoundDevice(backend="neuron", device_name="trn2", device_count=64, proven=False)


def plan_of(
    model: str, found: FoundDevice | None, batch: int = 64, length: int = 4096, **keys: str
) -> Plan:
    """Plan one sequence a pass; keys have `__` for dots."""
    given = {
        "model": model,
        "workload.sequence_length": str(length),
        "workload.global_batch_size": str(batch),
        "workload.micro_batch_size": "1",
        "workload.precision": "bf16",
        **{key.replace("__", "."): value for key, value in keys.items()},
    }
    return plan_case(given, found=None if found is None else (found, CPU))


def said_of(plan: Plan) -> tuple[str, str]:
    return plan.parallel.in_words, plan.parallel.reason or ""


# --- copies, shards, tensor groups ----------------------------------------------------------------


def test_a_replica_that_fits_one_device_is_copied() -> None:
    words, reason = said_of(plan_of("llama3.2-1b", H100))
    assert words == "replicate 8"
    assert reason.startswith("DDP over 8: a replica fits one device (")
    assert reason.endswith(" of 80 GiB)")


def test_a_replica_that_does_not_fit_is_sharded() -> None:
    words, reason = said_of(plan_of("llama3-8b", H100))
    assert words == "shard 8"
    assert reason.startswith("FSDP2 over 8: a replica does not fit one device (")


def test_a_replica_that_would_recompute_what_a_shard_keeps_is_sharded() -> None:
    b200 = FoundDevice(backend="cuda", device_name="NVIDIA B200", device_count=8, proven=False)
    words, reason = said_of(plan_of("qwen3-8b", b200))
    assert words == "shard 8"
    assert (
        reason == "FSDP2 over 8: a replica would fit one device only with selective recomputation"
    )


def test_on_trainium_tensors_are_split_inside_a_chip_where_shards_would_recompute_all() -> None:
    words, reason = said_of(plan_of("llama3-8b", TRN2_48))
    assert words == "shard 16 x tensor 4"
    assert reason == (
        "tensor 4 inside a chip x FSDP2 over 16: FSDP2 alone would recompute everything"
    )


def test_on_trainium_tensors_are_split_where_shards_do_not_fit() -> None:
    words, reason = said_of(plan_of("llama3.1-70b", TRN2_48, workload__precision="pure_bf16"))
    assert words == "shard 16 x tensor 4"
    assert "FSDP2 alone does not fit (" in reason


def test_a_gpu_s_tensors_are_not_split_unless_asked_for() -> None:
    plan = plan_of("llama3.1-70b", H100, workload__precision="pure_bf16")
    assert plan.parallel.in_words == "shard 8"
    assert plan.prediction.memory_verdict == "does_not_fit"


def test_a_family_that_cannot_be_split_is_sharded_alone() -> None:
    wide = "{base: gpt2-124m, hidden_size: 4096, heads: 32, layers: 40, name: wide}"
    assert plan_of(wide, TRN2_48, length=1024).parallel.tensor_parallel_size == 1


def test_of_unknown_memory_a_small_state_is_copied_and_a_large_one_sharded() -> None:
    stranger = FoundDevice(backend="cuda", device_name="of tomorrow", device_count=4, proven=False)
    assert said_of(plan_of("tiny-llama", stranger, length=128)) == (
        "replicate 4", "DDP over 4: the state of a replica is small",
    )  # fmt: skip
    words, reason = said_of(plan_of("llama3-8b", stranger))
    assert words == "shard 4"
    assert "not known" in reason


# --- what is written stands -----------------------------------------------------------------------


def test_sizes_that_are_written_leave_the_data_ranks_to_be_chosen() -> None:
    words, _ = said_of(plan_of("llama3-8b", H100, parallel__tensor_parallel_size="2"))
    assert words == "shard 4 x tensor 2"
    words, reason = said_of(plan_of("llama3-8b", H100, parallel__data_parallel_shard_size="2"))
    assert words == "shard 2"
    assert reason == "the sizes are those under `parallel`; 6 of 8 devices idle"


def test_a_processor_is_one_process_unless_it_is_asked_for_more() -> None:
    assert said_of(plan_of("tiny-llama", CPU, length=128)) == (
        "one device", "a processor is one process unless `parallel` or `device` asks for more",
    )  # fmt: skip
    two = plan_of("tiny-llama", CPU, length=128, parallel__data_parallel_replicate_size="2")
    assert two.parallel.in_words == "replicate 2"
    assert two.order.threads == 2, "half of the four processors"
    assert two.device.memory_bytes == 8 * 2**30, "half of the memory"
    four = plan_of("tiny-llama", CPU, length=128, parallel__data_parallel_shard_size="16")
    assert four.order.threads == 1
    own: dict[str, Any] = {"parallel__data_parallel_replicate_size": "2", "workload__threads": "3"}
    assert plan_of("tiny-llama", CPU, length=128, **own).order.threads == 3


# --- what limits the world ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "batch", "ranks", "why"),
    [
        (H100, 8, 8, ""),
        (H100, 6, 6, "; 2 of 8 devices idle: global_batch_size 6 in passes of 1 divides over no "
         "more ranks"),
        (H100, 12, 6, "; 2 of 8 devices idle: global_batch_size 12"),
        (TRN2_48, 96, 32, "; 32 of 64 devices idle: global_batch_size 96"),
        (TRN2_48, 8, 8, "; 56 of 64 devices idle: global_batch_size 8"),
        (TRN2, 1, 1, "; 3 of 4 devices idle: global_batch_size 1"),
    ],
)  # fmt: skip
def test_the_batch_limits_the_ranks_and_the_plan_says_so(
    found: FoundDevice, batch: int, ranks: int, why: str
) -> None:
    plan = plan_of("tiny-llama", found, batch, length=128)
    assert plan.parallel.world_size == ranks
    assert why in (plan.parallel.reason or "")
    assert ("idle" in (plan.parallel.reason or "")) == bool(why)


def test_the_runtime_limits_the_ranks_and_the_plan_says_so() -> None:
    odd = FoundDevice(backend="neuron", device_name="trn2", device_count=12, proven=False)
    plan = plan_of("tiny-llama", odd, 24, length=128)
    assert plan.parallel.world_size == 8
    assert (plan.parallel.reason or "").endswith(
        "4 of 12 devices idle: the runtime supports no larger world here (1, 2, 4, 8, 16, 32, 64)"
    )


def test_without_a_look_nothing_is_chosen() -> None:
    _, reason = said_of(plan_of("tiny-llama", None, length=128))
    assert reason == "no device was looked for: on the machine the job takes all that are free"


# --- the whole machine's time, memory and price ---------------------------------------------------


@pytest.mark.parametrize(
    ("instance", "region", "chips", "tflops", "gib", "usd"),
    [
        # Sources: catalog/accelerators.csv for a chip's dense bf16 peak and memory.
        ("trn2.3xlarge", "", 1, 667, 24, "2.235"),
        ("trn2.48xlarge", "", 16, 667, 24, "35.7608"),
        ("trn1.32xlarge", "us-east-1", 16, 190, 16, None),
        ("p5.48xlarge", "us-east-1", 8, 989, 80, None),
        ("p5en.48xlarge", "us-east-1", 8, 989, 141, None),
        ("p6-b200.48xlarge", "us-east-1", 8, 2250, 180, None),
    ],
)
def test_a_plan_is_of_the_whole_machine(
    instance: str, region: str, chips: int, tflops: int, gib: int, usd: str | None
) -> None:
    device = "neuron" if instance.startswith("trn") else "cuda"
    keys: dict[str, Any] = {
        "device": device,
        "price__instance": instance,
        "price__region": region or "null",
    }
    plan = plan_of("gpt2-124m", None, length=1024, **keys)
    assert plan.device.chips_used == plan.device.chips_billed == chips
    assert plan.device.instances_billed == 1
    assert plan.device.memory_bytes == gib * 2**30
    flops = plan.prediction.flops_per_token["matmul-causal-v1"] * 64 * 1024
    seconds, least = plan.prediction.step_seconds, flops / (chips * tflops * 1e12)
    assert seconds is not None
    assert least / 0.7 < seconds < least / 0.02  # the host launches a small model's kernels
    assert plan.price is not None
    assert usd is None or str(plan.price.usd_per_hour) == usd


@pytest.mark.parametrize(("first", "ranks"), [("neuron:0", 1), ("neuron:0-1", 2)])
def test_part_of_a_chip_has_its_part_of_the_chip_s_rate(first: str, ranks: int) -> None:
    """A chip of four cores was once planned at its whole rate for one of them."""
    whole = plan_of("gpt2-124m", TRN2, length=1024).prediction.step_seconds
    part = plan_of("gpt2-124m", TRN2, length=1024, device=first).prediction.step_seconds
    assert whole is not None
    # Four cores exchange gradients, which one does not.
    assert part == pytest.approx(whole * 4 / ranks, rel=0.1)
