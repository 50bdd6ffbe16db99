"""A loss of power, on a file system that keeps only what `fsync` was called for.

The command's own `os.fsync` is recorded: of a file its content at that moment, of a folder its
entries. After the command was killed, each folder and file is put back: entries and content that
were synced are there; of what was not, every entry and the end of every content is there or not, by
chance. That is what POSIX allows, and more than ext4 or XFS do in practice: both keep the order of
a rename behind the content, and of a new file's entry with its fsync.
"""

import contextlib
import os
import pickle
import random
import shutil
import signal
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

Entries = dict[str, int]
"""Of a folder: the inode of each name."""


class Recorder:
    """In the command's process: notes each `os.fsync` in a file, and ends the process at one."""

    def __init__(self, journal: Path, die_at: int, *, dies_before: bool) -> None:
        """Prepare; `die_at` counts the calls from 1, and 0 is never."""
        self._journal: BinaryIO = journal.open("wb", buffering=0)
        self._die_at, self._dies_before = die_at, dies_before
        self._count = 0
        self._held: dict[int, int] = {}
        self._sync: Callable[[int], None] = os.fsync

    def begin(self) -> None:
        """Take the place of `os.fsync`."""
        os.fsync = self.record  # type: ignore[assignment]

    def close(self) -> None:
        """Close what is held."""
        self._journal.close()
        for descriptor in self._held.values():
            os.close(descriptor)

    def record(self, descriptor: int) -> None:
        """Note what a file or folder holds, in the place of `os.fsync`."""
        self._count += 1
        if self._count == self._die_at and self._dies_before:
            os.kill(os.getpid(), signal.SIGKILL)
        status = os.fstat(descriptor)
        if status.st_ino not in self._held:  # so that no other file gets its number
            self._held[status.st_ino] = os.dup(descriptor)
        if stat.S_ISDIR(status.st_mode):
            kept: Entries | bytes = _entries(Path(f"/proc/self/fd/{descriptor}"))
        else:
            kept = Path(f"/proc/self/fd/{descriptor}").read_bytes()
        self._journal.write(pickle.dumps((status.st_ino, kept)))
        if self._count == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(slots=True)
class Disk:
    """What a disk holds of a folder after a loss of power."""

    synced: dict[int, Entries | bytes] = field(default_factory=dict)
    """By inode: what was last synced."""
    current: dict[int, Entries | bytes] = field(default_factory=dict)
    """By inode: what was there when the command was killed."""

    def restore(self, top: Path, into: Path, chance: random.Random, *, is_strict: bool) -> None:
        """Write a state that a loss of power may leave; `is_strict`: only what was synced."""
        self._fill(top.stat().st_ino, into, chance, is_strict)

    def _fill(self, inode: int, into: Path, chance: random.Random, is_strict: bool) -> None:
        into.mkdir(exist_ok=True)
        synced, current = self.synced.get(inode, {}), self.current.get(inode, {})
        assert isinstance(synced, dict)
        assert isinstance(current, dict)
        for name in sorted(synced.keys() | current.keys()):
            choices = [synced.get(name), current.get(name)]
            found = choices[0] if is_strict else chance.choice(choices)
            if found is None:
                continue
            content = self.current.get(found, self.synced.get(found, b""))
            if isinstance(content, dict):
                self._fill(found, into / name, chance, is_strict)
            else:
                (into / name).write_bytes(self._content(found, content, chance, is_strict))

    def _content(self, inode: int, now: bytes, chance: random.Random, is_strict: bool) -> bytes:
        synced = self.synced.get(inode, b"")
        assert isinstance(synced, bytes)
        if is_strict or not now.startswith(synced):
            return synced
        more = now[len(synced) :]
        kept = more[: chance.randint(0, len(more))]
        if chance.random() < 0.3:  # the length was written, and the content was not
            kept += b"\0" * (len(more) - len(kept))
        return synced + kept


def _entries(folder: Path) -> Entries:
    return {entry.name: entry.inode() for entry in os.scandir(folder)}


def read_disk(top: Path, journal: Path, entries_before: Entries) -> Disk:
    """Read what was synced by the journal, and what is there now."""
    disk = Disk()
    disk.synced[top.stat().st_ino] = entries_before
    with journal.open("rb") as file, contextlib.suppress(EOFError, pickle.UnpicklingError):
        while True:
            inode, kept = pickle.load(file)
            disk.synced[inode] = kept
    for folder, _, names in os.walk(top):
        disk.current[Path(folder).stat().st_ino] = _entries(Path(folder))
        for name in names:
            path = Path(folder, name)
            disk.current[path.stat().st_ino] = path.read_bytes()
    return disk


def lose_power(top: Path, journal: Path, chance: random.Random) -> None:
    """Put a folder into a state that a loss of power at this moment may have left.

    `top` is as it was before the command but for what the command did; its own entries at the
    beginning count as synced.
    """
    disk = read_disk(top, journal, {})
    image = top.with_name(f"{top.name}.image")
    disk.restore(top, image, chance, is_strict=chance.random() < 0.5)
    shutil.rmtree(top)
    image.rename(top)
