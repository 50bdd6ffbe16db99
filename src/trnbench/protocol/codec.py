"""One JSON object a line: how a message is written, and read against its annotations."""

import contextlib
import dataclasses
import functools
import json
import math
import sys
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

T = TypeVar("T")


class ProtocolError(ValueError):
    """A line that is not a message of this version."""


def encode(message: Any) -> str:
    """Write a message as one line of JSON, without the newline.

    Raises:
        ValueError: a float is NaN or infinite; such a value must be sent as null.
    """
    return _ENCODER.encode(_plain(message))


_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    """Turn nested dataclasses into dictionaries, sharing the lists (`asdict` would copy them)."""
    if type(value) in _PLAIN:  # nearly always
        return value
    if dataclasses.is_dataclass(value):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, list | tuple) and value and dataclasses.is_dataclass(value[0]):
        return [_plain(item) for item in value]
    return value


_PLAIN = frozenset({str, int, float, bool, type(None)})


def decode(line: str | bytes, kinds: tuple[type, ...]) -> Any:
    """Read one line as whichever of `kinds` its `kind` names.

    Raises:
        ProtocolError: not JSON, an unknown kind, a missing or unknown field, or a wrong type.
    """
    return from_document(parse_object(line), kinds)


def parse_object(line: str | bytes) -> dict[str, Any]:
    """Read one line of JSON that holds an object."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not a line of JSON: {str(error)[:120]}") from error
    if not isinstance(document, dict):
        raise ProtocolError(f"expected an object, got {type(document).__name__}")
    return document


def from_document(document: Any, kinds: tuple[type, ...]) -> Any:
    """Read parsed JSON as whichever of `kinds` its `kind` names."""
    name = document.get("kind") if isinstance(document, dict) else document
    cls = _by_name(kinds).get(name) if isinstance(name, str) else None
    if cls is None:
        raise ProtocolError(f"unknown kind {str(name)[:40]!r}")
    return from_json(cls, document)


@functools.cache
def _by_name(kinds: tuple[type, ...]) -> dict[str, type]:
    return {cls.__dataclass_fields__["kind"].default: cls for cls in kinds}  # type: ignore[attr-defined]


def from_json(cls: type[T], document: Any, where: str = "") -> T:
    """Build the dataclass `cls` from parsed JSON, refusing what its annotations do not allow.

    Raises:
        ProtocolError: names the offending field.
    """
    if not isinstance(document, dict):
        raise ProtocolError(f"{where or cls.__name__}: expected an object")
    fields = _fields_of(cls)  # type: ignore[arg-type]
    unknown = document.keys() - fields.keys()
    if unknown:
        raise ProtocolError(f"{where or cls.__name__}: unknown field {min(unknown)!r}")
    arguments = {}
    for name, (read, is_required) in fields.items():
        if name in document:
            arguments[name] = read(document[name], f"{where}{name}")
        elif is_required:
            raise ProtocolError(f"{where or cls.__name__}: missing field {name!r}")
    return cls(**arguments)


Reader = Callable[[Any, str], Any]
"""Returns a value as its annotation wants it, or raises a `ProtocolError` that names the place.

A reader is made once for each annotation: the parent reads one block of every rank between two
timed ones."""


@functools.cache
def _fields_of(cls: type) -> dict[str, tuple[Reader, bool]]:
    """Return the reader of each field, and whether it has no default."""
    hints = typing.get_type_hints(cls)
    return {
        f.name: (_reader(hints[f.name]), f.default is f.default_factory is dataclasses.MISSING)
        for f in dataclasses.fields(cls)
    }


@functools.cache
def _reader(annotation: Any) -> Reader:
    """Return what reads values of an annotation; an int serves as a float, else all stay as is."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if dataclasses.is_dataclass(annotation):
        return lambda value, where: from_json(annotation, value, f"{where}.")  # type: ignore[arg-type]
    if origin in (typing.Union, types.UnionType):
        return _union_reader(annotation, [_reader(option) for option in arguments])
    if origin is list:
        return _list_reader(annotation, arguments[0])
    if origin is dict:
        return _dict_reader(annotation, arguments[1])
    if annotation is float:
        return _read_float

    if annotation is str:
        return _read_text
    options = frozenset(arguments if origin is Literal else ())

    def read_scalar(value: Any, where: str) -> Any:
        if type(value) is annotation if origin is None else _is_among(value, options):
            return value
        raise _wrong(annotation, value, where)

    return read_scalar


def _is_among(value: Any, options: frozenset[Any]) -> bool:
    return isinstance(value, str) and value in options


def _read_text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not (value.isascii() or _is_whole(value)):
        raise _wrong(str, value, where)
    return value


def _is_whole(text: str) -> bool:
    """Tell whether a text holds no half of a surrogate pair, which fits into no file."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _read_float(value: Any, where: str) -> float:
    """Refuse NaN, infinities and ints that no float can hold: such a value is sent as null."""
    if type(value) in (float, int) and abs(value) <= sys.float_info.max:
        return float(value)
    raise _wrong(float, value, where)


def _union_reader(annotation: Any, options: Sequence[Reader]) -> Reader:
    is_optional = types.NoneType in typing.get_args(annotation)

    def read(value: Any, where: str) -> Any:
        if value is None and is_optional:
            return None
        for option in options:
            with contextlib.suppress(ProtocolError):
                return option(value, where)
        raise _wrong(annotation, value, where)

    return read


def _list_reader(annotation: Any, item: Any) -> Reader:
    read_item = _reader(item)
    may_be_numbers = item is float or item == float | None

    def read(value: Any, where: str) -> Any:
        if not isinstance(value, list):
            raise _wrong(annotation, value, where)
        if may_be_numbers and _are_numbers(value):
            return value
        return [read_item(entry, where) for entry in value]

    return read


def _dict_reader(annotation: Any, item: Any) -> Reader:
    read_key, read_item = _reader(str), _reader(item)

    def read(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise _wrong(annotation, value, where)
        return {read_key(k, where): read_item(entry, f"{where}.{k}") for k, entry in value.items()}

    return read


def _wrong(annotation: Any, value: Any, where: str) -> ProtocolError:
    named = getattr(annotation, "__name__", None) or annotation
    return ProtocolError(f"{where}: {str(value)[:60]!r} is not {named}")


def _are_numbers(values: list[Any]) -> bool:
    """Tell quickly that a list holds finite floats: the losses of a run are millions.

    False says nothing: each entry is checked then.
    """
    return {float}.issuperset(map(type, values)) and all(map(math.isfinite, values))
