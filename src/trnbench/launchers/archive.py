"""Results as an archive: in the lines of a log, and unpacked at home.

A log keeps what a pod has printed after its end. Between two marks it holds the archive in base64,
and behind the second its digest, so that a log that was cut is noticed.
"""

import base64
import binascii
import hashlib
import io
import tarfile
from pathlib import Path, PurePosixPath

BEGIN, END, WAIT = "trnbench-results begin", "trnbench-results end", "trnbench-results wait"

MOST_LOG_BYTES = 6_000_000
"""Of an archive in a log: in base64 it is four thirds of that, below the 10 MiB of a log file.
Source: Kubernetes documentation, KubeletConfiguration, containerLogMaxSize."""

WAIT_SECONDS = 1800
"""That a larger one is waited with, for somebody who fetches it."""


class Archive:
    """The results in a log, line by line."""

    def __init__(self) -> None:
        self.content: bytes | None = None
        self.waits = False
        """Whether the pod waits for `kubectl cp`."""
        self.lack = "no results: the job ended before it had any"
        self._lines: list[str] | None = None

    def passes(self, line: str) -> bool:
        """Take a line; return whether it is one for people."""
        if line == BEGIN:
            self._lines, self.lack = [], "results that are cut off"
        elif line.startswith(END) and self._lines is not None:
            self._finish(line.removeprefix(END).strip())
        elif line.startswith(WAIT):
            self.waits, self.lack = True, "results that were too large for it and were not fetched"
        elif self._lines is not None:
            self._lines.append(line)
        else:
            return True
        return False

    def _finish(self, digest: str) -> None:
        try:
            content = base64.b64decode("".join(self._lines or ()), validate=True)
        except binascii.Error:
            content = b""
        self._lines = None
        if hashlib.sha256(content).hexdigest() == digest:
            self.content = content
        else:
            self.lack = "results that do not have their own digest"


def unpack(content: bytes, folder: Path) -> str | None:
    """Write an archive's files below a folder; return what is wrong with it, or None.

    Its names are another machine's: none leads out of the folder, and a link is left out.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                if name.is_absolute() or ".." in name.parts:
                    return f"the archive names {member.name}, which is not inside it"
                stream = archive.extractfile(member) if member.isfile() else None
                if stream is not None:
                    path = folder.joinpath(*name.parts)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(stream.read())
    except (tarfile.TarError, EOFError, OSError) as error:
        return f"the archive of the results cannot be unpacked: {error}"
    return None
