"""The options of a comparison's gates, of `trnbench compare` and of `trnbench run --ab`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from trnbench.cli.groups import cli_option
from trnbench.errors import ConfigError

if TYPE_CHECKING:
    from trnbench.compare.gates import Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOptions:
    """The gates on a comparison, and what counts as the same work and as a change."""

    PANEL: ClassVar[str] = "Gates"

    gates: list[str] | None = cli_option(
        None,
        "--gate",
        metavar="'METRIC > -N%'",
        help="Exit with code 6 if this does not hold, e.g. 'tokens_per_second > -2%'. The "
        "whole interval must hold, not only the point. Can be repeated.",
    )
    strict: bool = cli_option(False, "--strict", help="An undecided gate counts as failed.")
    margin: str = cli_option("2%", metavar="N%", help="A change up to this size does not matter.")
    allow: list[str] | None = cli_option(
        None,
        metavar="KEY",
        help="Compare even if the work differs in this key, e.g. precision. Can be repeated.",
    )

    def terms(self) -> "Terms":
        """Return the terms of the comparison."""
        from trnbench.compare.gates import ALLOWED_KEYS, Terms, parse_gates

        for key in self.allow or ():
            if key not in ALLOWED_KEYS:
                raise ConfigError(
                    f"--allow {key}: is not a key in which work can differ",
                    hint=f"use one of {', '.join(ALLOWED_KEYS)}",
                )
        return Terms(
            margin=_read_margin(self.margin),
            gates=parse_gates(list(dict.fromkeys(self.gates or []))),
            allowed=tuple(dict.fromkeys(self.allow or [])),
        )


def _read_margin(text: str) -> float:
    number, percent, rest = text.strip().partition("%")
    try:
        margin = float(number) / 100
    except ValueError:
        margin = -1.0
    if not percent or rest or not 0 <= margin <= 1:
        raise ConfigError(
            f"--margin {text}: is not a percentage from 0% to 100%", hint="write e.g. --margin 1%"
        )
    return margin
