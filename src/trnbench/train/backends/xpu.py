"""Intel's GPUs, by what all of torch's device modules share; the project has not run it."""

from typing import ClassVar

from trnbench.train.backends.base import Backend


class XpuBackend(Backend):
    """Trains on one Intel GPU."""

    name: ClassVar[str] = "xpu"
    profiler_activity: ClassVar[str | None] = "XPU"
