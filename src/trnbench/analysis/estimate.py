"""How long a step may take, before anything is run.

Source: docs/metrics.md, "Step time"; the efficiency is a planning value and has been fitted to
nothing, so what follows from it is an estimate and is called one everywhere.
"""

PLANNED_EFFICIENCY = 0.55
"""Part of the datasheet's peak that matrix products are planned to reach."""


def estimate_step_seconds(
    *, flops_per_token: float, tokens_per_step: int, chips: int, peak_flops_per_second: float
) -> float:
    """Divide the step's operations by what the chips are planned to do."""
    return flops_per_token * tokens_per_step / (chips * peak_flops_per_second * PLANNED_EFFICIENCY)
