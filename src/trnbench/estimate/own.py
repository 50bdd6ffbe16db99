"""A calibration by the user's own measurements: results of `trnbench run`, ceilings of `peak`."""

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from trnbench.analysis.microbench import ceilings_of, lines_of
from trnbench.catalog.accelerators import accelerators
from trnbench.catalog.instances import instances
from trnbench.errors import DataError
from trnbench.estimate.calibration import Calibrated, Calibration, calibration
from trnbench.estimate.machine import machine_of
from trnbench.estimate.terms import Setup, terms_of
from trnbench.protocol.orders import Precision
from trnbench.protocol.parallel import SINGLE
from trnbench.schema.imported import ImportedWorkload
from trnbench.schema.microbench import PeakDocument
from trnbench.schema.result import Result

PRECISIONS: dict[str, Precision] = {"bf16": "bf16", "fp32": "fp32", "fp8": "fp8"}


@dataclass(frozen=True, slots=True)
class OwnStep:
    """A measured case as a setup, and the seconds that its step took."""

    name: str
    setup: Setup
    seconds: float


def calibrated_by(
    results: Sequence[Result],
    microbench: Sequence[PeakDocument] = (),
    base: Calibration | None = None,
) -> Calibration:
    """Return a calibration in which the user's own measurements stand before published ones.

    Cases replace what is published of their chip and kind of step; their range is what they show,
    and at least half as wide as that of another's cases. Ceilings serve chips without any step.

    Raises:
        DataError: a result or a ceiling says nothing of a chip of the catalog.
    """
    known = base or calibration()
    for document in microbench:
        known = _with_ceilings(document, known)
    by_kind: dict[tuple[str, str], list[OwnStep]] = defaultdict(list)
    for each in map(own_step, results):
        by_kind[each.setup.machine.chip.name, each.setup.kind].append(each)
    rows, own = dict(known.rows), dict(known.own)
    for key, steps in by_kind.items():
        rows[key] = _calibrated(key, steps, known)
        cases = "case" if len(steps) == 1 else "cases"
        names = ", ".join(each.name for each in steps)
        own[key] = f"{len(steps)} {cases} that you measured ({names})"
    return replace(known, rows=rows, own=own)


def own_step(result: Result) -> OwnStep:
    """Return a stored case as a setup, with its mean step time.

    Raises:
        DataError: it has no step time that counts, no shape, or no chip of the catalog.
    """
    seconds = result.metrics.get("step_time_mean_seconds")
    shape, chip = result.model.shape, result.device.accelerator
    workload = result.workload
    why = None
    if seconds is None or seconds.value is None or result.standing in ("invalid", "failed"):
        why = "it has no step time that counts"
    elif shape is None:
        why = f"the sizes of {result.model.name} are not known"
    elif isinstance(workload, ImportedWorkload):
        why = "it is imported: its log does not say how its step was carried out"
    elif chip not in accelerators():
        why = f"its device ({chip or result.device.backend}) is no chip of the catalog"
    if (
        why is not None
        or isinstance(workload, ImportedWorkload)
        or seconds is None
        or seconds.value is None
        or shape is None
    ):
        raise DataError(
            f"case {result.case_id} cannot calibrate an estimate: {why}",
            hint="name a sound result of an accelerator that `trnbench models` can describe",
        )
    instance = result.device.instance
    is_rented = instance in instances() and instances()[instance].accelerator is not None
    return OwnStep(
        result.case_id,
        Setup(
            shape=shape,
            sequence_length=workload.sequence_length,
            global_batch_size=workload.global_batch_size,
            precision=workload.precision,
            step=workload.step,
            micro_batch_size=workload.micro_batch_size,
            layout=result.parallel.layout if result.parallel else SINGLE,
            machine=machine_of(chip, instance if is_rented else None),
            chips=result.device.chips_used,
        ),
        seconds.value,
    )


def _calibrated(key: tuple[str, str], steps: Sequence[OwnStep], known: Calibration) -> Calibrated:
    logs = [math.log(each.seconds / terms_of(each.setup, known).seconds) for each in steps]
    middle = statistics.fmean(logs)
    published = known.of(*key) or known.of("any", key[1]) or known.of("any", "dense_bf16")
    half = math.log(published.high / published.low) / 4 if published else 0.0
    return Calibrated(
        chip=key[0],
        kind=key[1],
        slowness=math.exp(middle),
        low=math.exp(min(min(logs), middle - half)),
        high=math.exp(max(max(logs), middle + half)),
        rows=len(steps),
        chips=max(each.setup.chips for each in steps),
        sources="|".join(each.name for each in steps),
    )


def _with_ceilings(document: PeakDocument, known: Calibration) -> Calibration:
    """Return the calibration with what `trnbench peak` reached of a chip's datasheet."""
    chip = document.accelerator
    if chip is None or chip not in accelerators():
        raise DataError(
            f"ceilings of {chip or 'a chip in no datasheet'} cannot calibrate an estimate",
            hint="measure them on an accelerator of the catalog",
        )
    if any(name == chip for name, _ in known.rows):
        return known  # its own steps say more, and were fitted at the usual share
    matmul, memory = dict(known.matmul), dict(known.memory)
    rows, own = dict(known.rows), dict(known.own)
    for ceiling in ceilings_of(document):
        share = ceiling.together_of_datasheet
        if share is None and ceiling.best is not None:
            share = ceiling.best.of_datasheet
        precision = PRECISIONS.get(ceiling.precision)
        if share is not None and precision is not None:
            matmul[chip, precision] = share
    shares = [
        line.of_datasheet
        for line in lines_of(document)
        if line.reading.group == "memory" and line.of_datasheet is not None
    ]
    if shares:
        memory[chip] = max(shares)
    if not any(name == chip for name, _ in matmul):
        return replace(known, memory=memory)
    for (name, kind), row in known.rows.items():
        if name == "any":
            rows[chip, kind] = replace(row, chip=chip)
            own[chip, kind] = (
                f"no step of {chip}; its ceilings, which you measured, and what steps of all chips "
                "took over such ceilings"
            )
    return replace(known, rows=rows, own=own, matmul=matmul, memory=memory)
