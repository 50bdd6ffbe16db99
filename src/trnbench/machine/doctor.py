"""Everything that can be wrong with a machine, one line each, in the order of reports."""

from collections.abc import Callable
from dataclasses import replace

from trnbench.machine import chip_findings, findings, neuron_findings
from trnbench.machine.describe import Inspection
from trnbench.machine.findings import Finding

FINDINGS: tuple[Callable[[Inspection], Finding | None], ...] = (
    chip_findings.accelerator,
    chip_findings.neuron_driver,
    chip_findings.neuron_tools,
    chip_findings.nvidia_driver,
    chip_findings.holders,
    findings.interpreter,
    findings.torch,
    neuron_findings.neuron_stub,
    neuron_findings.neuron_missing,
    neuron_findings.neuron_generations,
    neuron_findings.neuron_pair,
    neuron_findings.neuron_compiler,
    neuron_findings.neuron_lite,
    neuron_findings.neuron_python,
    chip_findings.neuron_hardware,
    findings.torch_build,
    chip_findings.devices,
    chip_findings.logical_cores,
    findings.huge_pages,
    findings.cache,
    findings.profiling,
    findings.efa,
    findings.governor,
    findings.ec2,
    findings.price,
)
"""In the order of the report: what must be mended first is first."""


def diagnose(seen: Inspection) -> list[Finding]:
    """Return all that there is to say of a machine."""
    found = ((function.__name__, function(seen)) for function in FINDINGS)
    return [replace(finding, name=name) for name, finding in found if finding is not None]
