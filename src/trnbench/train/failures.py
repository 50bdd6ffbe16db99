"""Whatever ends the child, told in a record: in our words where somebody knows them.

Standard library only: it must also tell that torch is missing.
"""

import traceback
from typing import Any

from trnbench.wire import FailureReason, WireError

TORCH_HINT = (
    "install torch for that interpreter (`pip install 'trnbench[train]'` where there is none), or "
    "name one that has it with `--python PATH`"
)


class DeviceError(Exception):
    """A vendor's error with its meaning; the vendor's own text is its cause."""

    def __init__(self, reason: FailureReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class VendorErrors:
    """Inside it, an error that the backend can explain leaves in our words."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        explained = self._backend.explain(error) if isinstance(error, Exception) else None
        if explained is not None:
            reason, meaning = explained
            raise DeviceError(reason, f"{meaning}: {_first_line(error)}") from error


class TorchMissingError(Exception):
    """torch is not here; nothing under train/ that needs it can be imported to say so."""


def describe_failure(error: BaseException) -> dict[str, Any]:
    """Describe whatever ended the work."""
    hint: str | None = None
    reason: FailureReason = "bug"
    if isinstance(error, TorchMissingError):
        reason, hint = "unavailable", TORCH_HINT
    elif isinstance(error, DeviceError):
        reason = error.reason
    elif isinstance(error, MemoryError):
        reason = "out_of_memory"
    elif isinstance(error, WireError):
        reason, hint = "wrong_order", "use the same trnbench for the parent and the child"
    elif type(error).__name__ == "Unavailable":
        reason, hint = "unavailable", getattr(error, "hint", None)
    elif type(error).__name__ == "BadModel":
        reason, hint = "bad_model", getattr(error, "hint", None)
    # Both ends of a vendor's report tell something: the code stands first, the cause last.
    detail = "".join(traceback.format_exception(error))
    return {
        "reason": reason,
        "message": f"{_first_line(error)}" or type(error).__name__,
        "hint": hint,
        "detail": detail if len(detail) <= 8000 else f"{detail[:4000]}\n…\n{detail[-4000:]}",
    }


def _first_line(error: BaseException | None) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:500] if lines else type(error).__name__
