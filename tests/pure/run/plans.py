"""Cases, machines and plans that the tests of the parent share."""

from collections.abc import Mapping
from datetime import date

from tests.configs import parse_config
from trnbench.config.load import CaseConfig, Conflict
from trnbench.machine.describe import Devices, Machine
from trnbench.machine.host import Host
from trnbench.plan.make import make_plan
from trnbench.protocol.records import FoundDevice
from trnbench.schema.plan import Plan
from trnbench.units import GIB

SUITE = """\
name: a suite
model: tiny-llama
workload: {sequence_length: 128, global_batch_size: 8}
"""
TODAY = date(2026, 8, 1)

CPU = FoundDevice(backend="cpu", device_name="AMD EPYC", device_count=1, proven=True)
H100 = FoundDevice(
    backend="cuda", device_name="NVIDIA H100 80GB HBM3", device_count=8, proven=False
)
TRN2 = FoundDevice(backend="neuron", device_name="trn2", device_count=4, proven=False)
UNDRIVEN = FoundDevice(
    backend="neuron",
    device_name="neuron",
    device_count=64,
    proven=False,
    supported=False,
    note="this version has no backend for it",
)


def make_machine(instance: str | None = None, *, has_chips: bool = False) -> Machine:
    """Return a machine of 16 GiB, or of 2 TiB for chips; on EC2 if an instance type is given."""
    is_large = has_chips or (instance or "").startswith(("p", "trn"))
    host = Host(
        operating_system="Linux 6.1",
        architecture="x86_64",
        processor="AMD EPYC",
        logical_cpus=4,
        physical_cores=None,
        memory_bytes=2048 * GIB if is_large else 16 * GIB,
        cpu_flags=(),
        numa_nodes=None,
        governor=None,
        huge_pages=None,
        huge_pages_free=None,
        huge_page_bytes=None,
        is_ec2=instance is not None,
        instance=instance,
    )
    return Machine(host=host, variables={})


def make_case(overrides: Mapping[str, str] | None = None, text: str = SUITE) -> CaseConfig:
    """Return the one case of a suite, with keys set as `--set` does."""
    (case,) = parse_config(text, "suite.yaml", overrides)
    return case


def plan_case(
    overrides: Mapping[str, str] | None = None,
    *,
    found: tuple[FoundDevice, ...] | None = (CPU,),
    machine: Machine | None = None,
    text: str = SUITE,
) -> Plan:
    """Plan the one case of a suite; `found=None` plans without looking for devices."""
    return make_plan(
        make_case(overrides, text),
        machine=machine
        or make_machine(has_chips=any(each.backend != "cpu" for each in found or ())),
        devices=None if found is None else Devices(found, {"torch": "2.13.0"}),
        today=TODAY,
    )


def conflict_of(
    overrides: Mapping[str, str],
    *,
    found: tuple[FoundDevice, ...] | None = (CPU,),
    machine: Machine | None = None,
) -> Conflict:
    """Return the conflict that planning must end in."""
    try:
        plan_case(overrides, found=found, machine=machine)
    except Conflict as conflict:
        return conflict
    raise AssertionError(f"no conflict was found in {overrides}")
