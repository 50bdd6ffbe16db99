"""What the parent knows of each backend: one row each, the best backend first.

A new device is `train/backends/<name>.py`, whose class is `<Name>Backend`, and a row here. The
defaults of `Backend` hold for an accelerator of which nothing else is known.

Sources of variables: AWS Neuron documentation, torch/reference/env-vars (2.33), neuron-runtime/
guides/configuration-guide and tools/neuron-explorer/environment-variables (2.32); PyTorch
documentation for TORCH_DEVICE_BACKEND_AUTOLOAD; CUDA documentation for CUDA_DEVICE_ORDER; torch
2.13, torch/_functorch/config.py, for what AOTAutograd keeps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from trnbench.units import GIB

AUTOLOAD = "TORCH_DEVICE_BACKEND_AUTOLOAD"
NEFF_CACHE = "TORCH_NEURONX_NEFF_CACHE_DIR"
INSPECT = "NEURON_RT_INSPECT_ENABLE"
KEEP_TRACED = "TORCHINDUCTOR_AUTOGRAD_CACHE_ALLOW_CUSTOM_AUTOGRAD"
"""Lets AOTAutograd cache graphs with custom autograd functions, as ours are: a second start then
traces nothing. The cache's key has both passes of such a function."""
GLIBC = "GLIBC_TUNABLES"
UNFRAGMENTED = "glibc.malloc.mxfast=0:glibc.malloc.tcache_count=0"
"""Lets glibc merge the rest of an aligned block with its neighbours at once. In a list of small
blocks it would leave a hole that the next tensor of the same size does not fit, and a process that
trains on a CPU could grow by a tensor a step. Source: glibc 2.36, malloc/malloc.c,
`_int_memalign`; manual, "Memory Allocation Tunables"."""


@dataclass(frozen=True, slots=True)
class Meter:
    """A source of readings that meters energy."""

    name: str
    """Of the source in `machine/`."""
    scope: str
    is_of_device: bool
    """Whether each device of the job has readings; else they are of the machine, which other
    processes load too."""


@dataclass(frozen=True, slots=True)
class RefusedValue:
    """A part of an environment variable's value that the backend cannot work with."""

    variable: str
    part: str
    reason: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One kind of device."""

    name: str
    is_host: bool = False
    """Whether it is the machine's processor: it has the machine's memory, no chip is paid for,
    several ranks share it, and its peak is measured because no datasheet has one."""
    vendors: tuple[str, ...] = ()
    """Makers of the chips in `accelerators.csv` that it drives."""
    has_static_shapes: bool = False
    compiling: Literal["always", "by_itself", "where_it_pays", "where_asked"] = "where_asked"
    """When `execution: auto` compiles; by_itself: graphs are compiled without torch.compile."""
    has_fp8: bool = False
    """Whether torch multiplies in fp8 on some of its chips."""
    fp8_lack: str | None = None
    """What its chips have instead, where they have fp8 that torch does not train in."""
    reserve_bytes: float = 0.0
    """What its runtime is assumed to take of each device's memory."""
    measures_ceiling: bool = False
    """Whether a matmul needs no compilation, so that a ceiling costs seconds."""
    loss_chunk_bytes: float = 1 * GIB
    """fp32 logits of one chunk: on a processor, what its cache holds; else so many that the head's
    gradient is not read and written too often."""
    meter: Meter | None = None
    unmetered: str | None = None
    """Why nothing meters its power; None where that is not known."""
    collectives_tool: str | None = None
    """The vendor's tool that times collectives; None where our ranks do."""
    is_counted_by_tool: bool = False
    """Whether the vendor's tool counts the devices: a probe would leave them busy."""
    process_group: str | None = None
    """torch.distributed's backend between the ranks of a job; None: a job has one device."""
    tensor_ranks: int | None = None
    """Ranks of a tensor group, neighbours with the fastest links, where sharding alone does not
    fit; None: no layout is chosen with any."""
    device_variable: str | None = None
    """Names the one device that a worker may claim; unset, it would claim all."""
    node_variables: Mapping[str, str] = field(default_factory=dict)
    """Set where the job has ranks on several machines and the user has not set them."""
    launch_variables: tuple[str, ...] = ()
    """Where another launch on this machine meets: inherited, they would join it."""
    fixed_variables: Mapping[str, str] = field(default_factory=dict)
    default_variables: Mapping[str, str] = field(default_factory=dict)
    """Set where the user has not; `{caches}` is the user's folder for trnbench's caches."""
    profiling_variables: tuple[str, ...] = ()
    """They slow a step down or change what is compiled, so a timed run sets none."""
    refused_values: tuple[RefusedValue, ...] = ()
    cache: tuple[str, str] | None = None
    """The variable that says where compiled programs go, and where they go without it."""
    unseen_by_profiler: str | None = None
    """Why torch's profiler shows nothing of the device; None where it does."""


_NEURON_CORES = Backend(
    name="",
    vendors=("AWS",),
    has_static_shapes=True,
    # Source: AWS Neuron documentation, compiler/error-codes/EVRF051 (2.32).
    fp8_lack="has cFP8 and not the F8E4M3FN that torch trains with (NCC_EVRF051)",
    # Of a logical core: runtime, micro-code and rings.
    reserve_bytes=1.5 * GIB,
    # Source: AWS Neuron documentation, tools/neuron-sys-tools (2.32): sysfs has a percentage.
    unmetered="Neuron's tools report no power in watts, and AWS publishes no thermal rating",
    collectives_tool="nccom-test",
    is_counted_by_tool=True,
    # Source: AWS Neuron documentation, training/best-practices (2.33): tensor 4 inside one chip.
    tensor_ranks=4,
    device_variable="NEURON_RT_VISIBLE_CORES",
    # Source: AWS Neuron documentation, setup-trn1-multi-node-execution (2.32).
    node_variables={"FI_PROVIDER": "efa", "FI_EFA_USE_DEVICE_RDMA": "1"},
    launch_variables=("NEURON_RT_ROOT_COMM_ID",),
    profiling_variables=(
        INSPECT, "NEURON_FRAMEWORK_DEBUG", "NKI_DEBUG_INFO", "XLA_IR_DEBUG", "XLA_HLO_DEBUG",
    ),
)  # fmt: skip
"""What holds under both of its runtimes, native TorchNeuron and torch-xla."""

ROWS = (
    replace(
        _NEURON_CORES,
        name="neuron",
        compiling="always",
        process_group="neuron",
        fixed_variables={
            AUTOLOAD: "1",
            # Without it, a graph that does not compile may run eagerly and be timed as compiled.
            "TORCH_NEURONX_DISABLE_FALLBACK_EXECUTION": "1",
        },
        default_variables={
            # The vendor's defaults lie under /tmp: a warm rerun could find them gone.
            NEFF_CACHE: "{caches}/neff",
            "TORCH_NEURONX_NEFF_LOCAL_CACHE_DIR": "{caches}/neff/local",
            # neuron-monitor shows it beside each process.
            "NEURON_PROCESS_TAG": "trnbench",
        },
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
    replace(
        _NEURON_CORES,
        name="xla",
        compiling="by_itself",
        # Unset, torch-xla runs on the CPU and only warns.
        default_variables={"PJRT_DEVICE": "NEURON"},
        cache=("NEURON_COMPILE_CACHE_URL", "/var/tmp/neuron-compile-cache"),
        unseen_by_profiler="torch-neuronx up to 2.9 shows torch's profiler the host's operators "
        "alone: they trace and launch, and say nothing of the device's time",
    ),
    Backend(
        name="cuda",
        vendors=("NVIDIA", "AMD"),
        compiling="where_it_pays",
        process_group="nccl",
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
        process_group="gloo",
        measures_ceiling=True,
        loss_chunk_bytes=GIB // 128,
        meter=Meter(
            "rapl",
            "processor packages, without memory and the rest of the machine",
            is_of_device=False,
        ),
        # A vendor's extension is not needed, may claim its device, and may fail to load.
        fixed_variables={AUTOLOAD: "0"},
        default_variables={GLIBC: UNFRAGMENTED, KEEP_TRACED: "1"},
    ),
)

BACKENDS: Mapping[str, Backend] = {row.name: row for row in ROWS}


def backend_of(name: str) -> Backend:
    """Return a backend's row; the defaults for `auto` and for a device without a row."""
    return BACKENDS.get(name) or Backend(name=name)


def best_first(name: str) -> int:
    """Return a key that sorts devices: those that no backend drives, then the best first."""
    return list(BACKENDS).index(name) if name in BACKENDS else -1
