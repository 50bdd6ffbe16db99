"""Where results lie: every case at or below a folder, at any depth."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from trnbench.errors import DataError, Problem
from trnbench.run.store import is_result_file

MOST_FOLDERS = 250_000
"""That are searched below one path: more are no folder of results."""

MOST_LINKED = 2
"""How deep a link is followed: a run in a folder of runs, and a case in a run."""


def find_cases(paths: list[Path]) -> Iterator[Path]:
    """Return every case folder at or below the paths, in order of name.

    Raises:
        DataError: a path does not exist, cannot be read or holds no result; or, after the cases
            that were found, with the folders below it that cannot be read.
    """
    for path in paths:
        try:
            is_folder = stat.S_ISDIR(path.stat().st_mode)
        except FileNotFoundError:
            raise DataError(
                f"{path}: no such folder", hint="name a folder of `trnbench run`"
            ) from None
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read: {error.strerror}", hint="name a folder of `trnbench run`"
            ) from error
        unreadable: list[Problem] = []
        has_found = False
        for case in _cases_below(path if is_folder else path.parent, unreadable):
            has_found = True
            yield case
        if unreadable:
            raise DataError.of(unreadable)
        if not has_found:
            raise DataError(
                f"{path}: holds no result", hint="name a folder that `trnbench run` wrote"
            )


def _cases_below(top: Path, unreadable: list[Problem]) -> Iterator[Path]:
    """Yield folders with a file of a case; below them none is looked for.

    Each folder is looked at once. What vanishes meanwhile is not there; hidden folders are left
    out. A link to a run or to a case is followed, and beyond that none: it may lead anywhere.
    """
    waiting, seen = [(str(top), 0, False)], set()
    while waiting:
        folder, depth, is_linked = waiting.pop()
        try:
            status = os.stat(folder)  # noqa: PTH116 - of thousands
            if (place := (status.st_dev, status.st_ino)) in seen:
                continue
            seen.add(place)
            with os.scandir(folder) as entries:
                found = list(entries)
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError):
            continue
        except OSError as error:
            problem = f"{folder}: cannot be read: {error.strerror}"
            unreadable.append(Problem(problem, "check its permissions: it may hold results"))
            continue
        if len(seen) > MOST_FOLDERS:
            raise DataError(
                f"{top}: has more than {MOST_FOLDERS:,} folders", hint="name one nearer to results"
            )
        if any(is_result_file(entry.name) for entry in found):
            yield Path(folder)
        elif depth < MOST_LINKED or not is_linked:
            found.sort(key=lambda entry: entry.name, reverse=True)
            waiting += [
                (each.path, depth + 1, is_linked or each.is_symlink())
                for each in found
                if each.name[0] != "." and _is_folder(each, depth < MOST_LINKED)
            ]


def _is_folder(entry: os.DirEntry[str], may_be_link: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=may_be_link)
    except OSError:  # a link in a circle
        return False
