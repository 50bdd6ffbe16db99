"""The device's memory as its allocator counts it, told in both shapes that were seen."""

import threading
from collections.abc import Callable
from typing import Any

ALLOCATION_FAILURE = 'nrt_tensor_allocate status=4 message="Allocation Failure"'

_SEGMENT_BYTES = 2 * 1024**2


class Gauge:
    """One counted quantity of bytes."""

    def __init__(self) -> None:
        self.current = self.peak = self.allocated = self.freed = 0

    def add(self, amount: int) -> None:
        """Count bytes in, or out where negative."""
        self.current += amount
        self.peak = max(self.peak, self.current)
        self.allocated += max(amount, 0)
        self.freed += max(-amount, 0)

    def figures(self) -> dict[str, int]:
        """Return the four figures of memory_stats."""
        return {
            "current": self.current,
            "peak": self.peak,
            "allocated": self.allocated,
            "freed": self.freed,
        }


class DeviceMemory:
    """Counts what tensors hold and the segments that were reserved for them."""

    def __init__(self, shape: str, limit: int) -> None:
        self._lock = threading.Lock()
        self._shape = shape
        self._limit = limit
        self._failures = 0
        self._allocated = Gauge()
        self._reserved = Gauge()

    def require_room(self, size: int) -> None:
        """Refuse what does not fit, before the host is asked for it.

        Raises:
            RuntimeError: there is no room, in the runtime's words.
        """
        if self._allocated.current + size > self._limit:
            self._failures += 1
            raise RuntimeError(ALLOCATION_FAILURE)

    def take(self, size: int) -> None:
        """Allocate.

        Raises:
            RuntimeError: there is no room, in the runtime's words.
        """
        with self._lock:
            self.require_room(size)
            self._allocated.add(size)
            missing = self._allocated.current - self._reserved.current
            if missing > 0:
                self._reserved.add(-(-missing // _SEGMENT_BYTES) * _SEGMENT_BYTES)

    def give_back(self, size: int) -> None:
        """Free; the segments stay reserved."""
        with self._lock:
            self._allocated.add(-size)

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Return the functions of `torch.neuron` about memory; none where that is the setting."""
        if self._shape == "none":
            return {}
        allocated, reserved = self._allocated, self._reserved
        return {
            "memory_allocated": lambda device=None: allocated.current,
            "max_memory_allocated": lambda device=None: allocated.peak,
            "memory_reserved": lambda device=None: reserved.current,
            "max_memory_reserved": lambda device=None: reserved.peak,
            "reset_peak_memory_stats": self._reset_peak,
            "reset_accumulated_memory_stats": self._reset_accumulated,
            "memory_stats": self._stats,
            "memory_summary": self._summary,
            "empty_cache": self._empty_cache,
        }

    def _groups(self) -> dict[str, Gauge]:
        return {
            "allocated_bytes": self._allocated,
            "reserved_bytes": self._reserved,
            "active_bytes": self._allocated,
        }

    def _stats(self, device: object = None) -> dict[str, Any]:
        stats: dict[str, Any] = {"num_alloc_retries": 0, "num_ooms": self._failures}
        for group, gauge in self._groups().items():
            if self._shape == "nested":
                stats[group] = gauge.figures()
            else:
                stats |= {f"{group}.all.{key}": value for key, value in gauge.figures().items()}
        return stats

    def _summary(self, device: object = None, abbreviated: bool = False) -> str:
        lines = [
            f"{group:<16} current {gauge.current:>14,} peak {gauge.peak:>14,}"
            for group, gauge in self._groups().items()
        ]
        return "\n".join(lines)

    def _reset_peak(self, device: object = None) -> None:
        for gauge in (self._allocated, self._reserved):
            gauge.peak = gauge.current

    def _reset_accumulated(self, device: object = None) -> None:
        for gauge in (self._allocated, self._reserved):
            gauge.allocated = gauge.freed = 0

    def _empty_cache(self) -> None:
        with self._lock:
            needed = -(-self._allocated.current // _SEGMENT_BYTES) * _SEGMENT_BYTES
            self._reserved.add(needed - self._reserved.current)
