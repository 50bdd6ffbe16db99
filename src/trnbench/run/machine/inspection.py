"""All looks at this machine, side by side: in under a second, and torch is not imported."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from trnbench.prices import PRICE_SOURCES, find_price
from trnbench.prices.base import NoPrice, PriceRequest
from trnbench.run.machine.ec2 import BASE_URL, Ec2, ask_ec2
from trnbench.run.machine.files import ROOT
from trnbench.run.machine.host import Host, look_at_host
from trnbench.run.machine.network import Network, look_at_network
from trnbench.run.machine.neuron import Neuron, look_at_neuron
from trnbench.run.machine.nvidia import Nvidia, look_at_nvidia
from trnbench.run.machine.packages import take_inventory
from trnbench.run.machine.provenance import (
    Accelerators,
    Devices,
    Machine,
    kept_variables,
    make_machine,
)
from trnbench.schema.price import Price
from trnbench.wire import Inventory


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
    python: str,
    today: date,
    *,
    root: Path = ROOT,
    metadata_url: str = BASE_URL,
    environment: Mapping[str, str] = os.environ,
    nvml: Any = None,
) -> Inspection:
    """Look at everything that does not need torch.

    Args:
        python: the interpreter that trains.
        today: the day for which the price is asked.
        root: where `proc`, `sys`, `dev`, `opt` and `var` are.
        metadata_url: where EC2's metadata service is.
        environment: whose variables count.
        nvml: stands in for the module `pynvml`.

    Raises:
        ConfigError: the interpreter cannot be started.
    """
    with ThreadPoolExecutor() as pool:
        inventory = pool.submit(take_inventory, python)
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
        price=price_of(machine, today),
    )


def price_of(machine: Machine, today: date) -> Price | NoPrice:
    """Return what a run on this machine would be priced at, when nobody says otherwise."""
    request = PriceRequest(
        instance=machine.instance,
        option=machine.rent_option,
        region=machine.region,
        zone=machine.spot_zone,
        is_this_machine=True,
        instance_reason=machine.instance_reason,
        today=today,
    )
    return find_price(request, PRICE_SOURCES)
