"""The least that ranks need of the host: said where it is tight, refused where it is not there."""

from dataclasses import replace

import pytest

from tests.pure.run.plans import CPU, H100, TRN2, make_machine, plan_case
from trnbench.errors import HostMemoryError
from trnbench.machine.describe import Machine
from trnbench.plan.runtime import compile_workers
from trnbench.schema.plan import Plan
from trnbench.units import GIB

KEYS = {
    "model": "llama3.2-1b",
    "workload.global_batch_size": "8",
    "workload.execution": "eager",
    "parallel.data_parallel_replicate_size": "8",
    "device": "cuda",
}


def machine_of(gibibytes: float, processors: int = 96) -> Machine:
    machine = make_machine()
    host = replace(machine.host, memory_bytes=int(gibibytes * GIB), logical_cpus=processors)
    return replace(machine, host=host)


def reason_of(gibibytes: float, keys: dict[str, str]) -> str:
    return planned(gibibytes, keys).parallel.reason or ""


def planned(gibibytes: float, keys: dict[str, str]) -> Plan:
    return plan_case(
        keys, found=(CPU, replace(H100, compiler_lacks=None)), machine=machine_of(gibibytes)
    )


def test_copies_that_are_built_whole_on_every_rank_are_counted_before_the_start() -> None:
    # 8 ranks x (1.236 B weights x 4 bytes + torch) = 38 GiB
    assert "host" not in reason_of(64, KEYS)
    reason = reason_of(40, KEYS)
    assert (
        "; the host is tight, with 40 GiB of memory; before the first step the ranks need" in reason
    )
    assert "8 x (torch 143 MiB + the model as it is built 4.6 GiB)" in reason
    with pytest.raises(HostMemoryError) as refused:
        planned(16, KEYS)
    (problem,) = refused.value.problems
    assert (
        "this machine has 16 GiB of memory; before the first step the ranks need at least 37.9 GiB"
        in problem.message
    )
    assert "at most 3 ranks fit" in problem.hint


def test_shards_are_filled_weight_by_weight_and_processors_share_what_is_planned() -> None:
    shards = {name.replace("replicate", "shard"): value for name, value in KEYS.items()}
    assert "host" not in reason_of(4, shards)


def test_each_rank_has_its_share_of_the_processors_to_compile_on() -> None:
    assert [compile_workers(96, ranks) for ranks in (1, 2, 8, 64, 128)] == [32, 32, 12, 1, 1]
    compiled = {**KEYS, "workload.execution": "compile"}
    reason = reason_of(68, compiled)
    assert "compilers 2.79 GiB)" in reason, reason  # 12 of them at 0.25 GB


def test_a_vendor_s_compilers_are_counted_and_none_is_given_a_size() -> None:
    keys = {
        "model": "llama3.2-1b",
        "device": "neuron",
        "parallel.data_parallel_replicate_size": "4",
    }
    machine = machine_of(22)
    reason = plan_case(keys, found=(CPU, TRN2), machine=machine).parallel.reason or ""
    assert "one compiler of the vendor's at a time, whose need is not known, beside it" in reason, (
        reason
    )


def test_a_job_for_another_machine_says_nothing_of_this_one() -> None:
    keys = {**KEYS, "price.instance": "p5.48xlarge"}
    plan = plan_case(keys, found=None, machine=machine_of(1))
    assert "host" not in (plan.parallel.reason or "")


def test_state_is_sharded_where_copies_would_not_fit_the_host() -> None:
    keys = {name: value for name, value in KEYS.items() if not name.startswith("parallel")}
    assert planned(64, keys).parallel.data_parallel_replicate_size == 8
    plan = planned(16, keys)
    assert plan.parallel.data_parallel_shard_size == 8
    assert "this machine's memory does not hold a whole model for each rank" in (
        plan.parallel.reason or ""
    )
