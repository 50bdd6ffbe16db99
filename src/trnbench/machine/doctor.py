"""Everything that can be wrong with a machine, one line each, in the order of reports."""

from collections.abc import Callable
from dataclasses import replace

from trnbench.machine.chip_findings import (
    accelerator,
    devices,
    holders,
    logical_cores,
    neuron_driver,
    neuron_hardware,
    neuron_tools,
    nvidia_driver,
)
from trnbench.machine.describe import Inspection
from trnbench.machine.findings import (
    Finding,
    cache,
    ec2,
    efa,
    governor,
    huge_pages,
    interpreter,
    neuron_generations,
    neuron_missing,
    neuron_pair,
    neuron_python,
    neuron_stub,
    price,
    profiling,
    torch,
    torch_build,
)

FINDINGS: tuple[Callable[[Inspection], Finding | None], ...] = (
    accelerator,
    neuron_driver,
    neuron_tools,
    nvidia_driver,
    holders,
    interpreter,
    torch,
    neuron_stub,
    neuron_missing,
    neuron_generations,
    neuron_pair,
    neuron_python,
    neuron_hardware,
    torch_build,
    devices,
    logical_cores,
    huge_pages,
    cache,
    profiling,
    efa,
    governor,
    ec2,
    price,
)
"""In the order of the report: what must be mended first stands first."""


def diagnose(seen: Inspection) -> list[Finding]:
    """Return all that there is to say of a machine."""
    found = ((function.__name__, function(seen)) for function in FINDINGS)
    return [replace(finding, name=name) for name, finding in found if finding is not None]
