"""Taking out of a text what tells whose machine it came from."""

import getpass
import re
import socket

_TO_PACKAGES = re.compile(r"(?:/[^/\s\"':]+)+/(?:site|dist)-packages/")
_QUOTED_PATH = re.compile(r"""(["'])/(?:[^/"'\n]+/)+(?=[^/"'\n])""")
"""In quotes a path may hold spaces."""
_HOME = re.compile(r"/(?:home|Users)/[^/\s\"':]+")
_PATH = re.compile(r"(?<![\w./…])(?:file://)?/(?:[^/\s\"':]+/)+(?=[^/\s\"':])")


def redact(text: str) -> str:
    """Cut absolute paths down to the package or the file's name, and blot out names."""
    text = _TO_PACKAGES.sub("", text)
    text = _QUOTED_PATH.sub(r"\1…/", text)
    text = _HOME.sub("/home", text)
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
    host = socket.gethostname()
    names = (user, host, host.partition(".")[0])
    return [name for name in names if len(name) > 2 and name not in ("root", "localhost")]
