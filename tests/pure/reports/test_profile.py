"""A profile as people and programs read it."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.builders import make_plan
from tests.profiles import (
    ENVIRONMENT,
    make_communication,
    make_operator,
    make_profiled,
    rich_profile,
)
from trnbench.analysis.profile import make_profile
from trnbench.reports import render
from trnbench.reports.document import Page
from trnbench.reports.profile import REPORT
from trnbench.schema.profile import Profile


@pytest.mark.parametrize("width", [80, 150])
def test_a_profile_on_a_terminal(width: int, check_golden: Callable[[str, str], None]) -> None:
    text = render(REPORT, rich_profile(), "terminal", Page(width=width))
    assert all(len(line) <= width for line in text.splitlines())
    assert "\x1b" not in text
    check_golden(f"reports/profile-{width}.txt", text)


def test_a_profile_in_markdown(check_golden: Callable[[str, str], None]) -> None:
    check_golden("reports/profile-markdown.txt", render(REPORT, rich_profile(), "markdown", Page()))


def test_a_cost_below_the_noise_is_not_shown() -> None:
    lost = rich_profile(plain_seconds=[0.1, 0.2], profiled_seconds=0.16)
    assert "below this machine's noise" in text_of(lost)
    assert "lost in" not in text_of(rich_profile())


def test_shares_of_steps_that_were_slowed_are_doubted_aloud() -> None:
    slowed = rich_profile(plain_seconds=[0.1, 0.1], profiled_seconds=0.31)
    assert "3.1 times as long" in text_of(slowed)
    assert "times as long" not in text_of(rich_profile())


def test_a_rank_s_time_in_collectives_is_said_with_its_exposed_part() -> None:
    ranks = replace(ENVIRONMENT, device_count=2)
    seen = rich_profile(communication=make_communication(0.4, 0.1), environment=ranks)
    assert (
        "this is rank 0 of 2: collectives were under way 40.0 % of the time, and 10.0 % while "
        "nothing else worked"
    ) in text_of(seen)
    unseen = make_communication(None, None, reason="the profiler showed none")
    said = text_of(rich_profile(communication=unseen, environment=ranks))
    assert "its time in collectives is unknown: the profiler showed none" in said
    assert "rank 0" not in text_of(rich_profile())


def test_the_json_reads_back_as_the_profile() -> None:
    profile = rich_profile()
    assert Profile.model_validate_json(render(REPORT, profile, "json", Page())) == profile


def test_the_csv_has_every_operator_and_no_formula() -> None:
    profile = rich_profile()
    rows = list(csv.DictReader(io.StringIO(render(REPORT, profile, "csv", Page()))))
    assert len(rows) == len(profile.operators)
    assert [float(row["host_seconds"]) for row in rows] == [
        each.host_seconds for each in profile.operators
    ]
    assert "'=cmd()" in {row["operator"] for row in rows}
    assert {row["device_seconds"] for row in rows} == {""}


def device_profile(backend: str, device_seconds: float | None, **changes: object) -> Profile:
    profiled = make_profiled(make_operator("aten::mm", 0.1, device_seconds=device_seconds))
    made = make_profile(make_plan(), ENVIRONMENT, profiled, made_at="2026-11-24T00:00:00+00:00")
    environment = replace(
        made.environment, backend=backend, asynchronous=True, proven=False, threads=None
    )
    return made.model_copy(update={"environment": environment, **changes})


def text_of(profile: Profile) -> str:
    return render(REPORT, profile, "terminal", Page(width=200))


def test_a_device_s_time_leaves_the_device_idle_for_the_rest() -> None:
    text = text_of(device_profile("cuda", 0.4))
    assert "on the device" in text
    assert "device idle" in text
    assert "between operators" not in text
    assert "has not run the backend cuda" in text


def test_where_nothing_of_the_device_was_seen_that_is_said() -> None:
    assert "saw no time of the device" in text_of(device_profile("neuron", None))
    assert "waiting)" in text_of(device_profile("neuron", None))
    assert "up to 2.9" in text_of(device_profile("xla", None))
    assert "capture/" in text_of(device_profile("neuron", None, captured_files=2))
    assert "capture/" not in text_of(device_profile("neuron", None))


def test_the_json_holds_the_sums_for_programs() -> None:
    document = json.loads(render(REPORT, rich_profile(), "json", Page()))
    total = sum(each["seconds"] for each in document["classes"]) + document["unaccounted_seconds"]
    assert total == pytest.approx(document["window_seconds"])
