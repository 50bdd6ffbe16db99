"""`micro_batch_size: max` in a plan: the sizes that are worth a trial, and the first."""

import pytest

from tests.pure.run.plans import H100, TODAY, conflict_of, make_case, make_machine, plan_case
from trnbench.errors import ConfigError
from trnbench.machine.describe import Devices
from trnbench.plan.make import make_plan
from trnbench.schema.plan import PassSearch, Plan

MAX = {"workload.micro_batch_size": "max"}

LARGE = """\
model: llama3-8b
workload: {sequence_length: 8192, global_batch_size: 512, micro_batch_size: max}
parallel: {data_parallel_shard_size: 8}
"""


def search_of(plan: Plan) -> PassSearch:
    assert plan.workload.search is not None
    return plan.workload.search


def test_the_sizes_divide_the_batch_and_the_largest_that_fits_comes_first() -> None:
    plan = plan_case({**MAX, "workload.global_batch_size": "12"})
    search = search_of(plan)
    assert [each.micro_batch_size for each in search.sizes] == [1, 2, 3, 4, 6, 12]
    assert search.first == plan.workload.micro_batch_size == 12
    assert (search.trials, search.taken, search.is_batch_given) == ((), None, True)
    assert "12 is tried first: the most that is predicted to fit" in (plan.workload.reason or "")
    assert "the global batch stays" in (plan.workload.reason or "")


def test_a_global_batch_that_is_not_written_grows_with_the_size() -> None:
    plan = plan_case({**MAX, "workload.global_batch_size": "auto"})
    assert not search_of(plan).is_batch_given
    assert [each.micro_batch_size for each in search_of(plan).sizes] == [1, 2, 4, 8]
    assert plan.workload.global_batch_size == plan.workload.micro_batch_size
    assert plan.workload.gradient_accumulation_steps == 1
    assert "the global batch grows with it" in (plan.workload.reason or "")


def test_memory_says_which_size_is_first() -> None:
    plan = plan_case(text=LARGE, found=(H100,))
    search = search_of(plan)
    verdicts = [each.memory_verdict for each in search.sizes]
    assert "fits" in verdicts
    assert "does_not_fit" in verdicts
    assert search.first == max(
        each.micro_batch_size for each in search.sizes if each.memory_verdict == "fits"
    )


def test_another_size_changes_passes_alone() -> None:
    text = LARGE.replace("llama3-8b", "llama3.2-1b")  # 64 sequences would fit, all recomputed
    first = plan_case(text=text, found=(H100,))
    case = make_case(text=text)
    devices = Devices((H100,), {"torch": "2.13.0"})
    larger = make_plan(case, machine=make_machine(), devices=devices, today=TODAY, pass_size=64)
    assert larger.workload.micro_batch_size == 64
    assert larger.workload.gradient_accumulation_steps == 1
    assert larger.workload.global_batch_size == first.workload.global_batch_size
    assert larger.parallel == first.parallel
    assert larger.workload.step.recompute == first.workload.step.recompute == "none"


def test_without_a_known_memory_the_smallest_is_first() -> None:
    search = search_of(plan_case({**MAX, "device": "cuda"}, found=None))
    assert {each.memory_verdict for each in search.sizes} == {"unknown"}
    assert search.first == 1


def test_auto_is_no_size() -> None:
    plan = plan_case({"workload.micro_batch_size": "auto"})
    assert plan.workload.search is None
    assert plan.workload.micro_batch_size == 8


@pytest.mark.parametrize("size", ["0", "-2"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    with pytest.raises(ConfigError, match="is not in range"):
        plan_case({"workload.micro_batch_size": size})


def test_a_layout_that_does_not_suit_is_refused_as_ever() -> None:
    overrides = {**MAX, "parallel.data_parallel_shard_size": "3"}
    conflict = conflict_of(overrides, found=(H100,))
    assert "is not a multiple of micro_batch_size 1 x 3" in str(conflict)
