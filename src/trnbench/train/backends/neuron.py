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
"""The folder of compiled programs (documented by an example alone); the launcher sets it."""

VISIBLE_VARIABLE = "NEURON_RT_VISIBLE_CORES"
"""The cores that this process may use (runtime configuration guide)."""


HOST_COLLECTIVES = ("TORCH_NEURONX_ENABLE_HOST_CC", "NEURON_RT_ENABLE_HOST_CC")
"""The variable and its name before 2.33."""


class NeuronBackend(Backend):
    """Trains on one logical NeuronCore."""

    name: ClassVar[str] = "neuron"
    compiler: ClassVar[str] = "neuron"
    process_group: ClassVar[str | None] = "neuron"
    compiles_in_turn: ClassVar[bool] = True
    finds_unused_weights: ClassVar[bool] = False
    """Its own tests mark DDP's `find_unused_parameters` as failing (public pre-release source)."""
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
        """Look at package metadata alone: a device that is touched stays claimed to the end.

        The parent finds out whether there is a chip, and how many cores it has.
        """
        generation = neuron_generation()
        if generation not in ("native", "stub"):
            return None
        problem = WRONG_PACKAGE if generation == "stub" else pair_problem(installed_versions())
        return cls.found(cls.name, problem=problem)

    @classmethod
    def index_of(cls, first: int | None, local_rank: int) -> int | None:
        """Return None: the runtime gives a process its core, and calls it the only one."""
        return None

    @classmethod
    def open(cls, claim: Claim) -> Self:
        """Claim the core that the launcher made visible.

        Raises:
            Unavailable: the packages are not here or do not match, or they brought no device.
        """
        # Only the core that the launcher made visible is here.
        opened = super().open(Claim(precision=claim.precision, execution=claim.execution))
        module = getattr(torch, "neuron", None)
        if module is None or not module.is_available():
            raise Unavailable(
                "torch-neuronx is installed and torch has no `neuron` device: its backend was not "
                "loaded, or the driver finds no chip",
                hint="see `trnbench doctor`, and `neuron-ls`",
            )
        # Op tracking is not documented: where it is absent, fallbacks are unknown.
        clear = undocumented("clear_op_tracking")
        if clear is not None:
            clear()
        return opened

    def prepare(self, model: Callable[..., Any]) -> Callable[..., Any]:
        """Compile a replica as one graph, which torch would split by DDP's buckets.

        Each graph takes the compiler minutes. Source: torch 2.13, torch/_dynamo/config.py,
        `optimize_ddp`.
        """
        if self.claim.execution == "compile":
            torch._dynamo.config.optimize_ddp = False
        return super().prepare(model)

    def device_name(self) -> str:
        """Return the chip's family, such as `trn2` (not documented)."""
        properties = getattr(self._module, "get_device_properties", None)
        return str(properties(0).name) if properties is not None else self.name

    def device_id(self) -> str | None:
        """Return the core: the one made visible, or by its local rank the runtime's choice."""
        core = os.environ.get(VISIBLE_VARIABLE) or os.environ.get("LOCAL_RANK")
        return None if core is None else f"NeuronCore {core}"

    def settings(self) -> Mapping[str, str]:
        """Return the numeric settings, and whether the host takes part in collectives.

        That takes away what collectives are made with, and two of their algorithms (AWS Neuron
        documentation, release-notes/components/runtime, 2.32).
        """
        named = {name: os.environ[name] for name in HOST_COLLECTIVES if name in os.environ}
        return {**super().settings(), **named}

    def compilations(self) -> Compilations:
        """Count programs by their files in the cache, those of eager operators included."""
        metrics = undocumented("get_dynamo_metrics")
        records = metrics() if metrics is not None else ()
        made = count_programs(self._cache)
        return Compilations(
            graphs=captured_graphs(),
            programs=None if made is None else made - (self._programs_before or 0),
            seconds=tuple(compile_seconds(record) for record in records),
        )

    def fallback_ops(self) -> dict[str, int] | None:
        """Return what ran on the host's processor (not documented; None where absent)."""
        ask = undocumented("get_fallback_ops")
        return counted(ask()) if ask is not None else None

    def profiler_options(self, capture: str) -> dict[str, Any]:
        """Have Neuron Explorer write its files to the folder, where the package can (2.33).

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

    @property
    def unseen_communication(self) -> str | None:
        """Return why a run is not profiled for its collectives.

        Source: AWS Neuron documentation, tools/neuron-explorer/how-to-profile-pytorch (2.33).
        """
        return (
            "the profiler that shows collectives takes some 5 GB of the device's memory, so none "
            "is on in a run; see `trnbench profile`"
        )

    def versions(self) -> Mapping[str, str]:
        """Return the versions of the Neuron packages."""
        return installed_versions(
            ("torch-neuronx", "torch-xla", "libneuronxla", "neuronx-cc", "nki")
        )


def pair_problem(versions: Mapping[str, str]) -> str | None:
    """Return what is wrong with this pair of torch and torch-neuronx, or None.

    Source: TorchNeuron release notes (2.33): 2.13.3 is built for torch 2.13.0, 2.14.3 for 2.14.0.
    """
    torch_version, neuron_version = versions.get("torch"), versions["torch-neuronx"]
    if torch_version is None:
        return f"torch-neuronx {neuron_version} is installed and torch is not"
    is_early = neuron_version.startswith("0.")
    if is_early or torch_version.split(".")[:2] == neuron_version.split(".")[:2]:
        return None  # an early version does not say its torch
    return (
        f"torch-neuronx {neuron_version} was not built for torch {torch_version}: both must begin "
        "with the same two numbers; make the environment anew, and let nothing upgrade torch"
    )


def count_programs(cache: Path | None) -> int | None:
    """Count the compiled programs in a cache folder; None if it is not known."""
    return None if cache is None else sum(1 for _ in cache.rglob("*.neff"))


def undocumented(name: str) -> Callable[..., Any] | None:
    """Return a function of TorchNeuron that is in `torch.neuron` or in the package, if any.

    Source: public source of a pre-release (docs/trainium.md): the package has op tracking,
    `torch.neuron` has not; both have the compiler's metrics.
    """
    for place in (getattr(torch, "neuron", None), sys.modules.get("torch_neuronx")):
        found: Callable[..., Any] | None = getattr(place, name, None)
        if found is not None:
            return found
    return None


def compile_seconds(record: Any) -> float:
    """Return how long one graph's compilation took, by TorchNeuron's record; 0 if it is unknown."""
    key = "torch_neuronx_compile_us"
    found = record.get(key) if isinstance(record, Mapping) else getattr(record, key, None)
    return float(found) / 1e6 if isinstance(found, int | float) else 0.0


def counted(operators: Any) -> dict[str, int]:
    """Return fallback operators with their counts; 0 for unknown, where there are names alone."""
    if isinstance(operators, Mapping):
        return {str(name): int(count) for name, count in operators.items()}
    return dict.fromkeys(map(str, operators), 0)
