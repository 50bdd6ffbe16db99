"""The command line `trnbench`: its commands, and the exit code of each error."""

import errno
import importlib
import io
import keyword
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
import typer.core
import typer.main

from trnbench import __version__
from trnbench.cli.groups import with_groups
from trnbench.cli.help import MOST_WIDTH, Command
from trnbench.errors import ConfigError, ExitCode, TrnbenchError, UnavailableError

log = logging.getLogger("trnbench")

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Measure": ("init", "run", "tune", "launch", "peak", "profile", "noise"),
    "Read": ("results", "import", "report", "compare", "export"),
    "Decide": ("rank", "estimate", "cost", "check-claim", "published"),
    "Inspect": ("doctor", "models", "prices", "schema"),
}
"""The commands as `--help` lists them; each is a function in a file of its name (`module_of`)."""

COMMANDS = tuple(name for names in SECTIONS.values() for name in names)

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": MOST_WIDTH}


def module_of(name: str) -> str:
    """Return the name of a command's file and function: a word of Python's own has `_` behind."""
    return f"{name}_" if keyword.iskeyword(name) else name.replace("-", "_")


def purpose_of(name: str) -> str:
    """Return the first sentence of a command's docstring, read and not imported: that is slow."""
    module = module_of(name)
    source = Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
    text = source.partition(f"\ndef {module}(")[2].partition('"""')[2].partition('"""')[0]
    return " ".join(text.strip().partition("\n\n")[0].split())


class CommandsByName(Mapping[str, Any]):
    """The commands as typer takes them; each is imported when it is asked for."""

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)

    def __getitem__(self, name: str) -> Any:
        if name not in COMMANDS:
            raise KeyError(name)
        module = module_of(name)
        found = importlib.import_module(f"trnbench.cli.{module}")
        only = typer.Typer(rich_markup_mode=None, add_completion=False)
        only.command(
            name, cls=Command, context_settings=SETTINGS, epilog="\n".join(found.EXAMPLES)
        )(with_groups(getattr(found, module)))
        return typer.main.get_command(only)


class Commands(typer.core.TyperGroup):
    """All commands, of which a call imports one."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": CommandsByName()})

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands, each with its whole first sentence."""
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, purpose_of(name)) for name in names])

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names, without importing what they name."""
        return [*COMMANDS]


app = typer.Typer(
    name="trnbench",
    cls=Commands,
    help=(
        "Benchmark transformer training on Trainium, GPUs and CPUs; report throughput and cost "
        "per token with confidence intervals."
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=SETTINGS,
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"trnbench {__version__}")
        raise typer.Exit


@app.callback()
def _globals(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback behind an error.")
    ] = False,
) -> None:
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING,
        stream=sys.stderr,
        format="%(name)s: %(message)s" if debug else "trnbench: %(message)s",
    )


def main() -> None:
    """Run one command and leave with its exit code; README.md lists the codes."""
    # A closed stdout refuses what is written to it, and a closed stderr takes it.
    sys.stdout = _make_writable(sys.stdout, os.O_RDONLY)
    sys.stderr = _make_writable(_unfailing(sys.stderr), os.O_WRONLY)
    try:
        app()
    except TrnbenchError as error:
        log.debug("traceback of the error below", exc_info=error)
        _say(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:  # while modules load; a command that measures has its own way
        sys.exit(ExitCode.INTERRUPTED)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # typer's code for it is 1, a bug's
            sys.exit(ExitCode.CLOSED_PIPE)
        raise
    except Exception as error:
        if is_want_of_memory(error):
            log.debug("traceback of the error below", exc_info=error)
            what = f"the system gave no more memory: {str(error) or type(error).__name__}"
            _say(UnavailableError(what, hint="raise the limit (`ulimit -v`, the container's)"))
            sys.exit(ExitCode.UNAVAILABLE)
        if isinstance(error, OSError) and (problem := _problem_of(error)) is not None:
            log.debug("traceback of the error below", exc_info=error)
            _say(problem)
            sys.exit(ExitCode.CONFIG)
        traceback.print_exc()
        sys.stderr.write(
            "trnbench: this is a bug in trnbench; please report it with the lines above\n"
        )
        sys.exit(ExitCode.BUG)


_NO_MEMORY = re.compile(
    r"can't start new thread|failed to map segment|cannot allocate memory", re.I
)
"""Of a RuntimeError of `threading`, and of the dynamic loader by an ImportError."""


def is_want_of_memory(error: BaseException | None) -> bool:
    """Tell whether an error, or what it came of, says that the system gave no memory."""
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return True
        if isinstance(error, ImportError | RuntimeError) and _NO_MEMORY.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


UNWRITABLE = (errno.EBADF, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC)


def _problem_of(error: OSError) -> ConfigError | None:
    """Return what the user can mend of an error that names a file, or was raised by a stream."""
    if error.filename is not None:
        what = f"{os.fsdecode(error.filename)}: {error.strerror}"
        return ConfigError(what, hint="check the path, its permissions and the disk")
    if error.errno not in UNWRITABLE:
        return None
    from trnbench.cli.output import unwritable

    try:
        sys.stdout.write("\n")
        sys.stdout.flush()
    except OSError:
        return unwritable(error)
    what = f"a file cannot be written: {error.strerror}"
    return ConfigError(what, hint="make space where results, ~/.cache and /tmp are")


def _say(error: TrnbenchError) -> None:
    """Write each problem in two lines: what is wrong, and how to fix it."""
    lines: list[str] = []
    for problem in error.problems:
        lines += _wrapped("trnbench: ", problem.message)
        if problem.hint:
            lines += _wrapped(" " * 10, problem.hint)
    try:
        sys.stderr.write("".join(f"{line}\n" for line in lines))
        sys.stderr.flush()
    except OSError:  # a full disk behind it: the exit code still says what happened
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _wrapped(start: str, text: str) -> list[str]:
    """Break lines between words where they are longer than the terminal; in a file nowhere."""
    lines = f"{start}{text}".split("\n")
    if not sys.stderr.isatty():
        return lines
    import shutil
    import textwrap

    width = max(40, shutil.get_terminal_size().columns)
    indent = " " * len(start)
    wrap = textwrap.TextWrapper(
        width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return [part for line in lines for part in (wrap.wrap(line) if len(line) > width else [line])]


class _Unfailing(io.FileIO):
    """A stream that drops what cannot be written: a run does not end because nobody reads of it."""

    def write(self, content: Any) -> int:
        try:
            return super().write(content)
        except OSError:
            return len(content)


def _unfailing(stream: TextIO | None) -> TextIO | None:
    """Return what takes the place of the process's own stderr; another stream as it is."""
    own = sys.__stderr__
    if own is None or stream is not own:
        return stream
    raw = _Unfailing(own.fileno(), "w", closefd=False)
    return io.TextIOWrapper(raw, own.encoding, "replace", write_through=True)


def _make_writable(stream: TextIO | None, flags: int) -> TextIO:
    """A terminal that cannot show ± gets a question mark; `flags` open a place for one closed."""
    if stream is None:  # `trnbench … >&-`
        return os.fdopen(os.open(os.devnull, flags), "w", encoding="utf-8")
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    return stream
