"""Doubts as data: each check looks at one thing, says what it saw, and what to do about it.

A check that finds the training or the measurement wrong makes the result invalid; one that finds
it less certain than it looks makes it doubtful. One file a subject, one line here; rules and
thresholds: docs/metrics.md, "Checks".
"""

from collections.abc import Callable

from trnbench.analysis.case import Case
from trnbench.analysis.checks.device import (
    check_chip,
    check_fallback,
    check_foreign_load,
    check_placement,
    check_proven,
    check_ranks,
    check_recompiled,
    check_throttling,
)
from trnbench.analysis.checks.measurement import (
    check_accounted_time,
    check_clocks,
    check_finished,
    check_levels,
    check_plan,
    check_precision,
    check_resolution,
    check_steady,
    check_tail,
)
from trnbench.analysis.checks.parity import check_parity, check_weight_update
from trnbench.analysis.checks.training import (
    check_finite,
    check_initial_loss,
    check_leakage,
    check_learning,
    check_parameters,
)
from trnbench.schema.result import CheckOutcome, Validity

CHECKS: tuple[Callable[[Case], CheckOutcome], ...] = (
    check_finished,
    check_plan,
    check_parameters,
    check_finite,
    check_initial_loss,
    check_parity,
    check_weight_update,
    check_learning,
    check_leakage,
    check_steady,
    check_tail,
    check_levels,
    check_precision,
    check_foreign_load,
    check_accounted_time,
    check_clocks,
    check_resolution,
    check_ranks,
    check_placement,
    check_chip,
    check_fallback,
    check_recompiled,
    check_throttling,
    check_proven,
)
"""What is looked at in a measurement; `check_possible` looks at what was derived from it,
`check_launches` at what its launches came to."""


def find_validity(has_figure: bool, checks: tuple[CheckOutcome, ...]) -> Validity:
    """Sum the checks up: the worst verdict decides; without a throughput the case failed."""
    verdicts = {check.verdict for check in checks}
    if "invalid" in verdicts:
        return "invalid"
    if not has_figure:
        return "failed"
    return "doubtful" if "doubtful" in verdicts else "sound"
