"""A stand-in for a machine with a Trainium chip: its torch device and its command-line tools.

`site/` goes on PYTHONPATH and `bin/` on PATH of a subprocess. In a process that has it, torch's
PrivateUse1 is `neuron` for good: never put it into the process that runs the tests.
"""

import os
from pathlib import Path
from typing import Literal, TypedDict, Unpack

FOLDER = Path(__file__).parent


class Settings(TypedDict, total=False):
    """Each is the variable STAND_IN_NAME; site/torch_neuronx/__init__.py says what it does."""

    op_seconds: float
    flops_per_second: float
    eager_compile_seconds: float
    compile_seconds: float
    memory: Literal["nested", "flat", "none"]
    memory_limit_bytes: int
    cores: str
    fallback: str
    fallback_shape: Literal["list", "dict"]
    fault: str
    keep_parameters: bool
    collectives: Literal["neuron", "gloo"]
    link_bytes_per_second: float
    slow_rank: str
    neuron_ls: Literal["idle", "busy", "none", "rubbish", "hangs", "trn1", "whole"]
    neuron_monitor: Literal["good", "rubbish", "hangs", "dies", "torn"]
    neuron_monitor_seconds: float
    nccom_test: Literal["good", "fails", "rubbish"]


def stand_in_environment(**settings: Unpack[Settings]) -> dict[str, str]:
    """Return the variables that give a subprocess the device and the tools.

    They are to be laid over the environment of this process, whose PYTHONPATH and PATH they keep.
    """
    variables = {
        f"STAND_IN_{name.upper()}": str(int(value) if isinstance(value, bool) else value)
        for name, value in settings.items()
    }
    return {
        "PYTHONPATH": _before(FOLDER / "site", "PYTHONPATH"),
        "PATH": _before(FOLDER / "bin", "PATH"),
        **variables,
    }


def _before(folder: Path, variable: str) -> str:
    present = os.environ.get(variable)
    return os.pathsep.join([str(folder), present] if present else [str(folder)])
