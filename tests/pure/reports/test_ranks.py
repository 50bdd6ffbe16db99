"""What a report says of a job's devices, and of those that are idle."""

from dataclasses import replace
from typing import Any

import pytest

from tests.builders import (
    job_results,
    make_job,
    make_job_plan,
    make_plan,
    make_result,
    three_results,
)
from tests.pure.analysis.test_energy import gpus, readings
from tests.pure.analysis.test_energy import result as result_of_gpus
from trnbench.analysis.idle import idle_note
from trnbench.protocol.parallel import Layout
from trnbench.reports.columns import row
from trnbench.reports.document import Notes, Page, Table
from trnbench.reports.ranks import notes_of_devices
from trnbench.reports.results import REPORT, cells_of, device_cell, notes_of
from trnbench.schema.result import Result

JOB, ALONE, CORE = job_results()


def notes(result: Result, *others: Result) -> str:
    return "\n".join(notes_of_devices(result, [result, *others]))


def test_of_one_device_that_is_all_that_is_billed_nothing_is_said() -> None:
    for result in (*three_results(), ALONE):
        assert notes(result) == ""


def test_a_part_of_a_machine_says_so_in_every_place() -> None:
    said = notes(CORE)
    assert str(idle_note(CORE.device)) in said
    assert "MFU 0.028 % of the devices that are used, 0.00043 % of all that are billed" in said
    assert "tokens/s per device and chip and instance 3,151" in said
    assert device_cell(CORE) == "1 of 64 x trn2"
    assert cells_of(CORE)[4] == "0.028 %"
    columns = row(CORE)
    assert (columns["devices_used"], columns["devices_billed"]) == (1, 64)
    assert columns["idle_note"] == idle_note(CORE.device)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"communication": None, "communication_reason": "it is blind"},
         "time in communication not known: it is blind"),
        ({"time_spread": None}, "8 ranks: shard 8"),
        ({"fullest_rank": None}, "slowest rank 2"),
    ],
)  # fmt: skip
def test_what_is_not_known_of_ranks_is_left_out_or_said(changes: dict[str, Any], said: str) -> None:
    assert JOB.ranks is not None
    told = notes(JOB.model_copy(update={"ranks": JOB.ranks.model_copy(update=changes)}))
    assert said in told
    assert ("slowest rank" in told) == ("time_spread" not in changes)
    assert ("fullest rank" in told) == ("fullest_rank" not in changes)


def test_exposed_communication_that_is_not_known_is_no_zero() -> None:
    assert JOB.ranks is not None
    assert JOB.ranks.communication is not None
    blind = JOB.ranks.communication.model_copy(update={"exposed_share": None})
    ranks = JOB.ranks.model_copy(update={"communication": blind})
    result = JOB.model_copy(update={"ranks": ranks})
    assert "the profiler cannot tell how much of it is exposed" in notes(result)
    assert row(result)["overlapped_communication_share"] is None


def test_scaling_is_said_where_one_device_is_among_the_results() -> None:
    assert "scaling efficiency 81.3 % [80.1 %, 82.4 %]" in notes(JOB, ALONE, CORE)
    assert "scaling" not in notes(JOB, CORE)


def test_ranks_on_a_processor_are_counted_with_their_threads() -> None:
    device = make_plan().device.model_copy(update={"devices_used": 2, "instance": "p5.48xlarge"})
    plan = make_job_plan(Layout(data_parallel_replicate_size=2), device)
    made = make_job(plan)
    assert made.environment is not None
    made.environment = replace(made.environment, threads=1)
    assert device_cell(make_result(plan, made)) == "AMD EPYC, 2 ranks of 1 thread"
    assert device_cell(three_results()[0]) == "AMD EPYC, 2 threads"


def test_notes_of_two_results_are_numbered_in_their_rows() -> None:
    table, notes = REPORT.document([JOB, ALONE], Page()).parts
    assert isinstance(table, Table)
    assert isinstance(notes, Notes)
    marks = [str(row[-1]) for row in table.rows]
    first, second = ([int(mark[0]), int(mark[-1])] for mark in marks)
    assert notes.texts[first[0] - 1].startswith("MFU")
    assert notes.texts[first[0]].startswith("8 ranks")
    assert notes.texts[second[0] - 1].startswith("MFU")
    assert [first[0], second[1]] == [1, notes.numbered]


def test_of_older_results_the_mfu_of_all_billed_chips_is_shown() -> None:
    metrics = {name: each for name, each in CORE.metrics.items() if name != "mfu_used_devices"}
    older = CORE.model_copy(update={"metrics": metrics})
    assert cells_of(older)[4] == "0.00043 %"


def test_metered_energy_says_that_idle_devices_are_not_in_it() -> None:
    metered = result_of_gpus(readings("nvml", watts=600.0), gpus())
    assert metered.device.devices_idle == 7
    (said,) = [note for note in notes_of([metered]) if " J a token" in note]
    assert said.endswith("; what idle devices draw is not in it")


def test_the_energy_of_a_job_is_that_of_all_its_devices() -> None:
    both = [replace(each, device=device) for device in (0, 1) for each in readings("nvml")]
    one, two = result_of_gpus(readings("nvml"), gpus()), result_of_gpus(both, gpus(2))
    assert one.energy is not None
    assert two.energy is not None
    assert two.energy.is_valid
    assert two.energy.mean_power_watts == pytest.approx(2 * (one.energy.mean_power_watts or 0.0))
    lacking = result_of_gpus(readings("nvml"), gpus(2)).energy
    assert lacking is not None
    assert lacking.reason == "1 GPUs were metered and the job drove 2"
