"""Every check of a measurement: what it saw, the verdict, and what to do about it.

One file a subject, one line here. Rules and thresholds: docs/metrics.md, "Checks".
"""

from collections.abc import Callable, Mapping

from trnbench.analysis.case import Case, Finding
from trnbench.analysis.checks import device, links, measurement, parity, ranks, training
from trnbench.schema.result import CheckOutcome, Validity

CHECKS: Mapping[str, Callable[[Case], Finding]] = {
    "finished": measurement.check_finished,
    "plan": measurement.check_plan,
    "parameters": training.check_parameters,
    "finite": training.check_finite,
    "initial_loss": training.check_initial_loss,
    "parity": parity.check_parity,
    "movement": parity.check_weight_update,
    "learning": training.check_learning,
    "leakage": training.check_leakage,
    "steady": measurement.check_steady,
    "tail": measurement.check_tail,
    "levels": measurement.check_levels,
    "precision": measurement.check_precision,
    "foreign_load": device.check_foreign_load,
    "accounted_time": measurement.check_accounted_time,
    "clocks": measurement.check_clocks,
    "resolution": measurement.check_resolution,
    "ranks": ranks.check_ranks,
    "seats": ranks.check_seats,
    "agreement": ranks.check_agreement,
    "equal_devices": ranks.check_equal_devices,
    "nodes": ranks.check_nodes,
    "peer_access": ranks.check_peer_access,
    "transports": links.check_transports,
    "links": links.check_links,
    "all_reduce": links.check_all_reduce,
    "idle_devices": ranks.check_idle_devices,
    "placement": device.check_placement,
    "chip": device.check_chip,
    "fallback": device.check_fallback,
    "recompiled": device.check_recompiled,
    "throttling": device.check_throttling,
    "proven": device.check_proven,
}
"""By name, in the order of reports; `check_possible` checks the derived metrics, `check_launches` a
case's launches."""


def find_validity(has_figure: bool, checks: tuple[CheckOutcome, ...]) -> Validity:
    """Return the worst verdict: invalid voids the figure; without a throughput the case failed."""
    verdicts = {check.verdict for check in checks}
    if "invalid" in verdicts:
        return "invalid"
    if not has_figure:
        return "failed"
    return "doubtful" if "doubtful" in verdicts else "sound"
