"""Where a comparison is written: stdout or a file, any number of formats, and GitHub's summary."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from trnbench.cli.screen import page_of_stdout
from trnbench.reports.comparison import COMPARISON_REPORTS
from trnbench.reports.document import Page
from trnbench.schema.comparison import Comparison
from trnbench.schema.errors import ConfigError

SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"


@dataclass(frozen=True, slots=True)
class Target:
    """A format and the file that it goes to; None is stdout."""

    format: str
    path: Path | None
    is_appended: bool = False


@dataclass(frozen=True, slots=True)
class Outputs:
    """All that one call writes."""

    targets: tuple[Target, ...]

    def write(self, comparison: Comparison) -> None:
        """Write the comparison in every format that was asked for.

        Raises:
            ConfigError: a file cannot be written.
        """
        for target in self.targets:
            page = page_of_stdout() if target.path is None else Page(width=120)
            text = COMPARISON_REPORTS[target.format](comparison, page)
            if target.path is None:
                sys.stdout.write(text)
            else:
                _write_file(target.path, text, is_appended=target.is_appended)


def open_outputs(
    format_: StrEnum, output: Path | None, write: Sequence[str], *, has_summary: bool
) -> Outputs:
    """Sort out what goes where, and try each file before anything is read or measured.

    Raises:
        ConfigError: a file cannot be written, a format is not known, or one file is named twice.
    """
    targets = [Target(format_.value, output), *map(_parse, write)]
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
    for target in targets:
        if target.path is not None:
            is_there = target.path.exists()
            _write_file(target.path, "", is_appended=True)
            if not is_there:
                target.path.unlink()  # a file without a comparison in it would mislead its reader
    return Outputs(tuple(targets))


def _parse(text: str) -> Target:
    name, equals, path = text.partition("=")
    if not equals or not path or name not in COMPARISON_REPORTS:
        raise ConfigError(
            f"--write {text}: is not FORMAT=FILE",
            hint=f"write e.g. --write junit=gate.xml; formats: {', '.join(COMPARISON_REPORTS)}",
        )
    return Target(name, Path(path))


def _write_file(path: Path, text: str, *, is_appended: bool) -> None:
    try:
        with path.open("a" if is_appended else "w", encoding="utf-8", errors="replace") as stream:
            stream.write(text)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written: {error.strerror}",
            hint="name a file in a folder that exists",
        ) from error
