"""Taking out of a text what tells whose machine it came from."""

import getpass
import re
import socket

_TO_PACKAGES = re.compile(r"(?:/[^/\s\"':]+)+/(?:site|dist)-packages/")
_PATH = re.compile(r"(?<![\w.:/…])/(?:[^/\s\"':]+/)+(?=[^/\s\"':])")


def scrub(text: str) -> str:
    """Cut absolute paths down to the package or the file's name, and blot out names."""
    text = _TO_PACKAGES.sub("", text)
    text = _PATH.sub("…/", text)
    for name in _names():
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", text)
    return text


def _names() -> list[str]:
    """Return the user's and the host's names, unless they are words that tell nothing."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = ""  # a container may have no user of this number
    return [
        n for n in (user, socket.gethostname()) if len(n) > 2 and n not in ("root", "localhost")
    ]
