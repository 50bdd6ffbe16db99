"""Kept rates: how long they last, and what is not believed."""

import json
import os
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from trnbench.prices import LiveOrTable
from trnbench.prices.base import NoPrice, PriceRequest
from trnbench.prices.cache import LIFETIMES, CachedSource, user_cache_folder
from trnbench.schema.price import Price
from trnbench.schema.rent import RENT_OPTIONS, PriceOption, RentOption

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
REQUEST = PriceRequest(
    instance="trn2.48xlarge", option=None, region="us-east-2", today=date(2026, 11, 23)
)


def price(usd: str = "35.7608", option: PriceOption = "capacity_block", **more: Any) -> Price:
    details = {
        "instance": "trn2.48xlarge", "region": "us-east-2", "date": "2026-11-23",
        "source": "AWS said so", "retrieved_at": NOW.isoformat(timespec="seconds"), **more,
    }  # fmt: skip
    return Price(usd_per_hour=Decimal(usd), option=option, **details)


@dataclass
class Scripted:
    """Answers what it is given, in order, and counts."""

    answers: list[Price | NoPrice]
    asked: list[PriceRequest] = field(default_factory=list)

    def quote(self, request: PriceRequest) -> Price | NoPrice:
        self.asked.append(request)
        return self.answers.pop(0)


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def kept(source: Scripted, folder: Path, clock: Clock) -> CachedSource:
    """Return a cache as a new process has it: it knows what is on disk alone."""
    return CachedSource(source, lambda: folder, clock)


def test_a_rate_is_asked_for_once_and_then_told_with_its_age(tmp_path: Path, clock: Clock) -> None:
    source = Scripted([price()])
    assert kept(source, tmp_path, clock).quote(REQUEST) == price()
    clock.now = NOW + timedelta(minutes=7)
    again = kept(source, tmp_path, clock).quote(REQUEST)
    assert again == price(note="asked 7 minutes ago")
    assert len(source.asked) == 1


@pytest.mark.parametrize("option", RENT_OPTIONS)
def test_a_rate_lasts_as_long_as_its_kind_does(
    option: RentOption, tmp_path: Path, clock: Clock
) -> None:
    source = Scripted([price("1", option), price("2", option)])
    request = replace(REQUEST, option=option)
    kept(source, tmp_path, clock).quote(request)
    clock.now = NOW + LIFETIMES[option] - timedelta(seconds=1)
    still = kept(source, tmp_path, clock).quote(request)
    clock.now = NOW + LIFETIMES[option]
    after = kept(source, tmp_path, clock).quote(request)
    assert isinstance(still, Price)
    assert isinstance(after, Price)
    assert (still.usd_per_hour, after.usd_per_hour) == (Decimal(1), Decimal(2))


def test_a_rate_from_the_future_is_asked_for_again(tmp_path: Path, clock: Clock) -> None:
    source = Scripted([price(), price("36")])
    kept(source, tmp_path, clock).quote(REQUEST)
    clock.now = NOW - timedelta(minutes=1)
    assert kept(source, tmp_path, clock).quote(REQUEST) == price("36")


@pytest.mark.parametrize(
    "change",
    [
        {"instance": "trn1.32xlarge"},
        {"region": "us-west-2"},
        {"option": "spot"},
        {"zone": "use2-az3"},
    ],
)
def test_another_question_is_another_rate(
    change: dict[str, Any], tmp_path: Path, clock: Clock
) -> None:
    source = Scripted([price(), price("1")])
    kept(source, tmp_path, clock).quote(REQUEST)
    assert kept(source, tmp_path, clock).quote(replace(REQUEST, **change)) == price("1")


def test_the_day_on_which_is_asked_is_not_part_of_the_question(
    tmp_path: Path, clock: Clock
) -> None:
    source = Scripted([price(option="on_demand")])
    kept(source, tmp_path, clock).quote(REQUEST)
    later = replace(REQUEST, today=date(2026, 11, 24))
    assert isinstance(kept(source, tmp_path, clock).quote(later), Price)


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"{}", b'{"version": 2}', b"\xff\xfe", b"[" * 50_000,
        b'{"version": 1, "price": {}}', b'{"version": 1, "price": null}',
    ],
)  # fmt: skip
def test_a_damaged_file_is_as_good_as_none(content: bytes, tmp_path: Path, clock: Clock) -> None:
    source = Scripted([price(), price("36")])
    kept(source, tmp_path, clock).quote(REQUEST)
    only_file(tmp_path).write_bytes(content)
    assert kept(source, tmp_path, clock).quote(REQUEST) == price("36")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("usd_per_hour", "0"),
        ("usd_per_hour", "-1"),
        ("usd_per_hour", "1e9"),
        ("retrieved_at", None),
        ("retrieved_at", "today"),
        ("retrieved_at", "2026-11-23T12:00:00"),
        ("option", "user"),
        ("instance", "p5.48xlarge"),
        ("region", "us-east-1"),
        ("mark", "x"),
    ],
)
def test_a_file_that_was_changed_is_not_believed(
    key: str, value: Any, tmp_path: Path, clock: Clock
) -> None:
    source = Scripted([price(), price("36")])
    kept(source, tmp_path, clock).quote(REQUEST)
    path = only_file(tmp_path)
    document = json.loads(path.read_text())
    document["price"][key] = value
    path.write_text(json.dumps(document))
    assert kept(source, tmp_path, clock).quote(REQUEST) == price("36")


def test_a_failure_is_remembered_by_the_process_and_never_written(
    tmp_path: Path, clock: Clock
) -> None:
    source = Scripted([NoPrice("no network", "wait", is_failure=True), price()])
    cache = kept(source, tmp_path, clock)
    assert [cache.quote(REQUEST).__class__ for _ in range(3)] == [NoPrice] * 3
    assert len(source.asked) == 1
    assert list(tmp_path.iterdir()) == []
    assert kept(source, tmp_path, clock).quote(REQUEST) == price()


def test_a_folder_that_cannot_be_written_costs_a_question_and_no_error(
    tmp_path: Path, clock: Clock
) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "prices"
    source = Scripted([price(), price()])
    assert kept(source, folder, clock).quote(REQUEST) == price()
    assert kept(source, folder, clock).quote(REQUEST) == price()


def test_nothing_half_written_is_left(tmp_path: Path, clock: Clock) -> None:
    kept(Scripted([price()]), tmp_path, clock).quote(REQUEST)
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


def test_it_lies_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert user_cache_folder() == Path("/somewhere/trnbench/prices")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert user_cache_folder().is_relative_to(os.path.expanduser("~"))  # noqa: PTH111


# --- the table where the cloud gives nothing ------------------------------------------------------

OLD = price(date="2026-07-22", source="a page", retrieved_at=None)


def test_the_live_rate_wins() -> None:
    both = LiveOrTable(Scripted([price("36")]), Scripted([]))
    assert both.quote(REQUEST) == price("36")


@pytest.mark.parametrize("is_failure", [True, False])
def test_without_one_the_tables_is_taken_with_its_date_and_the_reason(is_failure: bool) -> None:
    live = Scripted([NoPrice("there are no AWS credentials here", "sign in", is_failure)])
    answer = LiveOrTable(live, Scripted([OLD])).quote(REQUEST)
    assert answer == OLD.model_copy(
        update={"note": "the table's rate of 2026-07-22, because there are no AWS credentials here"}
    )


def test_a_note_of_the_tables_own_stays() -> None:
    live = Scripted([NoPrice("no network", "wait")])
    noted = OLD.model_copy(update={"note": "rate stated for all"})
    answer = LiveOrTable(live, Scripted([noted])).quote(REQUEST)
    assert isinstance(answer, Price)
    assert str(answer.note).startswith("rate stated for all; the table's rate of ")


def test_where_neither_has_one_both_reasons_are_told() -> None:
    both = LiveOrTable(
        Scripted([NoPrice("no network", "wait")]), Scripted([NoPrice("no row", "give a rate")])
    )
    answer = both.quote(REQUEST)
    assert answer == NoPrice("no row; live: no network", "give a rate")
    same = LiveOrTable(Scripted([NoPrice("x", "a")]), Scripted([NoPrice("x", "b")]))
    assert same.quote(REQUEST) == NoPrice("x", "b")
