"""Which results and plans are of the same work, and which are each other's counterpart.

The *work* is what was trained: a different one makes figures that cannot be compared. The *setup*
is how and on what it was done, which is what a comparison is about; it tells counterparts apart
where one side did the same work in several ways.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from trnbench.analysis.checks.training import entropy_of
from trnbench.analysis.naming import say_weights, say_work
from trnbench.analysis.statistics import RULES
from trnbench.compare.launches import Launch
from trnbench.errors import ConfigError, Problem
from trnbench.protocol.orders import StepSettings
from trnbench.schema.comparison import Difference, DifferenceKind, Unmatched
from trnbench.schema.imported import ImportedModel
from trnbench.schema.plan import Plan, PlannedModel
from trnbench.schema.result import Result

Value = str | int | float | None
"""None: not known, which equals any other."""

Values = dict[str, Value]

WORK = (
    "model", "shape", "sequence_length", "global_batch_size", "precision", "optimizer", "stream",
    "lora", "document_length", "expert_capacity", "flops_convention", "statistics",
)  # fmt: skip
"""What must be equal, by the key that `--allow` overrules it with."""


def work_of(case: Plan | Result, plan: Plan | None) -> Values:
    """Return what a planned or measured case trains; of a result kept alone some is not known."""
    workload = case.workload
    if isinstance(case, Plan):
        entropy: float | None = entropy_of(case)
        convention, rules = case.flops_convention, RULES
    else:
        entropy, convention = case.learning.entropy, case.utilization.convention
        rules = case.timing.rules
    return {
        "model": _model(case.model),
        "shape": None if plan is None else _shape(plan.model),
        "sequence_length": workload.sequence_length,
        "global_batch_size": workload.global_batch_size,
        "precision": workload.precision,
        "optimizer": workload.optimizer,
        "stream": None if entropy is None else f"{entropy:.6f} nats a token",
        **_step_work(workload.step),
        "flops_convention": convention,
        "statistics": rules,
    }


def _step_work(step: StepSettings | None) -> Values:
    """Return what of a step's settings is work; nothing is known of an imported log's."""
    if step is None:
        return dict.fromkeys(("lora", "document_length", "expert_capacity"))
    lora, documents, capacity = step.lora, step.document_length, step.expert_capacity
    return {
        "lora": f"rank {lora.rank}, alpha {lora.alpha:g}, on {lora.targets}"
        if lora
        else "all weights",
        "document_length": "one a sequence" if documents is None else f"of {documents} tokens",
        "expert_capacity": "as many as come" if capacity is None else f"{capacity:g} of the mean",
    }


def _model(model: PlannedModel | ImportedModel) -> str | None:
    """Describe the model by its sizes: two names for one shape are the same work."""
    if isinstance(model, ImportedModel):
        return None
    return (
        f"{model.external_name or model.family}, {model.parameter_count:,} weights, "
        f"{model.layers} layers of width {model.hidden_size}, vocabulary {model.vocabulary_size:,}"
    )


def _shape(model: PlannedModel) -> str:
    if model.external is not None:
        return f"{model.external.kind} {model.external.target} {model.external.arguments}"
    shape = model.own_shape
    tied = "tied" if shape.tied_embeddings else "untied"
    return (
        f"{shape.heads} heads and {shape.kv_heads} key heads of {shape.head_dim}, MLP "
        f"{shape.intermediate_size}, {tied}"
    )


def setup_of(launch: Launch) -> Values:
    """Return what tells apart the ways in which one side did the same work."""
    result, plan = launch.result, launch.plan
    step = result.workload.step
    rows = step.loss_chunk_rows if step else None
    layout = result.parallel if plan is None else plan.parallel
    return {
        "micro_batch_size": result.workload.micro_batch_size,
        "gradient_accumulation_steps": result.workload.gradient_accumulation_steps,
        "backend": result.device.backend,
        "device": result.device_name,
        "accelerator": result.device.accelerator,
        "device_count": result.device_count,
        "threads": result.threads,
        "parallel": None if layout is None else layout.in_words,
        "execution": None if plan is None else plan.order.execution,
        "activation_checkpointing": step.recompute if step else None,
        "loss": f"{rows} rows at a time" if rows else "whole" if step else None,
        "adamw": (step.adamw or "the device's own") if step else None,
        "learning_rate": None if plan is None else plan.order.optimizer.learning_rate,
    }


def _reported(launch: Launch) -> Values:
    """Return what is reported where it differs, and tells no ways apart."""
    result = launch.result
    return {
        "instance": result.device.instance,
        "instances_billed": result.device.instances_billed,
        "torch": result.versions.get("torch"),
        "python": result.versions.get("python"),
        "steps_per_sample": result.timing.steps_per_sample,
    }


DEVICE_KEYS = ("backend", "device", "accelerator", "device_count", "threads")
"""Equal in all of these: the same kind of machine, whose launches vary alike."""


@dataclass(slots=True, kw_only=True)
class Group:
    """The launches of one side that did the same work in the same way, in order of time."""

    work: Values
    setup: Values
    launches: list[Launch] = field(default_factory=list)

    def add(self, launch: Launch, work: Values, setup: Values) -> None:
        """Take in a launch, and what is known of it that was not known of the others."""
        self.launches.append(launch)
        for mine, its in ((self.work, work), (self.setup, setup)):
            mine.update({key: value for key, value in its.items() if mine[key] is None})

    @property
    def name(self) -> str:
        """The work, for people."""
        result = self.launches[0].result
        return f"{result.model.name} ({say_weights(result)}) {say_work(result)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """Counterparts, and what has none."""

    pairs: tuple[tuple[Group, Group], ...]
    unmatched: tuple[Unmatched, ...]


def group_launches(launches: Iterable[Launch]) -> list[Group]:
    """Put launches that did the same work in the same way together."""
    groups: list[Group] = []
    for launch in sorted(launches, key=lambda one: one.result.started_at):
        work, setup = work_of(launch.result, launch.plan), setup_of(launch)
        for group in groups:
            if not _differing(group.work, work) and not _differing(group.setup, setup):
                group.add(launch, work, setup)
                break
        else:
            groups.append(Group(work=work, setup=setup, launches=[launch]))
    return groups


def _differing(first: Values, second: Values) -> list[str]:
    """Return the keys in which two sides are known to differ."""
    return [
        key
        for key, value in first.items()
        if value is not None and second[key] is not None and value != second[key]
    ]


def match_groups(base: Sequence[Group], cand: Sequence[Group], allowed: Sequence[str]) -> Matching:
    """Find the counterpart of each case, the pair that differs least first.

    A case from which two of the other side differ equally has none: which is meant is not known.
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
        from_base, from_cand = [i for i, _ in near], [j for _, j in near]
        clear = [(i, j) for i, j in near if from_base.count(i) == from_cand.count(j) == 1]
        pairs += clear
        taken_base, taken_cand = ({places[side] for places in clear or near} for side in (0, 1))
        distances = {
            (i, j): distance
            for (i, j), distance in distances.items()
            if i not in taken_base and j not in taken_cand
        }
    matched_base, matched_cand = {i for i, _ in pairs}, {j for _, j in pairs}
    lone_base = [group for i, group in enumerate(base) if i not in matched_base]
    lone_cand = [group for j, group in enumerate(cand) if j not in matched_cand]
    unmatched = [
        *(_unmatched("base", group, lone_cand, allowed) for group in lone_base),
        *(_unmatched("cand", group, lone_base, allowed) for group in lone_cand),
    ]
    return Matching(
        pairs=tuple((base[i], cand[j]) for i, j in sorted(pairs)), unmatched=tuple(unmatched)
    )


def _distance(base: Group, cand: Group, allowed: Sequence[str]) -> int | None:
    """Count the differences; None where the work differs in what was not allowed."""
    work = _differing(base.work, cand.work)
    if any(key not in allowed for key in work):
        return None
    return len(work) + len(_differing(base.setup, cand.setup))


def is_same_device(base: Group, cand: Group) -> bool:
    """Tell whether both sides ran on the same kind of device."""
    return not set(_differing(base.setup, cand.setup)) & set(DEVICE_KEYS)


def differences_of(base: Group, cand: Group, allowed: Sequence[str]) -> tuple[Difference, ...]:
    """Return all in which two cases differ, the work first."""
    found = [
        _difference(key, base.work, cand.work, "allowed" if key in allowed else "work")
        for key in _differing(base.work, cand.work)
    ]
    found += [
        _difference(key, base.setup, cand.setup, "setup")
        for key in _differing(base.setup, cand.setup)
    ]
    reported = [[_reported(launch) for launch in group.launches] for group in (base, cand)]
    for key in reported[0][0]:
        first, second = (
            ", ".join(dict.fromkeys(_text(one[key]) for one in side)) for side in reported
        )
        if first != second:
            found.append(Difference(key=key, base=first, cand=second, kind="setup"))
    return tuple(found)


def _difference(key: str, base: Values, cand: Values, kind: DifferenceKind) -> Difference:
    return Difference(key=key, base=_text(base[key]), cand=_text(cand[key]), kind=kind)


def _text(value: Value) -> str:
    return "not known" if value is None else f"{value:g}" if type(value) is float else str(value)


def _unmatched(
    side: Literal["base", "cand"], group: Group, others: Sequence[Group], allowed: Sequence[str]
) -> Unmatched:
    """Say why a case has no counterpart, by the case that differs least from it."""
    is_base = side == "base"
    found = []
    for other in others:
        both = (group, other) if is_base else (other, group)
        differences = tuple(d for d in differences_of(*both, allowed) if d.kind != "setup")
        found.append((other, differences, [d.key for d in differences if d.kind == "work"]))
    nearest, differences, unlike = min(found, key=lambda each: len(each[2]), default=(None, (), []))
    if nearest is None:
        reason = f"{'CAND' if is_base else 'BASE'} has no more cases"
    elif unlike:
        reason = f"the nearest case of the other side differs in {', '.join(unlike)}"
    else:
        reason = "the other side did this work in several ways, and none of them is this one's"
    return Unmatched(
        side=side,
        name=group.name,
        case_id=group.launches[0].result.case_id,
        nearest=nearest.name if nearest else None,
        differences=differences,
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
            keys = min((_unlike(plan, one, allowed) for one in others), key=len)
            if keys:
                nearest = f"the nearest differs in {', '.join(keys)}"
                problems.append(_problem(f"{label}'s case {plan.case_id}", other, nearest, keys))
    if problems:
        raise ConfigError.of(problems)


def refusal(unmatched: Sequence[Unmatched]) -> ConfigError:
    """Return why no case can be compared: each of CAND's with all in which its work differs."""
    problems = []
    for case in unmatched:
        if case.side == "cand" and case.nearest is not None:
            work = [each for each in case.differences if each.kind == "work"]
            listed = "; ".join(f"{each.key}: BASE {each.base}, CAND {each.cand}" for each in work)
            nearest = f"nearest {case.nearest}: {listed or case.reason}"
            problems.append(_problem(case.name, "BASE", nearest, [each.key for each in work]))
    return ConfigError.of(
        problems or [Problem("nothing can be compared: a side has no result", "name other results")]
    )


def _problem(case: str, other: str, nearest: str, keys: Sequence[str]) -> Problem:
    allow = " ".join(f"--allow {key}" for key in keys)
    return Problem(
        f"{case}: is not the work of any case of {other}; {nearest}",
        f"measure the same work on both sides, or overrule: {allow}"
        if keys
        else "name one of those results alone",
    )


def _unlike(first: Plan, second: Plan, allowed: Sequence[str]) -> list[str]:
    keys = _differing(*(work_of(plan, plan) for plan in (first, second)))
    models = [(plan.model.external, plan.model.shape) for plan in (first, second)]
    if not {"model", "shape"} & set(keys) and models[0] != models[1]:
        keys.insert(0, "model")  # in a setting that no value above shows
    return [key for key in keys if key not in allowed]
