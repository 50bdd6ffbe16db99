"""The variables that a worker is started with: decided here, before any vendor's runtime loads.

What the user set stays as it is, except what would make the figures those of something else. What
is decided is recorded with the measurement.

Sources: AWS Neuron documentation, torch/reference/env-vars (2.33), neuron-runtime/guides/
configuration-guide and tools/neuron-explorer/environment-variables (2.32); PyTorch documentation
for TORCH_DEVICE_BACKEND_AUTOLOAD; CUDA documentation for CUDA_DEVICE_ORDER; torch 2.13,
torch/_functorch/config.py, for what AOTAutograd keeps.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from trnbench.schema.errors import ConfigError
from trnbench.wire import NeuronGeneration

Variables = dict[str, str]


class Asked(Protocol):
    """What a worker is told to do, as far as its variables depend on it."""

    @property
    def backend(self) -> str:
        """Return the name of the device's kind."""
        ...

    @property
    def device_index(self) -> int | None:
        """Return which of them, if that was said."""
        ...


PROFILING = (
    "NEURON_RT_INSPECT_ENABLE", "NEURON_FRAMEWORK_DEBUG", "NKI_DEBUG_INFO", "XLA_IR_DEBUG",
    "XLA_HLO_DEBUG",
)  # fmt: skip
"""They slow a step down, or change what is compiled: never in a timed run."""

AUTOLOAD = "TORCH_DEVICE_BACKEND_AUTOLOAD"
NEFF_CACHE = "TORCH_NEURONX_NEFF_CACHE_DIR"
KEEP_TRACED = "TORCHINDUCTOR_AUTOGRAD_CACHE_ALLOW_CUSTOM_AUTOGRAD"
"""Lets AOTAutograd's cache hold graphs with functions that bring their own gradient, as ours do: a
second start then traces nothing. Both passes of such a function are in the cache's key."""

GLIBC = "GLIBC_TUNABLES"
UNFRAGMENTED = "glibc.malloc.mxfast=0:glibc.malloc.tcache_count=0"
"""Lets glibc join what is left beside an aligned block at once. Kept apart in a list of small
blocks it leaves a hole that the next tensor of the same size does not fit, and a process that
trains on a CPU can grow by a tensor a step. Source: glibc 2.36, malloc/malloc.c, `_int_memalign`;
manual, "Memory Allocation Tunables"."""


def user_cache_folder() -> Path:
    """Return the folder for this user's caches, as the XDG base directory specification has it."""
    named = os.environ.get("XDG_CACHE_HOME")
    return Path(named) if named else Path.home() / ".cache"


def environment_of_probe(generation: NeuronGeneration | None) -> Variables:
    """Return what a probe is started with: native TorchNeuron must not be loaded by it.

    Loading it may claim cores, and a core that was claimed is busy for some seconds after.
    """
    return {AUTOLOAD: "0"} if generation == "native" else {}


def environment_of_worker(order: Asked, inherited: Mapping[str, str], home: Path) -> Variables:
    """Return the variables that one worker is given on top of the inherited ones.

    Args:
        order: what it will do.
        inherited: the parent's own variables.
        home: the user's folder for caches.

    Raises:
        ConfigError: a variable that the user set cannot stand.
    """
    decide = ENVIRONMENTS.get(order.backend)
    return decide(order, inherited, home) if decide else {}


def _neuron(order: Asked, inherited: Mapping[str, str], home: Path) -> Variables:
    if "--cache_dir" in inherited.get("NEURON_CC_FLAGS", ""):
        raise ConfigError(
            "NEURON_CC_FLAGS: holds --cache_dir, which the compiler of native TorchNeuron refuses "
            "(NCC_EARG002)",
            hint=f"take it out, and name the cache by {NEFF_CACHE}",
        )
    cache = home / "trnbench" / "neff"
    variables = {
        AUTOLOAD: "1",
        # Without it, a graph whose compilation fails may run eagerly under the compiled one's name.
        "TORCH_NEURONX_DISABLE_FALLBACK_EXECUTION": "1",
        # The defaults lie under /tmp: a warm rerun could find them gone.
        NEFF_CACHE: inherited.get(NEFF_CACHE, str(cache)),
        "TORCH_NEURONX_NEFF_LOCAL_CACHE_DIR": inherited.get(
            "TORCH_NEURONX_NEFF_LOCAL_CACHE_DIR", str(cache / "local")
        ),
        # neuron-monitor shows it, so that our processes can be told from others'.
        "NEURON_PROCESS_TAG": inherited.get("NEURON_PROCESS_TAG", "trnbench"),
        **_one_core(order, inherited),
    }
    return {**variables, **_no_profiling(inherited)}


def _xla(order: Asked, inherited: Mapping[str, str], _home: Path) -> Variables:
    # Unset, torch-xla runs on the CPU and only warns.
    return {
        "PJRT_DEVICE": inherited.get("PJRT_DEVICE", "NEURON"),
        **_one_core(order, inherited),
        **_no_profiling(inherited),
    }


def _inductor(_order: Asked, inherited: Mapping[str, str], _home: Path) -> Variables:
    return {KEEP_TRACED: inherited.get(KEEP_TRACED, "1")}


def _cpu(order: Asked, inherited: Mapping[str, str], home: Path) -> Variables:
    return {GLIBC: inherited.get(GLIBC, UNFRAGMENTED), **_inductor(order, inherited, home)}


def _cuda(order: Asked, inherited: Mapping[str, str], home: Path) -> Variables:
    # By default CUDA counts the fastest first; the driver's tools count by slot.
    device_order = inherited.get("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    return {"CUDA_DEVICE_ORDER": device_order, **_inductor(order, inherited, home)}


def _one_core(order: Asked, inherited: Mapping[str, str]) -> Variables:
    """Make one logical core visible: left alone, the runtime claims every core there is."""
    core = "0" if order.device_index is None else str(order.device_index)
    named = inherited.get("NEURON_RT_VISIBLE_CORES")
    if named is not None and order.device_index is not None and named != core:
        raise ConfigError(
            f"NEURON_RT_VISIBLE_CORES={named} and device {order.backend}:{core}: say different "
            "things",
            hint="unset NEURON_RT_VISIBLE_CORES, or leave the number off `device`",
        )
    return {"NEURON_RT_VISIBLE_CORES": core if named is None else named}


def _no_profiling(inherited: Mapping[str, str]) -> Variables:
    return {name: "0" for name in PROFILING if inherited.get(name, "0") != "0"}


ENVIRONMENTS: dict[str, Callable[[Asked, Mapping[str, str], Path], Variables]] = {
    "neuron": _neuron,
    "xla": _xla,
    "cuda": _cuda,
    "cpu": _cpu,
    "xpu": _inductor,
    "mps": _inductor,
}
"""By backend; one that is not here needs nothing decided."""
