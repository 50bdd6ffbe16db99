"""What doctor says of machines that are not this one."""

from dataclasses import replace

from tests.pure.machine.inspections import (
    H100,
    HOST,
    NATIVE,
    TRN2,
    make_inspection,
    make_inventory,
    trn2_48xlarge,
)
from tests.pure.run.plans import CPU, UNDRIVEN
from trnbench.machine.describe import Devices
from trnbench.machine.network import Network
from trnbench.machine.nvidia import Gpu, Nvidia
from trnbench.reports.inspection import (
    device_rows,
    machine_rows,
    network_rows,
    neuron_rows,
    nvidia_rows,
    package_rows,
    price_rows,
)
from trnbench.units import GIB


def test_a_computer_is_shown_with_its_place_and_its_settings() -> None:
    host = replace(
        HOST, numa_nodes=2, governor="performance", huge_pages=5128, huge_pages_free=5000
    )
    seen = make_inspection(host=host, ec2=trn2_48xlarge(), variables={"NEURON_RT_NUM_CORES": "4"})
    rows = dict(machine_rows(seen))
    assert rows["processor"] == "A Fine CPU, 8 logical CPUs on 4 cores, 2 NUMA nodes"
    assert rows["huge pages"] == "5128 of 2 MiB reserved, 5000 free"
    assert rows["governor"] == "performance"
    assert rows["EC2"] == "trn2.48xlarge, us-east-2c, capacity-block, ami-0example"
    assert rows["variable"] == "NEURON_RT_NUM_CORES=4"


def test_what_is_not_known_of_a_computer_is_said_so() -> None:
    host = replace(HOST, huge_pages=None, cpu_flags=(), physical_cores=None, instance="c7i.large")
    rows = dict(machine_rows(make_inspection(host=host)))
    assert rows["huge pages"] == "not known here"
    assert rows["instructions"] == "none that speed up matmuls"
    assert rows["EC2"] == "c7i.large, place not known"


def test_neuron_chips_are_shown_with_their_software() -> None:
    neuron = replace(TRN2, system_packages={"aws-neuronx-tools": "2.33.38.0"})
    assert neuron_rows(make_inspection(neuron=neuron)) == [
        ("Neuron", "1 chip, 4 logical cores (LNC 2), 96 GiB each"),
        ("driver", "2.31.7.0"),
        ("software", "aws-neuronx-tools 2.33.38.0"),
    ]
    unknown = replace(TRN2, chips=(), driver_version=None)
    assert neuron_rows(make_inspection(neuron=unknown)) == [
        ("Neuron", "1 chip"),
        ("driver", "version not known"),
    ]


def test_gpus_are_shown_with_their_modes() -> None:
    gpu = Gpu(name="NVIDIA H100", memory_bytes=80 * GIB, is_mig=True, is_ecc=False)
    nvidia = replace(H100, gpus=(gpu,), cuda_version="13.0")
    assert nvidia_rows(make_inspection(nvidia=nvidia)) == [
        ("GPU 0", "NVIDIA H100, 80 GiB, MIG, ECC off"),
        ("driver", "580.65.06, CUDA up to 13.0"),
    ]
    assert nvidia_rows(make_inspection(nvidia=Nvidia(pci_devices=8))) == [
        ("NVIDIA", "8 devices on the PCI bus"),
        ("driver", "version not known"),
    ]


def test_packages_are_shown_with_the_generation_and_what_they_add() -> None:
    inventory = replace(
        make_inventory(NATIVE, "native"), entry_points={"torch.backends": ["torch_neuronx"]}
    )
    rows = dict(package_rows(make_inspection(inventory=inventory)))
    assert rows["Neuron SDK"] == "native torch-neuronx: torch's device `neuron`"
    assert rows["adds to torch"] == "torch_neuronx"
    silent = make_inspection(inventory=None, inventory_reason="it hangs")
    assert package_rows(silent) == [("unknown", "it hangs")]


def test_the_network_is_shown() -> None:
    network = Network(efa_devices=("a", "b"), driver_version="2.15", has_provider=True)
    assert network_rows(make_inspection(network=network)) == [
        ("EFA", "2 devices"),
        ("driver", "2.15"),
        ("libfabric", "provider `efa`: offered"),
    ]
    silent = replace(network, has_provider=None, reason="fi_info is not installed")
    assert network_rows(make_inspection(network=silent))[-1][1].endswith("fi_info is not installed")
    other = make_inspection(network=Network(other_rdma_devices=2))
    assert network_rows(other) == [("EFA", "none; 2 other RDMA devices")]


def test_a_price_is_shown_with_option_region_date_and_source() -> None:
    rows = dict(price_rows(make_inspection(ec2=trn2_48xlarge())))
    assert rows["rate"].startswith("$35.76/h for trn2.48xlarge, capacity_block, us-east-2, 2026-")
    assert rows["source"]


def test_devices_are_shown_with_their_notes() -> None:
    seen = make_inspection(devices=Devices((UNDRIVEN, CPU), {}))
    assert device_rows(seen) == [
        (
            "neuron",
            "neuron, 64 of them; this version has no backend for it; not yet run on such a "
            "device by the project",
        ),
        ("cpu", "AMD EPYC"),
    ]
    assert device_rows(make_inspection()) == [("unknown", "torch was not imported")]
