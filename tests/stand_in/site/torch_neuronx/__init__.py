"""A stand-in for AWS's native torch-neuronx: the device `neuron`, made of Python on the CPU.

It is no TorchNeuron. It shows whether a program treats the device rightly: everything moved, time
read only when the device is idle, its errors understood. Its speed, its memory and what it can
run say nothing about Trainium, and no number from it is a result: its version ends in `+standin`,
and the device calls itself `trn2 (stand-in)`.

With the folder above on PYTHONPATH, `import torch` finds this package as it finds the real one, by
the entry point group `torch.backends`, and then has `torch.device("neuron")`, `torch.neuron` and
`torch.compile(backend="neuron")`. What it does is set by the environment, read once:

| Variable | Default | What it sets |
|---|---|---|
| STAND_IN_OP_SECONDS | 0 | device time that each op takes, while the host goes on |
| STAND_IN_FLOPS_PER_SECOND | none | speed of matrix products, whose time comes on top |
| STAND_IN_EAGER_COMPILE_SECONDS | 0 | host time for each new op, shapes and dtypes |
| STAND_IN_COMPILE_SECONDS | 0 | host time for each graph that is not in the NEFF cache |
| STAND_IN_MEMORY | nested | shape of memory_stats: nested, flat; none: no memory functions |
| STAND_IN_MEMORY_LIMIT_BYTES | 24 GiB | what may be allocated |
| STAND_IN_CORES | none | folder in which processes claim cores; without it nobody does |
| STAND_IN_FALLBACK | none | ops that count as run on the CPU: `aten::a,aten::b` |
| STAND_IN_FALLBACK_SHAPE | list | get_fallback_ops returns a list of names, or a dict with counts |
| STAND_IN_FAULT | none | KIND or KIND@N: what fails, and at which op; see faults.py |
| STAND_IN_KEEP_PARAMETERS | 0 | 1: `.to("neuron")` keeps Parameter objects, so tied weights |
| STAND_IN_NEURON_LS | idle | bin/neuron-ls: idle, busy, none, rubbish, hangs, trn1, whole |
| STAND_IN_NEURON_MONITOR | good | bin/neuron-monitor: good, rubbish, hangs, dies, torn |
| STAND_IN_NEURON_MONITOR_SECONDS | none | its period, in place of the configured one |
| TORCH_NEURONX_NEFF_CACHE_DIR | /tmp/neff_cache | where compiled graphs lie, as for the real one |
| NEURON_RT_VISIBLE_CORES | all | the cores that this process claims, as for the real one |
| STAND_IN_COLLECTIVES | neuron | gloo: the backend `neuron` quietly gives a group of gloo |
| STAND_IN_LINK_BYTES_PER_SECOND | none | speed of collectives, whose time comes on top |
| STAND_IN_SLOW_RANK | none | RANK@FACTOR: everything takes longer on that rank's device |
| LOCAL_RANK | none | the one core that this process may use |

`torch.neuron._stand_in` shows what happened: `.clock.waits`, `.tracker.calls` and more.

Left out: pinned memory, saving and loading device tensors, inductor. Tensors always say `neuron:0`,
whatever the rank: torch's guard for backends written in Python knows one device.
"""

import importlib
from typing import Any


def _autoload() -> None:
    """Make the device; torch calls this at the end of its own import. Again: do nothing."""
    from torch_neuronx.install import install

    install()


OP_TRACKING = ("get_fallback_ops", "get_executed_ops", "clear_op_tracking")
"""In the package alone; all else is in `torch.neuron` too."""


def __getattr__(name: str) -> Any:
    """Give what the real package has beside its modules."""
    if name.startswith("__"):
        raise AttributeError(name)
    if name in OP_TRACKING:
        return getattr(importlib.import_module("torch_neuronx.device").DEVICE.tracker, name)
    return getattr(importlib.import_module("torch").neuron, name)


# Last, since importing torch calls _autoload; called once more where autoload is switched off.
importlib.import_module("torch")
_autoload()
