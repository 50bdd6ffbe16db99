"""Whether two plans are of the same work, told before either is measured."""

from collections.abc import Callable, Mapping, Sequence

from trnbench.schema.errors import ConfigError, Problem
from trnbench.schema.plan import Plan

WORK_OF_PLAN: Mapping[str, Callable[[Plan], object]] = {
    "model": lambda plan: plan.model.guest or plan.model.shape,
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
