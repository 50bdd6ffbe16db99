"""Groups of options: dataclasses, whose fields are a command's options.

A command takes a group as one parameter and passes it on as one value. `main.py` spreads the fields
over the command for typer, which knows no groups. `--help` shows a group under its `PANEL`.
"""

import inspect
from collections.abc import Callable
from copy import copy
from dataclasses import field, fields, is_dataclass
from functools import wraps
from inspect import Parameter
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import typer

T = TypeVar("T")

OPTION = "option"
"""The key of a field's metadata that holds what typer must know."""


def cli_option(default: T, *names: str, **rules: Any) -> T:
    """Return a field of a group; names and rules are those of `typer.Option`."""
    made: T = field(default=default, metadata={OPTION: typer.Option(*names, **rules)})
    return made


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command as typer takes it: each field of its groups is a parameter of its own."""
    parameters: list[Parameter] = []
    groups: dict[str, type] = {}
    hints = get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        kind = hints[name]
        if isinstance(kind, type) and is_dataclass(kind):
            groups[name] = kind
            parameters += _parameters(kind)
        else:
            parameters.append(parameter.replace(annotation=kind))

    @wraps(command)
    def call(**given: Any) -> None:
        made = {
            name: kind(**{each.name: given.pop(each.name) for each in fields(kind)})
            for name, kind in groups.items()
        }
        command(**given, **made)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return call


def _parameters(group: Any) -> list[Parameter]:
    hints = get_type_hints(group, include_extras=True)
    panel = getattr(group, "PANEL", None)
    return [
        Parameter(
            each.name,
            Parameter.KEYWORD_ONLY,
            default=each.default,
            annotation=_in_panel(
                Annotated[hints[each.name], each.metadata[OPTION]]
                if OPTION in each.metadata
                else hints[each.name],
                panel,
            ),
        )
        for each in fields(group)
    ]


def _in_panel(hint: Any, panel: str | None) -> Any:
    """Return an option's annotation with its panel, unless it has one of its own."""
    kind, *details = get_args(hint)
    placed = []
    for detail in details:
        if getattr(detail, "rich_help_panel", panel) is None:
            detail = copy(detail)  # one option can stand in several groups
            detail.rich_help_panel = panel
        placed.append(detail)
    return Annotated[(kind, *placed)]
