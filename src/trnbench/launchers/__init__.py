"""Engines with many machines: one file each, which writes jobs for it and follows them."""

import importlib
from collections.abc import Mapping

from trnbench.errors import ConfigError, did_you_mean
from trnbench.launchers.base import Engine

ENGINES: Mapping[str, str] = {
    "slurm": "trnbench.launchers.slurm:Slurm",
    "kubernetes": "trnbench.launchers.kubernetes:Kubernetes",
    "skypilot": "trnbench.launchers.skypilot:SkyPilot",
}
"""Each engine by its name: the class that writes its jobs, imported when it is asked for."""


def engine_of(name: str) -> Engine:
    """Return an engine.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in ENGINES:
        raise ConfigError(
            f"{name}: is no engine that trnbench writes jobs for",
            hint=did_you_mean(name, ENGINES, f"engines: {', '.join(ENGINES)}"),
        )
    module, _, kind = ENGINES[name].partition(":")
    made: Engine = getattr(importlib.import_module(module), kind)()
    return made
