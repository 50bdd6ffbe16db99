"""Documents that went wrong: any JSON value with parts deleted, replaced, doubled or misspelt."""

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 10**30, 0.5, "", " ", "0", "0.0000000000", "-5", "NaN", "Infinity",
    "1e3", "12.5", "99999999999", "\uff11\uff12", "USD", "EUR", "Hrs", "Inf", "Linux",
    "Windows", [], {}, [[]], {"USD": "3.0"}, "us-east-1", "trn1.2xlarge", "2031-01-01T00:00:00Z",
    "1970-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "\x00", "\ud800", "On Demand", "1yr",
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value within a value."""
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    for key, each in inner:
        yield (*path, key)
        yield from places(each, (*path, key))


def mutate(value: Any, random: Random) -> Any:
    """Return a copy of a JSON document with one to three things wrong."""
    value = copy.deepcopy(value)
    for _ in range(random.randint(1, 3)):
        paths = list(places(value))
        if not paths:
            break
        _change(value, random.choice(paths), random)
    return value


def mutate_text(text: str, random: Random) -> str:
    """Return a text with one to three of its characters dropped, doubled or changed."""
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(text) + 1)
        kind = random.randrange(4)
        if kind == 0:
            text = text[:at] + text[at + 1 :]
        elif kind == 1:
            text = text[:at] + random.choice('0123456789.-{}[]",:e\\ $x') + text[at + 1 :]
        elif kind == 2:
            text = text[:at] + text[at : at + 40] + text[at:]
        else:
            text = text[:at]
    return text


def mutate_document(text: str, random: Random) -> str:
    """Return a JSON document's text with something wrong in what it says, or how it is written."""
    if random.random() < 0.25:
        return mutate_text(text, random)
    return json.dumps(mutate(json.loads(text), random))


def _change(value: Any, path: tuple[Any, ...], random: Random) -> None:
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    last, kind = path[-1], random.randrange(6)
    if kind == 0:
        del holder[last]
    elif kind == 1:
        holder[last] = random.choice(JUNK)
    elif kind == 2 and isinstance(holder[last], str):
        holder[last] = mutate_text(holder[last], random)
    elif kind == 3 and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[last]))
    elif kind == 4 and isinstance(holder, dict):
        holder[f"{last}X"] = copy.deepcopy(holder[last])
        if random.random() < 0.5:
            del holder[last]
    else:
        other = random.choice(list(places(value)))
        source = value
        for key in other:
            source = source[key]
        holder[last] = copy.deepcopy(source)
