"""Trainium by torch-xla: torch-neuronx up to 2.9, torch's device `xla`, for trn1 and older SDKs.

AWS supports it for training up to SDK 2.29 (announce-no-support-pytorch-xla-training). The
project's tests run it on torch-xla's CPU client; this project has not run it on a Trainium yet, and
each result made by it says so.

Names are those of torch_xla 2.7 to 2.9. `torch_xla.sync` alone returns when the work is handed
over, after a third of a step's time.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import torch

from trnbench.protocol.records import FoundDevice
from trnbench.train.backends.base import Backend, Claim, Unavailable
from trnbench.train.software import Compilations, installed_versions, neuron_generation

FALLBACK_PREFIX = "aten::"
"""How torch-xla's counters of operators that ran on the host's processor begin."""

READS_A_NUMBER = "aten::_local_scalar_dense"
"""Counted so too, and no fallback: the host reads a number, such as a loss, from the device.

Source: torch-xla documentation, learn/troubleshoot."""


class XlaBackend(Backend):
    """Trains on one NeuronCore through lazily traced graphs."""

    name: ClassVar[str] = "xla"
    token_dtype: ClassVar[torch.dtype] = torch.int32
    client: ClassVar[str] = "NEURON"
    """The client to measure: torch-xla falls back to the CPU with only a warning."""

    @classmethod
    def find(cls) -> FoundDevice | None:
        """Look at package metadata alone: torch-xla claims its device when it is imported."""
        if neuron_generation() != "xla":
            return None
        versions = installed_versions()
        missing = [name for name in ("torch", "torch-xla", "libneuronxla") if name not in versions]
        problem = f"{' and '.join(missing)} must be installed beside torch-neuronx"
        return cls.found(cls.name, problem=problem if missing else None)

    @classmethod
    def open(cls, claim: Claim) -> Self:
        """Claim the core that the launcher made visible.

        Raises:
            Unavailable: torch-xla is not here, or runs on another client.
        """
        if claim.execution == "compile":
            raise Unavailable(
                "torch.compile is not supported on torch-xla: its graphs are compiled anyway",
                hint="use workload.execution: eager, or auto",
            )
        opened = super().open(Claim(precision=claim.precision, execution=claim.execution))
        kind = opened.device_name()
        if kind != cls.client:
            raise Unavailable(
                f"torch-xla runs on its {kind} client and not on {cls.client}: its times would be "
                f"those of another device",
                hint="set PJRT_DEVICE=NEURON, and see `trnbench doctor` for the driver and "
                "libneuronxla",
            )
        return opened

    def __init__(self, claim: Claim) -> None:
        self._xla, self._metrics = import_torch_xla()
        super().__init__(claim)

    def _device(self, index: int | None) -> torch.device:
        found: torch.device = self._xla.device(index)
        return found

    def prepare(self, model: Callable[..., Any]) -> Callable[..., Any]:
        """Return the model itself: torch-xla compiles what it traces."""
        return model

    def end_step(self) -> None:
        """End the graph: it is compiled and sent off."""
        self._xla.sync()

    def synchronize(self) -> None:
        """Send off what is traced, and wait until the device has done it."""
        import torch_xla.core.xla_model as xm

        self._xla.sync(wait=True)
        xm.wait_device_ops()

    def device_name(self) -> str:
        """Return the kind of the client's device, such as `NEURON` or `CPU`."""
        return str(self._xla.runtime.device_type())

    def empty_cache(self) -> None:
        """Do nothing: torch-xla keeps no unused memory."""

    def reset_peak_memory(self) -> None:
        """Do nothing: there is no peak."""

    def peak_memory_bytes(self) -> tuple[int | None, str]:
        """Return None: the Neuron client of torch-xla has no memory statistics."""
        return None, "torch-xla reports no peak memory; see the telemetry of neuron-monitor"

    def compilations(self) -> Compilations:
        """Read torch-xla's metrics; it keeps the seconds of the latest compilations.

        Hits are unknown: its `CachedCompile` counts every step whose graph is known already.
        """
        # (samples, total, [(time, nanoseconds), ...]), or None before the first.
        compiled = self._metrics.metric_data("CompileTime")
        count, samples = (0, ()) if compiled is None else (compiled[0], compiled[2])
        return Compilations(
            graphs=count,
            programs=count,
            seconds=tuple(nanoseconds / 1e9 for _, nanoseconds in samples),
        )

    def forbid_recompiles(self) -> None:
        """Do nothing: torch-xla cannot forbid one, but counts it."""

    def fallback_ops(self) -> dict[str, int] | None:
        """Return the operators that torch-xla handed to the host's processor."""
        names = [name for name in self._metrics.counter_names() if name.startswith(FALLBACK_PREFIX)]
        counts = {name: int(self._metrics.counter_value(name) or 0) for name in names}
        return {name: count for name, count in counts.items() if name != READS_A_NUMBER}

    def versions(self) -> Mapping[str, str]:
        """Return the versions of torch-xla and of the Neuron packages."""
        return installed_versions(("torch-neuronx", "torch-xla", "libneuronxla", "neuronx-cc"))


def import_torch_xla() -> tuple[Any, Any]:
    """Import torch-xla and its metrics, or raise `Unavailable`."""
    try:
        import torch_xla
        import torch_xla.debug.metrics as metrics
        import torch_xla.runtime
    except (ImportError, OSError) as error:
        raise Unavailable(
            f"torch-xla cannot be imported: {str(error).splitlines()[0]}",
            hint="torch-xla and torch must be of the same version: 2.9 of both is the last pair",
        ) from error
    return torch_xla, metrics
