"""What is installed, what torch's compiler lacks, and what has been compiled so far.

Standard library only: importing torch may load a vendor's runtime, and that may claim the device.

Sources: the AWS Neuron documentation, release-notes/2.33.0 and the native troubleshooting page,
and the public index's stub packages, for the versions; torch 2.13, torch/_dynamo/utils.py,
`counters` and `compilation_time_metrics`, which are not public.
"""

import contextlib
import functools
import importlib.util
import os
import platform
import re
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from trnbench.protocol.model import ExternalModel
from trnbench.protocol.records import FoundDevice, NeuronGeneration

PACKAGES = (
    "torch", "torch-neuronx", "torch-xla", "libneuronxla", "neuronx-cc", "nki",
    "neuronx-distributed", "libtorch-neuronx-lite", "vllm-neuron", "islpy", "numpy", "triton",
    "transformers", "torchao",
)  # fmt: skip
"""Distributions whose version decides how training runs."""

ENTRY_POINT_GROUPS = ("torch.backends", "torch_dynamo_backends")
"""By these a vendor's package adds its device and its compiler to torch."""

FIRST_NATIVE = (2, 10)
"""torch-neuronx of this version and later makes the device `neuron`; earlier ones make `xla`."""

BEFORE_RELEASE = (0,)
"""The major number of the native package before its first release; XLA's began at 1."""

STUB_VERSIONS = {"torch-neuronx": ("1.0",), "neuronx-cc": ("1.0", "1.0.post1")}
"""Empty packages of the public index under the same names; importing one fails."""

Find = Callable[[str], object | None]


def installed_versions(names: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Return the version of each of these packages that is installed, by its name."""
    found = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def library_versions(external: ExternalModel | None = None) -> dict[str, str]:
    """Return the versions of Python, of torch, which is imported, and of what has the model."""
    torch: Any = sys.modules["torch"]
    found = {"python": platform.python_version(), "torch": torch.__version__}
    if external is not None and external.kind == "huggingface":
        found["transformers"] = installed_versions().get("transformers", "unknown")
    return found


def entry_points() -> dict[str, list[str]]:
    """Return the names in each of `ENTRY_POINT_GROUPS`."""
    return {
        group: sorted({point.name for point in metadata.entry_points(group=group)})
        for group in ENTRY_POINT_GROUPS
    }


@functools.cache
def neuron_generation() -> NeuronGeneration | None:
    """Return the generation of the installed torch-neuronx, or None.

    Its version alone decides: native environments have torch-xla and libneuronxla too.
    """
    version = installed_versions().get("torch-neuronx")
    return None if version is None else generation_of(version)


def generation_of(version: str) -> NeuronGeneration:
    """Tell the generation of torch-neuronx by its version."""
    if version in STUB_VERSIONS["torch-neuronx"]:
        return "stub"
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    is_native = numbers >= FIRST_NATIVE or numbers[:1] == BEFORE_RELEASE
    return "native" if is_native else "xla"


def missing_for_processor(
    variables: Mapping[str, str] = os.environ,
    find_program: Find = shutil.which,
    prefix: str = sys.prefix,
) -> str | None:
    """Return what inductor lacks to compile for a processor, or None.

    Source: torch 2.13, torch/_inductor/config.py, `cpp.cxx`: `CXX`, else g++ (clang++ on macOS).
    """
    if re.search(r"\s", prefix):
        return "an environment in a path without blanks (its flags end at one)"
    named = variables.get("CXX")
    if any(map(find_program, [named] if named else ["g++", "clang++"])):
        return None
    return f"the C++ compiler that CXX names ({named})" if named else "a C++ compiler (g++)"


def missing_for_gpu(
    variables: Mapping[str, str] = os.environ,
    find_program: Find = shutil.which,
    find_module: Find = importlib.util.find_spec,
    headers: Path | None = None,
) -> str | None:
    """Return what inductor lacks to compile for a GPU, or None.

    Source: Triton 3, python/triton/runtime/build.py: `CC`, else gcc or clang, and Python's own
    headers, for the launcher that it builds of each kernel.
    """
    if find_module("triton") is None:
        return "Triton (the package triton)"
    named = variables.get("CC")
    if not any(map(find_program, [named] if named else ["gcc", "clang"])):
        return f"the C compiler that CC names ({named})" if named else "a C compiler (gcc)"
    if not ((headers or Path(sysconfig.get_path("include"))) / "Python.h").exists():
        return "Python's headers (Python.h, in python3-dev)"
    return None


def find_processor() -> FoundDevice:
    """Return the processor as a device to train on."""
    return FoundDevice(
        backend="cpu",
        device_name=processor_name(),
        device_count=1,
        proven=True,
        compiler_lacks=missing_for_processor(),
    )


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the model name by Linux, else the platform's."""
    return proc_field(cpuinfo, "model name") or platform.processor() or platform.machine()


def proc_field(file: Path, name: str) -> str | None:
    """Return the first value of this name in a file of Linux's /proc, or None."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None  # not Linux
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compilations:
    """Counts since the process began; None for unknown."""

    graphs: int | None = None
    """That torch has captured."""
    programs: int | None = None
    """That the device's compiler has made."""
    cache_hits: int | None = None
    """Programs found compiled."""
    seconds: tuple[float, ...] = ()
    """Of each known compilation."""

    def since(self, before: "Compilations") -> "Compilations":
        """Return the difference to an earlier count of the same process."""

        def less(count: int | None, earlier: int | None) -> int | None:
            return None if count is None else count - (earlier or 0)

        return Compilations(
            graphs=less(self.graphs, before.graphs),
            programs=less(self.programs, before.programs),
            cache_hits=less(self.cache_hits, before.cache_hits),
            seconds=self.seconds[len(before.seconds) :],
        )


def compilations_of_torch() -> Compilations:
    """Read torch's counters."""
    dynamo: Any = sys.modules.get("torch._dynamo.utils")
    if dynamo is None:
        return Compilations(graphs=0, programs=0, cache_hits=0)
    inductor = dynamo.counters["inductor"]
    # Inductor's time for each forward or backward graph.
    seconds = dynamo.compilation_time_metrics.get("compile_fx_inner", ())
    return Compilations(
        graphs=captured_graphs(),
        programs=int(inductor["fxgraph_cache_miss"]),
        cache_hits=int(inductor["fxgraph_cache_hit"]),
        seconds=tuple(map(float, seconds)),
    )


def captured_graphs() -> int:
    """Return the number of graphs that torch.compile has captured."""
    dynamo: Any = sys.modules.get("torch._dynamo.utils")
    return 0 if dynamo is None else int(dynamo.counters["stats"]["unique_graphs"])


def no_torch(error: Exception) -> tuple[str, str]:
    """Return what is said of an import of torch that failed, and what to do about it.

    Of a torch that is there and broken, what broke it is in the exception's own words.
    """
    python, other = f"Python {platform.python_version()}", "name another one with `--python PATH`"
    if isinstance(error, ModuleNotFoundError) and error.name == "torch":
        said = f"{python} cannot import torch: {error}"
        return said, f"install torch for that interpreter (`pip install torch`), or {other}"
    said = f"{python} has a torch that cannot be imported: {type(error).__name__}: {error}"
    if isinstance(error, ModuleNotFoundError):
        return said, f"install {error.name}, which that torch needs, or {other}"
    return said, (
        "a file or a library of it is damaged, missing, or of another version: install torch again "
        f"in an environment of its own (`pip install --force-reinstall torch`), or {other}"
    )
