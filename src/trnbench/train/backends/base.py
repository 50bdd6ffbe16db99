"""What a device must be able to do; torch's device-agnostic API does most of it.

A vendor's file holds what differs: how its device is found, claimed, compiled for, waited for and
metered.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import torch

from trnbench.protocol.orders import AdamW, Execution, Precision
from trnbench.protocol.records import FailureReason, FoundDevice
from trnbench.train.channel import KnownFailure
from trnbench.train.layers.attention import AttentionCore, fused_attention
from trnbench.train.software import Compilations, compilations_of_torch

PEAKS = (
    ("max_memory_reserved", "reserved_bytes", "device_reserved"),
    ("max_memory_allocated", "allocated_bytes", "device_allocated"),
)
"""Functions of torch's device modules, their keys in `memory_stats`, and what they count."""


class Unavailable(KnownFailure):
    """A device or a library that the task needs is not here."""

    hint: str

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message, reason="unavailable", hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one task asks of a device."""

    precision: Precision = "fp32"
    execution: Execution = "eager"
    threads: int | None = None
    index: int | None = None


class Timer(Protocol):
    """Marks two moments in the device's own stream of work."""

    def start(self) -> None:
        """Mark the first."""

    def stop(self) -> None:
        """Mark the second."""

    def seconds(self) -> float:
        """Return the time between them, once the device is idle."""
        ...


class Backend:
    """One kind of device, as the training loop uses it."""

    name: ClassVar[str]
    is_asynchronous: ClassVar[bool] = True
    """Whether the device still works after a call has returned."""
    is_proven: ClassVar[bool] = False
    """Whether the project has run it on such a device."""
    adamw: ClassVar[AdamW] = "foreach"
    token_dtype: ClassVar[torch.dtype] = torch.int64
    compiler: ClassVar[str] = "inductor"
    """As torch.compile names it."""
    finds_unused_weights: ClassVar[bool] = True
    """Whether DDP can look for weights that have no part in a step; else each must have one."""
    compiles_in_turn: ClassVar[bool] = False
    """Whether one rank compiles first, since a compilation takes much of the host, and the others
    find it in a cache."""
    peaks: ClassVar[tuple[tuple[str, str, str], ...]] = PEAKS
    ceiling_sizes: ClassVar[tuple[int, ...]] = (2048, 4096, 8192)
    """Edges of square matmuls, the largest of which fill the device."""
    is_shared: ClassVar[bool] = False
    """Whether other work may run on it at any time: then a ceiling is measured twice."""
    process_group: ClassVar[str | None] = None
    """torch.distributed's library between such devices; None: a job has one device."""
    profiler_activity: ClassVar[str | None] = None
    """As torch's profiler names this device's work; None: it sees the host's alone."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim
        self.in_turn: Callable[[str], Callable[..., Any]] | None = None
        """Makes of torch.compile's backend one that waits for this rank's turn; None: none does."""
        self.device = self._device(claim.index)

    def _device(self, index: int | None) -> torch.device:
        return torch.device(self.name) if index is None else torch.device(self.name, index)

    # --- finding and claiming ---------------------------------------------------------------------

    @classmethod
    def find(cls) -> FoundDevice | None:
        """Look for the device without claiming it; None if it is not here."""
        module = getattr(torch, cls.name, None)
        if module is None or not module.is_available():
            return None
        return cls.found(_driver_name(cls.name), module.device_count())

    @classmethod
    def found(
        cls,
        device_name: str,
        device_count: int = 1,
        *,
        problem: str | None = None,
        compiler_lacks: str | None = None,
    ) -> FoundDevice:
        """Return a device of this kind; with a problem it cannot be trained on."""
        return FoundDevice(
            backend=cls.name,
            device_name=device_name,
            device_count=device_count,
            proven=cls.is_proven,
            supported=problem is None,
            note=problem,
            compiler_lacks=compiler_lacks,
        )

    @classmethod
    def index_of(cls, first: int | None, local_rank: int) -> int | None:
        """Return the index of a rank's device among those of its machine, by that of the first."""
        return (first or 0) + local_rank

    @classmethod
    def open(cls, claim: Claim) -> Self:
        """Claim the device and fix its numeric settings: fp32 matmuls are full fp32.

        Raises:
            Unavailable: it is not here, or cannot do what the claim asks.
        """
        cls.require(claim.index)
        torch.set_float32_matmul_precision("highest")
        return cls(claim)

    @classmethod
    def require(cls, index: int | None) -> None:
        """Require that the device is here, without claiming it.

        Raises:
            Unavailable: it is not here, or there are fewer of its kind.
        """
        found = cls.find()
        if found is None or not found.supported:
            why = f": {found.note}" if found else ""
            raise Unavailable(
                f"torch has no {cls.name} device here{why}",
                hint="see `trnbench doctor`, or train on another: `--device auto`",
            )
        if index is not None and index >= found.device_count:
            raise Unavailable(
                f"device {cls.name}:{index} is not here: there are {found.device_count}, "
                "counted from 0",
                hint=f"use {cls.name}:0 to {cls.name}:{found.device_count - 1}",
            )

    @classmethod
    def group_options(cls, index: int | None) -> Mapping[str, Any]:
        """Return arguments of `init_process_group`, which is called before the device is opened."""
        return {}

    def close(self) -> None:
        """Give the device back; the process ends after it."""

    # --- a step -----------------------------------------------------------------------------------

    def attention_core(self, dtype: torch.dtype) -> AttentionCore:
        """Return the attention function of this device in this format: torch's own."""
        return fused_attention

    def prepare(self, model: Callable[..., Any]) -> Callable[..., Any]:
        """Return what the training step calls: the model itself, or compiled for the device."""
        if self.claim.execution == "eager":
            return model
        # Else what is compiled too often runs eagerly from then on, without a word.
        torch._dynamo.config.fail_on_recompile_limit_hit = True
        compiler = self.compiler if self.in_turn is None else self.in_turn(self.compiler)
        return torch.compile(model, backend=compiler, dynamic=False)

    def end_step(self) -> None:
        """Send off a step's work, where the device waits for that."""

    def synchronize(self) -> None:
        """Return only when the device is idle; the timed block rests on this."""
        self._module.synchronize()

    def timer(self) -> Timer | None:
        """Return a timer on the device, or None where there is none to trust."""
        return None

    def forbid_recompiles(self) -> None:
        """Make a new compilation an error, where torch can."""
        if self.claim.execution == "compile":
            torch.compiler.set_stance("fail_on_recompile")

    def profiler_options(self, _capture: str) -> dict[str, Any]:
        """Return arguments of torch's profiler for this device; it may write to the folder."""
        return {}

    @property
    def unseen_communication(self) -> str | None:
        """Return why torch's profiler cannot show a run's collectives; None where it may."""
        if self.is_asynchronous and self.profiler_activity is None:
            return f"torch's profiler shows no time of {self.name} devices"
        return None

    # --- what it reports --------------------------------------------------------------------------

    def device_name(self) -> str:
        """Return the driver's name of the device, or its kind."""
        return _driver_name(self.name)

    def device_id(self) -> str | None:
        """Return what no other device of the job has; None where ranks share one."""
        return str(self.device)

    def reset_peak_memory(self) -> None:
        """Forget the peak so far."""
        reset = getattr(self._module, "reset_peak_memory_stats", None)
        if reset is not None:
            reset()

    def peak_memory_bytes(self) -> tuple[int | None, str]:
        """Return the peak since the reset and what it counts, or None and why not."""
        self.synchronize()  # what is still running still allocates
        for function, key, counted in self.peaks:
            ask = getattr(self._module, function, None)
            if ask is not None:
                return int(ask()), counted
            peak = peak_of(getattr(self._module, "memory_stats", dict)(), key)
            if peak is not None:
                return peak, counted
        return None, f"torch.{self.device.type} reports no peak memory"

    def empty_cache(self) -> None:
        """Give memory that torch keeps unused back to the device."""
        empty = getattr(self._module, "empty_cache", None)
        if empty is not None:
            empty()

    def compilations(self) -> Compilations:
        """Count what has been captured and compiled so far."""
        return compilations_of_torch()

    def fallback_ops(self) -> dict[str, int] | None:
        """Return the operators that ran on the processor instead; None where not counted."""
        return None

    def transports(self) -> dict[str, int] | None:
        """Count this rank's connections to others by what moves their bytes; None: not told."""
        return None

    def settings(self) -> Mapping[str, str]:
        """Return the numeric settings in force, for the record."""
        return {
            "execution": self.claim.execution,
            "adamw": self.adamw,
            "token_dtype": str(self.token_dtype).removeprefix("torch."),
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
        }

    def versions(self) -> Mapping[str, str]:
        """Return the versions that decide speed: driver, runtime, libraries."""
        return {}

    def explain(self, error: BaseException) -> tuple[FailureReason, str] | None:
        """Return the meaning of an error that has a class in torch; else None.

        The parent knows the errors that differ by their text alone (catalog/faults.csv).
        """
        if isinstance(error, torch.OutOfMemoryError):
            return "out_of_memory", "the device has not enough memory for this model and batch"
        if isinstance(error, torch.AcceleratorError):
            return "device_failure", "the device reported an error"
        if "fail_on_recompile_limit_hit" in str(error):
            return "recompiled", "a step had to be compiled more often than torch allows"
        if "fail_on_recompile" in str(error):
            return "recompiled", "a measured step had to be compiled again"
        return None

    @property
    def _module(self) -> Any:
        return torch.get_device_module(self.device)


def peak_of(stats: Mapping[str, Any], key: str) -> int | None:
    """Return a peak from `memory_stats`, or None if it is not there.

    torch's own devices write `reserved_bytes.all.peak`, early builds of TorchNeuron
    `reserved_bytes: {peak: …}`.
    """
    nested = stats.get(key)
    peak = nested.get("peak") if isinstance(nested, Mapping) else stats.get(f"{key}.all.peak")
    return int(peak) if isinstance(peak, int | float) else None


def _driver_name(device: str) -> str:
    ask = getattr(getattr(torch, device), "get_device_name", None)
    return str(ask()) if ask is not None else device
