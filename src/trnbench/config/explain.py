"""From pydantic's complaints to ours: file, line, key, value, and what to write instead."""

import difflib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import pydantic

from trnbench.config.model import Config
from trnbench.config.yaml import Document, KeyPath
from trnbench.errors import Problem


class Places:
    """Where each value of a config came from: `--set`, the sweep, or a line of the file."""

    def __init__(
        self, document: Document, overrides: Mapping[str, str], swept: Iterable[str]
    ) -> None:
        self._document = document
        self._overrides = overrides
        self._swept = tuple(swept)

    def where(self, path: KeyPath) -> str:
        """Say the place of the value at `path`."""
        path = self._sweep_of(path) or path
        key = self._set_key(path)
        return self._document.where(path) if key is None else say_set(key, self._overrides[key])

    def is_chosen(self, path: KeyPath) -> bool:
        """Tell whether `--set` or the sweep gave the value at `path`."""
        return self._sweep_of(path) is not None or self._set_key(path) is not None

    def _sweep_of(self, path: KeyPath) -> KeyPath | None:
        dotted = _dotted(path)
        return next((("sweep", key) for key in self._swept if covers(key, dotted)), None)

    def _set_key(self, path: KeyPath) -> str | None:
        """Return what was given to `--set` for the value at `path`, or for what it stands in."""
        keys = [*self._overrides][::-1]  # the last one wins
        for key in keys:
            if covers(key, _dotted(path)):
                return key
        # A mapping that is not in the file is there because a key inside it was set.
        for end in range(len(path), 0, -1):
            if path[:end] in self._document.lines:
                return None
            for key in keys:
                if covers(_dotted(path[:end]), key):
                    return key
        return None


def _dotted(path: KeyPath) -> str:
    return ".".join(map(str, path))


def say_set(key: str, text: str) -> str:
    """Show an option as it was typed, never at length."""
    return f"--set {key}={text if len(text) <= 60 else f'{text[:57]}…'}"


def covers(key: str, dotted: str) -> bool:
    """Tell whether setting `key` sets what stands at `dotted`."""
    return dotted == key or dotted.startswith(f"{key}.")


def explain_faults(error: pydantic.ValidationError, places: Places) -> list[Problem]:
    """Turn a validation error of `Config` into problems that a person can mend."""
    found = _relevant(error.errors(include_url=False))
    return list(dict.fromkeys(_problem(item, places) for item in found))


def _relevant(errors: Iterable[Any]) -> list[Any]:
    """Drop the complaints of the union branch that the user did not mean."""
    errors = list(errors)
    wrote_mapping = any(_is_branch(e, "ModelConfig") and e["type"] != "model_type" for e in errors)
    kept = []
    for error in errors:
        if _is_branch(error, "str") and wrote_mapping:
            continue
        if _is_branch(error, "ModelConfig") and not wrote_mapping:
            continue
        kept.append(error)
    return kept or errors


def _is_branch(error: Any, name: str) -> bool:
    location = error["loc"]
    return bool(location[:1] == ("model",) and len(location) > 1 and location[1] == name)


def _problem(error: Any, places: Places) -> Problem:
    branches = ("ModelConfig", "str", "function-before")
    path: KeyPath = tuple(part for part in error["loc"] if part not in branches)
    dotted = _dotted(path) or "the document"
    message, hint = _explain(error, path)
    return Problem(f"{places.where(path)}: {dotted}: {message}", hint)


def _explain(error: Any, path: KeyPath) -> tuple[str, str]:
    """Say what is wrong with the value and what to write, from the schema's own words."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    key = str(path[-1]) if path else ""
    node = _schema_at(path)
    if kind == "extra_forbidden":
        return f"is not a key (its value is {say_value(value)})", _near(key, _keys_at(path[:-1]))
    if kind == "missing" and node.get("properties"):
        return "is missing", f"add it as a mapping with the keys {_listed(node)}"
    if kind == "missing":
        return "is missing", f"add it, e.g. `{key}: {_example(node, key)}`"
    if kind == "list_type" and path[:1] == ("sweep",):
        hint = f"list what it takes in turn, e.g. `{key}: [{say_value(value)}]`"
        return f"got {say_value(value)}, expected a list", hint
    if kind in ("literal_error", "enum"):
        return f"{say_value(value)} is not known", f"use one of {context['expected']}"
    if kind == "value_error" and "; " in str(context["error"]):
        what, _, hint = str(context["error"]).partition("; ")
        return f"{say_value(value)} {what}", hint
    wants = _WANTED.get(kind)
    if wants is None and "type" in kind:
        wants = "a whole number" if kind.startswith("int") else kind.split("_")[0]
    if node.get("properties"):
        return f"got {say_value(value)}, expected a mapping", f"keys here: {_listed(node)}"
    if wants is not None:
        return f"got {say_value(value)}, expected {wants}", _write(key, node)
    return f"got {say_value(value)}: {_lower(error['msg'])}", _write(key, node)


_WANTED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "is_instance_of": "a number",
    "finite_number": "a finite number",
}


def _write(key: str, node: Mapping[str, Any]) -> str:
    text = node.get("description")
    means = f" ({' '.join(text.split())})" if text else ""
    return f"write e.g. `{key}: {_example(node, key)}`{means}"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


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
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _near(key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    listed = ", ".join(known)
    return f"did you mean `{close[0]}`? Keys here: {listed}" if close else f"keys here: {listed}"


def _keys_at(path: KeyPath) -> list[str]:
    return sorted(_schema_at(path).get("properties", {}))


def _listed(node: Mapping[str, Any]) -> str:
    return ", ".join(node["properties"])


def _schema_at(path: KeyPath) -> Mapping[str, Any]:
    """Find the JSON Schema of a key, following references and the mapping branch of unions."""
    root = Config.model_json_schema()
    node: Mapping[str, Any] = root
    for part in path:
        node = _resolved(node, root).get("properties", {}).get(part, {})
    resolved = _resolved(node, root)
    own = {k: v for k, v in node.items() if k in ("description", "examples", "default")}
    return {**resolved, **own}


def _resolved(node: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in node:
        found: Mapping[str, Any] = root["$defs"][node["$ref"].rsplit("/", 1)[1]]
        return found
    options = node.get("anyOf", ())
    for option in options:
        if "$ref" in option:
            return _resolved(option, root)
    for option in options:
        if option.get("type") != "null":
            merged: Mapping[str, Any] = option
            return merged
    return node


def _example(node: Mapping[str, Any], key: str) -> str:
    for candidate in (*node.get("examples", ()), node.get("default")):
        if candidate is not None and candidate != {}:
            return str(candidate).lower() if isinstance(candidate, bool) else str(candidate)
    if node.get("enum"):
        return str(node["enum"][0])
    samples = {"integer": "1", "number": "0.5", "boolean": "true", "string": f"my {key}"}
    return samples.get(str(node.get("type")), "…")
