"""Inspections put together by hand, for the findings that they lead to."""

from dataclasses import replace
from datetime import date
from typing import Any

from trnbench.machine.describe import Accelerators, Inspection, Machine
from trnbench.machine.ec2 import Ec2
from trnbench.machine.host import Host
from trnbench.machine.network import Network
from trnbench.machine.neuron import Neuron, NeuronChip
from trnbench.machine.nvidia import Gpu, Nvidia
from trnbench.prices import find_price
from trnbench.protocol.orders import PROTOCOL_VERSION
from trnbench.protocol.records import FoundDevice, Inventory, NeuronGeneration
from trnbench.units import GIB

TODAY = date(2026, 8, 1)

HOST = Host(
    operating_system="Linux 6.8",
    architecture="x86_64",
    processor="A Fine CPU",
    logical_cpus=8,
    physical_cores=4,
    memory_bytes=64 * GIB,
    cpu_flags=("avx512f",),
    numa_nodes=1,
    governor=None,
    huge_pages=0,
    huge_pages_free=0,
    huge_page_bytes=2 * 2**20,
    is_ec2=False,
    instance=None,
)

TRN2_CHIP = NeuronChip(
    index=0,
    logical_cores=4,
    logical_core_config=2,
    memory_bytes=96 * GIB,
    numa_node=0,
    connected_to=(),
)
TRN2 = Neuron(chips=(TRN2_CHIP,), device_files=1, is_driver_loaded=True, driver_version="2.31.7.0")
TRN1 = replace(TRN2, chips=(replace(TRN2_CHIP, logical_core_config=None, logical_cores=2),))
H100 = Nvidia(
    gpus=(Gpu(name="NVIDIA H100 80GB HBM3"),),
    pci_devices=1,
    is_driver_loaded=True,
    driver_version="580.65.06",
)

NATIVE = {
    "torch": "2.14.0+cpu",
    "torch-neuronx": "2.14.3.0.1",
    "neuronx-cc": "2.28.7631.0",
    "torch-xla": "2.11.0",
    "libneuronxla": "3.0.10135.0",
}
"""A native environment carries two packages of the XLA stack too."""
XLA = {
    "torch": "2.9.0",
    "torch-neuronx": "2.9.0.2.15.32035",
    "neuronx-cc": "2.27.5334.0",
    "torch-xla": "2.9.0",
}


PROCESSOR = FoundDevice(backend="cpu", device_name="a processor", device_count=1, proven=True)


def make_inventory(
    versions: dict[str, str],
    neuron: NeuronGeneration | None = None,
    python: str = "3.12.3",
) -> Inventory:
    return Inventory(
        at_seconds=0.01,
        wire_version=PROTOCOL_VERSION,
        python=python,
        versions=versions,
        neuron=neuron,
        processor=PROCESSOR,
        entry_points={"torch.backends": [], "torch_dynamo_backends": []},
    )


PLAIN = make_inventory({"torch": "2.13.0+cpu"})


def make_inspection(
    *,
    host: Host = HOST,
    ec2: Ec2 | None = None,
    neuron: Neuron | None = None,
    nvidia: Nvidia | None = None,
    network: Network | None = None,
    inventory: Inventory | None = PLAIN,
    variables: dict[str, str] | None = None,
    **more: Any,
) -> Inspection:
    """Return an inspection of a machine with nothing but what is given."""
    if ec2 is not None:
        host = replace(host, is_ec2=True)
    chips = Accelerators(
        neuron=neuron or Neuron(), nvidia=nvidia or Nvidia(), network=network or Network()
    )
    machine = Machine(host=host, ec2=ec2 or Ec2(), variables=variables or {}, chips=chips)
    return Inspection(
        machine=machine,
        inventory=inventory,
        inventory_reason=more.pop("inventory_reason", ""),
        price=find_price(machine.price_request(TODAY)),
        **more,
    )


def trn2_48xlarge() -> Ec2:
    return Ec2(
        instance="trn2.48xlarge",
        region="us-east-2",
        zone="us-east-2c",
        life_cycle="capacity-block",
        image="ami-0example",
    )
