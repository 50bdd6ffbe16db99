"""What names a side of a comparison, and the launches that it means.

PATH             a folder of a case, of a run, or of many runs
git:REF[:PATH]   the same as it is stored in a git ref; PATH counts from the repository's root
last:N:PATH      of every case below PATH, the N newest launches that can be used
"""

import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from trnbench.compare.launches import Launch
from trnbench.compare.matching import group_launches
from trnbench.errors import ConfigError, DataError, Problem
from trnbench.run.finding import find_cases
from trnbench.run.launches import load_launches
from trnbench.run.store import is_result_file

GIT_SECONDS = 120.0
DEFAULT_GIT_PATH = "results"
LFS_START = b"version https://git-lfs"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSource:
    """Everything at or below a folder."""

    path: Path

    def load(self, _without: frozenset[str]) -> list[Launch]:
        """Read every case."""
        return _load_below(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class LastSource:
    """A window that rolls on: of every case the newest launches that can be used."""

    count: int
    path: Path

    def load(self, without: frozenset[str]) -> list[Launch]:
        """Read every case and keep the newest of each, but those on the other side, by digest."""
        found = [launch for launch in _load_below(self.path) if launch.digest not in without]
        usable = [launch for launch in found if launch.is_usable]
        kept = [
            launch for group in group_launches(usable) for launch in group.launches[-self.count :]
        ]
        if not kept:
            raise DataError(
                f"last:{self.count}:{self.path}: holds no result that can be used, beside the "
                "ones that are compared with it",
                hint="measure a baseline first, or name a folder that has one",
            )
        return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSource:
    """Results as a git ref holds them."""

    ref: str
    path: str

    def load(self, _without: frozenset[str]) -> list[Launch]:
        """Read every case below the path in the ref; nothing is checked out."""
        commit = _resolve(self.ref)
        with tempfile.TemporaryDirectory(prefix="trnbench-") as folder:
            return _load_cases(_extract(commit, self, Path(folder)))


Source = FolderSource | LastSource | GitSource


def parse_source(text: str) -> Source:
    """Read one name of a side."""
    if text.startswith("git:"):
        ref, _, path = text.removeprefix("git:").partition(":")
        # A ref that starts with a dash would be an option of git's.
        if not ref or ref.startswith("-") or not ref.isprintable():
            raise ConfigError(
                f"{text!r}: {ref!r} is no git ref",
                hint="write git:REF or git:REF:PATH, e.g. git:main:results/nightly",
            )
        return GitSource(ref=ref, path=_git_path(path or DEFAULT_GIT_PATH, text))
    if text.startswith("last:"):
        count, _, path = text.removeprefix("last:").partition(":")
        if not (count.isascii() and count.isdigit() and int(count) > 0 and path):
            raise ConfigError(
                f"{text!r}: is not last:N:PATH with N from 1 on",
                hint="write e.g. last:5:results/nightly; for a folder of that name, ./last:…",
            )
        return LastSource(count=int(count), path=Path(path))
    return FolderSource(path=Path(text))


def read_sides(base: Sequence[str], cand: Sequence[str]) -> tuple[list[Launch], list[Launch]]:
    """Read both sides; a rolling window never holds what it is compared with.

    Raises:
        ConfigError: a name is none of the three forms, or is no ref of this repository.
        DataError: something cannot be read, with everything that cannot.
    """
    sources = [[parse_source(text) for text in side] for side in (base, cand)]
    problems: list[Problem] = []
    later = _load(sources[1], frozenset(), problems)
    earlier = _load(sources[0], frozenset(launch.digest for launch in later), problems)
    if problems:
        raise DataError.of(problems)
    return earlier, later


def _load(
    sources: Sequence[Source], without: frozenset[str], problems: list[Problem]
) -> list[Launch]:
    launches = []
    for source in sources:
        try:
            launches += source.load(without)
        except DataError as error:
            problems += error.problems
    return launches


def _load_below(path: Path) -> list[Launch]:
    return _load_cases((case, None, str(case)) for case in find_cases([path]))


def _load_cases(cases: Iterable[tuple[Path, str | None, str]]) -> list[Launch]:
    """Read cases by folder, the run's name if the folder does not say it, and their own name."""
    problems: list[Problem] = []
    launches: list[Launch] = []
    try:
        for case, run_id, said in cases:
            try:
                launches += load_launches(case, run_id)
            except DataError as error:
                problems += [
                    Problem(p.message.replace(str(case), said), p.hint) for p in error.problems
                ]
    except DataError as error:
        problems += error.problems
    if problems:
        raise DataError.of(problems)
    return launches


# --- git ------------------------------------------------------------------------------------------


def _git_path(path: str, text: str) -> str:
    """Return a path inside a repository; git's own pathspec signs have no meaning here."""
    parts = PurePosixPath(path).parts
    if path.startswith("/") or ".." in parts or not path.isprintable():
        raise ConfigError(
            f"{text!r}: {path!r} is no path inside the repository",
            hint="write it from the repository's root, e.g. git:main:results/nightly",
        )
    return "/".join(parts)


def _resolve(ref: str) -> str:
    """Return the commit that a ref names."""
    done = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    commit = done.stdout.decode(errors="replace").strip()
    if done.returncode == 0 and commit:
        return commit
    where = _git("rev-parse", "--git-dir")
    if where.returncode != 0:
        raise ConfigError(
            f"git:{ref}: the current folder is in no git repository",
            hint="change into the repository that holds the results",
        )
    raise ConfigError(
        f"git:{ref}: this repository has no such ref",
        hint="fetch it first: a shallow clone, as CI makes them, lacks other branches",
    )


def _extract(
    commit: str, source: GitSource, folder: Path
) -> Iterator[tuple[Path, str | None, str]]:
    """Write the result files of a commit below a path into numbered folders of our own.

    Names in a tree are untrusted: none becomes a path on this disk. Links and submodules are
    skipped. `git archive` would run filters, change line ends and leave out what `export-ignore`
    names, so that a result's seal could break.
    """
    listed = _git(
        "--literal-pathspecs", "ls-tree", "-r", "-z", "--full-tree", commit, "--", source.path
    )
    blobs: dict[PurePosixPath, dict[str, str]] = {}
    for entry in listed.stdout.split(b"\0"):
        meta, _, raw = entry.partition(b"\t")
        fields = meta.decode(errors="replace").split()
        name = PurePosixPath(os.fsdecode(raw))
        if len(fields) == 3 and fields[0].startswith("100") and is_result_file(name.name):
            blobs.setdefault(name.parent, {})[name.name] = fields[2]
    if not blobs:
        raise DataError(
            f"git:{source.ref}:{source.path}: holds no result",
            hint="name the folder from the repository's root; were results committed there?",
        )
    cases = sorted(blobs.items())
    wanted = "".join(f"{blob}\n" for _, files in cases for blob in files.values())
    with tempfile.TemporaryFile(dir=folder) as stream:
        _git("cat-file", "--batch", stdin=wanted.encode(), stdout=stream)
        stream.seek(0)
        for number, (parent, files) in enumerate(cases):
            case = folder / f"{number:06d}" / "case"
            case.mkdir(parents=True)
            said = f"git:{source.ref}:{parent}"
            for file in files:
                (case / file).write_bytes(_read_blob(stream, f"{said}/{file}"))
            yield case, parent.parent.name or None, said


def _read_blob(stream: IO[bytes], said: str) -> bytes:
    """Read the next blob of `git cat-file --batch`: a line of its id, kind and size, its bytes."""
    header = stream.readline().split()
    content = stream.read(int(header[2])) if len(header) == 3 else None
    if content is None or stream.read(1) != b"\n":
        raise DataError(
            f"{said}: cannot be read",
            hint="fetch the ref with its files: a partial clone leaves them out",
        )
    if content.startswith(LFS_START):
        raise DataError(
            f"{said}: is a pointer of git-lfs, not the file",
            hint="commit result files as they are, or check the ref out and name the folder",
        )
    return content


def _git(
    *arguments: str, stdin: bytes = b"", stdout: IO[bytes] | int = subprocess.PIPE
) -> subprocess.CompletedProcess[bytes]:
    """Run git, which asks no questions, runs no filter and fetches nothing."""
    variables = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1"}
    try:
        return subprocess.run(
            ["git", *arguments],
            input=stdin,
            stdout=stdout,
            stderr=subprocess.DEVNULL,
            env=variables,
            timeout=GIT_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise ConfigError(
            "git: is not installed", hint="install git, or name a folder instead of a ref"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"git {arguments[0]}: has not answered in {GIT_SECONDS:.0f} s",
            hint="look at the repository, or name a folder instead of a ref",
        ) from error
