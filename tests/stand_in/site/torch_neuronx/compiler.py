"""`torch.compile(backend="neuron")`: traced by dynamo and autograd, run op by op, cached as NEFF.

Nothing is compiled. Each graph costs the host the time that was set and leaves a file in the cache,
named by a hash of its code and its inputs' shapes; where the file is there, it costs nothing. A
forward and its backward are two graphs.

Shapes must be fixed: unless told `dynamic=False`, dynamo makes the second shape that it meets a
dynamic one, and that is refused here as `dynamic=True` is.

Dynamo is imported only when something is compiled: with it, `import torch` would take seconds more.
"""

import dataclasses
import hashlib
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from torch_neuronx.device import DEVICE

CACHE_VARIABLE = "TORCH_NEURONX_NEFF_CACHE_DIR"
DEFAULT_CACHE = "/tmp/neff_cache"

_COLLECTIVES = "c10d"


@dataclasses.dataclass
class GraphMetrics:
    """What is told of one compiled graph: an object, as in the native package's early source."""

    graph_id: str
    graph_name: str
    model_name: str
    has_collectives: bool
    graph_node_count: int
    timestamp: str
    torch_neuronx_compile_us: int


_metrics: list[GraphMetrics] = []


def compile_graph(
    graph: torch.fx.GraphModule,
    inputs: Sequence[Any],
    *,
    options: dict[str, Any] | None = None,
    mode: str | None = None,
) -> Callable[..., Any]:
    """Compile one graph that dynamo captured.

    Raises:
        RuntimeError: its shapes are not fixed, or a fault was set.
    """
    from torch._dynamo.backends.debugging import aot_eager

    if mode is not None:
        warnings.warn(f"the neuron backend ignores mode={mode!r}", stacklevel=2)
    _refuse_dynamic_shapes(graph)
    model = str((options or {}).get("model_name", "model"))

    def compile_forward(part: torch.fx.GraphModule, given: Sequence[Any]) -> Callable[..., Any]:
        return _compile(part, given, model, "forward")

    def compile_backward(part: torch.fx.GraphModule, given: Sequence[Any]) -> Callable[..., Any]:
        return _compile(part, given, model, "backward")

    return aot_eager(graph, list(inputs), compile_forward, compile_backward)


def get_dynamo_metrics() -> list[GraphMetrics]:
    """Return one record for each graph since the last reset."""
    return list(_metrics)


def reset_dynamo_metrics() -> None:
    """Forget the records."""
    _metrics.clear()


def _refuse_dynamic_shapes(graph: torch.fx.GraphModule) -> None:
    for node in graph.graph.nodes:
        value = node.meta.get("example_value")
        sizes = value.shape if isinstance(value, torch.Tensor) else (value,)
        if any(isinstance(size, torch.SymInt) for size in sizes):
            raise RuntimeError(
                "[NCC_EMOD025] Dynamic shape is not supported: instruction "
                f"'{node.name}' has shape '{tuple(sizes)}'; pass dynamic=False"
            )


def _compile(
    graph: torch.fx.GraphModule, inputs: Sequence[Any], model: str, part: str
) -> Callable[..., Any]:
    """Put a graph into the cache, at the cost that was set, and return what runs it."""
    from torch._dynamo.backends.debugging import boxed_nop

    began = time.perf_counter()
    DEVICE.touch()
    DEVICE.faults.at_compile()
    neff = _neff_of(graph, inputs)
    if not neff.exists():
        time.sleep(DEVICE.settings.compile_seconds)
        _write(neff, graph.code)
    _record(graph, model, part, time.perf_counter() - began)
    run = boxed_nop(graph, list(inputs))

    def run_graph(arguments: Any) -> Any:
        with DEVICE.in_graph():
            return run(arguments)

    run_graph._boxed_call = True  # type: ignore[attr-defined]
    return run_graph


def _neff_of(graph: torch.fx.GraphModule, inputs: Sequence[Any]) -> Path:
    shapes = [
        (tuple(given.shape), tuple(given.stride()), str(given.dtype))
        for given in inputs
        if isinstance(given, torch.Tensor)
    ]
    name = hashlib.sha256(f"{graph.code}{shapes}".encode()).hexdigest()[:32]
    root = Path(os.environ.get(CACHE_VARIABLE, DEFAULT_CACHE))
    return root / name[:2] / name[2:4] / f"{name}.neff"


def _write(neff: Path, code: str) -> None:
    """Write at one stroke, since another rank may compile the same graph."""
    neff.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=neff.parent, delete=False) as file:
        file.write(code)
    Path(file.name).replace(neff)


def _record(graph: torch.fx.GraphModule, model: str, part: str, seconds: float) -> None:
    number = len(_metrics)
    nodes = list(graph.graph.nodes)
    _metrics.append(
        GraphMetrics(
            graph_id=str(number),
            graph_name=f"{part}_{number}",
            model_name=model,
            has_collectives=any(_COLLECTIVES in str(node.target) for node in nodes),
            graph_node_count=len(nodes),
            timestamp=str(time.time()),
            torch_neuronx_compile_us=round(seconds * 1e6),
        )
    )
