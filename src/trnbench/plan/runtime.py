"""What must hold of the vendor's software on this machine before a job is begun."""

import re

from trnbench.errors import UnavailableError
from trnbench.machine.describe import Machine
from trnbench.plan.device import Target

RUNTIME_PACKAGE = "aws-neuronx-runtime-lib"
FIRST_SOUND_RUNTIME = (2, 34)
"""Of SDK 2.32. Before it, groups of ranks that several programs used in another order could be
given wrong data. Source: AWS Neuron documentation, release-notes/components/runtime (2.32)."""


def check_runtime(target: Target, machine: Machine, ranks: int) -> None:
    """Refuse software with which the job would be wrong or could not be loaded.

    Raises:
        UnavailableError: it says what to change.
    """
    if target.found is None or not target.row.is_counted_by_tool:
        return
    _check_logical_cores(target, machine)
    if ranks > 1:
        _check_collectives(machine)


def _check_logical_cores(target: Target, machine: Machine) -> None:
    """Refuse a compiler whose LNC is not that of the ranks: its programs would not load."""
    chip, compiler = target.accelerator, machine.logical_cores.by_compiler_flag
    if chip is None or compiler is None:
        return
    usual = (chip.cores_per_chip or chip.devices_per_chip) // chip.devices_per_chip
    ranks = machine.logical_core_config or usual
    if compiler != ranks:
        raise UnavailableError(
            f"NEURON_CC_FLAGS compiles for an LNC of {compiler}, and the ranks have {ranks}: "
            "the runtime would not load the programs",
            hint=f"take the flag out, or set NEURON_LOGICAL_NC_CONFIG={compiler}",
        )


def _check_collectives(machine: Machine) -> None:
    version = machine.chips.neuron.system_packages.get(RUNTIME_PACKAGE, "")
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is not None and (int(found[1]), int(found[2])) < FIRST_SOUND_RUNTIME:
        raise UnavailableError(
            f"{RUNTIME_PACKAGE} {version} is of an SDK before 2.32, whose collectives could move "
            "wrong data without a word",
            hint="update the Neuron SDK, or train on one device: --device neuron:0",
        )
