"""What this interpreter has installed, read from package metadata: nothing is imported.

Importing torch may load a vendor's runtime, and that may claim the device; which generation of the
Neuron packages is here must be known before. Standard library only.

Sources: the AWS Neuron documentation, release-notes/2.33.0 and the native troubleshooting page,
for the versions; the public index's stub packages, for their version and their error.
"""

import functools
import re
from importlib import metadata

from trnbench.wire import NeuronGeneration

PACKAGES = (
    "torch", "torch-neuronx", "torch-xla", "libneuronxla", "neuronx-cc", "nki",
    "neuronx-distributed", "numpy", "triton", "transformers", "torchao",
)  # fmt: skip
"""Distributions whose version decides how training runs."""

ENTRY_POINT_GROUPS = ("torch.backends", "torch_dynamo_backends")
"""Where a vendor's package names the device and the compiler that it adds to torch."""

FIRST_NATIVE = (2, 10)
"""torch-neuronx of this version and later makes the device `neuron`; earlier ones make `xla`."""

STUB_VERSIONS = {"torch-neuronx": ("1.0",), "neuronx-cc": ("1.0", "1.0.post1")}
"""Empty packages of the same names on the public index: they install, and fail when imported."""


def installed_versions() -> dict[str, str]:
    """Return the version of each of `PACKAGES` that is installed, by its name."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def entry_points() -> dict[str, list[str]]:
    """Return the names in each of `ENTRY_POINT_GROUPS`, as packages declare them."""
    return {
        group: sorted({point.name for point in metadata.entry_points(group=group)})
        for group in ENTRY_POINT_GROUPS
    }


@functools.cache
def neuron_generation() -> NeuronGeneration | None:
    """Tell which of the two products called torch-neuronx is installed; None if neither is.

    The version alone decides: native environments carry torch-xla and libneuronxla too.
    """
    version = installed_versions().get("torch-neuronx")
    return None if version is None else generation_of(version)


def generation_of(version: str) -> NeuronGeneration:
    """Tell the generation of torch-neuronx by its version."""
    if version in STUB_VERSIONS["torch-neuronx"]:
        return "stub"
    numbers = re.findall(r"\d+", version)[:2]
    return "native" if tuple(map(int, numbers)) >= FIRST_NATIVE else "xla"
