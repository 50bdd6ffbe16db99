"""Making the device real to torch, once a process and for good: PrivateUse1 has one name."""

import types
from typing import Any

import torch
from torch.utils import backend_registration

frames: Any = torch._C._dynamo.eval_frame

_libraries: list[torch.library.Library] = []


def install() -> None:
    """Register the device; do nothing if it is.

    Raises:
        ImportError: this torch cannot have a device written in Python.
    """
    if _libraries:
        return
    set_up = getattr(backend_registration, "_setup_privateuseone_for_python_backend", None)
    if set_up is None:
        raise ImportError(
            f"torch {torch.__version__} has no helper for devices written in Python: the stand-in "
            "for torch-neuronx needs torch 2.13"
        )
    from torch_neuronx import autocast, collectives, dispatch, storage
    from torch_neuronx.device import DEVICE, NAME
    from torch_neuronx.dispatch import KERNELS, run_op
    from torch_neuronx.module import make_module
    from torch_neuronx.storage import let_storages_be_emptied

    module = make_module()
    set_up(NAME, backend_module=module)
    boxed = torch.library.Library("_", "IMPL")
    boxed.fallback(run_op, "PrivateUse1")
    boxed.fallback(torch.library.fallthrough_kernel, autocast.KEY)
    aten = torch.library.Library("aten", "IMPL")
    for name, kernel in KERNELS.items():
        aten.impl(name, kernel, "PrivateUse1")
    if DEVICE.settings.keep_parameters:
        aten.impl("_has_compatible_shallow_copy_type", lambda *tensors: True, "PrivateUse1")
    autocast.register(aten)
    _libraries.extend((boxed, aten))
    for part in (collectives, dispatch, storage):
        hide_from_tracer(part)
    let_storages_be_emptied()
    collectives.register()
    _complete_accelerator(module, list(DEVICE.memory.functions()))


def hide_from_tracer(module: Any) -> None:
    """Have torch's tracer pass over a module's functions: C++ calls them, as it would its own."""
    skip = frames._FrameAction.SKIP
    whole = frames._FrameExecStrategy(skip, skip)
    kinds = [value for value in vars(module).values() if isinstance(value, type)]
    for place in (module, *kinds):
        for function in vars(place).values():
            if isinstance(function, types.FunctionType) and function.__module__ == module.__name__:
                frames.set_code_exec_strategy(function.__code__, whole)


def _complete_accelerator(module: Any, memory_functions: list[str]) -> None:
    """Lead `torch.accelerator` to the module: torch's guard written in Python lacks these."""
    for name in ("synchronize", *memory_functions):
        if hasattr(torch.accelerator, name):
            setattr(torch.accelerator, name, getattr(module, name))
