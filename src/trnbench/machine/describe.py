"""What a run writes down of its machine: all that decides speed, nothing that tells whose it is.

No host name, user, address, account or path; no process of anybody.
"""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from trnbench.machine.ec2 import BASE_URL, Ec2, ask_ec2, rent_option
from trnbench.machine.host import Host, look_at_host
from trnbench.machine.look import ROOT
from trnbench.machine.network import Network, look_at_network
from trnbench.machine.neuron import Neuron, look_at_neuron
from trnbench.machine.nvidia import Nvidia, look_at_nvidia
from trnbench.prices import find_price, request_of
from trnbench.prices.base import NoPrice
from trnbench.redact import scrub
from trnbench.schema.price import Price
from trnbench.schema.rent import RentOption
from trnbench.wire import FoundDevice, Inventory

KEPT_VARIABLES = (
    "COLLECTIVE_", "CUDA_", "FI_", "GOMP_", "HIP_", "HSA_", "KMP_", "LOCAL_", "MKL_", "NCCL_",
    "NEURON_", "NKI_", "OMP_", "PJRT_", "PYTORCH_", "RANK", "ROCR_", "TORCH", "WORLD_SIZE", "XLA_",
)  # fmt: skip
"""Prefixes of the environment variables that decide how training runs; no other is recorded."""

_TELLING_WORDS = ("ADDR", "COMM_ID", "HOST", "KEY", "PASSWORD", "SECRET", "TOKEN", "URL")
"""In the name of a variable: its value is a secret, or names a machine."""

REMOVED = "(removed)"

EC2_SECONDS = 0.3
"""A metadata service that is there answers in milliseconds; a run waits no longer than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerators:
    """Chips that are plugged in, and the network between machines."""

    neuron: Neuron
    nvidia: Nvidia
    network: Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine that a run is made on."""

    operating_system: str
    architecture: str
    processor: str
    logical_cpus: int
    memory_bytes: int
    instance: str | None
    """EC2's instance type, where its metadata service or the firmware says it."""
    variables: dict[str, str]
    physical_cores: int | None = None
    cpu_flags: tuple[str, ...] = ()
    """Instruction sets that a matrix product is several times faster with."""
    numa_nodes: int | None = None
    governor: str | None = None
    huge_pages: int | None = None
    """Reserved."""
    huge_page_bytes: int | None = None
    region: str | None = None
    zone: str | None = None
    zone_id: str | None = None
    life_cycle: str | None = None
    image: str | None = None
    instance_reason: str | None = None
    """Why EC2's metadata service did not tell all, where it was asked."""
    neuron: dict[str, Any] | None = None
    nvidia: dict[str, Any] | None = None
    efa: dict[str, Any] | None = None

    @property
    def rent_option(self) -> RentOption | None:
        """How the instance is rented, where its life cycle leaves no doubt."""
        return rent_option(self.life_cycle)

    @property
    def spot_zone(self) -> str | None:
        """The zone whose spot rate is this instance's; None where it is not rented so."""
        return (self.zone_id or self.zone) if self.rent_option == "spot" else None

    def with_accelerators(self, seen: Accelerators) -> "Machine":
        """Return it with what a result keeps of its accelerators and its network."""
        return replace(
            self,
            instance=self.instance or seen.neuron.instance,
            neuron=seen.neuron.kept(),
            nvidia=seen.nvidia.kept(),
            efa=seen.network.kept(),
        )

    def to_json(self) -> dict[str, Any]:
        """Return what is kept of it."""
        return {**asdict(self), "cpu_flags": list(self.cpu_flags)}


@dataclass(frozen=True, slots=True)
class Devices:
    """What the training interpreter can train on, best first."""

    found: tuple[FoundDevice, ...]
    versions: dict[str, str]


def describe_machine(root: Path = ROOT, metadata_url: str = BASE_URL) -> Machine:
    """Look at this machine as far as planning needs it: in milliseconds, and at no accelerator.

    EC2's metadata service is asked only where the firmware says that this is EC2.
    """
    host = look_at_host(root)
    ec2 = ask_ec2(metadata_url, EC2_SECONDS) if host.is_ec2 else Ec2()
    return make_machine(host, ec2, kept_variables(os.environ))


def look_at_accelerators(root: Path = ROOT) -> Accelerators:
    """Look at what is plugged in; it may take its time, and can be done beside other things."""
    return Accelerators(
        neuron=look_at_neuron(root), nvidia=look_at_nvidia(root), network=look_at_network(root)
    )


def make_machine(host: Host, ec2: Ec2, variables: dict[str, str]) -> Machine:
    """Put together what is kept."""
    return Machine(
        operating_system=host.operating_system,
        architecture=host.architecture,
        processor=host.processor,
        logical_cpus=host.logical_cpus,
        physical_cores=host.physical_cores,
        memory_bytes=host.memory_bytes,
        cpu_flags=host.cpu_flags,
        numa_nodes=host.numa_nodes,
        governor=host.governor,
        huge_pages=host.huge_pages,
        huge_page_bytes=host.huge_page_bytes,
        instance=ec2.instance or host.instance,
        region=ec2.region,
        zone=ec2.zone,
        zone_id=ec2.zone_id,
        instance_reason=ec2.reason,
        life_cycle=ec2.life_cycle,
        image=ec2.image,
        variables=variables,
    )


def kept_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Keep the variables that decide how training runs, without what tells whose machine it is."""
    return untelling(
        {name: value for name, value in environment.items() if name.startswith(KEPT_VARIABLES)}
    )


def untelling(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables in order, the values that tell whose machine it is removed."""
    kept = {}
    for name, value in sorted(variables.items()):
        is_telling = "/" in value or any(word in name for word in _TELLING_WORDS)
        kept[name] = REMOVED if is_telling else scrub(value)
    return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Everything that was seen of a machine and of the interpreter that trains on it."""

    host: Host
    ec2: Ec2
    neuron: Neuron
    nvidia: Nvidia
    network: Network
    inventory: Inventory | None
    inventory_reason: str
    """Why there is none."""
    machine: Machine
    """What a run keeps of all this."""
    price: Price | NoPrice
    devices: Devices | None = None
    """What torch can train on; None where it was not asked, or could not say."""
    devices_reason: str | None = None
    """Why it could not."""


def inspect(
    take_inventory: Callable[[], tuple[Inventory | None, str]],
    today: date,
    *,
    root: Path = ROOT,
    metadata_url: str = BASE_URL,
    environment: Mapping[str, str] = os.environ,
    nvml: Any = None,
) -> Inspection:
    """Look at everything that does not need torch.

    Args:
        take_inventory: returns what the interpreter that trains has installed, or None and why.
        today: the day for which the price is asked.
        root: where `proc`, `sys`, `dev`, `opt` and `var` are.
        metadata_url: where EC2's metadata service is.
        environment: whose variables count.
        nvml: stands in for the module `pynvml`.

    Raises:
        ConfigError: the interpreter cannot be started.
    """
    with ThreadPoolExecutor() as pool:
        inventory = pool.submit(take_inventory)
        neuron = pool.submit(look_at_neuron, root)
        nvidia = pool.submit(look_at_nvidia, root, nvml)
        network = pool.submit(look_at_network, root)
        host = look_at_host(root)
        ec2 = ask_ec2(metadata_url) if host.is_ec2 else Ec2()
        seen = Accelerators(
            neuron=neuron.result(), nvidia=nvidia.result(), network=network.result()
        )
        found, reason = inventory.result()
    machine = make_machine(host, ec2, kept_variables(environment)).with_accelerators(seen)
    return Inspection(
        host=host,
        ec2=ec2,
        neuron=seen.neuron,
        nvidia=seen.nvidia,
        network=seen.network,
        inventory=found,
        inventory_reason=reason,
        machine=machine,
        price=find_price(request_of(machine, today)),
    )
