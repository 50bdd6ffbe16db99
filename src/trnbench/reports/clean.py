"""Texts from result files may come from anywhere: none may steer a terminal or a page."""

import unicodedata


def one_line(text: str) -> str:
    """Return the text on one line, its control and direction characters made visible as dots."""
    joined = " ".join(text.split())
    return "".join("·" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in joined)
