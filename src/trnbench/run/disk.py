"""Writing so that it lasts: whole files or none, whole records, and names that are on disk too."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trnbench.protocol.codec import encode


class StorageFull(OSError):  # noqa: N818 - a state of the disk, which the session acts on
    """The disk takes no more: it is full, failing, read-only, or the folder was taken away.

    A file of records ends with the last whole one.
    """

    def __str__(self) -> str:
        return self.strerror or "an error of the disk"


class MeasurementFile:
    """An append-only file of records; each is on disk when `append` returns."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        with full_disk_raised():
            self._descriptor = os.open(path, flags, 0o644)
            sync_folder(path.parent)
        self._length = 0

    def append(self, record: Any) -> None:
        """Write one record as one line.

        Raises:
            StorageFull: the disk is full or failing; nothing of the record was kept.
        """
        line = encode(record).encode() + b"\n"
        written = 0
        try:
            with full_disk_raised():
                while written < len(line):  # a short write is followed by the error that says why
                    written += os.write(self._descriptor, line[written:])
        except StorageFull:
            with contextlib.suppress(OSError):  # a disk that became read-only
                os.ftruncate(self._descriptor, self._length)
            raise
        self._length += written

    def sync(self) -> None:
        """Wait until the disk has it: then it survives a loss of power.

        Raises:
            StorageFull: the disk failed, or the file was deleted: what is appended is lost.
        """
        with full_disk_raised():
            os.fsync(self._descriptor)
            if os.fstat(self._descriptor).st_nlink == 0:
                raise StorageFull(errno.ENOENT, "its records were deleted while they were written")

    def close(self) -> None:
        """Sync and close the file."""
        with contextlib.suppress(OSError):  # `append` raises on a full disk
            os.fsync(self._descriptor)
        os.close(self._descriptor)


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old text or the new, never a part.

    Raises:
        StorageFull: the disk takes no more; the old file is kept.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        with full_disk_raised():
            with beside.open("w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(path)
            sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Wait until the disk has a folder's names: a new or renamed file survives a loss of power."""
    with contextlib.suppress(OSError):  # some network file systems sync no folder
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, each with its name on disk."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


@contextlib.contextmanager
def full_disk_raised() -> Iterator[None]:
    """Raise any error of the system's as a `StorageFull`."""
    try:
        yield
    except StorageFull:
        raise
    except OSError as error:
        raise StorageFull(error.errno, error.strerror, error.filename) from error
