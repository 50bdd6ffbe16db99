"""Whether a case's launches were made, and are of one kind."""

from collections.abc import Sequence

from trnbench.analysis.checks.base import said
from trnbench.analysis.statistics import LARGEST_LAUNCH_SD
from trnbench.schema.plan import Plan
from trnbench.schema.result import CheckOutcome, ResultLaunch, ResultSpread


def check_launches(
    plan: Plan, launches: Sequence[ResultLaunch], spread: ResultSpread | None
) -> CheckOutcome:
    """As many launches were made as were asked for, and they are of one kind."""
    name, asked, made = "launches", plan.measure.launches, len(launches)
    if spread is None and made == asked == 1:
        seen = "one launch does not tell how launches differ; measure.launches: 3 would"
        return said(name, "not_judged", seen)
    counted = sum(launch.standing in ("sound", "doubtful") for launch in launches)
    seen = f"{counted} of {max(made, asked)} launches count"
    if spread is not None:
        seen += (
            f"; they differ by {spread.between_launches:.2%}, their own steps tell "
            f"{spread.within_launches:.2%}"
        )
    if counted < max(made, asked):
        advice = "run the same command with the same `-o` folder to make those that are missing"
        return said(name, "doubtful", seen, advice)
    if spread is not None and spread.between_launches > LARGEST_LAUNCH_SD:
        advice = "look for what changes from process to process, and make more launches"
        return said(name, "doubtful", f"{seen}: more than runs of any public submission", advice)
    return said(name, "sound", seen)
