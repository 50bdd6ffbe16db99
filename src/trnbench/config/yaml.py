"""Strict YAML: a file or a string becomes plain data plus the line of every key.

PyYAML's own constructors are not used: they let the last of two equal keys win, read `1e-4` as
text, `no` as false and `12:30` as 750, and expand aliases without bound. Here the parser's events
are read once, scalars follow the YAML 1.2 core schema, and size, depth and expansion are bounded
before anything is built.
"""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from trnbench.schema.errors import ConfigError

MAX_BYTES = 1_000_000
MAX_DEPTH = 40
MAX_NODES = 20_000
"""Values in a document after its aliases are expanded; a large suite has a few hundred."""

KeyPath = tuple[str | int, ...]

_INT = re.compile(r"[-+]?[0-9]{1,400}")
_OCTAL = re.compile(r"0o[0-7]{1,400}")
_HEX = re.compile(r"0x[0-9a-fA-F]{1,400}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_NULLS = {"", "~", "null", "Null", "NULL"}
_BOOLEANS = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip

# libyaml's parser is six times faster; PyYAML has it wherever it was built with libyaml.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML document and where each of its keys stands."""

    source: str
    """What to call it in messages: the file's path or the option's name."""
    data: Any
    lines: dict[KeyPath, int] = field(repr=False)

    def where(self, path: KeyPath) -> str:
        """Say the place of `path`, or of the nearest parent that is in the document."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.lines:
                return f"{self.source}, line {self.lines[path[:end]]}"
        return self.source


def read_document(path: Path) -> Document:
    """Read one YAML file.

    Raises:
        ConfigError: the file is missing, unreadable, empty, too large or not strict YAML.
    """
    source = str(path)
    try:
        if path.is_dir():
            raise ConfigError(f"{source}: is a folder", hint="name a YAML file inside it")
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigError(
                f"{source}: is longer than {MAX_BYTES:,} bytes",
                hint="a config has a few hundred; is this the right file?",
            )
        text = content.decode()
    except FileNotFoundError as error:
        raise ConfigError(
            f"{source}: no such file", hint="check the path, relative to the current folder"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{source}: is not UTF-8 text", hint="save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(
            f"{source}: cannot be read: {error.strerror}", hint="check the path and its permissions"
        ) from error
    return parse_document(text, source)


def parse_document(text: str, source: str) -> Document:
    """Parse YAML text; `source` names it in messages.

    Raises:
        ConfigError: with the line and what to do.
    """
    document = _parse(text, source)
    if document.data is None:
        raise ConfigError(
            f"{source}: is empty",
            hint="`trnbench schema config` shows what a config holds; configs/ has examples",
        )
    return document


def parse_value(text: str, source: str) -> Any:
    """Parse one YAML value, as given after `--set key=`; nothing and `null` are None."""
    return _parse(text, source).data


def _parse(text: str, source: str) -> Document:
    builder = _Builder(source)
    try:
        data = builder.document(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"{source}{line}: is not YAML: {error.problem or error.context}",
            hint="check indentation, quotes and brackets on that line and the one above",
        ) from error
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        raise ConfigError(
            f"{source}: is not YAML: {str(error).splitlines()[0]}",
            hint="save it as plain UTF-8 text",
        ) from error
    return Document(source, data, builder.lines)


@dataclass(frozen=True, slots=True)
class _Anchor:
    value: Any
    nodes: int
    height: int
    """Levels below the anchored value."""
    lines: dict[KeyPath, int]


class _Builder:
    """Builds one document from parser events, counting what it builds."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.lines: dict[KeyPath, int] = {}
        self.nodes = 0
        self.deepest = 0
        self.anchors: dict[str, _Anchor | None] = {}

    def document(self, events: Iterator[Any]) -> Any:
        self.events = events
        roots: list[Any] = []
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if roots:
                    raise self.error(event, "a second document starts", "keep one per file")
                roots.append(self.value(next(events), (), 0))
        return roots[0] if roots else None

    def error(self, event: Any, message: str, hint: str) -> ConfigError:
        line = event.start_mark.line + 1
        return ConfigError(f"{self.source}, line {line}: {message}", hint=hint)

    def value(self, event: Any, path: KeyPath, depth: int) -> Any:
        self.lines.setdefault(path, event.start_mark.line + 1)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, path, depth)
        above, self.deepest = self.deepest, 0
        self.check_depth(event, depth)
        if event.tag not in (None, "tag:yaml.org,2002:str"):
            raise self.error(event, f"has the tag {event.tag!r}", "remove it: tags are not used")
        self.count(event, 1)
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        before, known = self.nodes, len(self.lines)
        if isinstance(event, yaml.ScalarEvent):
            value = self.scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self.sequence(path, depth)
        else:
            value = self.mapping(path, depth)
        if event.anchor is not None:
            inside = list(self.lines.items())[known:]
            lines = {key[len(path) :]: line for key, line in inside}
            nodes, height = self.nodes - before + 1, self.deepest - depth
            self.anchors[event.anchor] = _Anchor(value, nodes, height, lines)
        self.deepest = max(self.deepest, above)
        return value

    def check_depth(self, event: Any, depth: int) -> None:
        self.deepest = max(self.deepest, depth)
        if depth > MAX_DEPTH:
            raise self.error(event, f"is nested deeper than {MAX_DEPTH}", "flatten it")

    def count(self, event: Any, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise self.error(
                event,
                f"holds more than {MAX_NODES:,} values (aliases are counted each time)",
                "a config is small; split the suite or drop the aliases",
            )

    def alias(self, event: Any, path: KeyPath, depth: int) -> Any:
        anchor = self.anchors.get(event.anchor)
        if anchor is None:
            known = event.anchor in self.anchors
            raise self.error(
                event,
                f"*{event.anchor} " + ("refers to itself" if known else "has no anchor"),
                "write the value out",
            )
        self.count(event, anchor.nodes)
        self.check_depth(event, depth + anchor.height)
        for inside in anchor.lines:
            self.lines.setdefault(path + inside, event.start_mark.line + 1)
        return copy.deepcopy(anchor.value)  # two keys must not share what `--set` changes

    def sequence(self, path: KeyPath, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self.value(event, (*path, len(items)), depth + 1))
        return items

    def mapping(self, path: KeyPath, depth: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        first_lines: dict[str, int] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.key(event)
            line = event.start_mark.line + 1
            if key in first_lines:
                raise self.error(
                    event,
                    f"the key {key!r} stands twice (first on line {first_lines[key]})",
                    "keep one of the two",
                )
            first_lines[key] = line
            if key == "<<":
                merged = self.merge(next(self.events), path, depth)
                continue
            self.lines[(*path, key)] = line
            own[key] = self.value(next(self.events), (*path, key), depth + 1)
        return {**merged, **own}

    def merge(self, event: Any, path: KeyPath, depth: int) -> dict[str, Any]:
        value = self.value(event, path, depth + 1)
        if not isinstance(value, dict):
            raise self.error(event, "<< merges something that is not a mapping", "use <<: *anchor")
        return value

    def key(self, event: Any) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise self.error(event, "a key is not a word", "keys are plain words")
        value = event.value if event.style else self.scalar(event)
        if not isinstance(value, str):
            raise self.error(
                event, f"the key {event.value!r} is not a word", f'write "{event.value}"'
            )
        self.count(event, 1)
        return value

    def scalar(self, event: Any) -> Any:
        """Resolve a plain scalar by the YAML 1.2 core schema; a quoted one is text."""
        text: str = event.value
        if event.style or event.tag is not None:
            return text
        if text in _NULLS:
            return None
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        for pattern, base in ((_INT, 10), (_OCTAL, 8), (_HEX, 16)):
            if pattern.fullmatch(text):
                return int(text.lower().removeprefix("0o"), base)
        if _FLOAT.fullmatch(text):
            return float(text)
        if _SPECIAL_FLOAT.fullmatch(text):
            return float(text.replace(".", "", 1))
        return text
