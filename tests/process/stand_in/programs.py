"""What the tests of the stand-in run inside it: `programs.py NAME...` prints what each one found.

Each function returns what can be JSON.
"""

import dataclasses
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from torch import nn

DEVICE = torch.device("neuron")
NEURON: Any = torch.get_device_module("neuron")
PACKAGE: Any = sys.modules["torch_neuronx"]
STAND_IN = NEURON._stand_in

VOCABULARY, WIDTH, HEADS, LENGTH, BATCH = 48, 32, 4, 12, 3


class Layer(nn.Module):
    """A layer of a transformer, written with the ops that trnbench's models use."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)])
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = self.qkv(self.norms[0](x)).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(-2))
        return x + self.mlp(self.norms[1](x))


class Model(nn.Module):
    """Two layers, with the embedding used again as the head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.Sequential(Layer(), Layer())
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.layers(self.embedding(tokens)))
        return logits


def losses_of(
    device: str, *, is_bf16: bool = False, is_compiled: bool = False, **optimizer: Any
) -> list[float]:
    """Train for five steps."""
    torch.manual_seed(3)
    model = Model().to(device)
    step: Callable[[torch.Tensor], torch.Tensor] = model
    if is_compiled:
        step = torch.compile(model, backend="neuron", fullgraph=True, dynamic=False)
    adamw = torch.optim.AdamW(model.parameters(), lr=3e-3, **optimizer)
    tokens = torch.randint(VOCABULARY, (BATCH, LENGTH + 1)).to(device)
    losses = []
    for _ in range(5):
        with torch.autocast(device, torch.bfloat16, enabled=is_bf16):
            logits = step(tokens[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adamw.step()
        adamw.zero_grad()
        losses.append(loss.detach())
    return [loss.item() for loss in losses]


def training() -> dict[str, dict[str, list[float]]]:
    variants: dict[str, dict[str, Any]] = {
        "for loop": {"foreach": False},
        "foreach": {"foreach": True},
        "fused": {"fused": True},
        "bf16": {"is_bf16": True, "fused": True},
    }
    return {
        device: {name: losses_of(device, **variant) for name, variant in variants.items()}
        for device in ("cpu", "neuron")
    }


def autocast_types() -> dict[str, str]:
    x = torch.randn(4, 4, device=DEVICE)
    with torch.autocast("neuron", torch.bfloat16):
        product = x @ x
        found = {"product": product, "softmax": product.softmax(-1), "sum": product + product}
    return {name: str(tensor.dtype) for name, tensor in found.items()}


def compiled_training() -> dict[str, Any]:
    NEURON.reset_dynamo_metrics()
    began = time.perf_counter()
    losses = losses_of("neuron", is_compiled=True, fused=True)
    return {
        "losses": losses,
        "expected": losses_of("cpu", fused=True),
        "metrics": [dataclasses.asdict(record) for record in NEURON.get_dynamo_metrics()],
        "seconds": time.perf_counter() - began,
    }


def dynamic_compile() -> str:
    double = torch.compile(lambda x: x * 2, backend="neuron", dynamic=True)
    return error_of(lambda: double(torch.ones(3, 3, device=DEVICE)))


def failing_compile() -> str:
    from torch_neuronx.faults import Faults

    x = torch.ones(3, 3, device=DEVICE)
    STAND_IN.faults = Faults("compiler_killed", None)
    triple = torch.compile(lambda x: x * 3, backend="neuron", dynamic=False)
    return error_of(lambda: triple(x))


def error_of(call: Callable[[], object]) -> str:
    """Return the error's type and text; empty where there is none."""
    try:
        call()
    except (RuntimeError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def mixing() -> dict[str, str]:
    here, there = torch.ones(2, 2, device=DEVICE), torch.ones(2, 2)
    linear = nn.Linear(2, 2)
    labels = torch.zeros(2, dtype=torch.int64)
    calls: dict[str, Callable[[], object]] = {
        "neuron + cpu": lambda: here + there,
        "cpu + neuron": lambda: there + here,
        "neuron @ cpu": lambda: here @ there,
        "cpu @ neuron": lambda: there @ here,
        "cpu model": lambda: linear(here),
        "neuron model": lambda: nn.Linear(2, 2).to(DEVICE)(there),
        "cross_entropy": lambda: F.cross_entropy(here, labels),
        "cat": lambda: torch.cat([here, there]),
        "in place": lambda: here.add_(there),
        "where": lambda: torch.where(here > 0, here, there),
        "numpy": here.numpy,
    }
    return {name: error_of(call) for name, call in calls.items()}


def values() -> dict[str, Any]:
    """Find what ops in odd forms make: views, out= of another shape, undeclared views."""
    x = torch.arange(6.0, device=DEVICE).view(2, 3)
    out = torch.empty(0, device=DEVICE)
    torch.mul(x, 2, out=out)
    flat = torch.ops.aten._unsafe_view(x, [6])
    before = NEURON.memory_allocated()
    flat[0] = 7.0
    x.t()[2, 1] = 9.0
    return {
        "x": x.tolist(),
        "out": out.tolist(),
        "nonzero": torch.nonzero(x > 6).tolist(),
        "printed": repr(x[0]),
        "grown": NEURON.memory_allocated() - before,
        "number": (x * torch.tensor(2.0)).sum().item(),
    }


def timing() -> dict[str, Any]:
    x = torch.ones(8, 8, device=DEVICE)
    x.add_(1)  # so that it is compiled
    started, ended = (NEURON.Event(enable_timing=True) for _ in range(2))

    def seconds(ops: int, wait: Callable[[], object]) -> float:
        NEURON.synchronize()
        started.record()
        began = time.perf_counter()
        for _ in range(ops):
            x.add_(1)
        wait()
        spent = time.perf_counter() - began
        ended.record()
        return spent

    found = {
        "no wait": seconds(50, lambda: None),
        "synchronize": seconds(50, NEURON.synchronize),
        "twice": seconds(100, NEURON.synchronize),
        "accelerator": seconds(50, torch.accelerator.synchronize),
        "item": seconds(50, lambda: x[0, 0].item()),
        "copy": seconds(50, x.cpu),
        "equal": seconds(50, lambda: torch.equal(x, x)),
        "nonzero": seconds(50, x.nonzero),
        "view": seconds(50, x.t),
        "event": started.elapsed_time(ended),
        "event without timing": error_of(lambda: NEURON.Event().elapsed_time(ended)),
    }
    waits = STAND_IN.clock.waits
    x.cpu()
    return {**found, "waits for a copy": STAND_IN.clock.waits - waits}


def products() -> dict[str, float]:
    """Find the time of matrix products of one and of twice the size."""
    found = {}
    for name, rows in (("once", 64), ("twice", 128)):
        left, right = torch.ones(rows, 64, device=DEVICE), torch.ones(64, 64, device=DEVICE)
        given = STAND_IN.clock.seconds_given
        left @ right
        found[name] = STAND_IN.clock.seconds_given - given
    return found


def memory() -> dict[str, Any]:
    if not hasattr(NEURON, "memory_allocated"):
        return {"functions": [name for name in dir(NEURON) if "memory" in name]}
    kept = torch.zeros(1024, device=DEVICE)
    before = NEURON.memory_allocated()
    gone = torch.zeros(4096, device=DEVICE)
    during = NEURON.memory_allocated()
    del gone
    after, peak = NEURON.memory_allocated(), NEURON.max_memory_allocated()
    NEURON.reset_peak_memory_stats()
    return {
        "before": before,
        "during": during,
        "after": after,
        "peak": peak,
        "peak after reset": torch.accelerator.max_memory_allocated(),
        "reserved": [NEURON.memory_reserved(), NEURON.max_memory_reserved()],
        "stats": NEURON.memory_stats(),
        "kept": kept.nbytes,
        "too much": error_of(lambda: torch.empty(2**20, device=DEVICE)),
        "summary": NEURON.memory_summary(),
    }


def fallback() -> dict[str, Any]:
    x = torch.ones(3, 3, device=DEVICE)
    before = PACKAGE.get_fallback_ops()
    x.cumsum(0)
    x.cumsum(0)
    found, executed = PACKAGE.get_fallback_ops(), PACKAGE.get_executed_ops()
    PACKAGE.clear_op_tracking()
    return {
        "before": before,
        "found": found,
        "executed": [name for name in executed if "cumsum" in name],
        "cleared": PACKAGE.get_fallback_ops(),
    }


def tied() -> bool:
    """Tell whether the head is the embedding still when the model has moved."""
    model = Model()
    model.head.weight = model.embedding.weight
    model.to(DEVICE)
    return model.head.weight is model.embedding.weight


def surface() -> dict[str, Any]:
    """Find the device as a program sees it that has never touched it, and then has."""
    accelerator = torch.accelerator.current_accelerator()
    found: dict[str, Any] = {
        "device": str(DEVICE),
        "accelerator": str(accelerator),
        "available": [NEURON.is_available(), torch.accelerator.is_available()],
        "count": NEURON.device_count(),
        "properties": [
            NEURON.get_device_properties().name,
            NEURON.get_device_properties().total_memory,
        ],
        "touched by looking": NEURON.is_initialized(),
    }
    x = torch.ones(2, device="neuron")
    torch.neuron.manual_seed(1)  # type: ignore[attr-defined]
    state = NEURON.get_rng_state()
    first = torch.randn(2, device=x.device).tolist()
    NEURON.set_rng_state(state)
    return {
        **found,
        "touched": NEURON.is_initialized(),
        "current": NEURON.current_device(),
        "bf16": NEURON.is_bf16_supported() and torch.bfloat16 in NEURON.get_amp_supported_dtype(),
        "same draws": first == torch.randn(2, device=x.device).tolist(),
        "own": error_of(lambda: NEURON.set_device(2)),
        "other": error_of(lambda: NEURON.set_device(1)),
        "allocated on other": error_of(lambda: torch.empty(1, device="neuron:1")),
    }


def faults() -> dict[str, Any]:
    """Find what each fault does, one after another: they are set here, not by the environment."""
    from torch_neuronx.faults import TEXTS, Faults

    x = torch.ones(2, 2, device=DEVICE)
    found: dict[str, Any] = {}
    for kind in TEXTS:
        STAND_IN.is_started, STAND_IN.faults = False, Faults(kind, None)
        found[kind] = error_of(lambda: x + x)
    STAND_IN.faults = Faults("memory", 3)
    found["third op"] = [error_of(lambda: x + x) for _ in range(4)]
    for kind in ("hangs", "compile_hangs"):
        STAND_IN.faults = Faults(kind, None)
        thread = threading.Thread(target=lambda: x + x, daemon=True)
        thread.start()
        thread.join(0.2)
        found[kind] = thread.is_alive()
    return found


def touch() -> str:
    return error_of(lambda: torch.ones(1, device=DEVICE))


def forked() -> str:
    """Find what the device says in a forked child of a process that has used it."""
    torch.ones(1, device=DEVICE)
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.write(writing, error_of(lambda: torch.ones(1, device=DEVICE)).encode())
        os._exit(0)
    os.wait()
    return os.read(reading, 4096).decode()


def eager_compile() -> list[float]:
    """Find the seconds of a first op, of its repetition, and of one with another shape."""
    found = []
    tensors = [torch.ones(size, device=DEVICE) for size in (2, 2, 3)]
    for tensor in tensors:
        began = time.perf_counter()
        tensor.add_(1)
        found.append(time.perf_counter() - began)
    return found


if __name__ == "__main__":
    answers = {name: globals()[name]() for name in sys.argv[1:]}
    sys.stdout.write(json.dumps(answers))
