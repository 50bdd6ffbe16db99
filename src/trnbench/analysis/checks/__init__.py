"""Every check of a measurement: what it saw, the verdict, and what to do about it.

One file a subject, one line here. Rules and thresholds: docs/metrics.md, "Checks".
"""

from collections.abc import Callable

from trnbench.analysis.case import Case
from trnbench.analysis.checks import device, measurement, parity, training
from trnbench.schema.result import CheckOutcome, Validity

CHECKS: tuple[Callable[[Case], CheckOutcome], ...] = (
    measurement.check_finished,
    measurement.check_plan,
    training.check_parameters,
    training.check_finite,
    training.check_initial_loss,
    parity.check_parity,
    parity.check_weight_update,
    training.check_learning,
    training.check_leakage,
    measurement.check_steady,
    measurement.check_tail,
    measurement.check_levels,
    measurement.check_precision,
    device.check_foreign_load,
    measurement.check_accounted_time,
    measurement.check_clocks,
    measurement.check_resolution,
    device.check_ranks,
    device.check_placement,
    device.check_chip,
    device.check_fallback,
    device.check_recompiled,
    device.check_throttling,
    device.check_proven,
)
"""In the order of reports; `check_possible` checks the derived metrics, `check_launches` a case's
launches."""


def find_validity(has_figure: bool, checks: tuple[CheckOutcome, ...]) -> Validity:
    """Return the worst verdict: invalid voids the figure; without a throughput the case failed."""
    verdicts = {check.verdict for check in checks}
    if "invalid" in verdicts:
        return "invalid"
    if not has_figure:
        return "failed"
    return "doubtful" if "doubtful" in verdicts else "sound"
