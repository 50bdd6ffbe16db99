"""Measurement files that went wrong: lines lost, torn, doubled, out of order, or edited by hand."""

import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

NUMBERS: tuple[Any, ...] = (
    0, -1, 1, -0.0, 1e-320, 5e-324, 1e-12, 1e-9, 1e8, 1e9, 1e30, 1e300, -1e300, 1.7e308,
    float("nan"), float("inf"), float("-inf"), 10**30, 10**400, -(10**30), 0.5, 2**63,
)  # fmt: skip
WRONG_TYPES: tuple[Any, ...] = (
    None, True, False, "", "0.05", "NaN", "\x00", "\ud800", [], {}, [[]], [None], [1e300] * 3,
)  # fmt: skip
GARBAGE = (b"\n", b"\x00\x00\n", b"\xff\xfe\n", b"null\n", b"[]\n", b"{}\n", b'{"kind":"block"}\n')


def mutated(lines: Sequence[bytes], random: Random) -> list[bytes]:
    """Return a file's lines with one to three things wrong."""
    found = list(lines)
    for _ in range(random.randint(1, 3)):
        if found:
            found = random.choice(_WAYS)(found, random)
    return found


def edited(lines: Sequence[bytes], at: int, path: tuple[Any, ...], value: Any) -> list[bytes]:
    """Return the lines with one value of one record replaced."""
    document = json.loads(lines[at])
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return [*lines[:at], json.dumps(document).encode() + b"\n", *lines[at + 1 :]]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value within a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in inner:
        yield (*path, key)
        if isinstance(each, dict | list):
            yield from places(each, (*path, key))


def _at_random(lines: list[bytes], random: Random) -> tuple[int, list[tuple[Any, ...]]]:
    at = random.randrange(len(lines))
    try:
        document = json.loads(lines[at])
    except ValueError:
        return at, []
    return at, list(places(document)) if isinstance(document, dict) else []


def _put_number(lines: list[bytes], random: Random) -> list[bytes]:
    at, paths = _at_random(lines, random)
    return edited(lines, at, random.choice(paths), random.choice(NUMBERS)) if paths else lines


def _scale_number(lines: list[bytes], random: Random) -> list[bytes]:
    at, paths = _at_random(lines, random)
    if not paths:
        return lines
    path = random.choice(paths)
    value = json.loads(lines[at])
    for key in path:
        value = value[key]
    if type(value) not in (int, float):
        return lines
    factor = random.choice((-1, 0.5, 2, 10, 1000, 1e-6, 1e6))
    return edited(lines, at, path, type(value)(value * factor) if abs(value) < 1e300 else 0)


def _put_wrong_type(lines: list[bytes], random: Random) -> list[bytes]:
    at, paths = _at_random(lines, random)
    return edited(lines, at, random.choice(paths), random.choice(WRONG_TYPES)) if paths else lines


def _drop_key(lines: list[bytes], random: Random) -> list[bytes]:
    at, paths = _at_random(lines, random)
    if not paths:
        return lines
    document = json.loads(lines[at])
    holder, path = document, random.choice(paths)
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    return [*lines[:at], json.dumps(document).encode() + b"\n", *lines[at + 1 :]]


def _drop(lines: list[bytes], random: Random) -> list[bytes]:
    at = random.randrange(len(lines))
    return lines[:at] + lines[at + random.choice((1, 1, 1, 5, 30)) :]


def _double(lines: list[bytes], random: Random) -> list[bytes]:
    at, to = random.randrange(len(lines)), random.randrange(len(lines) + 1)
    return [*lines[:to], lines[at], *lines[to:]]


def _swap(lines: list[bytes], random: Random) -> list[bytes]:
    one, other = random.randrange(len(lines)), random.randrange(len(lines))
    found = list(lines)
    found[one], found[other] = found[other], found[one]
    return found


def _shuffle(lines: list[bytes], random: Random) -> list[bytes]:
    rest = lines[1:]
    random.shuffle(rest)
    return [lines[0], *rest]


def _cut_off(lines: list[bytes], random: Random) -> list[bytes]:
    at = random.randrange(len(lines))
    return [*lines[:at], lines[at][: random.randrange(len(lines[at]) + 1)]]


def _tear(lines: list[bytes], random: Random) -> list[bytes]:
    at = random.randrange(len(lines))
    return [
        *lines[:at],
        lines[at][: random.randrange(len(lines[at]) + 1)] + b"\n",
        *lines[at + 1 :],
    ]


def _add_garbage(lines: list[bytes], random: Random) -> list[bytes]:
    at = random.randrange(len(lines) + 1)
    return [*lines[:at], random.choice(GARBAGE), *lines[at:]]


def _change_byte(lines: list[bytes], random: Random) -> list[bytes]:
    at = random.randrange(len(lines))
    if not lines[at]:
        return lines
    place = random.randrange(len(lines[at]))
    byte = random.choice(b'0123456789.-{}[]",:eE\\ n\x00\xff').to_bytes(1, "big")
    return [*lines[:at], lines[at][:place] + byte + lines[at][place + 1 :], *lines[at + 1 :]]


_WAYS = (
    _put_number, _put_number, _put_number, _scale_number, _scale_number, _put_wrong_type, _drop_key,
    _drop, _double, _swap, _shuffle, _cut_off, _tear, _add_garbage, _change_byte,
)  # fmt: skip
