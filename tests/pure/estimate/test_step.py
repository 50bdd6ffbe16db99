"""The estimate of a step: its parts, its range, and what it rests on."""

from dataclasses import replace

import pytest

from trnbench.catalog.accelerators import accelerators
from trnbench.catalog.models import models
from trnbench.errors import ConfigError
from trnbench.estimate.calibration import Calibration, Shares, calibration
from trnbench.estimate.collectives import Group, gather_seconds, group_of, links_of
from trnbench.estimate.layouts import FITNESS, fastest, possible_setups, search
from trnbench.estimate.machine import machine_of
from trnbench.estimate.step import _memory as memory
from trnbench.estimate.step import estimate_layouts, estimate_step
from trnbench.estimate.terms import Setup, bound_seconds, terms_of
from trnbench.model.memory import MemoryPrediction
from trnbench.protocol.orders import StepSettings
from trnbench.protocol.parallel import Layout

LLAMA = models()["llama3-8b"].shape


def job(chips: int = 8, instance: str = "p5.48xlarge", **changes: object) -> Setup:
    machine = machine_of(instance=instance)
    devices = chips * machine.chip.devices_per_chip
    plain = Setup(
        shape=LLAMA,
        sequence_length=8192,
        global_batch_size=128,
        machine=machine,
        chips=chips,
        layout=Layout(data_parallel_shard_size=devices),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_an_estimate_lies_in_its_range_and_its_parts_sum_to_it() -> None:
    found = estimate_step(job())
    assert found.seconds is not None
    assert found.seconds_high is not None
    assert found.bound_seconds < found.seconds_low < found.seconds < found.seconds_high
    assert sum(found.parts.values()) == pytest.approx(found.seconds)
    assert found.tokens_per_second == pytest.approx(128 * 8192 / found.seconds)
    assert found.mfu == pytest.approx(found.bound_seconds / found.seconds)
    assert "published dense bf16 rows of h100-sxm" in found.basis


def test_the_bound_is_the_models_flops_at_the_datasheets_peak() -> None:
    # docs/metrics.md: llama3-8b at 8192 is 51.4704 GFLOP a token.
    assert bound_seconds(job()) == pytest.approx(128 * 8192 * 51.470401536e9 / (8 * 989e12))


def test_a_chip_without_data_has_a_bound_and_says_so() -> None:
    found = estimate_step(job(instance="g6.48xlarge"))
    assert found.seconds is None
    assert found.mfu is None
    assert found.seconds_high is None
    assert found.seconds_low == found.bound_seconds > 0
    assert found.basis.startswith("no data for this chip")


def test_trainium2_has_a_wide_range_and_says_that_no_row_is_of_several_chips() -> None:
    found = estimate_step(job(16, "trn2.48xlarge"))
    assert found.seconds_high is not None
    assert found.seconds_high / found.seconds_low > 4
    assert "none of more than one chip" in found.basis
    assert found.basis.endswith("AWS publishes no training table of it")
    assert "AWS publishes" not in estimate_step(job(16, "trn1.32xlarge")).basis


def test_no_row_of_the_table_is_of_a_chip_that_is_not_in_the_catalog() -> None:
    for chip, kind in calibration().rows:
        row = calibration().rows[chip, kind]
        assert chip == "any" or chip in accelerators()
        assert row.low <= row.slowness <= row.high


def test_more_work_takes_longer() -> None:
    known = calibration()
    plain = terms_of(job(), known)
    full = terms_of(job(step=StepSettings(recompute="full")), known)
    assert full.recomputed > plain.recomputed == 0
    assert full.matmuls == plain.matmuls
    longer = terms_of(job(sequence_length=32768, global_batch_size=32), known)
    assert longer.attention == pytest.approx(4 * plain.attention)
    assert longer.matmuls == pytest.approx(plain.matmuls)


def test_fp8_doubles_the_blocks_rate_alone() -> None:
    known = Calibration(shares=Shares(memory=1.0))
    bf16, fp8 = terms_of(job(), known), terms_of(job(precision="fp8"), known)
    assert bf16.matmuls / 2 < fp8.matmuls < bf16.matmuls
    assert fp8.attention == bf16.attention


def test_a_pipeline_waits_for_its_first_pass() -> None:
    layout = Layout(data_parallel_shard_size=2, pipeline_parallel_size=4)
    terms = terms_of(job(layout=layout), calibration())
    busy = terms.seconds - terms.pipeline - terms.data - terms.optimizer
    assert terms.pipeline == pytest.approx(3 / 64 * busy, rel=0.05)  # 64 passes, and sends


def test_a_gather_over_two_levels_moves_each_share_once() -> None:
    links = links_of(machine_of(instance="p5.48xlarge"), 1.0)
    inside = gather_seconds(8e9, Group(8, 1), links)
    assert inside == pytest.approx(7 / 8 * 8e9 / 450e9, rel=0.01)
    both = gather_seconds(8e9, Group(8, 4), links)
    assert both - inside == pytest.approx(3 / 4 * 1e9 / 50e9, rel=0.01)


def test_tensor_ranks_take_neighbours_and_data_ranks_what_is_left_of_a_node() -> None:
    links = links_of(machine_of(instance="p5.48xlarge"), 1.0)
    layout = Layout(tensor_parallel_size=4, data_parallel_shard_size=16)
    assert group_of(layout, "tensor", links) == Group(4, 1)
    assert group_of(layout, "shard", links) == Group(2, 8)


def test_a_slower_network_slows_many_nodes_and_not_one() -> None:
    known = calibration()
    one = [terms_of(job(8, each), known).data for each in ("p4d.24xlarge", "p4de.24xlarge")]
    assert one == [0.0, 0.0]
    spread = job(64, "p4de.24xlarge", global_batch_size=64)
    slow = replace(spread.machine, network_bytes_per_second=1e9)
    assert terms_of(replace(spread, machine=slow), known).data > terms_of(spread, known).data


@pytest.mark.parametrize(
    ("chip", "instance", "says"),
    [
        ("h100", None, "chip h100 is not known"),
        (None, "p5.49xlarge", "instance p5.49xlarge is not known"),
        ("h200", "p5.48xlarge", "instance p5.48xlarge carries h100-sxm, not h200"),
        (None, "c7i.large", "of the chips of instance c7i.large no figures are known"),
    ],
)
def test_a_machine_that_is_not_known_is_named(
    chip: str | None, instance: str | None, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        machine_of(chip, instance)


def test_what_no_arithmetic_can_be_done_on_is_refused() -> None:
    with pytest.raises(ConfigError, match="a100-40 has no published peak in fp8"):
        estimate_step(job(instance="p4d.24xlarge", precision="fp8"))
    with pytest.raises(ConfigError, match="a layout of 4 ranks is not one of 8 x h100-sxm"):
        estimate_step(job(layout=Layout(data_parallel_shard_size=4)))
    with pytest.raises(ConfigError, match="global_batch_size is 0, and has to be at least 1"):
        estimate_step(job(global_batch_size=0))


def test_what_a_machine_lacks_has_a_reason() -> None:
    machine = machine_of("tpu-v4")
    assert machine.link_bytes_per_second is None
    assert "no rate of tpu-v4's links" in machine.gaps["link_bytes_per_second"]
    assert machine_of(instance="trn1.32xlarge").network_bytes_per_second == 800e9 / 8 / 16


@pytest.mark.parametrize("name", ["mixtral-8x7b", "bert-large", "vit-l16", "gpt2-1.5b"])
@pytest.mark.parametrize("instance", ["trn2.48xlarge", "p6-b200.48xlarge", "p4d.24xlarge"])
def test_every_family_has_an_estimate_or_a_bound(name: str, instance: str) -> None:
    shape = models()[name].shape
    chips = machine_of(instance=instance).chips_per_node
    tokens = min(shape.max_positions, 4096)
    best = fastest(job(chips, instance, shape=shape, sequence_length=tokens))
    assert best is not None
    experts = shape.experts.count if shape.experts else best.setup.layout.expert_parallel_size
    assert experts % best.setup.layout.expert_parallel_size == 0
    found = estimate_step(best.setup)
    assert found.seconds_low >= found.bound_seconds > 0
    assert found.has_data == (found.seconds is not None)
    assert found.basis


def test_a_long_sequence_is_shared_out_where_there_are_few() -> None:
    best = fastest(job(64, sequence_length=131072, global_batch_size=8))
    assert best is not None
    assert best.verdict == "fits"
    layout = best.setup.layout
    assert layout.context_parallel_size * layout.tensor_parallel_size >= 8


def test_the_fastest_layout_fits_and_none_that_fits_is_faster() -> None:
    wanted = job(64, shape=models()["llama3.1-70b"].shape, global_batch_size=512)
    best = fastest(wanted)
    assert best is not None
    assert best.verdict == "fits"
    others = list(estimate_layouts(possible_setups(wanted)))
    assert len(others) > 100
    assert best.seconds == min(each.seconds for each in others if each.verdict == "fits")
    assert all(each.setup.layout.world_size == 64 for each in others)


@pytest.mark.parametrize(
    ("name", "chips", "instance"),
    [
        ("llama3-8b", 16, "p4d.24xlarge"),
        ("llama3.1-70b", 16, "p4d.24xlarge"),  # nothing fits, weights alone in some layouts
        ("llama3.1-70b", 32, "p4d.24xlarge"),  # nothing fits comfortably
        ("llama3.1-70b", 64, "trn2.48xlarge"),
    ],
)
def test_a_search_finds_what_a_look_at_every_way_finds(
    name: str, chips: int, instance: str
) -> None:
    wanted = job(chips, instance, shape=models()[name].shape, global_batch_size=256)
    every = sorted(
        estimate_layouts(possible_setups(wanted)),
        key=lambda each: (
            FITNESS[each.verdict],
            each.memory_bytes if each.verdict == "does_not_fit" else each.seconds,
        ),
    )
    other = next(each for each in every if each.setup.layout != every[0].setup.layout)
    found = search(possible_setups(wanted))
    assert found is not None
    assert (found.best, found.candidates) == (every[0], len(every))
    is_like = other.verdict == every[0].verdict != "does_not_fit"
    assert found.other == (other if is_like else None)


def test_a_search_predicts_the_memory_of_few_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Setup] = []

    def counted(setup: Setup) -> MemoryPrediction:
        looked.append(setup)
        return memory(setup)

    monkeypatch.setattr("trnbench.estimate.step._memory", counted)
    found = search(possible_setups(job(64, shape=models()["llama3-8b"].shape)))
    assert found is not None
    assert len(looked) < found.candidates / 4
