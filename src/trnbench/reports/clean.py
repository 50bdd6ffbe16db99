"""Texts from result files may come from anywhere: none may steer a terminal or a page."""

import json
import re
import unicodedata

_STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of control, format and surrogate characters, and of line breaks."""

_BEYOND_ASCII = re.compile(r"[^\n\x20-\x7e]")


def one_line(text: str) -> str:
    """Return the text on one line, its control and direction characters made visible as dots."""
    joined = " ".join(text.split())
    return "".join("·" if unicodedata.category(c) in _STEERING else c for c in joined)


def escaped_markdown(text: str) -> str:
    """Keep a text from another's file from being read as markup."""
    text = one_line(text).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for character in "|`*_[]$~":
        text = text.replace(character, f"\\{character}")
    return text


def escaped_json(text: str) -> str:
    """Return a JSON document with its steering characters as JSON's own escapes: none is lost."""
    return _BEYOND_ASCII.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    is_steering = unicodedata.category(character) in _STEERING
    return json.dumps(character)[1:-1] if is_steering else character
