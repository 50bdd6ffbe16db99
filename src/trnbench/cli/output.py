"""Where output goes: the page of stdout, files, and GitHub's step summary."""

import errno
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from trnbench.errors import ConfigError
from trnbench.reports.document import Page, Report

if TYPE_CHECKING:
    from trnbench.schema.comparison import Comparison

PIPE_WIDTH = 200
"""Columns for a table that goes to a file or a pipe, where no cell is shortened."""

SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"

T = TypeVar("T")


def page_of_stdout() -> Page:
    """Return the page that a report for people is written on."""
    return Page(
        width=_width(sys.stdout),
        is_coloured=_is_coloured(sys.stdout),
        today=datetime.now(UTC).date(),
    )


MEASURING = ("run", "noise", "peak", "profile")
"""Commands that would measure again."""


def _command_for_all_rows(kept_in: Path | None) -> str | None:
    """Return the command that shows all rows, in a pipe, where none is left out.

    None where this command measures and its results are not kept in a folder.
    """
    words = [Path(sys.argv[0]).name, *sys.argv[1:]]
    if sys.argv[1:2] and sys.argv[1] in MEASURING and "--dry-run" not in sys.argv:
        if kept_in is None:
            return None
        words = [words[0], "report", str(kept_in)]
    return f"{shlex.join(words)} | less"


def _width(stream: TextIO) -> int:
    fallback = (PIPE_WIDTH, 24)
    if not stream.isatty() and "COLUMNS" not in os.environ:
        return PIPE_WIDTH
    return max(20, shutil.get_terminal_size(fallback).columns)


def _is_coloured(stream: TextIO) -> bool:
    """Follow no-color.org: colour on a terminal, unless NO_COLOR is set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def show(
    report: Report[T],
    of: T,
    format_: str,
    path: Path | None = None,
    *,
    plots: Path | None = None,
    traces: Callable[[Any], Any] | None = None,
    kept_in: Path | None = None,
) -> None:
    """Write a report in a format to a file, or to stdout, and its figures to a folder.

    `kept_in` is the folder of the results that the command has measured.
    """
    from trnbench.reports import written

    page = replace(page_of_stdout(), traces=traces)
    if path is None and sys.stdout.isatty():
        page = replace(page, all_rows=_command_for_all_rows(kept_in))
    write(written(report, of, str(format_), page), path)
    draw(report, of, page, plots)


def prepare_plots(folder: Path | None) -> None:
    """Raise before anything starts where `--plots` could write nothing."""
    if folder is not None:
        from trnbench.reports.plots import require_plots

        require_plots(folder)


def draw(report: Report[T], of: T, page: Page, folder: Path | None) -> None:
    """Write a report's figures to a folder, if one is named, and say so on stderr."""
    if folder is None:
        return
    from trnbench.reports.plots import write_plots
    from trnbench.reports.texts import plural

    charts = [*report.document(of, page).backing().charts]
    files = write_plots(charts, folder)
    said = f"{plural(len(files), 'file')} of {plural(len(charts), 'figure')}"
    if not charts:
        said = "no figure: a chart needs two figures or more that may be compared"
    sys.stderr.write(f"plots: {folder}: {said}\n")


def write(text: str | bytes, path: Path | None = None, *, is_appended: bool = False) -> None:
    """Write a report to a file, or to stdout."""
    if path is None:
        _write_to_stdout(text)
        return
    if isinstance(text, str):
        text = text.encode("utf-8", errors="replace")
    try:
        with path.open("ab" if is_appended else "wb") as stream:
            stream.write(text)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written: {error.strerror}",
            hint="name a file in a folder that exists",
        ) from error


def _write_to_stdout(text: str | bytes) -> None:
    try:
        if isinstance(text, str):
            sys.stdout.write(text)
        else:
            sys.stdout.buffer.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unwritable(error) from error


def unwritable(error: OSError) -> ConfigError:
    """Say that stdout is full or closed; what is still buffered is thrown away."""
    # It is written when Python ends, and must not fail again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    said = "it is closed" if error.errno == errno.EBADF else error.strerror
    return ConfigError(
        f"stdout: cannot be written: {said}",
        hint="make space, or write to another place; `trnbench report` shows results again",
    )


@dataclass(frozen=True, slots=True)
class Target:
    """A format of a comparison and the file that it goes to; None is stdout."""

    format: str
    path: Path | None
    is_appended: bool = False


def find_targets(
    format_: str, output: Path | None, more: Sequence[str], *, has_summary: bool
) -> list[Target]:
    """Return what goes where; try each file now, before anything is read or measured.

    `output` replaces stdout; each of `more` is FORMAT=FILE, a further file.
    """
    targets = [Target(format_, output), *map(_read_target, more)]
    if has_summary:
        path = os.environ.get(SUMMARY_VARIABLE)
        if not path:
            raise ConfigError(
                f"--github-summary: ${SUMMARY_VARIABLE} names no file",
                hint="it is set inside a step of GitHub Actions; elsewhere use --write github=FILE",
            )
        targets.append(Target("github", Path(path), is_appended=True))
    files = [target.path.absolute() for target in targets if target.path is not None]
    for file in files:
        if files.count(file) > 1:
            raise ConfigError(f"{file.name}: is named for two outputs", hint="name a file for each")
    for file in files:
        is_there = file.exists()
        write("", file, is_appended=True)
        if not is_there:
            file.unlink()  # a file without a comparison in it would mislead its reader
    return targets


def _read_target(text: str) -> Target:
    from trnbench.cli.options import require_format
    from trnbench.reports import formats_of

    formats = formats_of("comparison")
    name, equals, path = text.partition("=")
    if not equals or not path or name not in formats:
        raise ConfigError(
            f"--write {text}: is not FORMAT=FILE",
            hint=f"write e.g. --write junit=gate.xml; formats: {', '.join(formats)}",
        )
    require_format(name, is_to_terminal=False)
    return Target(name, Path(path))


def write_comparison(
    comparison: "Comparison", targets: Sequence[Target], plots: Path | None = None
) -> None:
    """Write a comparison to every target, and its figures to a folder."""
    from trnbench.reports import written
    from trnbench.reports.comparison import REPORT

    for target in targets:
        page = page_of_stdout() if target.path is None else Page(width=120)
        text = written(REPORT, comparison, target.format, page)
        write(text, target.path, is_appended=target.is_appended)
    draw(REPORT, comparison, Page(), plots)


def say_steps(steps: Sequence[tuple[str, str]]) -> str:
    """Return what may come next: commands, each with what it is for."""
    width = max(len(command) for command, _ in steps)
    lines = [f"{command:<{width}}  {what}" for command, what in steps]
    widest = max(map(len, lines)) + len("next: ")
    if sys.stderr.isatty() and widest > shutil.get_terminal_size().columns:
        lines = [part for command, what in steps for part in (command, f"  {what}")]
    return "".join(f"{'' if at else 'next:':<6}{line}\n" for at, line in enumerate(lines))
