"""Which results and plans are of the same work, and which are each other's counterpart.

The *work* is what was trained: a different one makes figures that cannot be compared. The *setup*
is how and on what it was done, which is what a comparison is about; it tells counterparts apart
where one side did the same work in several ways.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from trnbench.compare.launches import Launch
from trnbench.errors import ConfigError, Problem
from trnbench.schema.comparison import Difference, DifferenceKind, Unmatched
from trnbench.schema.plan import Plan
from trnbench.units import say_count

Value = str | int | float | None
"""None: not known, which differs from nothing."""

Reader = Callable[[Launch], Value]

WORK_OF_PLAN: Mapping[str, Callable[[Plan], object]] = {
    "model": lambda plan: plan.model.external or plan.model.shape,
    "sequence_length": lambda plan: plan.workload.sequence_length,
    "global_batch_size": lambda plan: plan.workload.global_batch_size,
    "precision": lambda plan: plan.workload.precision,
    "optimizer": lambda plan: plan.workload.optimizer,
    "stream": lambda plan: (plan.order.stream.alphabet_size, plan.order.stream.noise),
    "lora": lambda plan: plan.workload.step.lora,
    "document_length": lambda plan: plan.workload.step.document_length,
    "expert_capacity": lambda plan: plan.workload.step.expert_capacity,
    "flops_convention": lambda plan: plan.flops_convention,
}
"""What must be equal, by the key of `work.WORK` that `--allow` overrules it with. Two models may
differ in what their results do not show; what they do show differs here too."""


def _of_plan(read: Callable[[Plan], Value]) -> Reader:
    return lambda launch: None if launch.plan is None else read(launch.plan)


def _model(launch: Launch) -> str:
    """Say the model by its sizes: two names for one shape are the same work."""
    model = launch.result.model
    return (
        f"{model.external_name or model.family}, {model.parameter_count:,} weights, "
        f"{model.layers} layers of width {model.hidden_size}, vocabulary {model.vocabulary_size:,}"
    )


def _shape(plan: Plan) -> Value:
    model = plan.model
    if model.external is not None:
        return f"{model.external.kind} {model.external.target} {model.external.arguments}"
    shape = model.own_shape
    tied = "tied" if shape.tied_embeddings else "untied"
    return (
        f"{shape.heads} heads and {shape.kv_heads} key heads of {shape.head_dim}, MLP "
        f"{shape.intermediate_size}, {tied}"
    )


def _lora(launch: Launch) -> str:
    lora = launch.result.workload.step.lora
    if lora is None:
        return "all weights"
    return f"rank {lora.rank}, alpha {lora.alpha:g}, on {lora.targets}"


def _documents(launch: Launch) -> str:
    length = launch.result.workload.step.document_length
    return "one a sequence" if length is None else f"of {length} tokens"


def _expert_capacity(launch: Launch) -> str:
    capacity = launch.result.workload.step.expert_capacity
    return "as many as come" if capacity is None else f"{capacity:g} of the mean"


def _loss(launch: Launch) -> str:
    rows = launch.result.workload.step.loss_chunk_rows
    return "whole" if rows is None else f"{rows} rows at a time"


def _optimizer(launch: Launch) -> Value:
    return launch.result.workload.optimizer


def _stream(launch: Launch) -> Value:
    return f"{launch.result.learning.entropy:.6f} nats a token"


def _parallel(plan: Plan) -> Value:
    sizes = plan.parallel
    return (
        f"tensor {sizes.tensor_parallel_size} x pipeline {sizes.pipeline_parallel_size} x context "
        f"{sizes.context_parallel_size} x data {sizes.data_parallel_size} ({sizes.data_parallel})"
    )


WORK: Mapping[str, Reader] = {
    "model": _model,
    "shape": _of_plan(_shape),
    "sequence_length": lambda launch: launch.result.workload.sequence_length,
    "global_batch_size": lambda launch: launch.result.workload.global_batch_size,
    "precision": lambda launch: launch.result.workload.precision,
    "optimizer": _optimizer,
    "stream": _stream,
    "lora": _lora,
    "document_length": _documents,
    "expert_capacity": _expert_capacity,
    "flops_convention": lambda launch: launch.result.utilization.convention,
    "statistics": lambda launch: launch.result.timing.rules,
}
"""What must be equal, by the key that `--allow` overrules it with."""


SETUP: Mapping[str, Reader] = {
    "micro_batch_size": lambda launch: launch.result.workload.micro_batch_size,
    "gradient_accumulation_steps": lambda launch: (
        launch.result.workload.gradient_accumulation_steps
    ),
    "backend": lambda launch: launch.result.device.backend,
    "device": lambda launch: launch.result.device_name,
    "accelerator": lambda launch: launch.result.device.accelerator,
    "device_count": lambda launch: launch.result.device_count,
    "threads": lambda launch: launch.result.threads,
    "parallel": _of_plan(_parallel),
    "execution": _of_plan(lambda plan: plan.order.execution),
    "activation_checkpointing": lambda launch: launch.result.workload.step.recompute,
    "loss": _loss,
    "adamw": lambda launch: launch.result.workload.step.adamw or "the device's own",
    "learning_rate": _of_plan(lambda plan: plan.order.optimizer.learning_rate),
}
"""What tells apart the ways in which one side did the same work."""


TOLD: Mapping[str, Reader] = {
    "instance": lambda launch: launch.result.device.instance,
    "instances_billed": lambda launch: launch.result.device.instances_billed,
    "torch": lambda launch: launch.result.versions.get("torch"),
    "python": lambda launch: launch.result.versions.get("python"),
    "steps_per_sample": lambda launch: launch.result.timing.steps_per_sample,
}
"""What is told where it differs, and tells nothing apart."""


DEVICE_KEYS = ("backend", "device", "accelerator", "device_count", "threads")
"""Equal in all of these: the same kind of machine, whose launches vary alike."""


@dataclass(slots=True, kw_only=True)
class Group:
    """The launches of one side that did the same work in the same way, in order of time."""

    work: dict[str, Value]
    setup: dict[str, Value]
    launches: list[Launch] = field(default_factory=list)

    def add(self, launch: Launch, work: dict[str, Value], setup: dict[str, Value]) -> None:
        """Take in a launch, and what is known of it that was not known of the others."""
        self.launches.append(launch)
        for mine, its in ((self.work, work), (self.setup, setup)):
            mine.update({key: value for key, value in its.items() if mine[key] is None})

    @property
    def name(self) -> str:
        """Name the work for people."""
        result = self.launches[0].result
        batch = result.workload
        return (
            f"{result.model.name} ({say_count(result.model.parameter_count).replace(' ', '')}) "
            f"{batch.global_batch_size}x{batch.sequence_length} {batch.precision}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """Counterparts, and what has none."""

    pairs: tuple[tuple[Group, Group], ...]
    unmatched: tuple[Unmatched, ...]


def group_launches(launches: Iterable[Launch]) -> list[Group]:
    """Put launches that did the same work in the same way together."""
    groups: list[Group] = []
    for launch in sorted(launches, key=lambda one: one.result.started_at):
        work = {key: read(launch) for key, read in WORK.items()}
        setup = {key: read(launch) for key, read in SETUP.items()}
        for group in groups:
            if not differing(group.work, work) and not differing(group.setup, setup):
                group.add(launch, work, setup)
                break
        else:
            groups.append(Group(work=work, setup=setup, launches=[launch]))
    return groups


def differing(first: Mapping[str, Value], second: Mapping[str, Value]) -> list[str]:
    """Return the keys in which two sides are known to differ."""
    return [
        key
        for key, value in first.items()
        if value is not None and second[key] is not None and value != second[key]
    ]


def match_groups(base: Sequence[Group], cand: Sequence[Group], allowed: Sequence[str]) -> Matching:
    """Find the counterpart of each case, the one that differs least first.

    A case that two of the other side differ from by as much has none: nobody said which is meant.
    """
    distances = {
        (i, j): distance
        for i, first in enumerate(base)
        for j, second in enumerate(cand)
        if (distance := _distance(first, second, allowed)) is not None
    }
    pairs: list[tuple[int, int]] = []
    while distances:
        least = min(distances.values())
        near = [places for places, distance in distances.items() if distance == least]
        clear = [
            (i, j)
            for i, j in near
            if sum(i == other for other, _ in near) == 1
            and sum(j == other for _, other in near) == 1
        ]
        pairs += clear
        taken_base = {i for i, _ in (clear or near)}
        taken_cand = {j for _, j in (clear or near)}
        distances = {
            (i, j): distance
            for (i, j), distance in distances.items()
            if i not in taken_base and j not in taken_cand
        }
    matched_base, matched_cand = {i for i, _ in pairs}, {j for _, j in pairs}
    lone_base = [group for i, group in enumerate(base) if i not in matched_base]
    lone_cand = [group for j, group in enumerate(cand) if j not in matched_cand]
    unmatched = [
        *(_alone("base", group, lone_cand, allowed) for group in lone_base),
        *(_alone("cand", group, lone_base, allowed) for group in lone_cand),
    ]
    return Matching(
        pairs=tuple((base[i], cand[j]) for i, j in sorted(pairs)), unmatched=tuple(unmatched)
    )


def is_same_device(base: Group, cand: Group) -> bool:
    """Tell whether both sides ran on the same kind of device."""
    return not set(differing(base.setup, cand.setup)) & set(DEVICE_KEYS)


def differences_of(base: Group, cand: Group, allowed: Sequence[str]) -> tuple[Difference, ...]:
    """Return all in which two cases differ, the work first."""
    work: list[Difference] = []
    for key in differing(base.work, cand.work):
        kind: DifferenceKind = "allowed" if key in allowed else "work"
        work.append(_difference(key, base.work[key], cand.work[key], kind))
    setup = [
        _difference(key, base.setup[key], cand.setup[key], "setup")
        for key in differing(base.setup, cand.setup)
    ]
    for key, read in TOLD.items():
        first, second = _told(base, read), _told(cand, read)
        if first != second:
            setup.append(_difference(key, first, second, "setup"))
    return (*work, *setup)


def _difference(key: str, base: Value, cand: Value, kind: DifferenceKind) -> Difference:
    return Difference(key=key, base=_said(base), cand=_said(cand), kind=kind)


def _said(value: Value) -> str:
    return "not known" if value is None else f"{value:g}" if type(value) is float else str(value)


def _told(group: Group, read: Reader) -> str:
    """Say what a side's launches have, all of it where they differ among themselves."""
    return ", ".join(dict.fromkeys(_said(read(launch)) for launch in group.launches))


def _distance(base: Group, cand: Group, allowed: Sequence[str]) -> int | None:
    """Count the differences; None where the work differs in what was not allowed."""
    work = differing(base.work, cand.work)
    if any(key not in allowed for key in work):
        return None
    return len(work) + len(differing(base.setup, cand.setup))


def _alone(side: str, group: Group, others: Sequence[Group], allowed: Sequence[str]) -> Unmatched:
    """Say why a case has no counterpart, by the case that is least unlike it."""
    is_base = side == "base"
    best: tuple[int, Group, tuple[Difference, ...]] | None = None
    for other in others:
        both = (group, other) if is_base else (other, group)
        found = tuple(d for d in differences_of(*both, allowed) if d.kind != "setup")
        count = sum(difference.kind == "work" for difference in found)
        if best is None or count < best[0]:
            best = (count, other, found)
    if best is None:
        where = "CAND" if is_base else "BASE"
        reason = f"{where} has no more cases"
    elif best[0]:
        keys = ", ".join(d.key for d in best[2] if d.kind == "work")
        reason = f"the nearest case of the other side differs in {keys}"
    else:
        reason = "the other side did this work in several ways, and none of them is this one's"
    return Unmatched(
        side="base" if is_base else "cand",
        name=group.name,
        case_id=group.launches[0].result.case_id,
        nearest=best[1].name if best else None,
        differences=best[2] if best else (),
        reason=reason,
    )


def require_counterparts(
    base: Sequence[Plan], cand: Sequence[Plan], allowed: Sequence[str]
) -> None:
    """Refuse, before anything is launched, sides of which a case could not be compared.

    Raises:
        ConfigError: names the case and every key in which the nearest one differs.
    """
    problems = []
    for mine, others, label, other in ((base, cand, "A", "B"), (cand, base, "B", "A")):
        for plan in mine:
            nearest = min((_unlike(plan, one, allowed) for one in others), key=len)
            if nearest:
                problems.append(
                    Problem(
                        f"{label}'s case {plan.case_id}: is not the work of any case of {other}; "
                        f"the nearest differs in {', '.join(nearest)}",
                        "measure the same work on both sides, or overrule: "
                        + " ".join(f"--allow {key}" for key in nearest),
                    )
                )
    if problems:
        raise ConfigError.of(problems)


def _unlike(first: Plan, second: Plan, allowed: Sequence[str]) -> list[str]:
    return [
        key
        for key, read in WORK_OF_PLAN.items()
        if key not in allowed and read(first) != read(second)
    ]
