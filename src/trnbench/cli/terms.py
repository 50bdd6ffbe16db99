"""What the commands that compare have in common: their options, their terms, and how they end."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from trnbench.schema.errors import CheckFailed, ConfigError, Problem

if TYPE_CHECKING:
    from trnbench.compare.gates import Terms
    from trnbench.schema.comparison import Comparison


class Correcting(StrEnum):
    """How many comparisons are allowed for."""

    HOLM = "holm"
    BH = "bh"
    NONE = "none"


Gates = Annotated[
    list[str] | None,
    typer.Option(
        "--gate",
        metavar="'METRIC > -N%'",
        help="Leave with exit code 6 where this does not hold, e.g. 'tokens_per_second > -2%'. "
        "Reads the interval, not the point. May be repeated.",
    ),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="A gate that is undecided counts as failed.")
]
Margin = Annotated[
    str, typer.Option(metavar="N%", help="A change up to this size does not matter.")
]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="KEY",
        help="Compare though the work differs in this, e.g. precision. May be repeated.",
    ),
]


def make_terms(
    *,
    gates: list[str] | None,
    margin: str,
    allow: list[str] | None,
    metrics: list[str] | None = None,
    correction: Correcting = Correcting.HOLM,
    is_paired: bool = False,
    target_excess_nats: float = 0.25,
) -> "Terms":
    """Read how a comparison is to be made.

    Raises:
        ConfigError: a text means nothing; it is named.
    """
    from trnbench.compare.gates import DEFAULT_METRICS, Terms, parse_gates

    return Terms(
        metrics=_known_metrics(metrics) if metrics else DEFAULT_METRICS,
        margin=_margin(margin),
        correction=correction.value,
        gates=parse_gates(list(dict.fromkeys(gates or []))),
        allowed=_allowed(allow or []),
        is_paired=is_paired,
        target_excess_nats=_target(target_excess_nats),
    )


def raise_for(comparison: "Comparison", *, is_strict: bool) -> None:
    """Raise what the gates come to, when everything has been written.

    Raises:
        CheckFailed: a gate failed or could not be judged; with `is_strict`, or is undecided.
    """
    from trnbench.reports.comparison.view import say_evidence

    problems = []
    for gate in comparison.gates:
        if gate.state == "passed" or (gate.state == "undecided" and not is_strict):
            continue
        problems.append(
            Problem(
                f"gate {gate.gate!r} {gate.state.replace('_', ' ')} on {gate.case}: "
                f"{say_evidence(gate)}",
                gate.advice or "if this change is meant, take these results for the next baseline",
            )
        )
    if problems:
        raise CheckFailed.of(problems)


def _known_metrics(metrics: list[str]) -> tuple[str, ...]:
    from trnbench.compare.metrics import COMPARABLES

    for metric in metrics:
        if metric not in COMPARABLES:
            raise ConfigError(
                f"--metric {metric}: is no metric that can be compared",
                hint=f"use one of {', '.join(COMPARABLES)}",
            )
    return tuple(metrics)


def _allowed(keys: list[str]) -> tuple[str, ...]:
    from trnbench.compare.gates import ALLOWED_KEYS

    for key in keys:
        if key not in ALLOWED_KEYS:
            raise ConfigError(
                f"--allow {key}: is nothing in which work can differ",
                hint=f"use one of {', '.join(ALLOWED_KEYS)}",
            )
    return tuple(dict.fromkeys(keys))


def _margin(text: str) -> float:
    number, percent, rest = text.strip().partition("%")
    try:
        margin = float(number) / 100
    except ValueError:
        margin = -1.0
    if not percent or rest or not 0 <= margin <= 1:
        raise ConfigError(
            f"--margin {text}: is no percentage from 0% to 100%", hint="write e.g. --margin 1%"
        )
    return margin


def _target(nats: float) -> float:
    if not 0 < nats <= 20:
        raise ConfigError(
            f"--target-excess-nats {nats}: is no loss above 0 and up to 20 nats",
            hint="write e.g. --target-excess-nats 0.25",
        )
    return nats
