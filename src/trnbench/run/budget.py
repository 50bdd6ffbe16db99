"""How long a case may take: by its minutes or by its dollars, whichever ends first."""

from dataclasses import dataclass

from trnbench.schema.plan import Plan
from trnbench.schema.records import StopReason
from trnbench.schema.units import SECONDS_PER_HOUR

GRACE_SECONDS = 30.0
"""A worker that is told to finish needs a moment; after this much more it is ended."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The seconds that a launch may take, which limit that is, and what a second costs."""

    seconds: float
    reason: StopReason
    usd_per_second: float | None
    earlier_seconds: float = 0.0
    """What earlier launches of the case took."""

    @classmethod
    def of(cls, plan: Plan, *, earlier_seconds: float = 0.0, launches_left: int = 1) -> "Budget":
        """Work out the limit that comes first, and a launch's share of what is left of it.

        Args:
            plan: the case, with its limits.
            earlier_seconds: what earlier launches of the case took.
            launches_left: launches that are still to be made, this one included.
        """
        seconds, reason = plan.measure.max_minutes * 60, "max_minutes"
        usd_per_second = None
        if plan.price is not None:
            rate = float(plan.price.usd_per_hour) * plan.device.instances_billed
            usd_per_second = rate / SECONDS_PER_HOUR
            if plan.measure.max_usd is not None and plan.measure.max_usd / usd_per_second < seconds:
                seconds, reason = plan.measure.max_usd / usd_per_second, "max_usd"
        return cls(
            max(seconds - earlier_seconds, 0.0) / launches_left,
            "max_usd" if reason == "max_usd" else "max_minutes",
            usd_per_second,
            earlier_seconds,
        )

    def is_spent(self, elapsed_seconds: float, next_block_seconds: float) -> bool:
        """Tell whether one more block like the last would pass the limit."""
        return elapsed_seconds + next_block_seconds >= self.seconds

    def is_overrun(self, elapsed_seconds: float, last_block_seconds: float) -> bool:
        """Tell whether the worker has had its time and its grace."""
        return elapsed_seconds >= self.seconds + max(GRACE_SECONDS, 3 * last_block_seconds)

    def usd_spent(self, elapsed_seconds: float) -> float | None:
        """Return the dollars for the case so far, or None without a price."""
        if self.usd_per_second is None:
            return None
        return (self.earlier_seconds + elapsed_seconds) * self.usd_per_second
