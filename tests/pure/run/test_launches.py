"""Launches from disk: derived again, with the price that is stored beside them."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.comparisons import edit, write_launch
from trnbench.analysis.analyze import recost
from trnbench.compare.launches import Launch
from trnbench.errors import DataError
from trnbench.run.launches import load_launches
from trnbench.run.store import MEASUREMENT_FILE, PLAN_FILE, RESULT_FILE, CaseFolder

Lines = list[dict[str, Any]]

STORED = Path(__file__).resolve().parents[2] / "golden" / "schema"


@pytest.fixture
def case(tmp_path: Path) -> Path:
    return write_launch(tmp_path / "run")


def rewrite(case: Path, change: Callable[[Lines], None]) -> None:
    """Change the records of a case by hand, and take away what was derived from them."""
    path = case / MEASUREMENT_FILE
    records = [json.loads(line) for line in path.read_text().splitlines()]
    change(records)
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    (case / RESULT_FILE).unlink(missing_ok=True)


def load_launch(case: Path) -> Launch:
    (launch,) = load_launches(case)
    return launch


def blocks(records: Lines) -> Lines:
    return [record for record in records if record["kind"] == "block"]


def test_a_launch_is_derived_from_its_records(case: Path) -> None:
    launch = load_launch(case)
    assert launch.is_verified
    assert launch.note is None
    assert launch.result.run_id == "run"
    assert launch.result.standing == "sound"
    assert len(launch.excess_losses) == 68
    assert launch.plan is not None


def test_a_launch_without_a_stored_result_is_the_same(case: Path) -> None:
    stored = load_launch(case)
    (case / RESULT_FILE).unlink()
    assert load_launch(case).result == stored.result


@pytest.mark.parametrize(
    "change",
    [
        {"metrics__tokens_per_second__value": 99_999.0},
        {"metrics__step_time_median_seconds__value": 0.01},
        {"metrics__peak_memory_bytes__value": 5.0},
        {"metrics__usd_per_million_tokens__value": 1e-9},
        {"metrics__mfu__value": None},
    ],
)
def test_a_figure_that_was_changed_by_hand_counts_for_nothing_and_that_is_said(
    case: Path, change: dict[str, float | None]
) -> None:
    derived = load_launch(case)
    edit(case / RESULT_FILE, **change)
    launch = load_launch(case)
    assert launch.result.metrics == derived.result.metrics
    assert "is not as it was written" in (launch.note or "")


def test_records_that_were_changed_under_their_result_are_told(case: Path) -> None:
    path = case / MEASUREMENT_FILE
    path.write_text(path.read_text().replace('"seconds":0.05', '"seconds":0.04'))
    assert "its records are not those of its result.json" in (load_launch(case).note or "")


def test_a_standing_that_was_changed_by_hand_counts_for_nothing(tmp_path: Path) -> None:
    case = write_launch(tmp_path / "run", proven=False)
    edit(case / RESULT_FILE, standing="sound", checks=[])
    assert load_launch(case).result.standing == "doubtful"


def test_the_price_that_a_result_was_given_later_is_kept(case: Path) -> None:
    result = load_launch(case).result
    assert result.price is not None
    dearer = result.price.model_copy(update={"usd_per_hour": Decimal("7.2")})
    CaseFolder(case).write_result(recost(result, dearer, None))
    again = load_launch(case)
    assert again.note is None
    assert again.result.price == dearer
    edit(case / RESULT_FILE, price__usd_per_hour="1.2")  # by hand: that of the plan holds
    assert load_launch(case).result.price == result.price


def test_a_plan_that_was_changed_by_hand_is_refused(case: Path) -> None:
    edit(case / PLAN_FILE, device__instances_billed=2)
    with pytest.raises(DataError, match="is not the plan that its measurement was made by"):
        load_launch(case)
    edit(case / PLAN_FILE, device__instances_billed=0)
    with pytest.raises(DataError, match="instances_billed: Input should be greater"):
        load_launch(case)


def test_a_result_by_other_rules_is_derived_again(case: Path) -> None:
    result = load_launch(case).result
    timing = result.timing.model_copy(update={"rules": "stats-v0"})
    CaseFolder(case).write_result(result.model_copy(update={"timing": timing}))
    launch = load_launch(case)
    assert launch.result.timing.rules != "stats-v0"
    assert "derived again" in (launch.note or "")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema_version": 1}', '{"schema_version": 2}'])
def test_a_result_that_cannot_be_read_is_derived_again_from_its_records(
    case: Path, text: str
) -> None:
    (case / RESULT_FILE).write_text(text)
    launch = load_launch(case)
    assert launch.result.standing == "sound"
    assert "cannot be read" in (launch.note or "")


def test_a_result_alone_is_taken_as_it_stands(case: Path) -> None:
    (case / MEASUREMENT_FILE).unlink()
    launch = load_launch(case)
    assert not launch.is_verified
    assert launch.excess_losses == ()
    (case / PLAN_FILE).unlink()
    assert load_launch(case).plan is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "result.json"),
        ("{", "result.json"),
        ("[]", "result.json"),
        ('{"schema_version": 99}', "has format 99, this version reads 2"),
        ('{"schema_version": 1}', "schema_version: Input should be 2"),
        ('{"schema_version": 2}', "Field required"),
    ],
)
def test_a_result_alone_that_cannot_be_read_is_one_clear_error(
    case: Path, text: str, said: str
) -> None:
    (case / MEASUREMENT_FILE).unlink()
    (case / RESULT_FILE).write_text(text)
    with pytest.raises(DataError) as raised:
        load_launch(case)
    assert said in str(raised.value)
    assert raised.value.problems[0].hint


def test_a_folder_with_a_plan_alone_was_never_finished(case: Path) -> None:
    (case / MEASUREMENT_FILE).unlink()
    (case / RESULT_FILE).unlink()
    with pytest.raises(DataError, match="holds neither"):
        load_launch(case)


def test_records_of_a_newer_format_are_one_clear_error(case: Path) -> None:
    rewrite(case, lambda records: records[0].update(schema_version=99))
    with pytest.raises(DataError, match="has format 99"):
        load_launch(case)


def truncate(case: Path, keep: int) -> None:
    path = case / MEASUREMENT_FILE
    path.write_bytes(path.read_bytes()[:keep])
    (case / RESULT_FILE).unlink()


@pytest.mark.parametrize("keep", [0, 10])
def test_records_cut_off_in_their_header_are_one_clear_error(case: Path, keep: int) -> None:
    truncate(case, keep)
    with pytest.raises(DataError, match=MEASUREMENT_FILE):
        load_launch(case)


def test_records_cut_off_later_are_an_unfinished_launch(case: Path) -> None:
    truncate(case, 400)
    launch = load_launch(case)
    assert launch.result.outcome.status == "cut_off"
    assert launch.result.metrics["tokens_per_second"].value is None


@pytest.mark.parametrize("seconds", [0.0, -0.05, 1e-300, 1e300])
def test_steps_of_no_time_or_of_endless_time_are_refused(case: Path, seconds: float) -> None:
    rewrite(case, lambda records: blocks(records)[20].update(seconds=seconds))
    with pytest.raises(DataError, match=r"took .* s"):
        load_launch(case)


def test_a_time_that_is_no_number_is_refused(case: Path) -> None:
    rewrite(case, lambda records: blocks(records)[20].update(seconds=float("nan")))
    with pytest.raises(DataError, match="is not float"):
        load_launch(case)


def test_a_clock_that_jumped_back_is_refused(case: Path) -> None:
    rewrite(case, lambda records: blocks(records)[20].update(at_seconds=0.01))
    with pytest.raises(DataError, match=r"is recorded at .* before step"):
        load_launch(case)


def test_samples_that_were_taken_out_are_missed(case: Path) -> None:
    def shorten(records: Lines) -> None:
        records.remove(blocks(records)[-1])

    rewrite(case, shorten)
    with pytest.raises(DataError, match="ended after 60 samples and holds 59"):
        load_launch(case)


@pytest.mark.parametrize("key", ["losses", "gradient_norms", "oracle_losses"])
def test_steps_without_their_losses_are_refused(case: Path, key: str) -> None:
    rewrite(case, lambda records: blocks(records)[20].update({key: []}))
    with pytest.raises(DataError, match="has not one loss and one gradient"):
        load_launch(case)


@pytest.mark.parametrize("points", [[], [{"size": 512, "flops_per_second": []}]])
def test_a_ceiling_without_a_rate_is_refused(case: Path, points: list[object]) -> None:
    def empty(records: Lines) -> None:
        (ceiling,) = [record for record in records if record["kind"] == "ceiling"]
        ceiling.update(points=points)

    rewrite(case, empty)
    with pytest.raises(DataError, match="holds a ceiling without a rate"):
        load_launch(case)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_few_steps_give_no_figure_and_say_why(case: Path, count: int) -> None:
    def shorten(records: Lines) -> None:
        measured = [block for block in blocks(records) if block["purpose"] == "measure"]
        stops = [record for record in records if record.get("what") == "stop"]
        for record in (*measured[count:], *stops):
            records.remove(record)

    rewrite(case, shorten)
    speed = load_launch(case).result.metrics["tokens_per_second"]
    assert speed.value is None
    assert speed.reason == f"{count} timed samples are too few for an interval"


def test_copies_have_one_digest_and_launches_their_own(tmp_path: Path) -> None:
    first = load_launch(write_launch(tmp_path / "1"))
    copy = load_launch(write_launch(tmp_path / "2"))
    other = load_launch(write_launch(tmp_path / "3", number=7))
    assert first.digest == copy.digest != other.digest


def test_files_of_older_versions_are_launches_too() -> None:
    for path in STORED.glob("v*/*/plan.json"):
        launch = load_launch(path.parent)
        assert launch.is_verified
        assert launch.result.metrics["tokens_per_second"].value is not None
