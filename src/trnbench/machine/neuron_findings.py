"""What is right and wrong with Neuron's packages; no advice changes an environment's generation.

Sources: AWS Neuron documentation 2.33, release-notes/2.33.0 and components/torchneuron.
"""

import re
from collections.abc import Mapping

from trnbench.machine.describe import Inspection
from trnbench.machine.findings import (
    IMAGE,
    XLA_IMAGE,
    Finding,
    join_words,
    ok,
    problem,
    warning,
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

FIRST_NATIVE_TORCH = (2, 10)
FIRST_NATIVE_TORCH_XLA = (2, 10)
FIRST_NATIVE_LIBNEURONXLA = (3, 0)


def neuron_stub(seen: Inspection) -> Finding | None:
    """Whether Neuron packages are the empty ones of the public index."""
    versions = seen.versions
    stubs = {name: versions[name] for name in STUBS if versions.get(name) in STUBS[name]}
    if not stubs:
        return None
    said = join_words([f"{name} {version}" for name, version in stubs.items()])
    wanted = f"{_requirements(versions)} " if "torch-neuronx" in stubs else ""
    return problem(
        f"WRONG PACKAGE: {said} {'is' if len(stubs) == 1 else 'are'} an empty stand-in of the "
        "public index, which fails when it is imported",
        f"`pip uninstall {' '.join(stubs)}`, then install from the Neuron package repository: "
        f"`pip install {REPOSITORY} {wanted}'neuronx-cc==2.*'`",
    )


def neuron_compiler(seen: Inspection) -> Finding | None:
    """Whether the compiler is here, and works with what it needs.

    Source: public reports of NCC_ISMP902 with neuronx-cc 2.27 and islpy 2026.2.
    """
    if seen.generation not in ("native", "xla"):
        return None
    compiler, islpy = seen.versions.get("neuronx-cc"), seen.versions.get("islpy")
    if compiler is None:
        return problem(
            "torch-neuronx is here and its compiler, neuronx-cc, is not",
            f"`pip install {REPOSITORY} 'neuronx-cc==2.*'`, of the SDK release of torch-neuronx",
        )
    if _numbers(compiler) == (2, 27) and islpy is not None and _numbers(islpy) >= (2026, 2):
        return warning(
            f"neuronx-cc {compiler} does not work with islpy {islpy}: it fails with NCC_ISMP902",
            "`pip install islpy==2026.1`",
        )
    return ok(f"neuronx-cc {compiler}")


def neuron_missing(seen: Inspection) -> Finding | None:
    """Whether there are chips that this torch knows nothing of."""
    if not seen.chips.neuron.is_here or seen.generation is not None:
        return None
    if "torch" not in seen.versions:
        return None  # one problem at a time: that fix names the environment too
    wanted = _requirements(seen.versions)
    return problem(
        "Neuron chips are here and this interpreter has no torch-neuronx, so it would train on "
        "the CPU",
        f"{_image(seen.versions)}; or `pip install {REPOSITORY} {wanted}`",
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
    same = IMAGE if generation == "native" else XLA_IMAGE
    return problem(
        f"two SDK generations are mixed: {here} beside {join_words(strangers)} of the {other} one",
        "make a new virtual environment and install one generation alone; the two share package "
        f"names and cannot share an environment; {same}",
    )


def neuron_pair(seen: Inspection) -> Finding | None:
    """Whether torch is the one that torch-neuronx was built for."""
    torch_version = seen.versions.get("torch")
    if torch_version is None or seen.generation not in ("native", "xla"):
        return None
    neuron = seen.versions["torch-neuronx"]
    pair = f"torch {torch_version} with torch-neuronx {neuron}"
    built_for, here = _numbers(neuron), _numbers(torch_version)
    if built_for[:1] == (0,):
        return warning(
            f"{pair}: a version before the first release, which does not say its torch",
            "leave the environment as its image made it; never let pip upgrade torch there",
        )
    if built_for != here:
        wanted = ".".join(map(str, built_for))
        image = IMAGE if seen.generation == "native" else XLA_IMAGE
        return problem(
            f"{pair}: torch-neuronx {neuron} was built for torch {wanted}",
            f"`pip install 'torch=={wanted}.*' --index-url https://download.pytorch.org/whl/cpu`, "
            f"or {image}; never let pip choose or upgrade torch there",
        )
    if seen.generation == "xla":
        return _xla_pair(pair, here, seen.versions.get("torch-xla"))
    supported = NATIVE_PAIRS.get(here)
    if supported is None or not neuron.startswith(supported):
        known = join_words([f"torch {a}.{b} with {v}" for (a, b), v in NATIVE_PAIRS.items()])
        return warning(f"{pair}: not a pair that SDK 2.33 supports", f"its pairs are {known}")
    return ok(f"{pair}: a supported pair")


def _xla_pair(pair: str, torch_numbers: tuple[int, ...], torch_xla: str | None) -> Finding:
    wanted = ".".join(map(str, torch_numbers))
    if torch_xla is None or _numbers(torch_xla) != torch_numbers:
        return problem(
            f"{pair} needs torch-xla {wanted}, and {torch_xla or 'none'} is here",
            f"`pip install {REPOSITORY} 'torch-xla=={wanted}.*'`",
        )
    return warning(
        f"{pair}: a pair, of the XLA generation, which is not supported for training since "
        "SDK 2.30",
        "leave this environment as it is: trn1 and inf2 have no other; for Trainium2 and 3 make "
        "another one, of the native generation",
    )


def neuron_lite(seen: Inspection) -> Finding | None:
    """Whether two packages make torch's device `neuron`."""
    lite = seen.versions.get("libtorch-neuronx-lite")
    if lite is None or seen.generation != "native":
        return None
    return problem(
        f"libtorch-neuronx-lite {lite}, which serves models by vLLM, makes a torch device "
        "`neuron` too, and cannot train",
        "train in an environment without it and without vllm-neuron",
    )


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


def _is_xla(versions: Mapping[str, str]) -> bool:
    """Return whether an environment is of the XLA generation, whatever its torch-neuronx is."""
    torch_xla = versions.get("torch-xla")
    if torch_xla is not None:
        return _numbers(torch_xla) < FIRST_NATIVE_TORCH_XLA
    return "torch" in versions and _numbers(versions["torch"]) < FIRST_NATIVE_TORCH


def _image(versions: Mapping[str, str]) -> str:
    return XLA_IMAGE if _is_xla(versions) else IMAGE


def _requirements(versions: Mapping[str, str]) -> str:
    """Return what to ask pip for: what fits this torch, else the newest pair of its generation."""
    numbers = _numbers(versions.get("torch", ""))
    if numbers in NATIVE_PAIRS or (numbers and _is_xla(versions)):
        return "'torch-neuronx=={}.{}.*'".format(*numbers)
    newest = "{}.{}.*".format(*max(NATIVE_PAIRS))
    return f"'torch=={newest}' 'torch-neuronx=={newest}'"


def _numbers(version: str) -> tuple[int, ...]:
    """Return the first two numbers of a version."""
    return tuple(map(int, re.findall(r"\d+", version)[:2]))
