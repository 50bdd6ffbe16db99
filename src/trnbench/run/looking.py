"""What this machine has to train on, before anything is planned; and what nodes must have alike."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from trnbench.machine.describe import Devices, Machine, describe_machine, look_at_accelerators
from trnbench.run import questions
from trnbench.units import GIB


def look_around(
    python: str, machine: Machine | None = None, *, is_dry: bool = False, is_quiet: bool = False
) -> tuple[Machine, Devices]:
    """Look at the chips, and then probe for devices, which might else show the probe's own process.

    In a dry run torch is imported only if the answer depends on it.
    """
    machine = machine or describe_machine()
    devices = None
    with ThreadPoolExecutor(max_workers=1) as beside:
        seen = beside.submit(look_at_accelerators)
        inventory = questions.take_inventory(python)
        chips = seen.result()
        if is_dry:
            devices = questions.processor_alone(inventory, chips)
        if devices is None:
            # torch takes seconds to import, and a vendor's runtime up to a minute to begin.
            if not is_quiet:
                sys.stderr.write("looking for devices ...\n")
                sys.stderr.flush()
            devices = questions.probe_devices(python, inventory=inventory)
    return replace(machine, chips=chips), questions.with_chips(devices, chips.neuron)


DECIDING = ("FI_", "NCCL_", "NEURON_")
"""Prefixes of variables that decide how ranks of several nodes work together."""

OF_ONE_NODE = ("NEURON_RT_ROOT_COMM_ID", "NEURON_RT_ULTRASERVER_NODE_ID")


def facts_of(machine: Machine, devices: Devices) -> dict[str, str]:
    """Return what the nodes of a job must have alike, by its name; nothing that names a machine."""
    host, neuron, nvidia = machine.host, machine.chips.neuron, machine.chips.nvidia
    caps = {f"{gpu.power_limit_watts:g} W" for gpu in nvidia.gpus if gpu.power_limit_watts}
    clocks = {
        f"{gpu.clock_limit_hertz / 1e6:g} MHz" for gpu in nvidia.gpus if gpu.clock_limit_hertz
    }
    found = {
        "instance type": machine.instance,
        "processor": host.processor,
        "logical processors": host.logical_cpus,
        "memory": f"{host.memory_bytes / GIB:.0f} GiB",
        "frequency governor": host.governor,
        "kernel": host.operating_system,
        "LNC": machine.logical_core_config,
        "Neuron driver": neuron.driver_version,
        **neuron.system_packages,
        "NVIDIA driver": nvidia.driver_version,
        "power caps": ", ".join(sorted(caps)),
        "clock limits": ", ".join(sorted(clocks)),
        "EFA driver": machine.chips.network.driver_version,
        "EFA devices": len(machine.chips.network.efa_devices),
        **{f"{d.backend} devices": f"{d.device_count} x {d.device_name}" for d in devices.found},
        **devices.versions,
        **{
            name: value
            for name, value in machine.variables.items()
            if name.startswith(DECIDING) and name not in OF_ONE_NODE
        },
    }
    return {name: str(value) for name, value in found.items() if value}
