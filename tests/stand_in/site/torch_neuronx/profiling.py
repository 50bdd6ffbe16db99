"""Profiling as TorchNeuron's guide shows it: a config for torch's profiler, and what exports.

The real one has its runtime write a trace of the device; this one writes a file of that name with
nothing in it, and takes torch's own trace, which torch gives away once.
"""

import enum
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch


class ProfileMode(enum.Enum):
    """What is collected."""

    DEVICE = "device"
    RUNTIME = "runtime"
    CPU_UTIL = "cpu_util"
    HOST_MEMORY = "host_memory"


class NeuronConfig(torch._C._profiler._ExperimentalConfig):
    """What `torch.profiler.profile` is given as its `experimental_config`."""

    def __init__(self, modes: Sequence[ProfileMode], profile_output_dir: str) -> None:
        """Take the modes and the folder."""
        super().__init__()
        self.modes = list(modes)
        self.folder = Path(profile_output_dir)


class NeuronProfiler:
    """Its `export_trace` is what the profiler calls when a trace is ready."""

    def __init__(self, config: NeuronConfig) -> None:
        """Take the config."""
        self._config = config

    def export_trace(self, profiler: Any) -> None:
        """Write what was collected."""
        self._config.folder.mkdir(parents=True, exist_ok=True)
        if ProfileMode.RUNTIME in self._config.modes:
            (self._config.folder / "ntrace.pb").write_bytes(b"")
        profiler.export_chrome_trace(str(self._config.folder / "pytorch_trace.json"))
