"""How long a case may take: by its minutes or by its dollars, whichever ends first."""

from dataclasses import dataclass

from trnbench.schema.measurement import StopReason
from trnbench.schema.plan import MeasureConfig, Plan
from trnbench.schema.units import SECONDS_PER_HOUR, say_seconds, say_usd
from trnbench.wire import Activity, Block

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
    is_part: bool = False
    """Whether other launches of the case share the limit."""

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
            is_part=launches_left > 1 or earlier_seconds > 0,
        )

    def is_spent(self, elapsed_seconds: float, next_block_seconds: float) -> bool:
        """Tell whether one more block would pass the limit."""
        return elapsed_seconds + next_block_seconds >= self.seconds

    def is_overrun(self, elapsed_seconds: float, block_seconds: float) -> bool:
        """Tell whether the worker has had its time and its grace."""
        return elapsed_seconds >= self.seconds + max(GRACE_SECONDS, 3 * block_seconds)

    def say_overrun(self, measure: MeasureConfig, phase: str, elapsed_seconds: float) -> str:
        """Say which limit was passed, where, and by how much."""
        limit = measure.max_usd if self.reason == "max_usd" else measure.max_minutes
        what = f"measure.{self.reason}: {limit:g}"
        if self.is_part:
            what = f"this launch's part of {what}, {say_seconds(self.seconds)},"
        took = f"{elapsed_seconds / 60:.3g} minutes"
        if self.reason == "max_usd" and self.usd_per_second is not None:
            took += f", {say_usd(self.usd_per_second * elapsed_seconds)}"
        return f"{what} was passed in phase {phase!r} ({took}), and the worker was ended"

    def usd_spent(self, elapsed_seconds: float) -> float | None:
        """Return the dollars for the case so far, or None without a price."""
        if self.usd_per_second is None:
            return None
        return (self.earlier_seconds + elapsed_seconds) * self.usd_per_second


class NextBlock:
    """How long the next block may take: as long as the last in which nothing was compiled.

    A first step can wait minutes for a compiler, and those after it take none of that. The first
    block of all says nothing either, where a device does not tell what it compiles.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        """0 as long as nothing is known."""
        self._counted: tuple[int | None, ...] | None = None
        self._is_ordinary = False

    def hear(self, activity: Activity) -> None:
        """Take note of what was compiled in the block that is told next."""
        counted = (activity.graphs, activity.compilations, activity.cache_hits)
        if counted != self._counted:
            self._is_ordinary = False
        self._counted = counted

    def take(self, block: Block) -> None:
        """Take in a block."""
        if self._is_ordinary:
            self.seconds = block.seconds + block.prepare_seconds
        self._is_ordinary = True
