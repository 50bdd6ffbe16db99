"""What `--help` shows: options in panels, and examples. Written without rich, which is slow."""

import re
from typing import Any

import typer.core

LAST_PANEL = "Options"
"""For options that are in no group."""

_TYPE = re.compile(r" <[^<>]*>$")
"""Python's type, which typer writes beside an argument's name."""

MOST_WIDTH = 100


class Command(typer.core.TyperCommand):
    """A command whose help has its options in panels, and its examples at the end."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write each panel of options under its name, in the order of the options."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            panel = getattr(parameter, "rich_help_panel", None) or LAST_PANEL
            if parameter.param_type_name == "argument":
                panel, record = "Arguments", (_TYPE.sub("", record[0]), record[1])
            panels.setdefault(panel, []).append(record)
        last = panels.pop(LAST_PANEL, [])
        for name, records in [*panels.items(), (LAST_PANEL, last)]:
            with formatter.section(name):
                formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples, a line each."""
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.splitlines():
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
