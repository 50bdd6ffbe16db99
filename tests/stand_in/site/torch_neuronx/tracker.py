"""What was asked of the device: every op by its name, and those that count as run on the CPU."""

import collections


class OpTracker:
    """Counts ops."""

    def __init__(self, fallback: tuple[str, ...], shape: str) -> None:
        self._may_fall_back = frozenset(fallback)
        self._shape = shape
        self.calls: collections.Counter[str] = collections.Counter()
        self.fallbacks: collections.Counter[str] = collections.Counter()

    def count(self, name: str) -> None:
        """Count one call of an op, as `aten::mm`."""
        self.calls[name] += 1
        if name in self._may_fall_back:
            self.fallbacks[name] += 1

    def get_fallback_ops(self) -> list[str] | dict[str, int]:
        """Return the ops that ran on the CPU, in the shape that was set."""
        return dict(self.fallbacks) if self._shape == "dict" else sorted(self.fallbacks)

    def get_executed_ops(self) -> list[str]:
        """Return the ops that ran on the device, once for each call."""
        return sorted((self.calls - self.fallbacks).elements())

    def clear_op_tracking(self) -> None:
        """Forget all calls."""
        self.calls.clear()
        self.fallbacks.clear()
