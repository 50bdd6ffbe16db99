"""What is right and wrong with the chips that are plugged in: a function for each thing.

Sources: AWS Neuron documentation 2.32 and 2.33, neuron-runtime/nrt-troubleshoot, tools/neuron-ls,
about-neuron/arch/neuron-features/logical-neuroncore-config, release-notes/2.33.0.
"""

from trnbench.catalog.backends import BACKENDS, backend_of
from trnbench.machine.describe import Inspection
from trnbench.machine.findings import (
    FIRST_CORES,
    Finding,
    absent,
    join_words,
    ok,
    problem,
    warning,
)
from trnbench.machine.logical_cores import VARIABLES


def accelerator(seen: Inspection) -> Finding | None:
    """Whether there is anything but a CPU."""
    if seen.chips.neuron.is_here or seen.chips.nvidia.is_here:
        return ok(describe_chips(seen))
    if _is_neuron_instance(seen):
        return None  # its driver is what is missing
    return absent(
        f"no accelerator here: trnbench trains on the {seen.host.processor}, and plans for any "
        "machine with `--dry-run`",
    )


def describe_chips(seen: Inspection) -> str:
    """Return what is plugged in, in a few words."""
    parts = []
    if seen.chips.neuron.is_here:
        kept = seen.chips.neuron.kept() or {}
        cores = f", {kept['logical_cores']} logical cores" if kept["logical_cores"] else ""
        parts.append(f"Neuron chips: {kept['chips']}{cores}")
    if seen.chips.nvidia.gpus:
        names = [gpu.name for gpu in seen.chips.nvidia.gpus]
        parts += [f"{name}: {names.count(name)}" for name in dict.fromkeys(names)]
    elif seen.chips.nvidia.is_here:
        parts.append(f"NVIDIA GPUs: {seen.chips.nvidia.pci_devices}")
    return "; ".join(parts)


def neuron_driver(seen: Inspection) -> Finding | None:
    """Whether chips that are here have their driver."""
    neuron = seen.chips.neuron
    if neuron.device_files or neuron.chips:
        version = f" {neuron.driver_version}" if neuron.driver_version else ""
        return ok(f"driver{version}")
    if neuron.is_hidden and neuron.pci_devices:
        return absent(
            f"this container was given none of its host's Neuron chips ({neuron.pci_devices} on "
            "the bus): to train on one, pass it by `--device=/dev/neuron0`",
        )
    if not neuron.pci_devices and not _is_neuron_instance(seen):
        return None
    if neuron.is_driver_loaded:
        return problem(
            "the Neuron driver is loaded and there is no /dev/neuron0",
            "in a container, pass the devices through: `--device=/dev/neuron0`; else look at "
            "`sudo dmesg | grep -i neuron`",
        )
    return problem(
        "Neuron chips are here without their driver",
        "install it for the running kernel: `sudo apt-get install linux-headers-$(uname -r) "
        "aws-neuronx-dkms`, then `sudo modprobe neuron`; in a container, `--device=/dev/neuron0`",
    )


def neuron_tools(seen: Inspection) -> Finding | None:
    """Whether `neuron-ls` could say what is here."""
    if seen.chips.neuron.reason is None:
        return None
    return warning(
        f"{seen.chips.neuron.reason}: who holds the chips is not known",
        "`sudo apt-get install aws-neuronx-tools`, of the same SDK as the driver",
    )


def nvidia_driver(seen: Inspection) -> Finding | None:
    """Whether GPUs that are here have their driver, and it answers."""
    nvidia = seen.chips.nvidia
    if nvidia.is_hidden and nvidia.pci_devices:
        return absent(
            f"this container was given none of its host's NVIDIA devices ({nvidia.pci_devices} on "
            "the bus): to train on one, start it with `--gpus all`",
        )
    if not nvidia.is_here:
        return None
    if not nvidia.is_driver_loaded:
        return problem(
            "an NVIDIA GPU is here without its driver",
            "install NVIDIA's driver for the running kernel; in a container, start it with "
            "`--gpus all`",
        )
    if nvidia.reason is not None:
        return warning(
            f"{nvidia.reason}: memory, ECC and who holds the GPUs are not known",
            _mend_nvml(nvidia.reason),
        )
    if nvidia.lost:
        return problem(
            f"the driver counts GPUs that it cannot open: {'; '.join(nvidia.lost)}",
            LOST_GPU,
        )
    unseen = nvidia.device_files - len(nvidia.gpus)
    if unseen > 0 and not seen.host.is_container:
        return problem(
            f"the driver sees {len(nvidia.gpus)} of {nvidia.device_files} NVIDIA GPUs",
            LOST_GPU,
        )
    given = ""
    if nvidia.pci_devices > len(nvidia.gpus):
        given = (
            f"; {len(nvidia.gpus)} of the {nvidia.pci_devices} NVIDIA devices on the bus are here"
        )
    return ok(f"driver {nvidia.driver_version}{given}")


LOST_GPU = (
    "see `nvidia-smi` and `sudo dmesg | grep -i NVRM`; a GPU that fell off the bus needs a restart "
    "of the machine"
)

NVML_FIXES = {
    "not installed": "`pip install nvidia-ml-py` beside trnbench",
    "mismatch": "the driver was updated under its running module: restart the machine; in a "
    "container, start it again",
    "Unknown Error": "start the container again: its rights to the devices were lost, as a reload "
    "of systemd on the host does",
    "Insufficient Permissions": "let this account open /dev/nvidia*; to a container, give them by "
    "`--gpus all`",
    "no NVIDIA driver": "its library libnvidia-ml.so is not here: install the driver's package; in "
    "a container, start it with `--gpus all`",
}
"""Parts of what NVML says, and what helps. Sources: NVML documentation, nvmlReturn_t; NVIDIA
Container Toolkit documentation, troubleshooting, read 2026-11-30."""


def _mend_nvml(reason: str) -> str:
    fixes = (fix for part, fix in NVML_FIXES.items() if part.lower() in reason.lower())
    return next(fixes, "see what `nvidia-smi` says")


def holders(seen: Inspection) -> Finding | None:
    """Whether another process has a device."""
    found = (*seen.chips.neuron.holders, *seen.chips.nvidia.holders)
    if not found:
        return None
    devices: dict[str, list[str]] = {}
    for holder in found:
        process = f"{holder.program or 'a process'} (pid {holder.pid})"
        devices.setdefault(process, []).append(holder.device)
    said = []
    for process, names in devices.items():
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        said.append(f"{process} holds {names[0]}{others}")
    return problem(
        "; ".join(said),
        "wait until it has ended, or end it yourself; its cores are free up to a minute later. "
        "trnbench never ends a process of others",
    )


def neuron_hardware(seen: Inspection) -> Finding | None:
    """Whether native packages meet chips that they do not support."""
    is_here = seen.chips.neuron.is_here or _is_neuron_instance(seen)
    if seen.generation != "native" or not is_here:
        return None
    instance = seen.machine.instance or ""
    is_first = instance.startswith(FIRST_CORES)
    if not instance and seen.chips.neuron.chips:
        is_first = all(chip.logical_core_config is None for chip in seen.chips.neuron.chips)
    if not is_first:
        return None
    return problem(
        f"native torch-neuronx does not support {instance or 'chips of the first generation'}: "
        "there is no supported way to train on it in SDK 2.33",
        "use a machine image of SDK 2.31 or earlier with its XLA packages (torch 2.9), or a trn2",
    )


def logical_cores(seen: Inspection) -> Finding | None:
    """Whether the variables of LNC agree with each other and with the chips."""
    variables = seen.machine.variables
    asked = {name: variables[name] for name in VARIABLES if name in variables}
    here = seen.chips.neuron.logical_core_config
    if not asked or not (seen.chips.neuron.is_here or (seen.inventory and seen.inventory.neuron)):
        return None
    said = join_words([f"{name}={value}" for name, value in asked.items()])
    values = set(asked.values())
    knows_one = bool(seen.chips.neuron.chips) and here is None
    if len(values) > 1:
        wrong = "contradict each other"
    elif not values <= {"1", "2"}:
        wrong = "is neither 1 nor 2"
    elif knows_one and values != {"1"}:
        wrong = "is not possible on these chips, which know only 1"
    elif here is not None and values != {str(here)}:
        wrong = f"is not what the chips are set to: {here}"
    else:
        return ok(f"{said}, as the chips are set")
    return problem(
        f"{said} {wrong}",
        f"`unset {' '.join(asked)}` for the chips' own setting",
    )


def _is_neuron_instance(seen: Inspection) -> bool:
    """Whether the instance type is one with Neuron chips, seen or not."""
    return (seen.machine.instance or "").startswith(("trn", "inf2"))


def devices(seen: Inspection) -> Finding | None:
    """Whether torch can use what is here."""
    if seen.devices is None:
        if seen.devices_reason is None or "torch" not in seen.versions:
            return None  # not asked, or reported already
        return problem(
            f"torch cannot be used: {seen.devices_reason}",
            "import torch in that interpreter to see its error, or name another with "
            "`--python PATH`",
        )
    lacking = [
        f"{device.backend}: {device.note}"
        for device in seen.devices.found
        if not device.supported and device.backend not in BACKENDS
    ]
    if lacking:
        return warning(
            f"torch has what cannot be trained on: {join_words(lacking)}",
            "name another device: `trnbench run --device cpu`",
        )
    backends = [device.backend for device in seen.devices.found if device.supported]
    is_host_alone = bool(backends) and all(backend_of(name).is_host for name in backends)
    if is_host_alone and (seen.chips.neuron.is_here or seen.chips.nvidia.is_here):
        return problem(
            f"torch can use the CPU alone, and there is more here: {describe_chips(seen)}",
            "fix the problems above first; `trnbench run --device cpu` trains on the CPU "
            "all the same",
        )
    return ok(f"torch can use {join_words(backends)}")
