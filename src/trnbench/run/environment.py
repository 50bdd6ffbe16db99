"""The variables that a worker is started with: decided here, before any vendor's runtime loads.

What the user set stays as it is, except what would make the figures those of something else. What
is decided is recorded with the measurement. `catalog/backends.py` has each backend's variables.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from trnbench.catalog.backends import AUTOLOAD, backend_of
from trnbench.errors import ConfigError
from trnbench.protocol.records import NeuronGeneration

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
    backend = backend_of(order.backend)
    for refused in backend.refused_values:
        if refused.part in inherited.get(refused.variable, ""):
            raise ConfigError(f"{refused.variable}: {refused.reason}", hint=refused.hint)
    variables = {
        name: inherited.get(name, value.format(caches=home / "trnbench"))
        for name, value in backend.default_variables.items()
    }
    if backend.device_variable is not None:
        variables[backend.device_variable] = _one_device(order, inherited, backend.device_variable)
    off = {name: "0" for name in backend.profiling_variables if inherited.get(name, "0") != "0"}
    return {**variables, **backend.fixed_variables, **off}


def _one_device(order: Asked, inherited: Mapping[str, str], variable: str) -> str:
    """Return what the variable says so that the worker claims one device, or the user's value."""
    index = "0" if order.device_index is None else str(order.device_index)
    named = inherited.get(variable)
    if named is not None and order.device_index is not None and named != index:
        raise ConfigError(
            f"{variable}={named} and device {order.backend}:{index}: say different things",
            hint=f"unset {variable}, or leave the number off `device`",
        )
    return index if named is None else named
