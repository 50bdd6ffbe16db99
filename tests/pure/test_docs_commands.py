"""Every command that a page shows is one: its name and its options are those of the program."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from trnbench.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SHOWN = re.compile(r"`(trnbench [^`\n]+)`")
BLOCK = re.compile(r"```(?:sh|console)\n(.*?)```", re.DOTALL)
ENDS = {"|", ">", "&&", "||", ";", "#", ">>", "2>&1", "done"}
"""Words of a shell after which another command stands, or none."""


def commands_of(page: Path) -> list[str]:
    """Return the commands of a page's blocks and of its text."""
    text = page.read_text(encoding="utf-8")
    found = [
        line for block in BLOCK.findall(text) for line in block.replace("\\\n", " ").split("\n")
    ]
    found = [re.sub(r"(^|\s)#.*", "", line) for line in found]
    found = [line[line.index("trnbench ") :] for line in found if re.search(r"\btrnbench ", line)]
    return found + SHOWN.findall(BLOCK.sub("", text))


def words_of(command: str) -> list[str]:
    """Return the words of the first command, as a shell takes them; `…` and `[…]` are left out."""
    plain = re.sub(r"[\[\]]|\.\.\.|…", " ", command)
    words = shlex.split(plain, comments=True)
    end = next((at for at, word in enumerate(words) if word.rstrip(";") in ENDS), len(words))
    return [word.rstrip(";") for word in words[1:end]]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_are_the_program_s(page: Path) -> None:
    program = get_command(app)
    known = {name: program.get_command(None, name) for name in program.list_commands(None)}  # type: ignore[attr-defined]
    wrong = []
    for shown in commands_of(page):
        name, *words = [*words_of(shown), ""]
        if name.startswith("-") or not name or name.isupper():
            continue
        command = known.get(name)
        if command is None:
            wrong.append(f"{shown}: {name} is no command")
            continue
        subcommands = getattr(command, "list_commands", None)
        if subcommands and words and words[0] in subcommands(None):
            command = command.get_command(None, words[0])
        options = {
            each for param in command.params for each in (*param.opts, *param.secondary_opts)
        }
        asked = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        wrong += [f"{shown}: {each}" for each in sorted(asked - options - {"--help", "-h"})]
    assert not wrong


def test_the_pages_show_many_commands() -> None:
    assert sum(len(commands_of(page)) for page in PAGES) > 150
