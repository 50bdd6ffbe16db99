"""One JSON object a line: how a message is written, and read against its annotations."""

import contextlib
import dataclasses
import functools
import json
import math
import sys
import types
import typing
from typing import Any, Literal, TypeVar

T = TypeVar("T")


class ProtocolError(ValueError):
    """A line that is not a message of this version."""


def encode(message: Any) -> str:
    """Write a message as one line of JSON, without the newline.

    Raises:
        ValueError: a float is NaN or infinite; such a value must be sent as null.
    """
    return json.dumps(_plain(message), allow_nan=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    """Turn nested dataclasses into dictionaries, sharing the lists (`asdict` would copy them)."""
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple) and value and dataclasses.is_dataclass(value[0]):
        return [_plain(item) for item in value]
    return value


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
    for cls in kinds:
        if cls.__dataclass_fields__["kind"].default == name:  # type: ignore[attr-defined]
            return from_json(cls, document)
    raise ProtocolError(f"unknown kind {str(name)[:40]!r}")


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
    for name, (annotation, is_required) in fields.items():
        if name in document:
            arguments[name] = _checked(annotation, document[name], f"{where}{name}")
        elif is_required:
            raise ProtocolError(f"{where or cls.__name__}: missing field {name!r}")
    return cls(**arguments)


@functools.cache
def _fields_of(cls: type) -> dict[str, tuple[Any, bool]]:
    """Return the annotation of each field, and whether it has no default."""
    hints = typing.get_type_hints(cls)
    return {
        f.name: (hints[f.name], f.default is f.default_factory is dataclasses.MISSING)
        for f in dataclasses.fields(cls)
    }


def _checked(annotation: Any, value: Any, where: str) -> Any:
    """Return `value` as `annotation` wants it; an int serves as a float, nothing else is converted.

    Refused are NaN, infinities and ints that no float can hold: such a value is sent as null.
    """
    origin = typing.get_origin(annotation)
    if dataclasses.is_dataclass(annotation):
        return from_json(annotation, value, f"{where}.")  # type: ignore[arg-type]
    if origin in (typing.Union, types.UnionType):
        for option in typing.get_args(annotation):
            with contextlib.suppress(ProtocolError):
                return _checked(option, value, where)
    elif origin is list and isinstance(value, list):
        (item,) = typing.get_args(annotation)
        if _are_numbers(item, value):
            return value
        return [_checked(item, entry, where) for entry in value]
    elif origin is dict and isinstance(value, dict):
        _, item = typing.get_args(annotation)
        return {
            _checked(str, k, where): _checked(item, entry, f"{where}.{k}")
            for k, entry in value.items()
        }
    elif annotation is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    elif _is_scalar(annotation, value):
        return value
    named = getattr(annotation, "__name__", None) or annotation
    raise ProtocolError(f"{where}: {str(value)[:60]!r} is not {named}")


def _are_numbers(item: Any, values: list[Any]) -> bool:
    """Tell quickly that a list holds finite floats: the losses of a run are millions.

    False says nothing: each entry is checked then.
    """
    if item is not float and item != float | None:
        return False
    return {float}.issuperset(map(type, values)) and all(map(math.isfinite, values))


def _is_scalar(annotation: Any, value: Any) -> bool:
    if typing.get_origin(annotation) is Literal:
        return value in typing.get_args(annotation)
    if annotation is str and isinstance(value, str):  # half a surrogate pair fits into no file
        return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)
    return annotation in (bool, int, types.NoneType) and type(value) is annotation
