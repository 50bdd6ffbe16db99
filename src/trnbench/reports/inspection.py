"""What `doctor` saw of a machine and found wrong with it, as a report."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from trnbench import __version__
from trnbench.machine.describe import Inspection
from trnbench.machine.findings import Finding
from trnbench.reports.document import Document, Facts, Heading, Lines, Page, Part, Report, rows_at
from trnbench.reports.document import Rows as TableRows
from trnbench.schema.price import Price
from trnbench.units import say_bytes, say_usd


class Diagnosis(NamedTuple):
    """A machine and what is right and wrong with it."""

    seen: Inspection
    findings: Sequence[Finding]


def _document(diagnosis: Diagnosis, page: Page) -> Document:
    seen, findings = diagnosis
    return Document([*machine_parts(seen), *device_parts(seen), *finding_parts(findings)])


def machine_parts(seen: Inspection) -> Iterator[Part]:
    """Say what was seen, without a verdict."""
    sections = {
        "machine": machine_rows(seen),
        "chips": neuron_rows(seen) + nvidia_rows(seen) or [("none", "the CPU trains")],
        "packages": package_rows(seen),
        "network": network_rows(seen),
        "price": price_rows(seen),
    }
    for title, rows in sections.items():
        yield Heading(title)
        yield Facts(rows)


def device_parts(seen: Inspection) -> Iterator[Part]:
    """Say what torch can use; nothing where it was not asked."""
    if seen.devices is not None or seen.devices_reason:
        yield Heading("torch can use")
        yield Facts(device_rows(seen))


def finding_parts(findings: Sequence[Finding]) -> Iterator[Part]:
    """Say what is wrong, each with its fix; or that nothing is."""
    wrong = [f for verdict in ("problem", "warning") for f in findings if f.verdict == verdict]
    for finding in findings:
        if finding.verdict == "absent" and finding.name == "accelerator":
            yield Lines([f"{finding.evidence[0].upper()}{finding.evidence[1:]}."])
    for finding in wrong:
        yield Heading(f"{finding.verdict}: {finding.evidence}", level=4)
        if finding.fix:
            yield Facts([("fix", finding.fix)])
    problems = sum(finding.verdict == "problem" for finding in wrong)
    counts = f"{_count(problems, 'problem')}, {_count(len(wrong) - problems, 'warning')}."
    yield Lines([counts if wrong else "Nothing is wrong here."])


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _findings(diagnosis: Diagnosis) -> TableRows:
    return rows_at(diagnosis.findings, "name", "verdict", "evidence", "fix")


def _record(diagnosis: Diagnosis, page: Page) -> dict[str, Any]:
    """Return all of it; a path, a user's or a host's name is nowhere in it."""
    seen, findings = diagnosis
    inventory = seen.inventory
    return {
        "schema_version": 1,
        "trnbench_version": __version__,
        "machine": seen.machine.to_json(),
        "neuron": asdict(seen.chips.neuron),
        "nvidia": asdict(seen.chips.nvidia),
        "network": asdict(seen.chips.network),
        "ec2": asdict(seen.machine.ec2),
        "packages": inventory
        and {
            "python": inventory.python,
            "versions": inventory.versions,
            "neuron": inventory.neuron,
            "entry_points": inventory.entry_points,
        },
        "price": seen.price.model_dump(mode="json")
        if isinstance(seen.price, Price)
        else asdict(seen.price),
        "devices": seen.devices and [asdict(device) for device in seen.devices.found],
        "devices_reason": seen.devices_reason,
        "findings": [asdict(finding) for finding in findings],
    }


REPORT: Report[Diagnosis] = Report(document=_document, rows=_findings, record=_record)

Rows = list[tuple[str, str]]


def machine_rows(seen: Inspection) -> Rows:
    """Say what the computer is."""
    host, ec2, machine = seen.host, seen.machine.ec2, seen.machine
    cores = f"{host.logical_cpus} logical CPUs"
    cores += f" on {host.physical_cores} cores" if host.physical_cores else ""
    nodes = f", {host.numa_nodes} NUMA nodes" if (host.numa_nodes or 1) > 1 else ""
    rows = [
        ("processor", f"{host.processor}, {cores}{nodes}"),
        ("instructions", ", ".join(host.cpu_flags) or "none that speed matrix products up"),
        ("memory", say_bytes(host.memory_bytes)),
        ("huge pages", _huge_pages(seen)),
        ("system", f"{host.operating_system}, {host.architecture}"),
    ]
    if host.governor:
        rows.append(("governor", host.governor))
    if host.is_ec2 or machine.instance:
        place = ec2.zone or ec2.region or "place not known"
        kinds = [kind for kind in (ec2.life_cycle, ec2.image) if kind]
        rows.append(("EC2", ", ".join([machine.instance or "type not known", place, *kinds])))
    rows += [("variable", f"{name}={value}") for name, value in machine.variables.items()]
    return rows


def _huge_pages(seen: Inspection) -> str:
    host = seen.host
    if not host.huge_pages:
        return "not known here" if host.huge_pages is None else "none reserved"
    size = f" of {say_bytes(host.huge_page_bytes)}" if host.huge_page_bytes else ""
    return f"{host.huge_pages}{size} reserved, {host.huge_pages_free} free"


def neuron_rows(seen: Inspection) -> Rows:
    """Say what there is of Neuron."""
    neuron = seen.chips.neuron
    if not neuron.is_here:
        return []
    kept = neuron.kept() or {}
    said = f"{kept['chips']} {'chip' if kept['chips'] == 1 else 'chips'}"
    if neuron.logical_cores:
        said += f", {neuron.logical_cores} logical cores"
    if neuron.logical_core_config:
        said += f" (LNC {neuron.logical_core_config})"
    if kept["memory_bytes_per_chip"]:
        said += f", {say_bytes(kept['memory_bytes_per_chip'])} each"
    rows = [("Neuron", said), ("driver", neuron.driver_version or "version not known")]
    if neuron.system_packages:
        packages = ", ".join(f"{name} {v}" for name, v in neuron.system_packages.items())
        rows.append(("software", packages))
    return rows


def nvidia_rows(seen: Inspection) -> Rows:
    """Say what there is of NVIDIA."""
    nvidia = seen.chips.nvidia
    if not nvidia.is_here:
        return []
    rows = []
    for number, gpu in enumerate(nvidia.gpus):
        modes = [
            *([say_bytes(gpu.memory_bytes)] if gpu.memory_bytes else []),
            *(["MIG"] if gpu.is_mig else []),
            *(["ECC off"] if gpu.is_ecc is False else []),
        ]
        rows.append((f"GPU {number}", ", ".join([gpu.name, *modes])))
    if not rows:
        rows.append(("NVIDIA", f"{nvidia.pci_devices} devices on the PCI bus"))
    cuda = f", CUDA up to {nvidia.cuda_version}" if nvidia.cuda_version else ""
    return [*rows, ("driver", f"{nvidia.driver_version or 'version not known'}{cuda}")]


GENERATIONS = {
    "native": "native torch-neuronx: torch's device `neuron`",
    "xla": "the XLA torch-neuronx: torch's device `xla`",
    "stub": "the empty package of the public index",
}


def package_rows(seen: Inspection) -> Rows:
    """Say what the training interpreter has."""
    inventory = seen.inventory
    if inventory is None:
        return [("unknown", seen.inventory_reason)]
    rows = [("Python", inventory.python), *inventory.versions.items()]
    if inventory.neuron is not None:
        rows.append(("Neuron SDK", GENERATIONS[inventory.neuron]))
    names = [name for group in inventory.entry_points.values() for name in group]
    if names:
        rows.append(("adds to torch", ", ".join(names)))
    return rows


def network_rows(seen: Inspection) -> Rows:
    """Say what is between this machine and others."""
    network = seen.chips.network
    if not network.efa_devices:
        others = f"; {network.other_rdma_devices} other RDMA devices"
        return [("EFA", f"none{others if network.other_rdma_devices else ''}")]
    offered = {True: "offered", False: "not offered", None: network.reason or "not known"}
    return [
        ("EFA", f"{len(network.efa_devices)} devices"),
        ("driver", network.driver_version or "version not known"),
        ("libfabric", f"provider `efa`: {offered[network.has_provider]}"),
    ]


def price_rows(seen: Inspection) -> Rows:
    """Say what a run here would be priced at."""
    price = seen.price
    if not isinstance(price, Price):
        return [("unknown", f"{price.reason}; {price.hint}")]
    said = f"{say_usd(price.usd_per_hour)}/h for {price.instance}, {price.option}, {price.region}"
    note = [("note", price.note)] if price.note else []
    return [("rate", f"{said}, {price.date}"), ("source", price.source), *note]


def device_rows(seen: Inspection) -> Rows:
    """Say what torch can use."""
    if seen.devices is None:
        return [("unknown", seen.devices_reason or "torch was not asked")]
    rows = []
    for device in seen.devices.found:
        count = f", {device.device_count} of them" if device.device_count > 1 else ""
        notes = [] if device.supported else [device.note or "not driven by this version"]
        notes += [] if device.proven else ["not yet run on such a device by the project"]
        said = "; ".join([f"{device.device_name}{count}", *notes])
        rows.append((device.backend, said))
    return rows
