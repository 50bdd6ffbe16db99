"""Live rates kept on disk for a while, each with the time at which it was asked for.

A file that is damaged, dated in the future, or expired is ignored. Failures are remembered for the
life of the process alone, so that a sweep does not wait for them at every case.
"""

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from trnbench.prices.base import NoPrice, PriceRequest, PriceSource, add_note, utc_now
from trnbench.schema.price import Price
from trnbench.schema.rent import PriceOption

log = logging.getLogger(__name__)

LIFETIMES: Mapping[PriceOption, timedelta] = {
    "on_demand": timedelta(days=1),
    "reserved_1y": timedelta(days=1),
    "reserved_3y": timedelta(days=1),
    "savings_plan_1y": timedelta(days=1),
    "savings_plan_3y": timedelta(days=1),
    "capacity_block": timedelta(hours=1),
    "spot": timedelta(minutes=10),
}
"""How long a rate is taken for the present one: list prices stand for months, spot moves by the
hour, and an offer of a block can be sold to another."""

CACHE_VERSION = 1
_MAX_BYTES = 20_000


def user_cache_folder() -> Path:
    """Return where this user's cached rates lie, by the XDG base directory specification."""
    named = os.environ.get("XDG_CACHE_HOME")
    return (Path(named) if named else Path.home() / ".cache") / "trnbench" / "prices"


@dataclass(frozen=True, slots=True)
class CachedSource:
    """A source whose answers are kept."""

    source: PriceSource
    folder: Callable[[], Path] = user_cache_folder
    now: Callable[[], datetime] = utc_now
    _failed: dict[str, NoPrice] = field(default_factory=dict)

    def quote(self, request: PriceRequest) -> Price | NoPrice:
        """Return the kept rate while it lasts, else ask, and keep what is answered."""
        key = _key(request)
        if key in self._failed:
            return self._failed[key]
        path = self.folder() / f"{key}.json"
        kept = self._read(path, request)
        if kept is not None:
            return kept
        answer = self.source.quote(request)
        if isinstance(answer, NoPrice):
            self._failed[key] = answer
        else:
            _write(path, answer)
        return answer

    def _read(self, path: Path, request: PriceRequest) -> Price | None:
        """Return the kept rate, if it is valid, answers the request and has not expired."""
        try:
            with path.open("rb") as stream:
                document = json.loads(stream.read(_MAX_BYTES))
            if document["version"] != CACHE_VERSION:
                return None
            price = Price.model_validate_json(json.dumps(document["price"]))
            age = self.now() - datetime.fromisoformat(price.retrieved_at or "")
            is_fresh = timedelta(0) <= age < LIFETIMES[price.option]
        except OSError:
            return None
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            log.debug("%s is no kept rate: %s", path.name, type(error).__name__)
            return None
        is_asked_for = (price.instance, price.region) == (request.instance, request.region)
        if not (is_fresh and is_asked_for and request.option in (None, price.option)):
            return None
        minutes = round(age.total_seconds() / 60)
        return add_note(
            price, f"asked {minutes} minutes ago" if minutes != 1 else "asked a minute ago"
        )


def _key(request: PriceRequest) -> str:
    """Name a request by all that decides its answer."""
    asked = replace(request, today=request.today.min, usd_per_hour=None)
    return hashlib.sha256(repr(asked).encode()).hexdigest()[:24]


def _write(path: Path, price: Price) -> None:
    """Keep a rate; where it cannot be written, the next process asks again."""
    document = {"version": CACHE_VERSION, "price": price.model_dump(mode="json")}
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(document), encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        log.debug("the rate is not kept: %s", error.strerror)
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
