"""The checks of an imported result: every trap by its name, and what is not known of the log."""

import numpy as np

from trnbench.analysis.analyze import POSSIBLE
from trnbench.imports.base import MEANINGLESS, ImportedLog, Trap
from trnbench.imports.times import LEAST_FOR_INTERVAL, Times
from trnbench.schema.imported import ImportOrder
from trnbench.schema.result import CheckOutcome
from trnbench.units import say_seconds

OTHER_RATE = 0.2
"""Relative difference from which a log's own clock contradicts its figures."""

SYNCHRONISATION = {
    "yes": Trap(
        "synchronised", "the program waits for the device before it reads the clock", "sound"
    ),
    "no": Trap(
        "synchronised",
        "the program reads the clock while the device may still work: single times are not steps'",
    ),
    "unknown": Trap("synchronised", "whether its clock waits for the device is not known"),
}


def checks_of(
    log: ImportedLog, order: ImportOrder, traps: list[Trap], times: Times
) -> tuple[CheckOutcome, ...]:
    """Return a check for each trap, the worst of each name, and for what is not known."""
    traps = [*traps, SYNCHRONISATION[log.synchronised], *_clock(log)]
    if times.method is None and times.mean.low is None:
        traps.append(Trap("repeats", "too few separate times for an interval: the figure has none"))
    if log.time_basis in ("interval", "cumulative", "run"):
        traps.append(
            Trap(
                "time_basis", f"its times are means ({log.time_basis}): a slow step cannot be seen"
            )
        )
    if not {trap.name for trap in traps} & {"checkpoint_inside"}:
        traps.append(
            Trap("checkpoint_inside", "whether a checkpoint was written meanwhile is not known")
        )
    traps += _beside(log, order)
    if not order.given.settle("model"):
        traps.append(Trap("model", "its sizes are not known", advice="name it: --model NAME"))
    if order.is_cut_off:
        traps.append(Trap("cut_off", "the log ends within a line, or is damaged at its end"))
    worst: dict[str, CheckOutcome] = {}
    rank = {"sound": 0, "doubtful": 1, "invalid": 2}
    for trap in traps:
        before = worst.get(trap.name)
        if before is None or rank[before.verdict] < rank[trap.verdict]:
            worst[trap.name] = CheckOutcome(
                name=trap.name, verdict=trap.verdict, evidence=trap.evidence, advice=trap.advice
            )
    worst["parity"] = CheckOutcome(
        name="parity",
        verdict="not_judged",
        evidence="the training of another program is not compared with fp32 on the CPU",
    )
    worst[POSSIBLE] = CheckOutcome(name=POSSIBLE, verdict="not_judged", evidence=MEANINGLESS)
    return tuple(worst.values())


OF_LOG = {"model_name": "model"}
"""Facts of files beside a log, by the name that an `ImportedLog` has for them."""


def _beside(log: ImportedLog, order: ImportOrder) -> list[Trap]:
    """Say which facts are neither the log's nor an option's, but of a file beside it."""
    given = order.given
    if given.beside is None:
        return []
    taken: dict[str, list[str]] = {}
    for name, file in given.beside.sources.items():
        is_own = getattr(given, name, None) or getattr(log, OF_LOG.get(name, name), None)
        if not is_own:
            taken.setdefault(file, []).append(name.replace("_", " "))
    said = "; ".join(f"{', '.join(names)} from {file}" for file, names in taken.items())
    return [Trap("beside", f"what the log does not say: {said}", "sound")] if said else []


def _clock(log: ImportedLog) -> list[Trap]:
    """Compare the times that the lines were written at with the times that they state."""
    samples = log.samples
    has_stamp = ~np.isnan(samples["stamp"])
    gaps = np.diff(samples["stamp"][has_stamp]) % 86_400
    if len(gaps) < LEAST_FOR_INTERVAL:
        return []
    said = (samples["seconds"] * samples["steps"])[has_stamp][1:]
    seen, stated = float(np.median(gaps)), float(np.median(said))
    if abs(seen / stated - 1) <= OTHER_RATE or (seen == 0 and stated < 1):
        return []
    evidence = (
        f"its lines are written every {say_seconds(seen)}, and state {say_seconds(stated)} for "
        "the same steps"
    )
    if float(np.ptp(gaps)) == 0:
        return [Trap("clock", f"{evidence}; all gaps are equal: it looks generated", "invalid")]
    return [Trap("clock", evidence)]
