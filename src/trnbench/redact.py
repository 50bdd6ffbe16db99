"""Takes paths and names out of texts, so that they do not say whose machine they came from."""

import contextlib
import getpass
import re
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

_TO_PACKAGES = re.compile(r"(?:/[^/\s\"':]+)+/(?:site|dist)-packages/")
_QUOTED_PATH = re.compile(r"""(["'])/(?:[^/"'\n]+/)+(?=[^/"'\n])""")
"""In quotes a path may hold spaces."""
_HOME = re.compile(r"/(?:home|Users)/[^/\s\"':]+")
_AFTER_FLAG = re.compile(r"""(?<![\w/-])(-[A-Za-z]+)/(?:(?!\s-)[^"'\n])*/(?=[^/"'\n])""")
"""As compilers are given folders, `-I/…`: blanks and all, up to where the next flag begins."""
_PATH = re.compile(r"(?<![\w./…])(?:file://)?/(?:[^/\s\"':]+/)+(?=[^/\s\"':])")


def redact(text: str) -> str:
    """Cut absolute paths down to the package or the file, and take out user and host names."""
    for place in _places_with_blanks():
        text = text.replace(f"{place}/", "…/").replace(place, "…")
    text = _TO_PACKAGES.sub("", text)
    text = _AFTER_FLAG.sub(r"\1…/", text)
    text = _QUOTED_PATH.sub(r"\1…/", text)
    text = _HOME.sub("/home", text)
    text = _PATH.sub("…/", text)
    for name in _names():
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", text)
    return text


def quick_redact() -> Callable[[str], str]:
    """Return `redact` for many lines: names are looked up once, and a line with nothing is kept."""
    names = _names()

    def redact_line(line: str) -> str:
        return redact(line) if "/" in line or any(name in line for name in names) else line

    return redact_line


def _places_with_blanks() -> list[str]:
    """Return folders of this process in which a blank would end a path, the deepest first."""
    places = {sys.prefix, sys.base_prefix, str(Path.home()), tempfile.gettempdir()}
    with contextlib.suppress(OSError):  # the current folder was deleted
        places.add(str(Path.cwd()))
    return sorted((place for place in places if re.search(r"\s", place)), key=len, reverse=True)


def _names() -> list[str]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = ""  # a container may have no user of this number
    host = socket.gethostname()
    names = (user, host, host.partition(".")[0])
    # Short and common ones identify no one, and would be cut out of ordinary words.
    return [name for name in names if len(name) > 2 and name not in ("root", "localhost")]
