"""Which format is written where: by name, by the file's suffix, and what is refused beforehand."""

import errno
import sys
from pathlib import Path

import pytest

from tests.command import in_process
from trnbench.__main__ import main as begin
from trnbench.cli.main import _say, is_want_of_memory
from trnbench.cli.options import require_format
from trnbench.cli.output import _command_for_all_rows
from trnbench.errors import ConfigError, UnavailableError
from trnbench.reports import FORMATS

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / "tests" / "golden" / "schema" / "v1"


@pytest.mark.parametrize("form", ["csv", "markdown", "json", "latex"])
def test_the_suffix_of_the_file_chooses_the_format(form: str, tmp_path: Path) -> None:
    file = tmp_path / f"report{FORMATS[form].suffix}"
    for arguments in (["-o", file], ["--output", file]):
        assert in_process("report", RESULTS, *arguments).code == 0
        assert file.read_text() == in_process("report", RESULTS, "--format", form).out
        file.unlink()


def test_a_format_that_is_named_is_written_whatever_the_suffix(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    csv = in_process("report", RESULTS, "--format", "csv").out
    for arguments in (["-f", "csv", "-o", file], ["-o", file, "-f", "csv"]):
        assert in_process("report", RESULTS, *arguments).code == 0
        assert file.read_text() == csv


def test_another_suffix_and_no_file_are_the_terminal_s_format(tmp_path: Path) -> None:
    assert in_process("report", RESULTS, "-o", tmp_path / "report.log").code == 0
    assert (tmp_path / "report.log").read_text() == in_process("report", RESULTS).out


def test_every_suffix_and_every_package_is_known() -> None:
    from trnbench.reports.extras import EXTRAS

    suffixes = [each.suffix for each in FORMATS.values() if each.suffix]
    assert len(set(suffixes)) == len(suffixes) == len(FORMATS) - 1
    extras = {EXTRAS[package] for each in FORMATS.values() for package in each.packages}
    declared = (ROOT / "pyproject.toml").read_text()
    assert all(f"\n{extra} = [" in declared for extra in extras)


def test_a_binary_format_is_not_written_to_a_terminal() -> None:
    with pytest.raises(ConfigError, match="--format parquet: is binary") as told:
        require_format("parquet", is_to_terminal=True)
    assert "> FILE.parquet" in told.value.problems[0].hint


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trnbench.reports.extras.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match="pandas and pyarrow are not installed") as told:
        require_format("parquet", is_to_terminal=False)
    assert "'trnbench[reports,parquet]'" in told.value.problems[0].hint
    require_format("csv", is_to_terminal=False)
    require_format("junit", is_to_terminal=False)


def test_it_is_refused_before_a_result_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("trnbench.reports.extras.find_spec", lambda name: None)
    done = in_process("report", tmp_path / "no-such", "-o", tmp_path / "r.xlsx")
    assert (done.code, done.out) == (3, "")
    assert "xlsxwriter is not installed" in done.err
    done = in_process("compare", "a", "b", "--write", f"xlsx={tmp_path / 'r.xlsx'}")
    assert done.code == 3


@pytest.mark.parametrize(
    ("file", "said"),
    [(".", "is a folder"), ("none/r.csv", "there is no folder"), ("sealed/r.csv", "Permission")],
)
def test_a_file_that_cannot_be_written_is_refused(
    file: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sealed").mkdir()
    may_write = "sealed" not in file  # root may write everywhere
    monkeypatch.setattr("os.access", lambda path, mode: may_write)
    for command in (["report", RESULTS], ["compare", RESULTS, RESULTS]):
        done = in_process(*command, "-o", tmp_path / file)
        assert (done.code, done.out) == (2, "")
        assert said in done.err


def test_an_error_is_broken_between_words_on_a_terminal_and_nowhere_in_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = " ".join(["some_long_key.name"] * 6)
    error = ConfigError(words, hint=words)
    _say(error)
    assert capsys.readouterr().err == f"trnbench: {words}\n{' ' * 10}{words}\n"
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    _say(error)
    lines = capsys.readouterr().err.splitlines()
    assert max(map(len, lines)) <= 60
    assert {*" ".join(lines).split()} == {"trnbench:", "some_long_key.name"}
    assert all(line.startswith(" " * 10) for line in lines[1:])


def test_the_command_that_shows_all_rows_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/bin/trnbench", "prices", "--region", "a b"])
    assert _command_for_all_rows(None) == "trnbench prices --region 'a b' | less"
    monkeypatch.setattr(sys, "argv", ["/bin/trnbench", "run", "quick"])
    assert _command_for_all_rows(Path("results/x")) == "trnbench report results/x | less"
    assert _command_for_all_rows(None) is None


def test_want_of_memory_is_told_from_a_mistake_in_the_code() -> None:
    for error in (
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        RuntimeError("can't start new thread"),
        ImportError("libscipy_openblas.so: failed to map segment from shared object"),
        ImportError("libc.so.6: cannot allocate memory in static TLS block"),
    ):
        assert is_want_of_memory(error), error
        outer = ImportError("numpy could not be imported")
        outer.__cause__ = error
        assert is_want_of_memory(outer)
    for error in (OSError(errno.ENOENT, "no such file"), RuntimeError("x"), ImportError("scipy")):
        assert not is_want_of_memory(error), error


def test_ctrl_c_while_the_command_line_loads_leaves_no_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Interrupts:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "trnbench.cli.main":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "trnbench.cli.main")
    monkeypatch.setattr(sys, "meta_path", [Interrupts, *sys.meta_path])
    with pytest.raises(SystemExit) as end:
        begin()
    assert end.value.code == 130


def test_a_dry_run_of_many_cases_is_shown_whole_by_its_own_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/trnbench", "run", "a.yaml", "--dry-run"])
    assert _command_for_all_rows(None) == "trnbench run a.yaml --dry-run | less"
