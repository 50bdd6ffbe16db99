"""Sides by name: folders, git refs and rolling windows, and what hostile names come to."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.comparisons import BASE, write_launch, write_side
from trnbench.errors import ConfigError, DataError
from trnbench.run.baselines import (
    FolderSource,
    GitSource,
    LastSource,
    parse_source,
    read_sides,
)


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"},
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository whose branch `main` holds two launches, and whose folder has none."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    write_side(folder / "results" / "nightly", BASE[:2])
    git(folder, "add", "-f", ".")
    git(folder, "commit", "-q", "-m", "results")
    git(folder, "tag", "v1")
    git(folder, "rm", "-r", "-q", "results")
    git(folder, "commit", "-q", "-m", "no results")
    monkeypatch.chdir(folder)
    return folder


def write_window(path: Path, count: int = 6) -> Path:
    for day in range(1, count + 1):
        write_launch(path / f"day-{day}", 1 + day / 1000, day=day)
    return path


# --- names ----------------------------------------------------------------------------------------


def test_a_name_is_a_folder_a_ref_or_a_window() -> None:
    assert parse_source("results/base") == FolderSource(path=Path("results/base"))
    assert parse_source("git:main") == GitSource(ref="main", path="results")
    assert parse_source("git:HEAD~3:a/b") == GitSource(ref="HEAD~3", path="a/b")
    assert parse_source("git:main@{1}:./a//b/") == GitSource(ref="main@{1}", path="a/b")
    assert parse_source("last:5:results") == LastSource(count=5, path=Path("results"))
    assert parse_source("./git:main") == FolderSource(path=Path("git:main"))


@pytest.mark.parametrize(
    "text",
    [
        "git:", "git::results", "git:--upload-pack=x", "git:-c:results", "git:a\nb", "git:a\0b",
        "git:main:/etc", "git:main:../../etc", "git:main:a/../../b", "git:main:a\nb",
        "last:", "last:5", "last:0:results", "last:-1:results", "last:x:results", "last:5:",
        "last:²:results",
    ],
)  # fmt: skip
def test_a_name_that_is_none_of_them_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_source(text)
    assert raised.value.problems[0].hint


# --- folders --------------------------------------------------------------------------------------


def test_both_sides_are_read(tmp_path: Path) -> None:
    write_side(tmp_path / "base", BASE[:3])
    write_launch(tmp_path / "cand", number=30)
    base, cand = read_sides([str(tmp_path / "base")], [str(tmp_path / "cand")])
    assert (len(base), len(cand)) == (3, 1)


def test_everything_that_cannot_be_read_is_told_at_once(tmp_path: Path) -> None:
    case = write_launch(tmp_path / "bad")
    (case / "measurement.jsonl").write_text("")
    (tmp_path / "empty").mkdir()
    names = [str(tmp_path / name) for name in ("bad", "empty", "gone")]
    with pytest.raises(DataError) as raised:
        read_sides(names, [str(tmp_path / "nowhere")])
    assert len(raised.value.problems) == 4


# --- windows --------------------------------------------------------------------------------------


def test_a_window_holds_the_newest_launches_of_each_case(tmp_path: Path) -> None:
    folder = write_window(tmp_path / "nightly")
    write_launch(folder / "other", overrides={"workload.sequence_length": "64"})
    found = LastSource(count=3, path=folder).load(frozenset())
    days = sorted(launch.result.started_at[8:10] for launch in found)
    assert days == ["01", "04", "05", "06"]


def test_a_window_never_holds_what_it_is_compared_with(tmp_path: Path) -> None:
    folder = write_window(tmp_path / "nightly", 4)
    base, cand = read_sides([f"last:2:{folder}"], [str(folder / "day-4")])
    assert [launch.result.started_at[8:10] for launch in base] == ["02", "03"]
    assert [launch.result.started_at[8:10] for launch in cand] == ["04"]


def test_a_window_passes_over_what_cannot_be_used(tmp_path: Path) -> None:
    folder = write_window(tmp_path / "nightly", 2)
    write_launch(folder / "day-3", day=3, status="out_of_memory", factor=None)
    found = LastSource(count=2, path=folder).load(frozenset())
    assert [launch.result.started_at[8:10] for launch in found] == ["01", "02"]


def test_an_empty_window_is_told(tmp_path: Path) -> None:
    write_launch(tmp_path / "nightly" / "today")
    with pytest.raises(DataError, match="holds no result that can be used"):
        read_sides([f"last:3:{tmp_path / 'nightly'}"], [str(tmp_path / "nightly" / "today")])


# --- git ------------------------------------------------------------------------------------------


def test_a_ref_holds_results_that_are_not_checked_out(repository: Path) -> None:
    assert not (repository / "results").exists()
    launches = GitSource(ref="v1", path="results").load(frozenset())
    assert len(launches) == 2
    assert all(launch.is_verified for launch in launches)
    assert [launch.result.run_id for launch in launches] == ["1", "2"]
    assert not (repository / "results").exists()
    assert git(repository, "status", "--porcelain") == ""


@pytest.mark.parametrize("ref", ["v1", "HEAD~1", "main~1", "refs/tags/v1"])
def test_any_name_of_a_commit_will_do(repository: Path, ref: str) -> None:
    assert len(GitSource(ref=ref, path="results/nightly/1").load(frozenset())) == 1


def test_a_path_counts_from_the_root_wherever_one_stands(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "deep").mkdir()
    monkeypatch.chdir(repository / "deep")
    assert len(GitSource(ref="v1", path="results").load(frozenset())) == 2


@pytest.mark.parametrize(
    ("ref", "path", "said"),
    [
        ("nobody", "results", "has no such ref"),
        ("v1;touch pwned", "results", "has no such ref"),
        ("$(touch pwned)", "results", "has no such ref"),
        ("HEAD", "results", "holds no result"),
        ("v1", ":(glob)**", "holds no result"),
        ("v1", "*", "holds no result"),
        ("v1", "--help", "holds no result"),
    ],
)
def test_hostile_names_reach_no_shell_and_no_option(
    repository: Path, ref: str, path: str, said: str
) -> None:
    with pytest.raises((ConfigError, DataError), match=said):
        GitSource(ref=ref, path=path).load(frozenset())
    assert not (repository / "pwned").exists()


def test_links_and_other_files_of_a_tree_are_passed_over(repository: Path) -> None:
    folder = repository / "results" / "linked" / "case"
    folder.mkdir(parents=True)
    (folder / "result.json").symlink_to("/etc/passwd")
    (folder / "notes.txt").write_text("a note")
    git(repository, "add", "-f", ".")
    git(repository, "commit", "-q", "-m", "a link")
    with pytest.raises(DataError, match="holds no result"):
        GitSource(ref="HEAD", path="results").load(frozenset())


def test_a_pointer_of_git_lfs_is_told_for_what_it_is(repository: Path) -> None:
    case = write_launch(repository / "results" / "1")
    (case / "measurement.jsonl").write_text("version https://git-lfs.github.com/spec/v1\noid x\n")
    git(repository, "add", "-f", ".")
    git(repository, "commit", "-q", "-m", "pointers")
    with pytest.raises(DataError, match="is a pointer of git-lfs"):
        GitSource(ref="HEAD", path="results").load(frozenset())


def test_damaged_results_are_told_by_their_place_in_the_ref(repository: Path) -> None:
    case = write_launch(repository / "results" / "1")
    (case / "measurement.jsonl").write_text("garbage\n")
    git(repository, "add", "-f", ".")
    git(repository, "commit", "-q", "-m", "garbage")
    with pytest.raises(DataError) as raised:
        GitSource(ref="HEAD", path="results").load(frozenset())
    assert f"git:HEAD:results/1/{case.name}/measurement.jsonl" in str(raised.value)
    assert "/tmp/" not in str(raised.value)


def test_outside_a_repository_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    with pytest.raises(ConfigError, match="is in no git repository"):
        GitSource(ref="main", path="results").load(frozenset())


def test_without_git_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="git: is not installed"):
        GitSource(ref="main", path="results").load(frozenset())


def test_a_file_that_git_does_not_have_is_told(repository: Path) -> None:
    blob = git(repository, "ls-tree", "-r", "v1").split()[2]
    (repository / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(DataError, match=r"git:v1:results.*: cannot be read"):
        GitSource(ref="v1", path="results").load(frozenset())
