"""Which device a case is planned on: its kind, its chip, its part of it, and what is paid for."""

import math

from trnbench.catalog.accelerators import Accelerator, accelerator_of_device
from trnbench.catalog.backends import BACKENDS, Backend, backend_of
from trnbench.catalog.instances import Instance, instances, nearest_instances
from trnbench.config.load import Conflict
from trnbench.config.model import Config
from trnbench.machine.describe import Devices, Machine
from trnbench.prices.base import PriceRequest
from trnbench.protocol.records import FoundDevice
from trnbench.schema.plan import PlannedDevice, PlannedParallel

LOGICAL_CORES = "NEURON_LOGICAL_NC_CONFIG"


def asked_backend(config: Config) -> str:
    """Return the kind of device that a config names, without its index."""
    return config.device.partition(":")[0]


def expected_backend(name: str, accelerator: Accelerator | None) -> Backend:
    """Return a backend's row; of `auto`, that of what is likely to drive the chip."""
    if name != "auto":
        return backend_of(name)
    for row in BACKENDS.values():
        if row.is_host if accelerator is None else accelerator.vendor in row.vendors:
            return row
    return backend_of(name)


def asked_index(config: Config) -> int | None:
    """Return the index of the device that a config names, if it names one."""
    _, _, index = config.device.partition(":")
    return int(index) if index else None


def choose_device(config: Config, devices: Devices | None) -> FoundDevice | None:
    """Return the device that the case will have: the one asked for, else the best one here."""
    found = devices.found if devices else ()
    for device in found:
        if asked_backend(config) in ("auto", device.backend):
            return device
    return None


def choose_instance(config: Config, machine: Machine) -> Instance | None:
    """Return what is known of the instance that the config names, or that this machine is."""
    name = machine.instance if config.price.instance == "auto" else config.price.instance
    return instances().get(name) if name else None


def _check_auto(config: Config, machine: Machine) -> None:
    """Refuse `auto` where it was written and cannot be kept; left out, it is no more than a try."""
    is_written = "instance" in config.price.model_fields_set
    if not is_written or machine.instance is not None or config.price.usd_per_hour is not None:
        return
    why = machine.ec2.reason or "its firmware does not say that it is an EC2 instance"
    raise Conflict(
        "price.instance",
        f"auto: this machine does not tell what it is rented as: {why}",
        hint="name the type, e.g. `price: {instance: trn2.48xlarge, region: us-east-2}`, or give "
        "`usd_per_hour`; a container needs a metadata hop limit of 2 "
        "(`aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2`)",
    )


def check_instance(
    config: Config, instance: Instance | None, backend: str, machine: Machine, *, is_priced: bool
) -> None:
    """Refuse a named instance that is not known, or that is not what the case trains on."""
    name = config.price.instance
    if name == "auto":
        _check_auto(config, machine)
        return
    if instance is None and not is_priced:
        near = nearest_instances(name)
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        raise Conflict(
            "price.instance",
            f"{name!r} is in no table",
            hint=f"{meant}`trnbench prices` lists them; or add `usd_per_hour`, your own rate",
        )
    if backend_of(backend).is_host and instance is not None and instance.accelerator is not None:
        raise Conflict(
            "price.instance",
            f"{name} is paid for its {instance.accelerator.name} chips, and this "
            "case trains on the CPU",
            hint="name the instance that this CPU is in, or train on its accelerator (`device`)",
            others=["device"],
        )


def check_threads(config: Config, found: FoundDevice | None, machine: Machine) -> None:
    """Refuse more threads than there are processors to run them: that would be measured instead.

    A plan that was made without looking may be for a machine that is somewhere else.
    """
    asked = config.workload.threads
    is_here = found is not None and backend_of(found.backend).is_host
    if not is_here or asked is None or asked <= machine.host.logical_cpus:
        return
    raise Conflict(
        "workload.threads",
        f"{asked} is more than the {machine.host.logical_cpus} processors of this machine",
        hint=f"use 1 to {machine.host.logical_cpus}, or leave it out for torch's choice",
        others=["device"],
    )


def choose_accelerator(found: FoundDevice | None, instance: Instance | None) -> Accelerator | None:
    """Identify the chip: by what the driver calls it, else by what is rented."""
    if found is not None:
        if backend_of(found.backend).is_host:
            return None
        by_name = accelerator_of_device(found.device_name)
        if by_name is not None:
            return by_name
    return instance.accelerator if instance else None


def _devices_per_chip(accelerator: Accelerator, machine: Machine) -> int:
    """Return the devices that torch sees for one chip: fewer, larger ones where cores are paired.

    Source: AWS Neuron documentation, logical-neuroncore-config (2.32): one physical core, or two,
    make a logical one; the variable says which, and two is the default from trn2 on.
    """
    if machine.variables.get(LOGICAL_CORES) == "1" and accelerator.cores_per_chip is not None:
        return accelerator.cores_per_chip
    return accelerator.devices_per_chip


def plan_device(
    backend: str,
    accelerator: Accelerator | None,
    instance: Instance | None,
    parallel: PlannedParallel,
    machine: Machine,
    request: PriceRequest,
) -> PlannedDevice:
    """Work out how many devices and chips the job has, and how many are paid for."""
    name, per_chip, used, billed, rented = None, 1, 1, 1, 1
    memory: float | None = machine.host.memory_bytes if backend_of(backend).is_host else None
    if accelerator is not None:
        name, per_chip = accelerator.name, _devices_per_chip(accelerator, machine)
        used = billed = math.ceil(parallel.world_size / per_chip)
        if instance and instance.accelerator == accelerator:
            rented = math.ceil(used / instance.chips)
            billed = rented * instance.chips  # what is reserved is paid for, used or not
        whole = accelerator.memory_bytes
        memory = None if whole is None else whole / per_chip
    return PlannedDevice(
        backend=backend,
        accelerator=name,
        instance=request.instance,
        is_instance_recognised=request.is_this_machine,
        devices_used=parallel.world_size,
        devices_per_chip=per_chip,
        chips_used=used,
        chips_billed=billed,
        instances_billed=rented,
        memory_bytes=memory,
    )
