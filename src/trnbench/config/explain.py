"""From pydantic's faults to problems: file, line, key, value, and what to write instead."""

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pydantic

from trnbench.config.yaml import Document, KeyPath
from trnbench.errors import Problem

MAX_PROBLEMS = 20
"""Of one file: a table of rates may have a fault in each line."""

Schema = Mapping[str, Any]
"""JSON Schema of a key."""


RENAMED: Mapping[KeyPath, str] = {
    ("parallel", "data_parallel_size"): "parallel.data_parallel_shard_size for FSDP2, or "
    "parallel.data_parallel_replicate_size for DDP",
    ("parallel", "data_parallel"): "parallel.data_parallel_replicate_size for ddp, "
    "parallel.data_parallel_shard_size for fsdp, and both for hsdp",
}
"""Keys of older versions, and what to write instead."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where each value of a config came from: `--set`, the sweep, or a line of the file."""

    document: Document
    overrides: Mapping[str, str]
    """Keys and texts of `--set`."""
    swept: Collection[str] = ()
    """Keys that the sweep sets."""

    def where(self, path: KeyPath) -> str:
        """Say the place of the value at `path`."""
        path = self._sweep_of(path) or path
        key = self._set_key(path)
        return self.document.where(path) if key is None else say_set(key, self.overrides[key])

    def is_chosen(self, path: KeyPath) -> bool:
        """Whether `--set` or the sweep gave the value at `path`."""
        return self._sweep_of(path) is not None or self._set_key(path) is not None

    def _sweep_of(self, path: KeyPath) -> KeyPath | None:
        dotted = _dotted(path)
        return next((("sweep", key) for key in self.swept if covers(key, dotted)), None)

    def _set_key(self, path: KeyPath) -> str | None:
        """Return the `--set` key that gave the value at `path`, or a mapping around it."""
        keys = [*self.overrides][::-1]  # the last one wins
        for key in keys:
            if covers(key, _dotted(path)):
                return key
        # A mapping that is not in the file is there because a key inside it was set.
        for end in range(len(path), 0, -1):
            if path[:end] in self.document.lines:
                return None
            for key in keys:
                if covers(_dotted(path[:end]), key):
                    return key
        return None


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path))


class OptionText(str):
    """What an option other than `--set` gave a key, as YAML."""

    __slots__ = ("typed",)
    typed: str
    """The option as it was typed."""

    @classmethod
    def of(cls, option: str, value: str, text: str | None = None) -> "OptionText":
        """Return the YAML of an option's value, by default the value itself."""
        made = cls(value if text is None else text)
        made.typed = f"{option} {value}"
        return made


def say_set(key: str, text: str) -> str:
    """Show an option as it was typed, never at length."""
    if isinstance(text, OptionText):
        return _shortened(text.typed)
    return f"--set {key}={_shortened(text)}"


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}…"


def covers(key: str, dotted: str) -> bool:
    """Whether setting `key` sets the value at `dotted`."""
    return dotted == key or dotted.startswith(f"{key}.")


def explain_faults(
    error: pydantic.ValidationError,
    where: Callable[[KeyPath], str],
    model: type[pydantic.BaseModel],
) -> list[Problem]:
    """Turn a validation error of `model` into problems; hints are from the model's schema."""
    schema = model.model_json_schema()
    found: dict[Problem, None] = {}
    for fault in _relevant(error.errors(include_url=False))[:MAX_PROBLEMS]:
        path: KeyPath = tuple(part for part in fault["loc"] if not _is_branch(part))
        message, hint = _explain(fault, path, schema)
        found[Problem(f"{where(path)}: {_dotted(path) or 'the document'}: {message}", hint)] = None
    return [*found]


def _is_branch(part: str | int) -> bool:
    """Whether a part of a fault's place names a branch of a union, and no key."""
    return part in ("ModelConfig", "str") or str(part).startswith("function-")


def _relevant(errors: Sequence[Any]) -> Sequence[Any]:
    """Drop the faults of that branch of the union `model` that the user did not mean."""
    branch = ("model", "ModelConfig")
    wrote_mapping = any(e["loc"][:2] == branch and e["type"] != "model_type" for e in errors)
    is_name = [e["loc"][:1] == ("model",) and e["loc"][:2] != branch for e in errors]
    if wrote_mapping:
        return [e for e, is_of_name in zip(errors, is_name, strict=True) if not is_of_name]
    return [e for e in errors if e["loc"][:2] != branch] or errors


def _explain(error: Any, path: KeyPath, schema: Schema) -> tuple[str, str]:
    """Say what is wrong with the value and what to write, from the schema's own words."""
    kind, value, context = error["type"], say_value(error["input"]), error.get("ctx", {})
    key = str(path[-1]) if path else ""
    node = _schema_at(path, schema)
    keys = ", ".join(node.get("properties", ()))
    if kind == "extra_forbidden" and path in RENAMED:
        return f"is no longer a key (its value is {value})", f"use {RENAMED[path]}"
    if kind == "extra_forbidden":
        known = sorted(_schema_at(path[:-1], schema).get("properties", ()))
        return f"is not a key (its value is {value})", _near(key, known)
    if kind == "missing":
        return "is missing", _what_to_add(path, key, keys, node)
    if kind == "list_type" and path[:1] == ("sweep",):
        return (
            f"got {value}, expected a list",
            f"list what it takes in turn, e.g. `{key}: [{value}]`",
        )
    if kind in ("literal_error", "enum"):
        what = "got nothing" if error["input"] is None else f"{value} is not known"
        return what, f"use one of {context['expected']}"
    if kind == "value_error" and "; " in str(context["error"]):
        what, _, hint = str(context["error"]).partition("; ")
        return f"{value} {what}", hint
    wants = _WANTED.get(kind) or _say_bound(kind, context)
    if wants is None and "type" in kind:
        wants = "a whole number" if kind.startswith("int") else kind.split("_")[0]
    if keys:
        return _say_mapping(path, value, keys)
    text = node.get("description")
    means = f" ({' '.join(text.split())})" if text else ""
    hint = f"write e.g. `{key}: {_example(node, key)}`{means}"
    if wants is not None:
        return f"got {value}, expected {wants}", hint
    return f"got {value}: {error['msg'][:1].lower()}{error['msg'][1:]}", hint


def _say_mapping(path: KeyPath, value: str, keys: str) -> tuple[str, str]:
    a_name = "a model's name or " if path == ("model",) else ""
    example = "; `model: llama3.2-1b` is a whole config" if "workload" in keys.split(", ") else ""
    return f"got {value}, expected {a_name}a mapping", f"keys here: {keys}{example}"


def _what_to_add(path: KeyPath, key: str, keys: str, node: Schema) -> str:
    if path == ("model",):
        return "add it, e.g. `model: llama3.2-1b`; `trnbench models` lists the names"
    if keys:
        return f"add it as a mapping with the keys {keys}"
    return f"add it, e.g. `{key}: {_example(node, key)}`"


_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def _say_bound(kind: str, context: Mapping[str, Any]) -> str | None:
    name, words = _BOUNDS.get(kind, ("", ""))
    return f"{words} {context[name]:,}" if name else None


_WANTED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "list_type": "a list",
    "too_short": "at least one value",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "is_instance_of": "a number",
    "finite_number": "a finite number",
}


def say_value(value: Any) -> str:
    """Show a value as the user would recognise it, never at length."""
    if isinstance(value, dict):
        return f"a mapping of {len(value)} keys"
    if isinstance(value, list):
        return f"a list of {len(value)} values"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    return _shortened(str(value) if isinstance(value, Decimal) else repr(value))


def _near(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    listed = ", ".join(known)
    return f"did you mean `{close[0]}`? Keys here: {listed}" if close else f"keys here: {listed}"


def _schema_at(path: KeyPath, root: Schema) -> Schema:
    """Find the JSON Schema of a key, following references and the mapping branch of unions."""
    node = root
    for part in path:
        inside = _resolved(node, root)
        if isinstance(part, int):
            node = inside.get("items", {})
        else:
            node = inside.get("properties", {}).get(part, {})
    own = {k: v for k, v in node.items() if k in ("description", "examples", "default")}
    return {**_resolved(node, root), **own}


def _resolved(node: Schema, root: Schema) -> Schema:
    options = node.get("anyOf", ())
    for each in (node, *options):
        if "$ref" in each:
            found: Schema = root["$defs"][each["$ref"].rsplit("/", 1)[1]]
            return found
    return next((each for each in options if each.get("type") != "null"), node)


def _example(node: Schema, key: str) -> str:
    for candidate in (*node.get("examples", ()), node.get("default")):
        if candidate is not None and candidate != {}:
            return str(candidate).lower() if isinstance(candidate, bool) else str(candidate)
    if node.get("enum"):
        return str(node["enum"][0])
    samples = {"integer": "1", "number": "0.5", "boolean": "true", "string": f"my {key}"}
    return samples.get(str(node.get("type")), "…")
