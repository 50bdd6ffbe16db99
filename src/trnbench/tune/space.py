"""The ways of carrying out a config's step: every key that is left open, and every one swept.

All ways do the same work: the global batch and the length of a sequence are the config's. What
changes the work, as a precision does, is searched only where the config's `sweep` names it.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trnbench.catalog.accelerators import accelerators
from trnbench.catalog.backends import backend_of
from trnbench.catalog.instances import instances
from trnbench.config.load import CaseConfig
from trnbench.config.model import MAX, ParallelConfig
from trnbench.errors import ConfigError, UnavailableError, did_you_mean
from trnbench.estimate.layouts import (
    CONTEXTS,
    LEAST_CONTEXT_TOKENS,
    PIPELINES,
    RECOMPUTES,
)
from trnbench.estimate.machine import machine_of
from trnbench.estimate.step import estimate_layouts
from trnbench.estimate.terms import Setup
from trnbench.plan.parallel import KEYS
from trnbench.plan.predict import pipeline_bubble
from trnbench.schema.plan import Plan

MICRO, RECOMPUTE = "workload.micro_batch_size", "workload.activation_checkpointing"
EXECUTION, PRECISION = "workload.execution", "workload.precision"
LAYOUT = tuple(f"parallel.{key}" for key in KEYS.values())

OPEN = (*LAYOUT, MICRO, RECOMPUTE, EXECUTION)
"""Searched where the config does not write them."""

SWEEPABLE = (
    *OPEN,
    PRECISION,
    "workload.loss",
    "workload.loss_chunk_tokens",
    "workload.adamw",
    "workload.threads",
    *(f"parallel.{name}" for name in ParallelConfig.model_fields if name not in KEYS.values()),
)
"""Searched where the config's `sweep` gives their values."""

MOST_WAYS = 5000

GUESSED_FLOPS_PER_SECOND = {True: 5e10, False: 1e14}
"""Of a processor and of a chip without data: they order ways, and no figure rests on them."""
GUESSED_SECONDS_OF_A_LAYER = 2e-4
"""Of one pass through one layer, beside its FLOPs."""

Make = Callable[[CaseConfig], Plan]
"""Makes a case's plan; a ConfigError where its values do not fit together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of carrying out the step."""

    settings: Mapping[str, Any]
    """Dotted keys and values: of every key that is searched."""
    case: CaseConfig
    plan: Plan
    expected_seconds: float
    """Of a step: an estimate, or a guess that only orders ways (`Space.is_guessed`)."""

    @property
    def needs_memory(self) -> float:
        """Predicted bytes of the fullest rank; 0 where they are not known."""
        return self.plan.prediction.memory_bytes or 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """The ways that there are, in the planner's order."""

    ways: Sequence[Way]
    keys: Sequence[str]
    """In which ways differ."""
    does_not_fit: int
    """Ways left out because memory, the device's or the host's, is predicted not to suffice."""
    is_guessed: bool
    """Whether the order rests on guessed rates: the chip has no data."""

    def say(self, way: Way) -> str:
        """Name a way by the keys in which ways differ."""
        said = (f"{key.rpartition('.')[2]}={way.settings[key]}" for key in self.keys)
        return ", ".join(said)


def open_sizes(cases: Sequence[CaseConfig]) -> list[CaseConfig]:
    """Return the cases without `max`, which is searched like a size that is not written."""
    return [
        _with(case, {MICRO: None}) if case.config.workload.micro_batch_size == MAX else case
        for case in cases
    ]


def check_swept(cases: Sequence[CaseConfig]) -> None:
    """Refuse a sweep over what makes another training of it, not another way of the same.

    Raises:
        ConfigError: a swept key cannot be searched, or a precision is swept without the gate.
    """
    for key in dict.fromkeys(key for case in cases for key in case.swept):
        if key not in SWEEPABLE:
            where = cases[0].places.where(("sweep", key))
            rest = f"it can search {', '.join(SWEEPABLE)}"
            raise ConfigError(
                f"{where}: sweep.{key}: tune cannot search it, for then the work would differ",
                hint="leave it out, or compare by `trnbench run`; "
                + did_you_mean(key, SWEEPABLE, rest),
            )
    if any(PRECISION in case.swept and not case.config.measure.gate for case in cases):
        raise ConfigError(
            f"{cases[0].places.where(('sweep', PRECISION))}: sweep.{PRECISION}: the parity gate "
            "decides which precision counts, and measure.gate is false",
            hint="leave measure.gate at true, or give one precision",
        )


def make_space(cases: Sequence[CaseConfig], make: Make) -> Space:
    """Return the ways of a config's cases, which differ by their sweep alone (`check_swept`).

    Raises:
        ConfigError: there is one way only, there are too many, or none fits the device.
        UnavailableError: this machine can run none.
    """
    found: dict[str, Way] = {}
    guessed, refused = 0, list[UnavailableError]()
    for case, settings in _settings(cases, make):
        try:
            plan = make(_with(case, settings))
        except ConfigError:
            continue  # sizes that do not suit the model, the batch or the backend
        except UnavailableError as error:
            refused.append(error)  # the host's memory does not suffice
            continue
        if plan.case_id in found:
            continue
        seconds = estimated_seconds(plan)
        guessed += seconds is None
        found[plan.case_id] = Way(
            settings=settings,
            case=_with(case, settings),
            plan=plan,
            expected_seconds=guessed_seconds(plan) if seconds is None else seconds,
        )
    ways = [w for w in found.values() if w.plan.prediction.memory_verdict != "does_not_fit"]
    first = cases[0]
    if not found and refused:
        raise refused[0]
    if len(found) + len(refused) < 2:
        raise ConfigError(
            f"{first.config.name}: there is nothing to search: one way of carrying out its step",
            hint=f"leave a key open ({', '.join(OPEN[-3:])}), or sweep one",
        )
    if not ways:
        raise ConfigError(
            f"{first.config.name}: none of {len(found)} ways is predicted to fit the device",
            hint="`trnbench run --dry-run` shows the prediction; choose a smaller model or batch",
        )
    ways.sort(key=_order)
    keys = [key for key in ways[0].settings if len({str(w.settings[key]) for w in ways}) > 1]
    return Space(
        ways=ways,
        keys=keys,
        does_not_fit=len(found) + len(refused) - len(ways),
        is_guessed=guessed > 0,
    )


def _order(way: Way) -> tuple[float, bool, int, float]:
    """Order ways; like ones begin eager, which needs no compiler, and with the least recomputed."""
    recompute = RECOMPUTES.index(way.plan.workload.step.recompute)
    is_compiled = way.plan.order.execution == "compile"
    return way.expected_seconds, is_compiled, recompute, way.needs_memory


def _settings(
    cases: Sequence[CaseConfig], make: Make
) -> Iterator[tuple[CaseConfig, dict[str, Any]]]:
    """Yield each case with every combination of what it leaves open."""
    count = 0
    for case in cases:
        base = make(case)
        work = {
            "workload.sequence_length": base.workload.sequence_length,
            "workload.global_batch_size": base.workload.global_batch_size,
        }
        case = _with(case, work)
        for layout in _layouts(case, base):
            data = layout[LAYOUT[-1]] * layout[LAYOUT[-2]]
            axes = [_micros(case, base, data), _recomputes(case, base), _executions(case, base)]
            for micro, recompute, execution in itertools.product(*axes):
                count += 1
                if count > MOST_WAYS:
                    raise ConfigError(
                        f"{case.config.name}: there are more than {MOST_WAYS:,} ways to search",
                        hint="write some of the keys, e.g. those under `parallel`",
                    )
                yield (
                    case,
                    {
                        **case.swept,
                        **layout,
                        MICRO: micro,
                        RECOMPUTE: recompute,
                        EXECUTION: execution,
                    },
                )


def _with(case: CaseConfig, settings: Mapping[str, Any]) -> CaseConfig:
    """Return the case with these keys of its config."""
    config = case.config
    for group in ("workload", "parallel"):
        new = {
            key.partition(".")[2]: value
            for key, value in settings.items()
            if key.startswith(f"{group}.")
        }
        old = getattr(config, group)
        config = config.model_copy(update={group: old.model_copy(update=new)})
    return replace(case, config=config)


def _layouts(case: CaseConfig, base: Plan) -> Iterator[dict[str, int]]:
    """Yield every layout of as many ranks as the base has; one where the config writes a size."""
    layout, world = base.parallel.layout, base.parallel.world_size
    own = {f"parallel.{key}": layout.size(axis) for axis, key in KEYS.items()}
    parallel = case.config.parallel
    if world == 1 or any(getattr(parallel, key) is not None for key in KEYS.values()):
        yield own
        return
    length = base.workload.sequence_length
    tensors = [2**power for power in range(7) if world % 2**power == 0]
    contexts = [n for n in CONTEXTS if n == 1 or length // n >= LEAST_CONTEXT_TOKENS]
    for tensor, pipeline, context in itertools.product(tensors, PIPELINES, contexts):
        inner = tensor * pipeline * context
        if world % inner or pipeline > (base.model.layers or 1):
            continue
        data = world // inner
        for replicate, shard in {(1, data), (data, 1)}:
            sizes = (tensor, pipeline, context, replicate, shard)
            yield dict(zip(LAYOUT, sizes, strict=True))


def _micros(case: CaseConfig, base: Plan, data: int) -> list[int]:
    """Return the sizes of a pass: 1, 2, 4, … and all that falls to a rank."""
    asked, total = case.config.workload.micro_batch_size, base.workload.global_batch_size
    if asked is not None:
        return [asked]
    most = total // data
    sizes = {most, *(2**power for power in range(most.bit_length()))}
    return sorted(size for size in sizes if size and total % (size * data) == 0)


def _recomputes(case: CaseConfig, base: Plan) -> Sequence[str]:
    asked = case.config.workload.activation_checkpointing
    if asked != "auto":
        return [asked]
    return RECOMPUTES if base.model.external is None else ("none", "full")


def _executions(case: CaseConfig, base: Plan) -> Sequence[str]:
    """Return eager and compile, where the backend leaves that open; a plan refuses the rest."""
    asked = case.config.workload.execution
    if asked != "auto":
        return [asked]
    is_open = backend_of(base.order.backend).compiling not in ("always", "by_itself")
    return ("eager", "compile") if is_open else [base.order.execution]


# --- the planner's order --------------------------------------------------------------------------


def estimated_seconds(plan: Plan) -> float | None:
    """Estimate a step's seconds by the calibrated model; None: the chip has no figures for it."""
    chip, shape = plan.device.accelerator, plan.model.shape
    if chip not in accelerators() or shape is None:
        return None
    instance = plan.device.instance
    is_rented = instance in instances() and instances()[instance].accelerator is not None
    try:
        setup = Setup(
            shape=shape,
            sequence_length=plan.workload.sequence_length,
            global_batch_size=plan.workload.global_batch_size,
            precision=plan.workload.precision,
            step=plan.workload.step,
            micro_batch_size=plan.workload.micro_batch_size,
            layout=plan.parallel.layout,
            machine=machine_of(chip, instance if is_rented else None),
            chips=plan.device.chips_used,
        )
        return next(estimate_layouts([setup])).seconds
    except ConfigError:
        return None


def guessed_seconds(plan: Plan) -> float:
    """Guess a step's seconds from its FLOPs, its passes and its pipeline's bubble."""
    work, predicted = plan.workload, plan.prediction
    flops = predicted.flops_per_token.get(plan.flops_convention) or 0.0
    flops += predicted.recomputed_flops_per_token or 0.0
    rate = GUESSED_FLOPS_PER_SECOND[backend_of(plan.order.backend).is_host]
    passes = work.gradient_accumulation_steps
    layers = (plan.model.layers or 1) / plan.parallel.pipeline_parallel_size
    seconds = flops * work.tokens_per_step / rate / plan.parallel.world_size
    seconds += passes * layers * GUESSED_SECONDS_OF_A_LAYER
    bubble = pipeline_bubble(plan.parallel.layout, passes)
    return seconds * (1 + bubble if math.isfinite(bubble) else 1)
