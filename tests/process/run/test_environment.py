"""The variables that a worker is started with are decided before it loads anything."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pure.train.orders import make_order
from trnbench.catalog.backends import BACKENDS, GLIBC, KEEP_TRACED, NEFF_CACHE
from trnbench.errors import ConfigError
from trnbench.run.environment import (
    environment_of_probe,
    environment_of_worker,
)

HOME = Path("caches")
PROFILING = BACKENDS["neuron"].profiling_variables

ALIGNED = """
import ctypes, json
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD: from the heap, as after some steps of training
libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD: what is free stays

def take(size):
    made = ctypes.c_void_p()
    assert libc.posix_memalign(ctypes.byref(made), 64, size) == 0
    return made

def taken():
    # The first field of mallinfo2 is what the heap has had of the system.
    class Info(ctypes.Structure):
        _fields_ = [(str(n), ctypes.c_size_t) for n in range(10)]
    libc.mallinfo2.restype = Info
    return getattr(libc.mallinfo2(), "0")

for step in range(200):
    blocks = [take(1 << 20) for _ in range(4)]
    small = [libc.malloc(24 + 16 * (step % 5)) for _ in range(3)]
    for block in blocks:
        libc.free(block)
    for each in small:
        libc.free(each)
print(taken())
"""
"""Steps that each take and free the same tensors."""

TRACED = """
import json
import torch
from torch._dynamo.utils import counters

def make(forward_factor, backward_factor):
    class Scale(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * forward_factor

        @staticmethod
        def backward(ctx, gradient):
            return gradient * backward_factor

    return Scale

for factors in ((3.0, 2.0), (3.0, 5.0), (4.0, 2.0), (3.0, 2.0)):
    torch._dynamo.reset()
    counters.clear()
    scale = make(*factors)
    x = torch.ones(4, requires_grad=True)
    y = torch.compile(lambda given: scale.apply(given).sum())(x)
    y.backward()
    known = [name for name in counters["aot_autograd"] if name in (
        "autograd_cache_miss", "autograd_cache_hit", "autograd_cache_bypass")]
    print(json.dumps([y.item(), x.grad[0].item(), *known]))
"""
"""Four times the same shape of a program, of which the last alone was there before."""


def test_a_graph_that_fails_to_compile_must_not_run_eagerly_under_its_name() -> None:
    told = {"TORCH_NEURONX_DISABLE_FALLBACK_EXECUTION": "0"}
    decided = environment_of_worker(make_order(backend="neuron"), told, HOME)
    assert decided["TORCH_NEURONX_DISABLE_FALLBACK_EXECUTION"] == "1"


def test_the_cache_is_a_named_one_or_the_user_s() -> None:
    order = make_order(backend="neuron")
    assert environment_of_worker(order, {}, HOME)[NEFF_CACHE] == "caches/trnbench/neff"
    assert environment_of_worker(order, {NEFF_CACHE: "/mine"}, HOME)[NEFF_CACHE] == "/mine"


@pytest.mark.parametrize("backend", ["neuron", "xla"])
@pytest.mark.parametrize(
    ("index", "told", "core"),
    [
        (None, {}, "0"),
        (3, {}, "3"),
        (2, {"NEURON_RT_VISIBLE_CORES": "2"}, "2"),
        (None, {"NEURON_RT_VISIBLE_CORES": "4-7"}, "4-7"),
    ],
)
def test_one_core_is_made_visible_unless_the_user_named_some(
    backend: str, index: int | None, told: dict[str, str], core: str
) -> None:
    order = make_order(backend=backend, device_index=index)
    assert environment_of_worker(order, told, HOME)["NEURON_RT_VISIBLE_CORES"] == core


def test_a_core_named_twice_in_different_ways_is_refused() -> None:
    order = make_order(backend="neuron", device_index=1)
    with pytest.raises(ConfigError, match="NEURON_RT_VISIBLE_CORES=0 and device neuron:1"):
        environment_of_worker(order, {"NEURON_RT_VISIBLE_CORES": "0"}, HOME)


def test_a_flag_that_the_native_compiler_refuses_is_refused_before_it_runs() -> None:
    told = {"NEURON_CC_FLAGS": "-O1 --cache_dir=/tmp/x"}
    with pytest.raises(ConfigError, match="NCC_EARG002"):
        environment_of_worker(make_order(backend="neuron"), told, HOME)


@pytest.mark.parametrize("backend", ["neuron", "xla"])
def test_profiling_is_switched_off(backend: str) -> None:
    decided = environment_of_worker(make_order(backend=backend), {PROFILING[0]: "1"}, HOME)
    assert decided[PROFILING[0]] == "0"
    assert PROFILING[1] not in decided


def test_torch_xla_is_told_its_device_or_it_would_take_the_processor() -> None:
    assert environment_of_worker(make_order(backend="xla"), {}, HOME)["PJRT_DEVICE"] == "NEURON"


@pytest.mark.parametrize("backend", ["cpu", "cuda", "xpu", "mps"])
def test_a_second_start_finds_what_was_traced_unless_the_user_forbids_it(backend: str) -> None:
    order = make_order(backend=backend)
    assert environment_of_worker(order, {}, HOME)[KEEP_TRACED] == "1"
    assert environment_of_worker(order, {KEEP_TRACED: "0"}, HOME)[KEEP_TRACED] == "0"


def test_a_processor_s_memory_is_not_cut_to_pieces_unless_the_user_tunes_it_himself() -> None:
    assert "tcache_count=0" in environment_of_worker(make_order(), {}, HOME)[GLIBC]
    mine = {GLIBC: "glibc.malloc.arena_max=1"}
    assert environment_of_worker(make_order(), mine, HOME)[GLIBC] == mine[GLIBC]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another library's allocator")
def test_aligned_blocks_of_one_size_find_the_room_that_the_last_ones_left() -> None:
    """Proves it of glibc: blocks as torch takes them, freed and taken again beside small ones."""
    variables = environment_of_worker(make_order(), {}, HOME)
    done = subprocess.run(
        [sys.executable, "-c", ALIGNED], capture_output=True, text=True, timeout=60,
        env={**os.environ, **variables},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    taken_at_once = 4 * 2**20
    assert taken_at_once < json.loads(done.stdout) < 2 * taken_at_once


@pytest.mark.skipif(
    " " in sys.prefix, reason="torch's compiler cannot link under a path with a space"
)
def test_what_was_traced_is_not_taken_for_a_function_with_another_gradient(tmp_path: Path) -> None:
    """Proves that both passes of a function with a gradient of its own are in the cache's key."""
    variables = environment_of_worker(make_order(), {}, HOME)
    done = subprocess.run(
        [sys.executable, "-c", TRACED], capture_output=True, text=True, timeout=300,
        env={**os.environ, **variables, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        [12.0, 2.0, "autograd_cache_miss"],
        [12.0, 5.0, "autograd_cache_miss"],
        [16.0, 2.0, "autograd_cache_miss"],
        [12.0, 2.0, "autograd_cache_hit"],
    ]


def test_a_probe_without_neuron_needs_nothing() -> None:
    assert environment_of_probe(None) == environment_of_probe("xla") == {}


def test_a_probe_must_not_load_the_native_runtime() -> None:
    assert environment_of_probe("native") == {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}


def test_gpus_are_counted_as_the_driver_s_tools_count_them() -> None:
    order = make_order(backend="cuda")
    assert environment_of_worker(order, {}, HOME)["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
