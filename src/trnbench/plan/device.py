"""Which device a case is planned for, which part of it the job drives, and what is billed."""

import math
from dataclasses import dataclass

from trnbench.catalog.accelerators import Accelerator, accelerator_of_device
from trnbench.catalog.backends import BACKENDS, Backend, backend_of
from trnbench.catalog.instances import Instance, hint_at_instances, instances
from trnbench.config.load import Conflict
from trnbench.config.model import Config
from trnbench.errors import UnavailableError
from trnbench.machine.describe import Devices, Machine
from trnbench.prices.base import PriceRequest
from trnbench.protocol.records import FoundDevice
from trnbench.schema.plan import PlannedDevice, PlannedParallel


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a case is planned for, as far as it is known."""

    backend: str
    """`auto` where no device was looked for."""
    found: FoundDevice | None = None
    """None where no device was looked for, or the one asked for is not here."""
    instance: Instance | None = None
    accelerator: Accelerator | None = None
    """None for a processor and for an unknown chip."""
    nodes: int = 1
    """Machines that the job is on."""

    @property
    def row(self) -> Backend:
        """What is known of the backend."""
        return backend_of(self.backend)

    @property
    def likely_row(self) -> Backend:
        """The same; for `auto`, the row of the best backend that drives the chip."""
        chip = self.accelerator
        for row in BACKENDS.values() if self.backend == "auto" else ():
            if row.is_host if chip is None else chip.vendor in row.vendors:
                return row
        return self.row

    @property
    def fp8_lack(self) -> str | None:
        """Why torch has no fp8 matmuls on it; None where it has, or may have."""
        row, chip = self.likely_row, self.accelerator
        if chip is not None and row.fp8_lack is not None:
            return f"{chip.name} {row.fp8_lack}"
        if not row.has_fp8:
            name = chip.name if chip is not None and row.name not in BACKENDS else row.name
            return f"{name} has no fp8 matmuls that torch supports, only NVIDIA's GPUs from Ada on"
        if chip is not None and chip.fp8_flops_per_second is None:
            return f"no fp8 peak of {chip.name} is published"
        return None


def choose_target(config: Config, devices: Devices | None, machine: Machine) -> Target:
    """Find the device that the config asks for, else the best one here, its chip and its instance.

    The driver's name for the device identifies the chip, else the instance does.
    """
    backend = config.device.kind
    here = devices.found if devices else ()
    found = next((each for each in here if backend in ("auto", each.backend)), None)
    rented = machine.instance if config.price.instance == "auto" else config.price.instance
    instance = instances().get(rented) if rented else None
    accelerator = instance.accelerator if instance else None
    if found is not None:
        backend = found.backend
        named = accelerator_of_device(found.device_name)
        accelerator = None if backend_of(backend).is_host else named or accelerator
    there = devices.nodes if devices else 1
    asked = config.parallel.nodes
    if devices is not None and asked is not None and asked > there:
        raise UnavailableError(
            f"parallel.nodes: {asked} asked for, and "
            + (f"this allocation has {there}" if there > 1 else "this machine is in no allocation"),
            hint="start trnbench on as many machines, e.g. by `srun --nodes="
            f"{asked} --ntasks-per-node=1`, or ask for at most {there}",
        )
    return Target(
        backend=backend,
        found=found,
        instance=instance,
        accelerator=accelerator,
        nodes=asked or there,
    )


def check_target(config: Config, target: Target, machine: Machine) -> None:
    """Refuse fp8 where torch has none, and more threads than this machine has processors.

    A plan that was made without looking at devices may be for another machine.
    """
    if config.workload.precision == "fp8" and target.fp8_lack is not None:
        raise Conflict(
            "workload.precision",
            f"fp8 cannot be used: {target.fp8_lack}",
            hint="use bf16",
            others=["device"],
        )
    threads, here = config.workload.threads or 0, machine.host.logical_cpus
    if target.found is not None and target.row.is_host and threads > here:
        raise Conflict(
            "workload.threads",
            f"{threads} is more than the {here} processors of this machine",
            hint=f"use 1 to {here}, or leave it out for torch's choice",
            others=["device"],
        )


def check_instance(config: Config, target: Target, machine: Machine, *, is_priced: bool) -> None:
    """Refuse a named instance that is not known, or that is not what the case trains on."""
    name, instance = config.price.instance, target.instance
    if name == "auto":
        _check_auto(config, machine)
        return
    if instance is None and not is_priced:
        raise Conflict(
            "price.instance",
            f"{name!r} is not in the table of instances",
            hint=hint_at_instances(
                name, "`trnbench prices` lists them; or add `usd_per_hour`, your own rate"
            ),
        )
    if target.row.is_host and instance is not None and instance.accelerator is not None:
        raise Conflict(
            "price.instance",
            f"{name} is paid for its {instance.accelerator.name} chips, and this case trains on "
            "the CPU",
            hint="name the instance that this CPU is in, or train on its accelerator (`device`)",
            others=["device"],
        )


def _check_auto(config: Config, machine: Machine) -> None:
    """Refuse `auto` where the user wrote it and this machine's instance type is not known."""
    is_written = "instance" in config.price.model_fields_set
    if not is_written or machine.instance is not None or config.price.usd_per_hour is not None:
        return
    why = machine.ec2.reason or "its firmware does not say that it is an EC2 instance"
    raise Conflict(
        "price.instance",
        f"auto: the instance type of this machine is not known: {why}",
        hint="name the type, e.g. `price: {instance: trn2.48xlarge, region: us-east-2}`, or give "
        "`usd_per_hour`; a container needs a metadata hop limit of 2 "
        "(`aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2`)",
    )


def plan_device(
    target: Target, parallel: PlannedParallel, machine: Machine, request: PriceRequest
) -> PlannedDevice:
    """Work out how many devices and chips the job has, and how many are billed."""
    chip, instance, nodes = target.accelerator, target.instance, parallel.nodes
    ranks = parallel.ranks_per_node
    per_chip, used, billed, rented = 1, 1, 1, 1
    # Ranks on a processor share the machine's memory.
    memory: float | None = machine.host.memory_bytes / ranks if target.row.is_host else None
    if chip is not None:
        per_chip = devices_per_chip(chip, machine)
        used = billed = math.ceil(ranks / per_chip)
        if instance and instance.accelerator == chip:
            rented = math.ceil(used / instance.chips)
            billed = rented * instance.chips
        elif target.found is not None:
            # No instance type says how many chips are paid for: those of this machine are.
            billed = max(used, math.ceil(target.found.device_count / per_chip))
        memory = _memory_of_device(chip, per_chip, ranks)
    return PlannedDevice(
        backend=target.backend,
        accelerator=chip.name if chip else None,
        instance=request.instance,
        is_instance_recognised=request.is_this_machine,
        devices_used=parallel.world_size,
        devices_per_chip=per_chip,
        chips_used=nodes * used,
        chips_billed=nodes * billed,
        instances_billed=nodes * rented,
        memory_bytes=memory,
    )


def devices_per_chip(accelerator: Accelerator, machine: Machine) -> int:
    """Return the devices that torch sees for one chip.

    Source: AWS Neuron documentation, logical-neuroncore-config (2.32): one physical core or two
    make a logical one; two is the default from trn2 on.
    """
    if machine.logical_core_config == 1 and accelerator.cores_per_chip is not None:
        return accelerator.cores_per_chip
    return accelerator.devices_per_chip


def _memory_of_device(chip: Accelerator, per_chip: int, ranks: int) -> float | None:
    """Return the memory that one rank has to itself.

    A chip has a bank of memory for each device at the default LNC. At LNC 1 two cores see the same
    bank: one rank alone has all of it, two neighbours share it.
    Source: AWS Neuron documentation, about-neuron/arch/neuron-hardware/trainium2 (2.32).
    """
    if chip.memory_bytes is None:
        return None
    sharing = max(1, min(per_chip // chip.devices_per_chip, ranks))
    return chip.memory_bytes / chip.devices_per_chip / sharing
