"""The functions of `torch.neuron`.

Their names are those of the native package's early public source and of the memory profiling guide
of the AWS Neuron documentation 2.33. Op tracking is not among them: the package itself has it.
"""

import dataclasses
import types
from typing import Any

import torch

from torch_neuronx import compiler, events
from torch_neuronx.cores import LOGICAL_CORES
from torch_neuronx.device import DEVICE, NAME
from torch_neuronx.settings import CORE_BYTES


@dataclasses.dataclass(frozen=True)
class Properties:
    """What `get_device_properties` returns."""

    name: str = "trn2 (stand-in)"
    total_memory: int = CORE_BYTES


def synchronize(device: object = None) -> None:
    """Return when the device is idle."""
    DEVICE.touch()
    DEVICE.clock.wait()


def set_device(device: int | str | torch.device) -> None:
    """Choose the core; each process has one, so only its own can be chosen."""
    index = device if isinstance(device, int) else torch.device(device).index
    DEVICE.check_index(index)
    DEVICE.touch()


def manual_seed(seed: int) -> None:
    """Seed what ops on the device draw from: the CPU's generator, which their twins use."""
    torch.default_generator.manual_seed(seed)


def make_module() -> types.ModuleType:
    """Make the module `torch.neuron`."""
    module = types.ModuleType(f"torch.{NAME}", __doc__)
    everything: dict[str, Any] = {
        "is_available": lambda: True,
        "is_initialized": lambda: DEVICE.is_started,
        "_lazy_init": DEVICE.touch,
        "_is_in_bad_fork": lambda: DEVICE.is_forked_after_start,
        "device_count": lambda: LOGICAL_CORES,
        # torch's guard for devices written in Python knows one device, and FSDP2 compares with it.
        "current_device": lambda: 0,
        "set_device": set_device,
        "get_device_properties": lambda device=None: Properties(),
        "get_device_name": lambda device=None: Properties().name,
        "synchronize": synchronize,
        "manual_seed": manual_seed,
        "manual_seed_all": manual_seed,
        "initial_seed": torch.initial_seed,
        "seed": torch.default_generator.seed,
        "get_rng_state": lambda device=None: torch.get_rng_state(),
        "set_rng_state": lambda new_state, device=None: torch.set_rng_state(new_state),
        "get_amp_supported_dtype": lambda: [torch.bfloat16, torch.float16],
        "is_bf16_supported": lambda: True,
        "Event": events.Event,
        "Stream": events.Stream,
        "stream": events.stream,
        "current_stream": lambda device=None: events.DEFAULT_STREAM,
        "default_stream": lambda device=None: events.DEFAULT_STREAM,
        "set_stream": lambda stream: None,
        "get_dynamo_metrics": compiler.get_dynamo_metrics,
        "reset_dynamo_metrics": compiler.reset_dynamo_metrics,
        "_stand_in": DEVICE,
        **DEVICE.memory.functions(),
    }
    for name, value in everything.items():
        setattr(module, name, value)
    return module
