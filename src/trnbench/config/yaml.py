"""Strict YAML: a file or a string becomes plain data plus the line of every key.

PyYAML's constructors let the last of two equal keys win, read `no` as false and `12:30` as 750, and
expand aliases without bound; its composer loses the line of an alias and overflows the C stack on
deep nesting. So data are built from the parser's events: scalars by the YAML 1.2 core schema, and
size, depth and expansion bounded before anything is built.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from trnbench.errors import ConfigError, Problem

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
_CONSTANTS = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip

# libyaml's parser is six times faster; PyYAML has it wherever it was built with libyaml.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML document and the line of each of its keys."""

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
    hint = "a config has a few hundred; is this the right file?"
    return parse_document(read_text(path, MAX_BYTES, hint), str(path))


def read_text(path: Path, max_bytes: int, hint: str) -> str:
    """Read a file of the user's; `hint` helps where it is too long."""
    try:
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder", hint="name a file inside it")
        if path.is_fifo() and path.parts[:2] not in (("/", "dev"), ("/", "proc")):
            # A named pipe would be waited for without an end; the shell's own are being written.
            raise ConfigError(f"{path}: is a pipe", hint="name a file, or pipe it to /dev/stdin")
        with path.open("rb") as stream:
            content = stream.read(max_bytes + 1)
        if len(content) > max_bytes:
            raise ConfigError(f"{path}: is longer than {max_bytes:,} bytes", hint=hint)
        return content.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: no such file", hint="check the path, relative to the current folder"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text", hint="save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}", hint="check the path and its permissions"
        ) from error


def parse_document(text: str, source: str) -> Document:
    """Parse YAML text; `source` names it in messages."""
    document = _parse(text, source)
    if document.data is None:
        raise ConfigError(
            f"{source}: is empty",
            hint="`model: llama3.2-1b` is a whole config; `trnbench init` writes one to edit",
        )
    return document


def parse_value(text: str, source: str) -> Any:
    """Parse one YAML value, as given after `--set key=`; nothing and `null` are None."""
    return _parse(text, source).data


def _parse(text: str, source: str) -> Document:
    builder = _Builder(source, yaml.parse(text, Loader=_LOADER))
    try:
        data = builder.document()
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
    if builder.problems:
        raise ConfigError.of(builder.problems)
    return Document(source, data, builder.lines)


class _Builder:
    """Builds one document from parser events; an alias reads its anchor's events again."""

    def __init__(self, source: str, stream: Iterator[Any]) -> None:
        self.source = source
        self.stream = stream
        self.events: list[Any] = []  # those read so far
        self.at = 0  # index of the event to read next
        self.lines: dict[KeyPath, int] = {}
        self.nodes = 0
        self.anchors: dict[str, int] = {}  # name to index of its event
        self.bound: dict[int, int | None] = {}  # alias to anchor, by event: names can be reused
        self.open: set[int] = set()  # events whose value is not read to its end
        self.problems: list[Problem] = []  # keys that appear twice

    def document(self) -> Any:
        roots: list[Any] = []
        while not isinstance(event := self.next(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                if roots:
                    raise self.error(_line(event), "a second document starts", "keep one per file")
                roots.append(self.value((), 0))
        return roots[0] if roots else None

    def next(self) -> Any:
        if self.at == len(self.events):
            self.events.append(next(self.stream))
        self.at += 1
        return self.events[self.at - 1]

    def note_twice(self, key: str, line: int, first: int) -> None:
        what = f"the key {key!r} appears twice (first on line {first})"
        self.problems += self.error(line, what, "keep one of the two").problems

    def error(self, line: int, message: str, hint: str) -> ConfigError:
        return ConfigError(f"{self.source}, line {line}: {message}", hint=hint)

    def value(self, path: KeyPath, depth: int, alias_line: int | None = None) -> Any:
        """Read the next value; one that an alias stands for has the alias's line."""
        start, event = self.at, self.next()
        line = alias_line or _line(event)
        self.lines.setdefault(path, line)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(start, path, depth, line)
        if depth > MAX_DEPTH:
            raise self.error(line, f"is nested deeper than {MAX_DEPTH}", "flatten it")
        if event.tag not in (None, "tag:yaml.org,2002:str"):
            raise self.error(line, f"has the tag {event.tag!r}", "remove it: tags are not used")
        self.count(line)
        if event.anchor is not None and alias_line is None:
            self.anchors[event.anchor] = start
        self.open.add(start)
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            value = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self.sequence(path, depth, alias_line)
        else:
            value = self.mapping(path, depth, alias_line)
        self.open.remove(start)
        return value

    def count(self, line: int) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise self.error(
                line,
                f"holds more than {MAX_NODES:,} values (aliases are counted each time)",
                "a config is small; split the suite or drop the aliases",
            )

    def alias(self, at: int, path: KeyPath, depth: int, line: int) -> Any:
        name = self.events[at].anchor
        start = self.bound.setdefault(at, self.anchors.get(name))
        if start is None or start in self.open:
            what = "has no anchor" if start is None else "refers to itself"
            raise self.error(line, f"*{name} {what}", "write the value out")
        back, self.at = self.at, start
        value = self.value(path, depth, line)
        self.at = back
        return value

    def sequence(self, path: KeyPath, depth: int, alias_line: int | None) -> list[Any]:
        items: list[Any] = []
        while not isinstance(self.next(), yaml.SequenceEndEvent):
            self.at -= 1
            items.append(self.value((*path, len(items)), depth + 1, alias_line))
        return items

    def mapping(self, path: KeyPath, depth: int, alias_line: int | None) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        first_lines: dict[str, int] = {}
        while not isinstance(event := self.next(), yaml.MappingEndEvent):
            line = alias_line or _line(event)
            key = self.key(event, line)
            if key in first_lines:
                if alias_line is None:  # an alias reads again what was read
                    self.note_twice(key, line, first_lines[key])
                self.value((*path, key), depth + 1, alias_line)
                continue
            first_lines[key] = line
            if key == "<<":
                merged = self.value(path, depth + 1, alias_line)
                if not isinstance(merged, dict):
                    raise self.error(
                        line, "<< merges something that is not a mapping", "use <<: *anchor"
                    )
                continue
            own[key] = self.value((*path, key), depth + 1, alias_line)
        self.lines |= {(*path, key): first_lines[key] for key in own}
        return {**merged, **own}

    def key(self, event: Any, line: int) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise self.error(line, "a key is not a word", "keys are plain words")
        value = event.value if event.style else _scalar(event)
        if not isinstance(value, str):
            raise self.error(
                line, f"the key {event.value!r} is not a word", f'write "{event.value}"'
            )
        self.count(line)
        return value


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def _scalar(event: Any) -> Any:
    """Resolve a plain scalar by the YAML 1.2 core schema; a quoted one is text."""
    text: str = event.value
    if event.style or event.tag is not None:
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    for pattern, base in ((_INT, 10), (_OCTAL, 8), (_HEX, 16)):
        if pattern.fullmatch(text):
            return int(text.lower().removeprefix("0o"), base)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL_FLOAT.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text
