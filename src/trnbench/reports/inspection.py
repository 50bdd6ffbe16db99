"""What `doctor` saw of a machine and found wrong with it, as a report."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from trnbench import __version__
from trnbench.machine.describe import Inspection
from trnbench.machine.findings import Finding
from trnbench.reports import document as doc
from trnbench.reports.texts import plural
from trnbench.schema.price import Price
from trnbench.units import say_bytes, say_usd


class Diagnosis(NamedTuple):
    """A machine and what is right and wrong with it."""

    seen: Inspection
    findings: Sequence[Finding]


def _document(diagnosis: Diagnosis, page: doc.Page) -> doc.Document:
    seen, findings = diagnosis
    return doc.Document([*machine_parts(seen), *device_parts(seen), *finding_parts(findings)])


def machine_parts(seen: Inspection) -> Iterator[doc.Part]:
    """Say what was seen, without a verdict."""
    sections = {
        "machine": machine_rows(seen),
        "chips": neuron_rows(seen) + nvidia_rows(seen) or [("none", "training runs on the CPU")],
        "packages": package_rows(seen),
        "network": network_rows(seen),
        "price": price_rows(seen),
    }
    for title, rows in sections.items():
        yield doc.Heading(title)
        yield doc.Facts(rows)


def device_parts(seen: Inspection) -> Iterator[doc.Part]:
    """Say what torch can use; nothing where torch was not imported."""
    if seen.devices is not None or seen.devices_reason:
        yield doc.Heading("torch can use")
        yield doc.Facts(device_rows(seen))


def finding_parts(findings: Sequence[Finding]) -> Iterator[doc.Part]:
    """Say what is wrong, each with its fix; or that nothing is."""
    for finding in findings:
        if finding.verdict == "absent" and finding.name == "accelerator":
            yield doc.Lines([f"{finding.evidence[0].upper()}{finding.evidence[1:]}."])
    problems = [finding for finding in findings if finding.verdict == "problem"]
    warnings = [finding for finding in findings if finding.verdict == "warning"]
    for finding in problems + warnings:
        yield doc.Heading(f"{finding.verdict}: {finding.evidence}", level=4)
        if finding.fix:
            yield doc.Facts([("fix", finding.fix)])
    if problems or warnings:
        counts = f"{_count(problems, 'problem')}, {_count(warnings, 'warning')}."
        yield doc.Lines([counts])
    else:
        yield doc.Lines(["Nothing is wrong here."])


def _count(findings: Sequence[Finding], noun: str) -> str:
    return plural(len(findings), noun) if findings else f"no {noun}s"


def _rows(diagnosis: Diagnosis) -> doc.Rows:
    return doc.rows_at(diagnosis.findings, "name", "verdict", "evidence", "fix")


def _record(diagnosis: Diagnosis, page: doc.Page) -> dict[str, Any]:
    """Return all of it; a path, a user's or a host's name is nowhere in it."""
    seen, findings = diagnosis
    price, found = seen.price, seen.inventory
    return {
        "schema_version": 1,
        "trnbench_version": __version__,
        "machine": seen.machine.to_json(),
        "neuron": asdict(seen.chips.neuron),
        "nvidia": asdict(seen.chips.nvidia),
        "network": asdict(seen.chips.network),
        "ec2": asdict(seen.machine.ec2),
        "packages": found
        and {
            name: getattr(found, name) for name in ("python", "versions", "neuron", "entry_points")
        },
        "price": price.model_dump(mode="json") if isinstance(price, Price) else asdict(price),
        "devices": seen.devices and [asdict(device) for device in seen.devices.found],
        "devices_reason": seen.devices_reason,
        "findings": [asdict(finding) for finding in findings],
    }


REPORT: doc.Report[Diagnosis] = doc.Report(
    title="This machine", document=_document, rows=_rows, record=_record
)

# --- facts: labels, and a text beside each --------------------------------------------------------

Facts = list[tuple[str, str]]
UNKNOWN_VERSION = "version not known"


def machine_rows(seen: Inspection) -> Facts:
    """Say what the computer is."""
    host, ec2, machine = seen.host, seen.machine.ec2, seen.machine
    cores = f" on {host.physical_cores} cores" if host.physical_cores else ""
    nodes = f", {host.numa_nodes} NUMA nodes" if (host.numa_nodes or 1) > 1 else ""
    facts = [
        ("processor", f"{host.processor}, {host.logical_cpus} logical CPUs{cores}{nodes}"),
        ("instructions", ", ".join(host.cpu_flags) or "none that speed up matmuls"),
        ("memory", say_bytes(host.memory_bytes)),
        ("huge pages", _huge_pages(seen)),
        ("system", f"{host.operating_system}, {host.architecture}"),
    ]
    if host.governor:
        facts.append(("governor", host.governor))
    if host.is_ec2 or machine.instance:
        place = ec2.zone or ec2.region or "place not known"
        kinds = [kind for kind in (ec2.life_cycle, ec2.image) if kind]
        facts.append(("EC2", ", ".join([machine.instance or "type not known", place, *kinds])))
    return facts + [("variable", f"{name}={value}") for name, value in machine.variables.items()]


def _huge_pages(seen: Inspection) -> str:
    host = seen.host
    if not host.huge_pages:
        return "not known here" if host.huge_pages is None else "none reserved"
    size = f" of {say_bytes(host.huge_page_bytes)}" if host.huge_page_bytes else ""
    return f"{host.huge_pages}{size} reserved, {host.huge_pages_free} free"


def neuron_rows(seen: Inspection) -> Facts:
    """Say what there is of Neuron."""
    neuron = seen.chips.neuron
    if not neuron.is_here:
        return []
    kept = neuron.kept() or {}
    chips = plural(kept["chips"], "chip")
    if neuron.logical_cores:
        chips += f", {neuron.logical_cores} logical cores"
    if neuron.logical_core_config:
        chips += f" (LNC {neuron.logical_core_config})"
    if kept["memory_bytes_per_chip"]:
        chips += f", {say_bytes(kept['memory_bytes_per_chip'])} each"
    facts = [("Neuron", chips), ("driver", neuron.driver_version or UNKNOWN_VERSION)]
    if neuron.system_packages:
        packages = (f"{name} {version}" for name, version in neuron.system_packages.items())
        facts.append(("software", ", ".join(packages)))
    return facts


def nvidia_rows(seen: Inspection) -> Facts:
    """Say what there is of NVIDIA."""
    nvidia = seen.chips.nvidia
    if not nvidia.is_here:
        return []
    facts = []
    for number, gpu in enumerate(nvidia.gpus):
        modes = (
            say_bytes(gpu.memory_bytes) if gpu.memory_bytes else None,
            "MIG" if gpu.is_mig else None,
            "ECC off" if gpu.is_ecc is False else None,
        )
        facts.append((f"GPU {number}", ", ".join([gpu.name, *filter(None, modes)])))
    if not facts:
        facts.append(("NVIDIA", f"{nvidia.pci_devices} devices on the PCI bus"))
    cuda = f", CUDA up to {nvidia.cuda_version}" if nvidia.cuda_version else ""
    return [*facts, ("driver", f"{nvidia.driver_version or UNKNOWN_VERSION}{cuda}")]


GENERATIONS = {
    "native": "native torch-neuronx: torch's device `neuron`",
    "xla": "the XLA torch-neuronx: torch's device `xla`",
    "stub": "the empty package of the public index",
}


def package_rows(seen: Inspection) -> Facts:
    """Say what the training interpreter has."""
    inventory = seen.inventory
    if inventory is None:
        return [("unknown", seen.inventory_reason)]
    facts = [("Python", inventory.python), *inventory.versions.items()]
    if inventory.neuron is not None:
        facts.append(("Neuron SDK", GENERATIONS[inventory.neuron]))
    names = [name for group in inventory.entry_points.values() for name in group]
    if names:
        facts.append(("adds to torch", ", ".join(names)))
    return facts


def network_rows(seen: Inspection) -> Facts:
    """Say what is between this machine and others."""
    network = seen.chips.network
    if not network.efa_devices:
        others = network.other_rdma_devices
        return [("EFA", f"none; {others} other RDMA devices" if others else "none")]
    offered = {True: "offered", False: "not offered", None: network.reason or "not known"}
    return [
        ("EFA", f"{len(network.efa_devices)} devices"),
        ("driver", network.driver_version or UNKNOWN_VERSION),
        ("libfabric", f"provider `efa`: {offered[network.has_provider]}"),
    ]


def price_rows(seen: Inspection) -> Facts:
    """Say what a run here would be priced at."""
    price = seen.price
    if not isinstance(price, Price):
        return [("unknown", f"{price.reason}; {price.hint}")]
    rate = f"{say_usd(price.usd_per_hour)}/h for {price.instance}, {price.option}, {price.region}"
    note = [("note", price.note)] if price.note else []
    return [("rate", f"{rate}, {price.date}"), ("source", price.source), *note]


def device_rows(seen: Inspection) -> Facts:
    """Say what torch can use."""
    if seen.devices is None:
        return [("unknown", seen.devices_reason or "torch was not imported")]
    facts = []
    for device in seen.devices.found:
        count = f", {device.device_count} of them" if device.device_count > 1 else ""
        notes = [f"{device.device_name}{count}"]
        if not device.supported:
            notes.append(device.note or "not driven by this version")
        if not device.proven:
            notes.append("not yet run on such a device by the project")
        facts.append((device.backend, "; ".join(notes)))
    return facts
