"""Large sweeps on the command line: how many cases they are, and what they could take and cost."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from trnbench.errors import ConfigError

if TYPE_CHECKING:
    from trnbench.config.load import Suite
    from trnbench.schema.plan import Plan

ASK_ABOVE = 1000
"""Cases that are measured without `--yes`: at the least time that a case takes, hours."""

PLANNED = 20
"""Cases of a suite from which the time and the dollars of all are reckoned; they are spread over
its sweep."""


def require_yes(suites: "Sequence[Suite]", most: int | None, python: str) -> None:
    """Refuse a large sweep until a person has agreed to it.

    Raises:
        ConfigError: it has more than `ASK_ABOVE` cases; with the most that they can take and cost.
    """
    from trnbench.config.load import MAX_CASES

    counts = [min(suite.count, most or suite.count) for suite in suites]
    total = sum(counts)
    if total <= ASK_ABOVE:
        return
    largest = max(suites, key=lambda suite: suite.count)
    of_them = f", {total:,} to measure" if total != largest.count else ""
    part = "`--max-cases 100` measures so many that are spread over all keys"
    raise ConfigError(
        f"{largest.where}: sweep makes {largest.count:,} cases{of_them}: "
        f"{_say_most(suites, counts, python)}",
        hint=f"a run has at most {MAX_CASES:,}; {part}"
        if total > MAX_CASES
        else f"add `--yes` to measure them all; {part}, and `--max-usd` limits the dollars",
    )


def _say_most(suites: "Sequence[Suite]", counts: Sequence[int], python: str) -> str:
    """Say how long all cases may take and what they may cost, from plans of a few of each suite."""
    from trnbench.machine.describe import describe_machine
    from trnbench.plan.make import plan_all
    from trnbench.run.questions import describer
    from trnbench.units import say_seconds, say_usd

    machine, today = describe_machine(), datetime.now(UTC).date()
    seconds, usd = 0.0, 0.0
    has_price = True
    for suite, count in zip(suites, counts, strict=True):
        plans: list[Plan] = plan_all(
            suite.cases(min(count, PLANNED)),
            machine=machine,
            devices=None,
            today=today,
            describe=describer(python),
        )
        share = count / len(plans)
        seconds += share * sum(plan.prediction.max_seconds for plan in plans)
        most = [plan.prediction.max_usd for plan in plans]
        known = [each for each in most if each is not None]
        has_price = has_price and len(known) == len(most)
        usd += share * sum(known)
    cost = f"for at most {say_usd(usd)}" if has_price else "at a price that is not known"
    return f"up to {say_seconds(seconds)} in all, {cost}"
