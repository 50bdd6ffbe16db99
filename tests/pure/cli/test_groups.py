"""A command takes a group of options as one value; a user types each of them."""

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer

from trnbench.cli.groups import cli_option, with_groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    size: int = cli_option(3, "--how-large", min=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group(Base):
    names: list[str] | None = cli_option(None, "--name")
    shared: Annotated[bool, typer.Option("--shared")] = False


def command(*, path: str = "here", group: Group) -> None:
    raise LookupError(path, group)


@pytest.mark.parametrize(
    ("typed", "path", "group"),
    [
        ({"path": "here", "size": 3, "names": None, "shared": False}, "here", Group()),
        ({"path": "x", "size": 4, "names": ["a"], "shared": True}, "x",
         Group(size=4, names=["a"], shared=True)),
    ],
)  # fmt: skip
def test_a_command_gets_its_group_as_one_value(
    typed: dict[str, object], path: str, group: Group
) -> None:
    with pytest.raises(LookupError) as called:
        with_groups(command)(**typed)
    assert called.value.args == (path, group)


def test_typer_sees_each_field_of_a_group_with_its_default_and_its_option() -> None:
    seen = inspect.signature(with_groups(command)).parameters
    assert {name: each.default for name, each in seen.items()} == {
        "path": "here", "size": 3, "names": None, "shared": False,
    }  # fmt: skip
    (option,) = seen["size"].annotation.__metadata__
    assert (option.default, option.min) == ("--how-large", 1)
    (shared,) = seen["shared"].annotation.__metadata__
    assert shared.default == "--shared"


def test_two_options_of_one_name_are_refused() -> None:
    def twice(*, size: int, group: Base) -> None: ...

    with pytest.raises(ValueError, match="duplicate parameter name: 'size'"):
        with_groups(twice)
