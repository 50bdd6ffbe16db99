"""Trainium by native TorchNeuron: torch-neuronx 2.10 and later, torch's device `neuron`.

This project has not run this file on a Trainium yet, and each result made by it says so.
Names are those of the AWS Neuron documentation, release 2.33 (torch/reference, guides, TorchNeuron
release notes) and, where marked `not documented`, of public source, and may be absent. Both kinds
are listed in docs/trainium.md.
"""

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import torch

from trnbench.protocol.records import FoundDevice
from trnbench.train.backends.base import PEAKS, Backend, Claim, Unavailable
from trnbench.train.software import (
    Compilations,
    captured_graphs,
    installed_versions,
    neuron_generation,
)

WRONG_PACKAGE = (
    "the torch-neuronx that is installed is the empty package of the public index; install the "
    "real one from the Neuron package repository: torch-neuronx==2.14.* for torch 2.14, 2.13.* "
    "for torch 2.13"
)


CACHE_VARIABLE = "TORCH_NEURONX_NEFF_CACHE_DIR"
"""Where compiled programs are kept (not documented but for an example); the launcher sets it."""


class NeuronBackend(Backend):
    """Trains on one logical NeuronCore."""

    name: ClassVar[str] = "neuron"
    compiler: ClassVar[str] = "neuron"
    token_dtype: ClassVar[torch.dtype] = torch.int32
    """64-bit ones are narrowed by the compiler, or cost 20 to 30 % (compiler reference, 2.32)."""
    peaks: ClassVar[tuple[tuple[str, str, str], ...]] = PEAKS[::-1]
    profiler_activity: ClassVar[str | None] = "PrivateUse1"

    def __init__(self, claim: Claim) -> None:
        super().__init__(claim)
        named = os.environ.get(CACHE_VARIABLE)
        self._cache = Path(named) if named else None
        self._programs_before = count_programs(self._cache)

    @classmethod
    def find(cls) -> FoundDevice | None:
        """Tell from package metadata alone: a device that is touched stays claimed to the end.

        How many cores there are, and whether there is a chip at all, is the parent's to look up.
        """
        generation = neuron_generation()
        if generation not in ("native", "stub"):
            return None
        problem = WRONG_PACKAGE if generation == "stub" else pair_problem(installed_versions())
        return FoundDevice(
            backend=cls.name,
            device_name=cls.name,
            device_count=1,
            proven=cls.is_proven,
            supported=problem is None,
            note=problem,
        )

    @classmethod
    def open(cls, claim: Claim) -> Self:
        """Claim the core that the launcher made visible.

        Raises:
            Unavailable: the packages are not here or do not match, or they brought no device.
        """
        # The launcher made one core visible: to this process it is the only one.
        opened = super().open(Claim(precision=claim.precision, execution=claim.execution))
        module = getattr(torch, "neuron", None)
        if module is None or not module.is_available():
            raise Unavailable(
                "torch-neuronx is installed and torch has no `neuron` device: its backend was not "
                "loaded, or the driver finds no chip",
                hint="see `trnbench doctor`, and `neuron-ls`; TORCH_DEVICE_BACKEND_AUTOLOAD=0 "
                "must not be set",
            )
        # Op tracking is not documented: where it is absent, fallbacks are unknown.
        clear = undocumented("clear_op_tracking")
        if clear is not None:
            clear()
        return opened

    def device_name(self) -> str:
        """Return the chip's family: `trn2`, as the runtime calls it (not documented)."""
        properties = getattr(self._module, "get_device_properties", None)
        return str(properties(0).name) if properties is not None else self.name

    def compilations(self) -> Compilations:
        """Count programs by their files in the cache, and graphs by torch's own counter.

        Eager operators are compiled to such files too, so that nothing compiled goes unseen.
        """
        metrics = undocumented("get_dynamo_metrics")
        records = metrics() if metrics is not None else ()
        made = count_programs(self._cache)
        return Compilations(
            graphs=captured_graphs(),
            programs=None if made is None else made - (self._programs_before or 0),
            seconds=tuple(compile_seconds(record) for record in records),
        )

    def fallback_ops(self) -> dict[str, int] | None:
        """Return what ran on the host's processor instead (not documented; None where absent)."""
        ask = undocumented("get_fallback_ops")
        return counted(ask()) if ask is not None else None

    def profiler_options(self, capture: str) -> dict[str, Any]:
        """Have Neuron Explorer's files written to a folder, where the package can (2.33).

        The mode RUNTIME reserves no memory of the device; DEVICE takes some 5 GB of a trn2's.
        Source: AWS Neuron documentation, tools/neuron-explorer/how-to-profile-pytorch.
        """
        try:
            profiling = importlib.import_module("torch_neuronx.profiling")
        except ImportError:
            return {}
        if not hasattr(profiling, "NeuronConfig"):
            return {}
        config = profiling.NeuronConfig(
            modes=[profiling.ProfileMode.RUNTIME], profile_output_dir=capture
        )
        return {
            "experimental_config": config,
            "on_trace_ready": profiling.NeuronProfiler(config).export_trace,
        }

    def versions(self) -> Mapping[str, str]:
        """Return the versions of the Neuron packages that this interpreter has."""
        ours = ("torch-neuronx", "torch-xla", "libneuronxla", "neuronx-cc", "nki")
        return {name: v for name, v in installed_versions().items() if name in ours}


def pair_problem(versions: Mapping[str, str]) -> str | None:
    """Say what is wrong with this pair of torch and torch-neuronx, or None if they belong together.

    Source: TorchNeuron release notes (2.33): 2.13.3 is built for torch 2.13.0, 2.14.3 for 2.14.0.
    """
    torch_version, neuron_version = versions.get("torch"), versions["torch-neuronx"]
    if torch_version is None:
        return f"torch-neuronx {neuron_version} is installed and torch is not"
    if torch_version.split(".")[:2] == neuron_version.split(".")[:2]:
        return None
    return (
        f"torch-neuronx {neuron_version} was not built for torch {torch_version}: both must begin "
        "with the same two numbers; make the environment anew, and let nothing upgrade torch"
    )


def count_programs(cache: Path | None) -> int | None:
    """Count the compiled programs in a cache folder; None if the folder is not known."""
    return None if cache is None else sum(1 for _ in cache.rglob("*.neff"))


def undocumented(name: str) -> Callable[..., Any] | None:
    """Return a function of TorchNeuron's that is in `torch.neuron` or in the package, if any.

    Source: public source of a pre-release (docs/trainium.md): the package has op tracking,
    `torch.neuron` has not; both have the compiler's metrics.
    """
    for place in (getattr(torch, "neuron", None), sys.modules.get("torch_neuronx")):
        found: Callable[..., Any] | None = getattr(place, name, None)
        if found is not None:
            return found
    return None


def compile_seconds(record: Any) -> float:
    """Return how long one graph's compilation took; TorchNeuron's record is an object or a mapping.

    Whatever else it may be, a record that is not understood costs a figure, never the case.
    """
    key = "torch_neuronx_compile_us"
    told = record.get(key) if isinstance(record, Mapping) else getattr(record, key, None)
    return float(told) / 1e6 if isinstance(told, int | float) else 0.0


def counted(told: Any) -> dict[str, int]:
    """Return fallback operators with their counts, from a mapping or from a list of names.

    A name that stands in a list once may have run any number of times: its count is 0, unknown.
    """
    if isinstance(told, Mapping):
        return {str(name): int(count) for name, count in told.items()}
    return dict.fromkeys(map(str, told), 0)
