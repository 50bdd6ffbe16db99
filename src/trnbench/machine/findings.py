"""Findings on the machine, its price and its packages; each says what was seen, and what helps."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from trnbench.catalog.backends import BACKENDS, backend_of
from trnbench.catalog.instances import instances
from trnbench.machine.describe import Inspection
from trnbench.prices.base import NoPrice
from trnbench.units import say_usd

Verdict = Literal["ok", "problem", "warning", "absent"]
"""`problem`: training fails or is not on what was paid for; `warning`: a figure may be worse than
it could be, or something else than training fails; `absent`: not here, and that is fine."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    """Of the function that looked; `diagnose` sets it."""
    verdict: Verdict
    evidence: str
    """What was seen."""
    fix: str | None = None
    """What to do about it."""


ok = partial(Finding, "", "ok")
problem = partial(Finding, "", "problem")
warning = partial(Finding, "", "warning")
absent = partial(Finding, "", "absent")


def join_words(words: Sequence[str]) -> str:
    """Return `a, b and c`."""
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)


BACKEND_OF_GENERATION = {"native": "neuron", "xla": "xla"}


def huge_pages(seen: Inspection) -> Finding | None:
    """Whether EFA finds the huge pages that it takes its buffers from.

    Source: libfabric's maintainers, github.com/ofiwg/libfabric/issues/9739, read 2026-11-23.
    """
    network = seen.chips.network
    if not network.efa_devices or network.is_hidden or seen.host.huge_pages is None:
        return None
    if seen.host.huge_pages > 0:
        return ok(f"{seen.host.huge_pages} reserved")
    return warning(
        "no huge page is reserved, and EFA takes its buffers from huge pages: between machines "
        "it may be slower and may fail to register memory",
        "run the EFA installer again, which reserves them; `sysctl vm.nr_hugepages` shows how many",
    )


def cache(seen: Inspection) -> Finding | None:
    """Whether compiled programs outlive the instance."""
    backend = backend_of(BACKEND_OF_GENERATION.get(seen.generation or "", ""))
    if backend.cache is None:
        return None
    variable, default = backend.cache
    if variable in seen.machine.variables:
        return ok(f"{variable} is set")
    return warning(
        f"compiled programs go to {default}, which may be gone after a restart: the next run "
        "compiles again",
        f"set {variable} to a folder that stays",
    )


def profiling(seen: Inspection) -> Finding | None:
    """Whether variables are set under which nothing should be timed."""
    variables = seen.machine.variables
    names = sorted({name for row in BACKENDS.values() for name in row.profiling_variables})
    found = [name for name in names if variables.get(name, "0") not in ("0", "", "false")]
    if not found:
        return None
    return warning(
        f"{join_words(found)} {'is' if len(found) == 1 else 'are'} set: what is timed is "
        "slower than, or compiled differently from, what you would train with",
        f"`unset {' '.join(found)}`",
    )


def efa(seen: Inspection) -> Finding | None:
    """Whether the network between machines is there, where there may be several."""
    network = seen.chips.network
    if network.is_hidden:
        return absent(
            "the host has EFA, which this process cannot open: it matters only for training on "
            "several machines; to a container, pass it by `--device=/dev/infiniband`",
        )
    if network.efa_devices:
        if network.has_provider is False and network.other_rdma_devices:
            return absent(
                f"libfabric offers no provider `efa`, and {network.other_rdma_devices} other RDMA "
                "devices are here: it matters only for training on several machines over EFA",
            )
        if network.has_provider is False:
            return warning(
                "EFA devices are here and libfabric offers no provider `efa`: training on several "
                "machines would fall back to TCP or fail",
                "install the EFA software (`efa_installer.sh`), and set FI_PROVIDER=efa",
            )
        return ok(f"{len(network.efa_devices)} EFA devices")
    instance = instances().get(seen.machine.instance or "")
    if not seen.host.is_ec2 or seen.host.is_container or instance is None or instance.chips < 2:
        return None
    return warning(
        f"no EFA device on this {instance.name}: it matters only for training on several machines",
        "EFA interfaces are attached when an instance is launched: launch it with them",
    )


def governor(seen: Inspection) -> Finding | None:
    """Whether the processor is held back to save power."""
    if seen.host.governor != "powersave":
        return None
    return warning(
        "the processor's governor is `powersave`: its clock, and so the figures, may vary",
        "`sudo cpupower frequency-set -g performance`",
    )


def ec2(seen: Inspection) -> Finding | None:
    """Whether EC2's metadata service answered, where there should be one."""
    if not seen.host.is_ec2:
        return None
    if seen.machine.ec2.reason is None:
        return ok(f"{seen.machine.ec2.instance} in {seen.machine.ec2.zone}")
    return warning(
        seen.machine.ec2.reason,
        "allow the metadata service (IMDSv2; from a container its hop limit must be 2), or name "
        "region and rate: `--set price.region=…`, `--usd-per-hour`",
    )


def price(seen: Inspection) -> Finding | None:
    """Whether the price of this machine is known."""
    found = seen.price
    if not isinstance(found, NoPrice):
        return ok(f"{say_usd(found.usd_per_hour)}/h {found.option}")
    if seen.machine.instance is not None:
        return warning(found.reason, found.hint)
    return absent(
        "the price of this machine is not known: results will have no cost",
        "`--usd-per-hour` sets your rate, now or when a report is made",
    )


IMAGE = (
    "on a Neuron machine image name the environment that is there: `--python "
    "/opt/aws_neuronx_venv_torch_neuronx_2_14_0/bin/python`"
)

XLA_IMAGE = (
    "on a Neuron machine image of SDK 2.31 or earlier name the environment of torch-xla: `ls /opt` "
    "shows it"
)

FIRST_CORES = ("trn1", "inf2")
"""Families whose chips the native packages do not support."""


def interpreter(seen: Inspection) -> Finding | None:
    """Whether the interpreter can say what it has."""
    if seen.inventory is None:
        return problem(
            seen.inventory_reason,
            "name a Python 3.11 or newer that has torch with `--python PATH`",
        )
    return ok(f"Python {seen.inventory.python}")


def torch(seen: Inspection) -> Finding | None:
    """Whether there is a torch."""
    if seen.inventory is None:
        return None
    if "torch" in seen.versions:
        return ok(f"torch {seen.versions['torch']}")
    where = "install it (`pip install torch`), or name one by `--python PATH`"
    if seen.chips.neuron.is_here:
        where = XLA_IMAGE if (seen.machine.instance or "").startswith(FIRST_CORES) else IMAGE
    return problem("the training interpreter has no torch", where)


def torch_build(seen: Inspection) -> Finding | None:
    """Whether torch was built without CUDA on a machine with an NVIDIA GPU."""
    version = seen.versions.get("torch")
    if version is None or not seen.chips.nvidia.is_here or not version.endswith("+cpu"):
        return None
    gpu = seen.chips.nvidia.gpus[0].name if seen.chips.nvidia.gpus else "NVIDIA GPU"
    return problem(
        f"torch {version} is a build for the CPU alone, and an {gpu} is here",
        "install a build with CUDA (pytorch.org, Get Started), or name an interpreter that has one "
        "with `--python PATH`",
    )
