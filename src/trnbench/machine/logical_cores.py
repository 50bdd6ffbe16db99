"""LNC: how many physical NeuronCores make a logical one, which is a device to torch.

The runtime and the compiler must agree on it. Source: AWS Neuron documentation 2.32, about-neuron/
arch/neuron-features/logical-neuroncore-config (variable and file), compiler/neuronx-cc's options.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trnbench.machine.look import ROOT, read_word

VARIABLES = ("NEURON_LOGICAL_NC_CONFIG", "NEURON_RT_VIRTUAL_CORE_SIZE")
"""The documented name, and the older one."""
FILE = "opt/aws/neuron/logical_nc_config"
COMPILER_FLAGS = "NEURON_CC_FLAGS"

_FLAG = re.compile(r"(?:^|\s)(?:--logical-nc-config|--?lnc)[=\s]\s*([0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicalCores:
    """What the environment and the machine's file say of LNC; None where they say nothing."""

    by_variable: int | None = None
    by_file: int | None = None
    by_compiler_flag: int | None = None


def look_at_logical_cores(environment: Mapping[str, str], root: Path = ROOT) -> LogicalCores:
    """Read what decides LNC, without touching a chip."""
    named = (environment.get(name, "") for name in VARIABLES)
    flag = _FLAG.search(environment.get(COMPILER_FLAGS, ""))
    return LogicalCores(
        by_variable=next((int(text) for text in named if text in ("1", "2")), None),
        by_file=_whole(read_word(root / FILE)),
        by_compiler_flag=int(flag[1]) if flag else None,
    )


def _whole(text: str | None) -> int | None:
    """Read a number, alone or as `NAME=number`."""
    last = (text or "").rpartition("=")[2].strip()
    return int(last) if last in ("1", "2") else None
