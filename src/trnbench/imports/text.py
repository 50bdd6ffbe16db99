"""Logs as text: compressed or not, in any Unicode encoding, without colours and progress bars."""

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from trnbench.errors import DataError

HEAD_LENGTH = 2**20
"""Characters by which a program is recognised: some logs begin with their own source code."""

LONGEST_LINE = 2**26
"""Characters; a longer one is no log's."""

_CODE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_LOST_CODE = re.compile(r"(?<![\w\]])(?:\[[0-9;]{1,9}m)+")
"""A colour's code whose escape byte a web page lost."""
_RANK = re.compile(r"^\s*(?:\[?(?:rank|default)?\s?\d+\]?\s?[:>|]|\([^()]*pid=\d+[^()]*\))\s?")
_LABEL = re.compile(r"^\s*(?:\[(?:rank|default)?\s?(\d+)\]\s?:|(\d+): )")
"""Of a rank alone: torchrun's `[default3]:`, torch's `[rank3]:`, Slurm's `3: `."""
_CLOCK = re.compile(r"(?<!\d)(\d{2}):(\d{2}):(\d{2})(?:[.,](\d{1,6}))?")
_DATE = re.compile(r"(?<!\d)(20\d\d-[01]\d-[0-3]\d)[ T](\d{2}:\d{2}:\d{2})")


class LogText:
    """One log, line by line, however large; its digest is known once it was read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines_read = 0
        self.is_cut_off = False
        self._digest = hashlib.sha256()
        try:
            if path.exists() and not path.is_file():
                raise DataError(f"{path}: is not a file", hint="name a log file")
            with path.open("rb") as file:
                start = file.read(4)
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read: {error.strerror}", hint="name a log file"
            ) from error
        self._is_compressed = start[:2] == b"\x1f\x8b"
        if self._is_compressed:
            try:
                with gzip.open(path) as unpacked:
                    start = unpacked.read(4)
            except (OSError, EOFError, zlib.error) as error:
                raise DataError(f"{path}: is damaged: {error}", hint="copy it again") from error
        self.encoding = _encoding_of(start)

    @property
    def sha256(self) -> str:
        """Of the text that was read so far."""
        return self._digest.hexdigest()

    def lines(self) -> Iterator[str]:
        """Yield lines without colours; a progress bar's states are lines of their own.

        Raises:
            DataError: it is no text, or a line of it is too long.
        """
        open_ = gzip.open if self._is_compressed else open
        with open_(self.path, "rt", encoding=self.encoding, errors="replace", newline=None) as text:
            while line := self._next(text):
                yield clean(line)

    def _next(self, text: IO[str]) -> str:
        try:
            line = text.readline(LONGEST_LINE)
        except (OSError, EOFError, zlib.error):  # a compressed file that was cut off
            self.is_cut_off = True
            return ""
        if not line:
            return ""
        if len(line) >= LONGEST_LINE or "\0" in line:
            raise DataError(f"{self.path}: is not a text", hint="name a log file")
        self.lines_read += 1
        self._digest.update(line.encode("utf-8", "replace"))
        self.is_cut_off = not line.endswith("\n") and line.rstrip()[-1:] not in ("}", "]")
        return line


def _encoding_of(start: bytes) -> str:
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if len(start) == 4 and start[1] == start[3] == 0 and start[0]:
        return "utf-16-le"
    return "utf-8-sig"


def clean(line: str) -> str:
    """Return a line without its end and its colours."""
    line = line.rstrip("\n")
    return _LOST_CODE.sub("", _CODE.sub("", line)) if "[" in line else line


def without_rank(line: str) -> str:
    """Return a line without what a launcher put before it."""
    return _RANK.sub("", line, count=1)


def rank_of(line: str) -> str | None:
    """Return the rank that a launcher put before a line; None where there is none."""
    found = _LABEL.match(line)
    return None if found is None else found[1] or found[2]


def stamp_of(line: str) -> float | None:
    """Return the seconds since midnight of a line's own clock; None where it has none."""
    found = _CLOCK.search(line)
    if found is None:
        return None
    hours, minutes, seconds = (int(part) for part in found.groups()[:3])
    return hours * 3600 + minutes * 60 + seconds + float(f"0.{found[4] or 0}")


def date_of(line: str) -> str | None:
    """Return the date and time of a line, ISO 8601 as UTC; None where it has none."""
    found = _DATE.search(line)
    return None if found is None else f"{found[1]}T{found[2]}+00:00"
