"""What is the same work, what is its counterpart, and what is refused."""

import pytest

from tests.builders import CORES, H100S, make_job, make_job_plan, make_result, make_single
from tests.comparisons import launch, side
from trnbench.analysis.idle import idle_note
from trnbench.compare.launches import Launch, make_launch
from trnbench.compare.matching import (
    WORK,
    differences_of,
    group_launches,
    is_same_device,
    match_groups,
    require_counterparts,
    work_of,
)
from trnbench.compare.sides import Side, notes_of_sides
from trnbench.errors import ConfigError
from trnbench.protocol.parallel import Layout
from trnbench.schema.plan import Plan
from trnbench.schema.result import Result


def changed(one: Launch, **parts: dict[str, object]) -> Launch:
    """Return a launch whose result has other values in some of its parts."""
    import dataclasses

    result: Result = one.result
    for part, values in parts.items():
        before = getattr(result, part)
        if dataclasses.is_dataclass(before):
            inner = dataclasses.replace(before, **values)  # type: ignore[type-var]
        else:
            inner = before.model_copy(update=values)
        result = result.model_copy(update={part: inner})
    return dataclasses.replace(one, result=result, digest=f"{one.digest}{parts}")


def test_launches_of_one_case_are_one_group_in_order_of_time() -> None:
    (group,) = group_launches([launch(1.0, number=5), launch(1.1, number=2)])
    assert [one.result.started_at[14:16] for one in group.launches] == ["02", "05"]


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("model", {"model": {"layers": 99}}),
        ("sequence_length", {"workload": {"sequence_length": 64}}),
        ("global_batch_size", {"workload": {"global_batch_size": 4}}),
        ("precision", {"workload": {"precision": "bf16"}}),
        ("optimizer", {"workload": {"optimizer": "sgd"}}),
        ("stream", {"learning": {"entropy": 0.9}}),
        ("flops_convention", {"utilization": {"convention": "palm-6n"}}),
        ("statistics", {"timing": {"rules": "stats-v0"}}),
    ],
)
def test_unlike_work_has_no_counterpart_until_it_is_allowed(
    key: str, parts: dict[str, dict[str, object]]
) -> None:
    base, cand = group_launches([launch()]), group_launches([changed(launch(), **parts)])
    matching = match_groups(base, cand, [])
    assert matching.pairs == ()
    assert {case.side for case in matching.unmatched} == {"base", "cand"}
    assert all([d.key for d in case.differences] == [key] for case in matching.unmatched)
    allowed = match_groups(base, cand, [key])
    assert len(allowed.pairs) == 1
    (difference,) = differences_of(*allowed.pairs[0], [key])
    assert (difference.key, difference.kind) == (key, "allowed")


def test_another_shape_of_as_many_weights_is_other_work() -> None:
    wide = {"model": "{base: tiny-llama, heads: 4, kv_heads: 4, head_dim: 32}"}
    narrow = {"model": "{base: tiny-llama, heads: 8, kv_heads: 8, head_dim: 16}"}
    base = group_launches([launch(overrides=wide)])
    cand = group_launches([launch(overrides=narrow)])
    (lone, _) = match_groups(base, cand, []).unmatched
    assert [difference.key for difference in lone.differences] == ["shape"]


def test_two_names_for_one_shape_are_the_same_work() -> None:
    renamed = changed(launch(), model={"name": "my-llama"})
    assert match_groups(group_launches([launch()]), group_launches([renamed]), []).pairs


def test_what_is_not_known_differs_from_nothing() -> None:
    import dataclasses

    bare = dataclasses.replace(launch(), plan=None)
    assert match_groups(group_launches([launch()]), group_launches([bare]), []).pairs


def test_how_the_work_was_done_is_told_and_refuses_nothing() -> None:
    there = changed(
        launch(),
        device={"backend": "cuda"},
        environment={"device_name": "NVIDIA H200", "versions": {"torch": "2.14.0"}},
        workload={"micro_batch_size": 4},
    )
    ((base, cand),) = match_groups(group_launches([launch()]), group_launches([there]), []).pairs
    told = {d.key: (d.base, d.cand, d.kind) for d in differences_of(base, cand, [])}
    assert told["backend"] == ("cpu", "cuda", "setup")
    assert told["micro_batch_size"] == ("8", "4", "setup")
    assert told["torch"] == ("2.13.0", "2.14.0", "setup")
    assert not is_same_device(base, cand)


def sweep(backend: str) -> list[Launch]:
    return [
        changed(
            launch(number=size), workload={"micro_batch_size": size}, device={"backend": backend}
        )
        for size in (1, 2, 4)
    ]


def test_each_of_a_sweep_finds_its_own_counterpart() -> None:
    base, cand = group_launches(sweep("cpu")), group_launches(list(reversed(sweep("cuda"))))
    matching = match_groups(base, cand, [])
    assert matching.unmatched == ()
    for first, second in matching.pairs:
        assert first.setup["micro_batch_size"] == second.setup["micro_batch_size"]


def test_a_counterpart_that_may_be_either_of_two_is_none() -> None:
    base = group_launches([changed(launch(), workload={"micro_batch_size": n}) for n in (1, 2)])
    cand = group_launches([changed(launch(), workload={"micro_batch_size": n}) for n in (4, 8)])
    matching = match_groups(base, cand, [])
    assert matching.pairs == ()
    assert all("in several ways" in case.reason for case in matching.unmatched)


def test_the_nearest_case_is_named_for_one_that_has_no_counterpart() -> None:
    base = group_launches([launch(), changed(launch(number=1), workload={"precision": "bf16"})])
    both = changed(launch(number=2), workload={"precision": "bf16", "sequence_length": 64})
    matching = match_groups(base, group_launches([both]), [])
    (lone,) = [case for case in matching.unmatched if case.side == "cand"]
    assert [difference.key for difference in lone.differences] == ["sequence_length"]
    assert lone.nearest == "tiny-llama (894k) 8x128 bf16"


def of_layout(layout: Layout, *, has_plan: bool = True) -> Launch:
    plan = make_job_plan(layout, H100S.model_copy(update={"devices_used": layout.world_size}))
    return make_launch(
        make_result(plan, make_job(plan)), plan if has_plan else None, None, digest=plan.case_id
    )


@pytest.mark.parametrize("has_plan", [True, False])
def test_layouts_tell_counterparts_apart_and_are_named_where_they_differ(has_plan: bool) -> None:
    ddp, fsdp = Layout(data_parallel_replicate_size=8), Layout(data_parallel_shard_size=8)
    base = group_launches([of_layout(each, has_plan=has_plan) for each in (ddp, fsdp)])
    cand = group_launches([of_layout(each, has_plan=has_plan) for each in (fsdp, ddp)])
    assert len(base) == 2
    for one, other in match_groups(base, cand, []).pairs:
        assert differences_of(one, other, []) == ()
    ((one, other),) = match_groups(base[:1], cand[:1], []).pairs
    (found,) = differences_of(one, other, [])
    assert (found.key, found.base, found.cand, found.kind) == (
        "parallel", "replicate 8", "shard 8", "setup",
    )  # fmt: skip


def test_idle_devices_of_a_side_are_noted() -> None:
    plan = make_job_plan(Layout(), CORES)
    core = make_launch(make_result(plan, make_single(plan, [0.05] * 60)), plan, None, digest="core")
    whole = of_layout(Layout(data_parallel_shard_size=8))
    sides = [Side(label="BASE", group=one) for one in group_launches([whole, core])]
    assert not any("idle" in note for note in notes_of_sides(sides[0], sides[0]))
    assert f"BASE: {idle_note(CORES)}" in notes_of_sides(sides[1], sides[0])


def test_a_side_without_cases_is_told() -> None:
    (lone,) = match_groups(group_launches(side((1.0,))), [], []).unmatched
    assert lone.reason == "CAND has no more cases"
    assert lone.nearest is None


def test_every_key_of_the_work_is_a_word_to_allow() -> None:
    one = launch()
    assert tuple(work_of(one.result, one.plan)) == WORK
    assert all(key.isidentifier() for key in WORK)


def test_a_plan_and_its_launch_are_the_same_work() -> None:
    one = launch()
    assert one.plan is not None
    assert work_of(one.plan, one.plan) == work_of(one.result, one.plan)


def plan_of(**overrides: str) -> Plan:
    plan = launch(overrides=overrides).plan
    assert plan is not None
    return plan


@pytest.mark.parametrize(
    ("model", "keys"),
    [
        ("{base: tiny-llama, heads: 8, kv_heads: 8, head_dim: 16}", ["shape"]),
        ("{base: tiny-llama, heads: 4, kv_heads: 4, head_dim: 32, init_std: 0.5}", ["model"]),
    ],
)
def test_planned_work_that_differs_is_refused_before_a_launch_with_its_key(
    model: str, keys: list[str]
) -> None:
    plan = plan_of(model="{base: tiny-llama, heads: 4, kv_heads: 4, head_dim: 32}")
    require_counterparts([plan], [plan], [])
    other = plan_of(model=model)
    with pytest.raises(ConfigError) as refused:
        require_counterparts([plan], [other], [])
    assert f"the nearest differs in {', '.join(keys)}" in str(refused.value)
    require_counterparts([plan], [other], keys)
