"""How much of one device's speed each device of a job keeps: a figure of two results.

Source: docs/metrics.md, "Several ranks".
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trnbench.schema.result import NORMAL_975, MetricValue, Result

NAME = "scaling_efficiency"

NO_BASE = "no usable result of the same work on one such device is among these"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Tokens per second per device of a job over those of one device."""

    efficiency: MetricValue
    base: Result
    kind: Literal["weak", "strong"]
    """weak: a step has as many tokens a device; strong: as many in all."""


def find_scaling(result: Result, results: Sequence[Result]) -> Scaling | None:
    """Return a job's efficiency by the newest fitting one-device result; None without one.

    One with as many tokens a device is preferred: its device does the same work in a step.
    """
    own = result.metrics["tokens_per_second_per_device"]
    if _ranks(result) < 2 or own.value is None:
        return None
    alike = [each for each in results if _is_base(each, result)]
    found = [(kind, each) for each in alike if (kind := _kind(each, result)) is not None]
    if not found:
        return None
    kind, base = max(found, key=lambda each: (each[0] == "weak", each[1].started_at))
    efficiency = _ratio(own, base.metrics["tokens_per_second_per_device"])
    return Scaling(efficiency=efficiency, base=base, kind=kind)


def with_scaling(results: Sequence[Result]) -> list[Result]:
    """Return results of which each job of several ranks has its scaling efficiency, or why not."""
    return [_with_scaling(each, results) if _ranks(each) > 1 else each for each in results]


def _with_scaling(result: Result, results: Sequence[Result]) -> Result:
    scaling = find_scaling(result, results)
    figure = MetricValue(value=None, reason=NO_BASE) if scaling is None else scaling.efficiency
    return result.model_copy(update={"metrics": {**result.metrics, NAME: figure}})


def _ranks(result: Result) -> int:
    return 1 if result.parallel is None else result.parallel.world_size


def _is_base(base: Result, result: Result) -> bool:
    has_figure = base.metrics["tokens_per_second_per_device"].value is not None
    is_usable = base.standing in ("sound", "doubtful") and has_figure
    return is_usable and _ranks(base) == 1 and _work_of(base) == _work_of(result)


def _work_of(result: Result) -> tuple[Any, ...]:
    """Return what one device of both must have alike, but for the tokens of a step."""
    model, work, compilation = result.model, result.workload, result.compilation
    return (
        model.family, model.parameter_count, model.layers, model.hidden_size, model.external,
        work.sequence_length, work.precision, work.optimizer, work.step,
        result.device.backend, result.device.accelerator, result.device_name, result.threads,
        compilation and compilation.execution,
    )  # fmt: skip


def _kind(base: Result, result: Result) -> Literal["weak", "strong"] | None:
    one, all_of_them = base.workload.tokens_per_step, result.workload.tokens_per_step
    if one * _ranks(result) == all_of_them:
        return "weak"
    return "strong" if one == all_of_them else None


def _ratio(figure: MetricValue, base: MetricValue) -> MetricValue:
    """Divide two independent figures; their errors add up in quadrature, on the logarithm."""
    assert figure.value is not None
    assert base.value is not None
    value, errors = figure.value / base.value, (figure.relative_error, base.relative_error)
    if errors[0] is None or errors[1] is None:
        return MetricValue(value=value)
    factor = math.exp(NORMAL_975 * math.hypot(errors[0], errors[1]))
    return MetricValue(value=value, low=value / factor, high=value * factor)
