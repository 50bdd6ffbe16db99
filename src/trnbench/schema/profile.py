"""Profile: where the time of one case's steps went, operator by operator and class by class.

Format versions, and what changed in each:

1   first version
2   the device is the worker's `environment`
"""

from typing import Literal

from trnbench.protocol.parallel import Communication
from trnbench.protocol.records import Environment
from trnbench.schema.base import Strict
from trnbench.schema.plan import Plan


class ProfiledOperator(Strict):
    """One operator's own time in all profiled steps, without the operators that it calls."""

    name: str
    within: Literal["optimizer"] | None
    """Whether it was called by the optimizer's step, or by an operation on all weights at once."""
    operator_class: str
    calls: int
    host_seconds: float
    device_seconds: float | None
    """Null where the profiler recorded nothing of the device."""
    share: float
    """Of the window, by the time of `attributed_to`."""


class ProfiledClass(Strict):
    """All operators of one class."""

    name: str
    calls: int
    seconds: float
    share: float
    """Of the window."""


class Profile(Strict):
    """One case under torch's profiler.

    The classes' seconds and `unaccounted_seconds` come to `window_seconds`.
    """

    schema_version: Literal[2] = 2
    trnbench_version: str
    made_at: str
    """UTC, ISO 8601."""
    plan: Plan
    environment: Environment
    """What the steps ran on, as the worker found it."""
    warmup_steps: int
    steps: int
    """Of each timing."""
    plain_seconds: list[float]
    """Of all steps without the profiler: once before it, and once after."""
    profiled_seconds: float
    """Of as many under the profiler, by the clock."""
    window_seconds: float
    """Of the same, by the profiler's own clock: what shares are parts of."""
    attributed_to: Literal["host", "device"]
    """Whose time the classes divide: the device's wherever the profiler recorded it."""
    unaccounted_seconds: float
    """Of the window, in which no operator worked."""
    classes: list[ProfiledClass]
    """The longest first."""
    operators: list[ProfiledOperator]
    """The longest first."""
    captured_files: int
    """Files that a vendor's own profiler wrote beside the trace."""
    communication: Communication | None = None
    """Of rank 0, whose profile this is; null for a job of one rank, and in older files."""

    @property
    def profiler_cost(self) -> float:
        """What the profiler added to a step, as a part of the mean step without it."""
        return self.profiled_seconds * len(self.plain_seconds) / sum(self.plain_seconds) - 1.0

    @property
    def is_cost_in_noise(self) -> bool:
        """Whether the steps without the profiler differ by more than it seems to cost.

        It is so too where steps seem faster under the profiler, which cannot be.
        """
        spread = max(self.plain_seconds) - min(self.plain_seconds)
        return self.profiler_cost * sum(self.plain_seconds) <= spread * len(self.plain_seconds)

    @property
    def unaccounted_share(self) -> float:
        """The part of the window in which no operator worked."""
        return self.unaccounted_seconds / self.window_seconds
