"""`trnbench doctor`: what this machine has, what is wrong with it, and how to fix it."""

import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from trnbench.cli.options import TERMINAL, Interpreter, OutputChoice
from trnbench.errors import ExitCode, UnavailableError
from trnbench.reports.document import Part

if TYPE_CHECKING:
    from trnbench.machine.describe import Inspection

EXAMPLES = (
    "trnbench doctor",
    "trnbench doctor --json",
)
"""For `--help`."""

WithTorch = Annotated[
    bool,
    typer.Option(
        "--torch/--no-torch",
        help="Also let that interpreter import torch and list the devices that it can use; without "
        "it the command takes less than a second.",
    ),
]


def doctor(
    *,
    python: Interpreter = sys.executable,
    with_torch: WithTorch = True,
    form: OutputChoice,
) -> None:
    """Inspect this machine: what can train here, what is wrong, and how to fix it."""
    from trnbench.cli.output import show
    from trnbench.machine.describe import inspect
    from trnbench.machine.doctor import diagnose
    from trnbench.reports import inspection
    from trnbench.run.questions import try_inventory

    is_for_people = (
        form.name == TERMINAL and form.output is None
    )  # who see each part as soon as it is known
    seen = inspect(partial(try_inventory, python), datetime.now(UTC).date())
    if is_for_people:
        _show(inspection.machine_parts(seen))
    if with_torch and seen.inventory is not None and "torch" in seen.inventory.versions:
        # Last, because from here on our own probe may hold a device.
        seen = _with_torchs_devices(seen, python)
        if is_for_people:
            _show(inspection.device_parts(seen))
    findings = diagnose(seen)
    if is_for_people:
        _show(inspection.finding_parts(findings))
    else:
        show(inspection.REPORT, inspection.Diagnosis(seen, findings), form.name, form.output)
    if any(finding.verdict == "problem" for finding in findings):
        raise typer.Exit(ExitCode.UNAVAILABLE)


def _with_torchs_devices(seen: "Inspection", python: str) -> "Inspection":
    """Return the inspection with the devices that torch can use, or the reason why it has none."""
    from trnbench.redact import redact
    from trnbench.run.questions import probe_devices

    try:
        return replace(seen, devices=probe_devices(python))
    except UnavailableError as error:
        return replace(seen, devices_reason=redact(str(error)))


def _show(parts: Iterable[Part]) -> None:
    from trnbench.cli.output import page_of_stdout, write
    from trnbench.reports.as_terminal import terminal

    write(f"{terminal([*parts], page_of_stdout())}\n")
