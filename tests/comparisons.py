"""Launches with scripted speeds for comparisons, in memory and on disk."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.builders import (
    make_blocks,
    make_measurement,
    make_plan,
    make_result,
    steady_times,
)
from trnbench.analysis.analyze import analyze
from trnbench.compare.launches import Launch, make_launch
from trnbench.run.store import CaseFolder, measurement_bytes
from trnbench.schema.measurement import Measurement
from trnbench.schema.plan import Plan

BASE = (1.000, 1.004, 0.997, 1.002, 0.999, 1.003)
"""Step times of six launches of one side, as parts of `STEP_SECONDS`."""
CAND = (1.021, 1.026, 1.018, 1.024, 1.019, 1.027)
"""Of the other; the answers are known: docs/metrics.md, "Comparison"."""


def measured(plan: Plan, factor: float | None, **changes: Any) -> Measurement:
    """Return the records of a launch whose steps take `factor` times as long as usual.

    None: it ended before its first step.
    """
    if factor is None:
        return make_measurement(plan, blocks=[], **changes)
    times = [factor * seconds for seconds in steady_times()]
    return make_measurement(plan, blocks=make_blocks(times), **changes)


def launch(
    factor: float = 1.0,
    *,
    number: int = 0,
    day: int = 1,
    overrides: Mapping[str, str] | None = None,
    has_records: bool = True,
    **changes: Any,
) -> Launch:
    """Return one launch; `changes` are fields of its result."""
    plan = make_plan(dict(overrides or {}))
    measurement = measured(plan, factor)
    started_at = f"2026-08-{day:02d}T12:{number:02d}:00+00:00"
    result = make_result(plan, measurement, **{"started_at": started_at, **changes})
    digest = json.dumps([factor, number, day, sorted((overrides or {}).items()), len(changes)])
    return make_launch(
        result.model_copy(update={"trnbench_version": "0.1.0"}),
        plan,
        measurement if has_records else None,
        digest=digest,
    )


def side(factors: Sequence[float], *, start: int = 0, **details: Any) -> list[Launch]:
    """Return a side of launches, a minute apart."""
    return [
        launch(factor, number=start + number, **details) for number, factor in enumerate(factors)
    ]


def base_side(**details: Any) -> list[Launch]:
    """Return the six launches of BASE."""
    return side(BASE, **details)


def cand_side(**details: Any) -> list[Launch]:
    """Return the six launches of CAND, 2.2 % slower."""
    return side(CAND, start=20, **details)


def with_seed(launches: Sequence[Launch]) -> list[Launch]:
    """Return launches as if each had been made with a seed of its own."""
    return [
        dataclasses.replace(
            one, plan=one.plan and one.plan.model_copy(
                update={"order": dataclasses.replace(one.plan.order, seed=number)}
            ),
        )
        for number, one in enumerate(launches)
    ]  # fmt: skip


def write_launch(
    path: Path,
    factor: float | None = 1.0,
    *,
    number: int = 0,
    day: int = 1,
    overrides: Mapping[str, str] | None = None,
    **changes: Any,
) -> Path:
    """Write a run of one case into a folder, as `trnbench run` leaves it; return the case."""
    plan = make_plan(dict(overrides or {}))
    case = CaseFolder(path / plan.case_id)
    plan_sha256 = case.begin(plan)
    measurement = measured(plan, factor, **changes)
    header = dataclasses.replace(
        measurement.header,
        plan_sha256=plan_sha256,
        started_at=f"2026-08-{day:02d}T12:{number:02d}:00+00:00",
    )
    records = case.open_measurement()
    for record in (
        header,
        measurement.environment,
        measurement.built,
        *measurement.ceilings,
        measurement.parity,
        measurement.movement,
        *measurement.blocks,
        *measurement.activities,
        *measurement.decisions,
        *measurement.watches,
        *measurement.phases,
        measurement.memory,
        measurement.outcome,
    ):
        if record is not None:
            records.append(record)
    records.close()
    measurement.header = header
    case.write_result(
        analyze(
            plan,
            measurement,
            plan_sha256=plan_sha256,
            run_id=path.name,
            measurement_bytes=measurement_bytes(case.path),
        )
    )
    return case.path


def write_side(path: Path, factors: Sequence[float], *, start: int = 0, **details: Any) -> Path:
    """Write a folder of runs, one launch each."""
    for number, factor in enumerate(factors):
        write_launch(path / f"{number + 1}", factor, number=start + number, **details)
    return path


def edit(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file by hand; dots lead inside: `timing__rules` is `timing.rules`."""
    document = json.loads(path.read_text())
    for keys, value in changes.items():
        place = document
        *outer, last = keys.split("__")
        for key in outer:
            place = place[key]
        place[last] = value
    path.write_text(json.dumps(document))
