"""Findings on the machine, its price and its packages; each says what was seen, and what helps."""

import re
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
    if not seen.chips.network.efa_devices or seen.host.huge_pages is None:
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
    if network.efa_devices:
        if network.has_provider is False:
            return warning(
                "EFA devices are here and libfabric offers no provider `efa`: training on several "
                "machines would fall back to TCP or fail",
                "install the EFA software (`efa_installer.sh`), and set FI_PROVIDER=efa",
            )
        return ok(f"{len(network.efa_devices)} EFA devices")
    instance = instances().get(seen.machine.instance or "")
    if not seen.host.is_ec2 or instance is None or instance.chips < 2:
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


REPOSITORY = "--extra-index-url https://pip.repos.neuron.amazonaws.com"
"""The Neuron package repository, as install commands in public repositories name it; its contents
could not be looked at for this project."""

NATIVE_PAIRS: dict[tuple[int, ...], str] = {(2, 13): "2.13.3", (2, 14): "2.14.3"}
"""Of each torch the torch-neuronx of SDK 2.33 that was built for it."""

PYTHONS = {"native": ((3, 12), (3, 14)), "xla": ((3, 11), (3, 13))}
"""Oldest and newest Python of each generation."""

STUBS = {"torch-neuronx": ("1.0",), "neuronx-cc": ("1.0", "1.0.post1")}
"""Empty packages on the public index: they install, and fail when imported."""

FIRST_NATIVE_TORCH_XLA = (2, 10)
FIRST_NATIVE_LIBNEURONXLA = (3, 0)

IMAGE = (
    "on a Neuron machine image name the environment that is there: `--python "
    "/opt/aws_neuronx_venv_torch_neuronx_2_14_0/bin/python`"
)


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
    where = (
        IMAGE
        if seen.chips.neuron.is_here
        else "install it (`pip install 'trnbench[train]'`), or name one by `--python PATH`"
    )
    return problem("the training interpreter has no torch", where)


def neuron_stub(seen: Inspection) -> Finding | None:
    """Whether Neuron packages are the empty ones of the public index."""
    versions = seen.versions
    stubs = {name: versions[name] for name in STUBS if versions.get(name) in STUBS[name]}
    if not stubs:
        return None
    said = join_words([f"{name} {version}" for name, version in stubs.items()])
    wanted = _requirements(versions.get("torch"))
    return problem(
        f"WRONG PACKAGE: {said} {'is' if len(stubs) == 1 else 'are'} an empty stand-in of the "
        "public index, which fails when it is imported",
        f"`pip uninstall {' '.join(stubs)}`, then install from the Neuron package repository: "
        f"`pip install {REPOSITORY} {wanted} 'neuronx-cc==2.*'`",
    )


def neuron_missing(seen: Inspection) -> Finding | None:
    """Whether there are chips that this torch knows nothing of."""
    if not seen.chips.neuron.is_here or seen.generation is not None:
        return None
    if "torch" not in seen.versions:
        return None  # one problem at a time: that fix names the environment too
    wanted = _requirements(seen.versions["torch"])
    return problem(
        "Neuron chips are here and this interpreter has no torch-neuronx, so it would train on "
        "the CPU",
        f"{IMAGE}; or `pip install {REPOSITORY} {wanted}`",
    )


def neuron_generations(seen: Inspection) -> Finding | None:
    """Whether packages of both generations lie in one environment."""
    versions, generation = seen.versions, seen.generation
    if generation not in ("native", "xla"):
        return None
    strangers = [
        f"{name} {versions[name]}"
        for name, first_native in (
            ("torch-xla", FIRST_NATIVE_TORCH_XLA),
            ("libneuronxla", FIRST_NATIVE_LIBNEURONXLA),
        )
        if name in versions
        and (_numbers(versions[name]) >= first_native) != (generation == "native")
    ]
    here = f"{generation} torch-neuronx {versions['torch-neuronx']}"
    if not strangers:
        return ok(f"{here}, and nothing of the other generation")
    other = "XLA" if generation == "native" else "native"
    return problem(
        f"two SDK generations are mixed: {here} beside {join_words(strangers)} of the {other} one",
        "make a new virtual environment and install one generation alone; the two share package "
        f"names and cannot share an environment; {IMAGE}",
    )


def neuron_pair(seen: Inspection) -> Finding | None:
    """Whether torch is the one that torch-neuronx was built for."""
    torch_version = seen.versions.get("torch")
    if torch_version is None or seen.generation not in ("native", "xla"):
        return None
    neuron = seen.versions["torch-neuronx"]
    pair = f"torch {torch_version} with torch-neuronx {neuron}"
    built_for, here = _numbers(neuron), _numbers(torch_version)
    if built_for != here:
        wanted = ".".join(map(str, built_for))
        return problem(
            f"{pair}: torch-neuronx {neuron} was built for torch {wanted}",
            f"`pip install 'torch=={wanted}.*' --index-url https://download.pytorch.org/whl/cpu`, "
            f"or {IMAGE}; never let pip choose or upgrade torch there",
        )
    if seen.generation == "xla":
        return warning(
            f"{pair}: a pair, of the XLA generation, which is not supported for training since "
            "SDK 2.30",
            "on Trainium2 and 3 use torch 2.14 with torch-neuronx 2.14.3 (SDK 2.33)",
        )
    supported = NATIVE_PAIRS.get(here)
    if supported is None or not neuron.startswith(supported):
        known = join_words([f"torch {a}.{b} with {v}" for (a, b), v in NATIVE_PAIRS.items()])
        return warning(f"{pair}: not a pair that SDK 2.33 supports", f"its pairs are {known}")
    return ok(f"{pair}: a supported pair")


def neuron_python(seen: Inspection) -> Finding | None:
    """Whether the Neuron packages support this Python."""
    if seen.inventory is None or seen.inventory.neuron not in PYTHONS:
        return None
    oldest, newest = PYTHONS[seen.inventory.neuron]
    if oldest <= _numbers(seen.inventory.python) <= newest:
        return None
    supported = " to ".join(".".join(map(str, version)) for version in (oldest, newest))
    return warning(
        f"Python {seen.inventory.python}: these Neuron packages support {supported}",
        "name an interpreter of such a version with `--python PATH`",
    )


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


def _requirements(torch_version: str | None) -> str:
    """Return what to ask pip for: what fits this torch, else the newest pair."""
    numbers = _numbers(torch_version or "")
    if numbers in NATIVE_PAIRS:
        return "'torch-neuronx=={}.{}.*'".format(*numbers)
    newest = "{}.{}.*".format(*max(NATIVE_PAIRS))
    return f"'torch=={newest}' 'torch-neuronx=={newest}'"


def _numbers(version: str) -> tuple[int, ...]:
    """Return the first two numbers of a version."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))
