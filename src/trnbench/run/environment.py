"""The variables that a worker is started with: decided here, before any vendor's runtime loads.

What the user set is kept, except what would change what is measured. What is decided is recorded
with the measurement. `catalog/backends.py` has each backend's variables.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from trnbench.catalog.backends import AUTOLOAD, backend_of
from trnbench.errors import ConfigError
from trnbench.protocol.orders import Microbench, WorkOrder
from trnbench.protocol.records import NeuronGeneration

Variables = dict[str, str]


def user_cache_folder() -> Path:
    """Return the folder for this user's caches, by the XDG base directory specification."""
    named = os.environ.get("XDG_CACHE_HOME")
    return Path(named) if named else Path.home() / ".cache"


def environment_of_probe(generation: NeuronGeneration | None) -> Variables:
    """Return the variables of a probe, which must not load native TorchNeuron.

    Loading it may claim cores, and a core that was claimed is busy for some seconds after.
    """
    return {AUTOLOAD: "0"} if generation == "native" else {}


def environment_of_worker(
    work: WorkOrder | Microbench, inherited: Mapping[str, str], caches: Path
) -> Variables:
    """Return the variables that one worker is given on top of the inherited ones.

    Raises:
        ConfigError: the user set a variable that the backend cannot work with.
    """
    backend = backend_of(work.backend)
    for refused in backend.refused_values:
        if refused.part in inherited.get(refused.variable, ""):
            raise ConfigError(f"{refused.variable}: {refused.reason}", hint=refused.hint)
    variables = {
        name: inherited.get(name, value.format(caches=caches / "trnbench"))
        for name, value in backend.default_variables.items()
    }
    if backend.device_variable is not None:
        variables[backend.device_variable] = _one_device(work, inherited, backend.device_variable)
    off = {name: "0" for name in backend.profiling_variables if inherited.get(name, "0") != "0"}
    return {**variables, **backend.fixed_variables, **off}


def _one_device(work: WorkOrder | Microbench, inherited: Mapping[str, str], variable: str) -> str:
    """Return the value by which the worker claims one device, or the user's value."""
    index = "0" if work.device_index is None else str(work.device_index)
    named = inherited.get(variable)
    if named is not None and work.device_index is not None and named != index:
        raise ConfigError(
            f"{variable}={named} and device {work.backend}:{index}: say different things",
            hint=f"unset {variable}, or leave the number off `device`",
        )
    return index if named is None else named
