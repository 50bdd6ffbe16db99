"""What a run writes down of its machine: all that decides speed, nothing that identifies its owner.

No host name, user, address, account or path; no process of anybody.
"""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from trnbench.machine.ec2 import BASE_URL, SECONDS, Ec2, ask_ec2
from trnbench.machine.host import Host, look_at_host
from trnbench.machine.logical_cores import LogicalCores, look_at_logical_cores
from trnbench.machine.look import ROOT
from trnbench.machine.network import Network, look_at_network
from trnbench.machine.neuron import Neuron, look_at_neuron
from trnbench.machine.nvidia import Nvidia, look_at_nvidia
from trnbench.prices import find_price
from trnbench.prices.base import NoPrice, PriceRequest
from trnbench.protocol.records import FoundDevice, Inventory, NeuronGeneration
from trnbench.redact import redact
from trnbench.schema.price import Price

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

    neuron: Neuron = field(default_factory=Neuron)
    nvidia: Nvidia = field(default_factory=Nvidia)
    network: Network = field(default_factory=Network)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine that a run is made on."""

    host: Host
    ec2: Ec2 = field(default_factory=Ec2)
    variables: dict[str, str]
    """Those that decide how training runs."""
    chips: Accelerators = field(default_factory=Accelerators)
    """None of any kind until they were looked at."""
    logical_cores: LogicalCores = field(default_factory=LogicalCores)
    """What was set for LNC."""

    @property
    def logical_core_config(self) -> int | None:
        """Physical NeuronCores in a logical one; None where nothing says it.

        A variable wins over what the chips are set to, which `neuron-ls` says, else the file.
        """
        asked = self.logical_cores
        return asked.by_variable or self.chips.neuron.logical_core_config or asked.by_file

    @property
    def instance(self) -> str | None:
        """EC2's instance type, where its metadata service, the firmware or `neuron-ls` says it."""
        return self.ec2.instance or self.host.instance or self.chips.neuron.instance

    def price_request(self, today: date) -> PriceRequest:
        """Return the request for this machine's rate that holds on a day."""
        option = self.ec2.rent_option
        return PriceRequest(
            instance=self.instance,
            option=option,
            region=self.ec2.region,
            zone=(self.ec2.zone_id or self.ec2.zone) if option == "spot" else None,
            is_this_machine=True,
            instance_reason=self.ec2.reason,
            today=today,
        )

    def to_json(self) -> dict[str, Any]:
        """Return what a result keeps of it."""
        kept = {**asdict(self.host), **asdict(self.ec2), "variables": self.variables}
        for name in ("huge_pages_free", "is_ec2", "is_container", "reason"):
            del kept[name]
        return {
            **kept,
            "cpu_flags": list(self.host.cpu_flags),
            "instance": self.instance,
            "instance_reason": self.ec2.reason,
            "neuron": self.chips.neuron.kept(),
            "nvidia": self.chips.nvidia.kept(),
            "efa": self.chips.network.kept(),
        }


@dataclass(frozen=True, slots=True)
class Devices:
    """What the training interpreter can train on, best first."""

    found: tuple[FoundDevice, ...]
    versions: dict[str, str]
    nodes: int = 1
    """Machines that have the same, of the allocation that this process leads."""


def describe_machine(
    root: Path = ROOT,
    metadata_url: str = BASE_URL,
    metadata_seconds: float = EC2_SECONDS,
    environment: Mapping[str, str] = os.environ,
) -> Machine:
    """Look at this machine as far as planning needs it: in milliseconds, and at no accelerator.

    EC2's metadata service is asked only where the firmware says that this is EC2.
    """
    host = look_at_host(root)
    ec2 = ask_ec2(metadata_url, metadata_seconds) if host.is_ec2 else Ec2()
    return Machine(
        host=host,
        ec2=ec2,
        variables=kept_variables(environment),
        logical_cores=look_at_logical_cores(environment, root),
    )


def look_at_accelerators(root: Path = ROOT, nvml: Any = None) -> Accelerators:
    """Look at what is plugged in, which may take seconds; `nvml` stands in for `pynvml`."""
    with ThreadPoolExecutor() as pool:
        neuron = pool.submit(look_at_neuron, root)
        network = pool.submit(look_at_network, root)
        nvidia = look_at_nvidia(root, nvml)
    return Accelerators(neuron=neuron.result(), nvidia=nvidia, network=network.result())


def kept_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Keep the variables that decide how training runs, without what identifies its owner."""
    return redact_variables(
        {name: value for name, value in environment.items() if name.startswith(KEPT_VARIABLES)}
    )


def redact_variables(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the variables in order, the values that identify the machine's owner removed."""
    kept = {}
    for name, value in sorted(variables.items()):
        is_telling = "/" in value or any(word in name for word in _TELLING_WORDS)
        kept[name] = REMOVED if is_telling else redact(value)
    return kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """Everything that was seen of a machine and of the interpreter that trains on it."""

    machine: Machine
    inventory: Inventory | None
    inventory_reason: str
    """Why there is none."""
    price: Price | NoPrice
    devices: Devices | None = None
    """What torch can train on; None where it was not asked, or could not say."""
    devices_reason: str | None = None
    """Why it could not."""

    @property
    def host(self) -> Host:
        """The computer itself."""
        return self.machine.host

    @property
    def versions(self) -> Mapping[str, str]:
        """Of the packages that the interpreter has; none where it could not say."""
        return self.inventory.versions if self.inventory else {}

    @property
    def generation(self) -> NeuronGeneration | None:
        """Of the Neuron packages; None where there are none, or it could not say."""
        return self.inventory.neuron if self.inventory else None

    @property
    def chips(self) -> Accelerators:
        """What is plugged in."""
        return self.machine.chips


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
        chips = pool.submit(look_at_accelerators, root, nvml)
        machine = describe_machine(root, metadata_url, SECONDS, environment)
    machine = replace(machine, chips=chips.result())
    found, reason = inventory.result()
    return Inspection(
        machine=machine,
        inventory=found,
        inventory_reason=reason,
        price=find_price(machine.price_request(today)),
    )
