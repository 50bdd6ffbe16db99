"""What the parent must know of each backend: one row each, best first.

A new device is `train/backends/<name>.py`, whose class is `<Name>Backend`, and a row here. A field
that a row leaves out says what holds of an accelerator that nothing else is known of.

Sources of variables: AWS Neuron documentation, torch/reference/env-vars (2.33), neuron-runtime/
guides/configuration-guide and tools/neuron-explorer/environment-variables (2.32); PyTorch
documentation for TORCH_DEVICE_BACKEND_AUTOLOAD; CUDA documentation for CUDA_DEVICE_ORDER; torch
2.13, torch/_functorch/config.py, for what AOTAutograd keeps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from trnbench.schema.units import GIB

AUTOLOAD = "TORCH_DEVICE_BACKEND_AUTOLOAD"
NEFF_CACHE = "TORCH_NEURONX_NEFF_CACHE_DIR"
INSPECT = "NEURON_RT_INSPECT_ENABLE"
KEEP_TRACED = "TORCHINDUCTOR_AUTOGRAD_CACHE_ALLOW_CUSTOM_AUTOGRAD"
"""Lets AOTAutograd's cache hold graphs with functions that bring their own gradient, as ours do: a
second start then traces nothing. Both passes of such a function are in the cache's key."""
GLIBC = "GLIBC_TUNABLES"
UNFRAGMENTED = "glibc.malloc.mxfast=0:glibc.malloc.tcache_count=0"
"""Lets glibc join what is left beside an aligned block at once. Kept apart in a list of small
blocks it leaves a hole that the next tensor of the same size does not fit, and a process that
trains on a CPU can grow by a tensor a step. Source: glibc 2.36, malloc/malloc.c, `_int_memalign`;
manual, "Memory Allocation Tunables"."""


@dataclass(frozen=True, slots=True)
class Meter:
    """A source of readings that meters energy."""

    name: str
    """As `machine/` calls it."""
    scope: str
    is_of_device: bool
    """One reading a device that the job drives; else one of the machine, which others load too."""


@dataclass(frozen=True, slots=True)
class RefusedValue:
    """A part of a variable's value that the backend cannot work with."""

    variable: str
    part: str
    reason: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One kind of device, as the parent plans, starts, watches and judges it."""

    name: str
    is_host: bool = False
    """The machine's own processor: the machine's memory is its memory, no chip is paid for, several
    ranks share it, and its peak is measured, for no datasheet has one."""
    vendors: tuple[str, ...] = ()
    """Makers of the chips in `accelerators.csv` that it drives."""
    has_static_shapes: bool = False
    """Its compiler wants every shape beforehand."""
    compiling: Literal["always", "by_itself", "where_it_pays", "where_asked"] = "where_asked"
    """What `execution: auto` comes to; by_itself: its graphs are compiled without torch.compile."""
    has_fp8: bool = False
    """torch multiplies in fp8 on some of its chips."""
    fp8_lack: str | None = None
    """What its chips have instead, where they have fp8 that torch does not train in."""
    reserve_bytes: float = 0.0
    """What its runtime takes of each device's memory, until it has been measured."""
    measures_ceiling: bool = False
    """A matmul needs no compilation there, so that its ceiling costs seconds."""
    loss_chunk_bytes: float = 1 * GIB
    """Logits of one chunk in fp32: enough rows that the head's gradient is not read and written too
    often; on a processor what its cache holds."""
    meter: Meter | None = None
    unmetered: str | None = None
    """Why nothing meters its power, where more is known than that."""
    collectives_tool: str | None = None
    """The vendor's tool that times collectives in our ranks' place."""
    is_counted_by_tool: bool = False
    """The vendor's tool counts the devices: a probe that touched one would leave it busy."""
    device_variable: str | None = None
    """Names the one device that a worker may claim; left alone, it would claim all."""
    fixed_variables: Mapping[str, str] = field(default_factory=dict)
    default_variables: Mapping[str, str] = field(default_factory=dict)
    """Where the user has set none; `{caches}` is the user's folder for trnbench's caches."""
    profiling_variables: tuple[str, ...] = ()
    """They slow a step down, or change what is compiled: never in a timed run."""
    refused_values: tuple[RefusedValue, ...] = ()
    cache: tuple[str, str] | None = None
    """The variable that says where compiled programs go, and where they go without it."""
    unseen_by_profiler: str | None = None
    """Why torch's profiler shows nothing of the device, where that is known."""


NEURON_UNMETERED = (
    "Neuron's tools tell no power in watts, and AWS publishes no rating to reckon with"
)
"""Source: AWS Neuron documentation, tools/neuron-sys-tools (2.32): sysfs has a percentage."""

NEURON_FP8_LACK = "has cFP8 and not the F8E4M3FN that torch trains with (NCC_EVRF051)"
"""Source: AWS Neuron documentation, compiler/error-codes/EVRF051 (2.32)."""

NEURON_RESERVE_BYTES = 1.5 * GIB
"""Of a logical core: runtime, micro-code and rings."""

NEURON_PROFILING = (
    INSPECT, "NEURON_FRAMEWORK_DEBUG", "NKI_DEBUG_INFO", "XLA_IR_DEBUG", "XLA_HLO_DEBUG",
)  # fmt: skip

ROWS = (
    Backend(
        name="neuron",
        vendors=("AWS",),
        has_static_shapes=True,
        compiling="always",
        fp8_lack=NEURON_FP8_LACK,
        reserve_bytes=NEURON_RESERVE_BYTES,
        unmetered=NEURON_UNMETERED,
        collectives_tool="nccom-test",
        is_counted_by_tool=True,
        device_variable="NEURON_RT_VISIBLE_CORES",
        fixed_variables={
            AUTOLOAD: "1",
            # Without it, a graph that does not compile may run eagerly under the compiled one's
            # name.
            "TORCH_NEURONX_DISABLE_FALLBACK_EXECUTION": "1",
        },
        default_variables={
            # The vendor's defaults lie under /tmp: a warm rerun could find them gone.
            NEFF_CACHE: "{caches}/neff",
            "TORCH_NEURONX_NEFF_LOCAL_CACHE_DIR": "{caches}/neff/local",
            # neuron-monitor shows it, so that our processes can be told from others'.
            "NEURON_PROCESS_TAG": "trnbench",
        },
        profiling_variables=NEURON_PROFILING,
        refused_values=(
            RefusedValue(
                variable="NEURON_CC_FLAGS",
                part="--cache_dir",
                reason="holds --cache_dir, which the compiler of native TorchNeuron refuses "
                "(NCC_EARG002)",
                hint=f"take it out, and name the cache by {NEFF_CACHE}",
            ),
        ),
        cache=(NEFF_CACHE, "/tmp/neff_cache"),
    ),
    Backend(
        name="xla",
        vendors=("AWS",),
        has_static_shapes=True,
        compiling="by_itself",
        fp8_lack=NEURON_FP8_LACK,
        reserve_bytes=NEURON_RESERVE_BYTES,
        unmetered=NEURON_UNMETERED,
        collectives_tool="nccom-test",
        is_counted_by_tool=True,
        device_variable="NEURON_RT_VISIBLE_CORES",
        # Unset, torch-xla runs on the CPU and only warns.
        default_variables={"PJRT_DEVICE": "NEURON"},
        profiling_variables=NEURON_PROFILING,
        cache=("NEURON_COMPILE_CACHE_URL", "/var/tmp/neuron-compile-cache"),
        unseen_by_profiler="torch-neuronx up to 2.9 shows torch's profiler the host's operators "
        "alone: they trace and launch, and say nothing of the device's time",
    ),
    Backend(
        name="cuda",
        vendors=("NVIDIA", "AMD"),
        compiling="where_it_pays",
        has_fp8=True,
        measures_ceiling=True,
        meter=Meter("nvml", "the GPUs' boards, without the rest of the machine", is_of_device=True),
        # By default CUDA counts the fastest first; the driver's tools count by slot.
        default_variables={"CUDA_DEVICE_ORDER": "PCI_BUS_ID", KEEP_TRACED: "1"},
    ),
    Backend(name="xpu", default_variables={KEEP_TRACED: "1"}),
    Backend(name="mps", default_variables={KEEP_TRACED: "1"}),
    Backend(
        name="cpu",
        is_host=True,
        measures_ceiling=True,
        loss_chunk_bytes=GIB // 128,
        meter=Meter(
            "rapl",
            "processor packages, without memory and the rest of the machine",
            is_of_device=False,
        ),
        default_variables={GLIBC: UNFRAGMENTED, KEEP_TRACED: "1"},
    ),
)

BACKENDS: Mapping[str, Backend] = {row.name: row for row in ROWS}


def backend_of(name: str) -> Backend:
    """Return a backend's row; of `auto`, and of what has none, what a row leaves out."""
    return BACKENDS.get(name) or Backend(name=name)


def best_first(name: str) -> int:
    """Return where a device stands among those found; first one that no backend drives."""
    return list(BACKENDS).index(name) if name in BACKENDS else -1
