"""Trainium by torch-xla: torch-neuronx up to 2.9, torch's device `xla`, for trn1 and older SDKs.

AWS supports it for training up to SDK 2.29 (announce-no-support-pytorch-xla-training).
Its calls run for real on torch-xla's CPU client in the project's tests; they have not been run on a
Trainium for this project yet, and each result made by it says so.

Names: torch_xla 2.7 to 2.9; `torch_xla.sync` waits for nothing but the hand-over, so that a clock
read after it alone reads the host's time for a step, a third of the real one.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import torch

from trnbench.protocol.records import FoundDevice
from trnbench.train.backends.base import Backend, Claim, Unavailable, version_of
from trnbench.train.software import Compilations, installed_versions, neuron_generation

FALLBACK_PREFIX = "aten::"
"""A counter of torch-xla that begins so is an operator that ran on the host's processor."""

READS_A_NUMBER = "aten::_local_scalar_dense"
"""Counted so as well, and none: the host asked for a number that lay on the device, as it does
for losses after the clock was read (torch-xla documentation, learn/troubleshoot)."""


class XlaBackend(Backend):
    """Trains on one NeuronCore through lazily traced graphs."""

    name: ClassVar[str] = "xla"
    token_dtype: ClassVar[torch.dtype] = torch.int32
    client: ClassVar[str] = "NEURON"
    """The only client that is measured: torch-xla falls back to the CPU with a mere warning."""

    @classmethod
    def find(cls) -> FoundDevice | None:
        """Tell from package metadata alone: torch-xla claims its device when it is imported."""
        if neuron_generation() != "xla":
            return None
        versions = installed_versions()
        missing = [name for name in ("torch", "torch-xla", "libneuronxla") if name not in versions]
        return FoundDevice(
            backend=cls.name,
            device_name=cls.name,
            device_count=1,
            proven=cls.is_proven,
            supported=not missing,
            note=f"{' and '.join(missing)} must be installed beside torch-neuronx"
            if missing
            else None,
        )

    @classmethod
    def open(cls, claim: Claim) -> Self:
        """Claim the core that the launcher made visible, and make sure that it is one.

        Raises:
            Unavailable: torch-xla is not here, or its client is not the one that is to be timed.
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

    def prepare(self, model: torch.nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the model as it is: what is traced lazily is compiled by itself."""
        return model

    def end_step(self) -> None:
        """Cut the graph: what was traced since the last cut is compiled and sent off as one."""
        self._xla.sync()

    def synchronize(self) -> None:
        """Send off what is traced, and wait until the device has done it."""
        self._xla.sync(wait=True)
        wait_device_ops()

    def device_name(self) -> str:
        """Return the kind of the client's device: `NEURON`, or `CPU` where that is what runs."""
        return str(self._xla.runtime.device_type())

    def empty_cache(self) -> None:
        """Do nothing: torch-xla keeps no memory that could be given back."""

    def reset_peak_memory(self) -> None:
        """Do nothing: there is no peak to forget."""

    def peak_memory_bytes(self) -> tuple[int | None, str]:
        """Return nothing: the Neuron client of torch-xla keeps no memory statistics."""
        return None, "torch-xla tells no peak of memory; see the readings of neuron-monitor"

    def compilations(self) -> Compilations:
        """Read torch-xla's own metrics; the seconds it keeps are of the latest compilations.

        Its counter `CachedCompile` counts every step whose graph this process has met before, and
        nothing of a cache on disk: hits are not told.
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
        """Do nothing: torch-xla cannot forbid one; its counter tells of it."""

    def fallback_ops(self) -> dict[str, int] | None:
        """Return the operators that torch-xla handed to the host's processor."""
        names = [name for name in self._metrics.counter_names() if name.startswith(FALLBACK_PREFIX)]
        counts = {name: int(self._metrics.counter_value(name) or 0) for name in names}
        return {name: count for name, count in counts.items() if name != READS_A_NUMBER}

    def versions(self) -> Mapping[str, str]:
        """Return the versions of the packages that make the device."""
        names = ("torch-xla", "torch-neuronx", "libneuronxla", "neuronx-cc")
        return {name: version for name in names if (version := version_of(name))}


def import_torch_xla() -> tuple[Any, Any]:
    """Import torch-xla and its metrics.

    Raises:
        Unavailable: it is not here, or does not fit this torch.
    """
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


def wait_device_ops() -> None:
    """Wait until the device has nothing left to do."""
    import torch_xla.core.xla_model as xm

    xm.wait_device_ops()
