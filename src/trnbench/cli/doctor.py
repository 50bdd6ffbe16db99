"""`trnbench doctor`: what this machine has, what is wrong with it, and how to mend it."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trnbench import __version__
from trnbench.cli.options import AsJson, Interpreter
from trnbench.schema.errors import ExitCode, UnavailableError

if TYPE_CHECKING:
    from trnbench.machine.describe import Inspection
    from trnbench.machine.findings import Finding

WithTorch = Annotated[
    bool,
    typer.Option(
        "--torch/--no-torch",
        help="Also let that interpreter import torch and list the devices that it can use; without "
        "it the command takes less than a second.",
    ),
]


def doctor(
    python: Interpreter = sys.executable,
    with_torch: WithTorch = True,
    as_json: AsJson = False,
) -> None:
    """Look at this machine: what can train here, what is wrong, and how to mend it."""
    from trnbench.machine.describe import inspect
    from trnbench.machine.doctor import diagnose
    from trnbench.run.packages import take_inventory

    seen = inspect(partial(take_inventory, python), datetime.now(UTC).date())
    if not as_json:
        show_inspection(seen)
    if with_torch and seen.inventory is not None and "torch" in seen.inventory.versions:
        # Only now: whatever holds a device from here on may be our own probe.
        seen = ask_torch(python, seen)
        if not as_json:
            show_devices(seen)
    findings = diagnose(seen)
    if as_json:
        typer.echo(json.dumps(as_document(seen, findings), indent=1, default=str))
    else:
        show_findings(findings)
    if any(finding.verdict == "problem" for finding in findings):
        raise typer.Exit(ExitCode.UNAVAILABLE)


def ask_torch(python: str, seen: "Inspection") -> "Inspection":
    """Return it with what torch can use, or with why torch does not say."""
    from trnbench.redact import scrub
    from trnbench.run.devices import probe_devices

    try:
        return replace(seen, devices=probe_devices(python))
    except UnavailableError as error:
        return replace(seen, devices_reason=scrub(str(error)))


def as_document(seen: "Inspection", findings: "Sequence[Finding]") -> dict[str, Any]:
    """Return all of it as plain JSON; a path, a user's or a host's name is nowhere in it."""
    from trnbench.schema.price import Price

    inventory = seen.inventory
    return {
        "schema_version": 1,
        "trnbench_version": __version__,
        "machine": seen.machine.to_json(),
        "neuron": asdict(seen.neuron),
        "nvidia": asdict(seen.nvidia),
        "network": asdict(seen.network),
        "ec2": asdict(seen.ec2),
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


# --- for people ---------------------------------------------------------------------------------


def show_inspection(seen: "Inspection") -> None:
    """Print what was seen, without a verdict."""
    from trnbench.cli.inspection_rows import (
        machine_rows,
        network_rows,
        neuron_rows,
        nvidia_rows,
        package_rows,
        price_rows,
    )
    from trnbench.cli.sheet import show_section

    show_section("machine", machine_rows(seen))
    show_section("chips", neuron_rows(seen) + nvidia_rows(seen) or [("none", "the CPU trains")])
    show_section("packages", package_rows(seen))
    show_section("network", network_rows(seen))
    show_section("price", price_rows(seen))
    sys.stdout.flush()  # torch may take its time


def show_devices(seen: "Inspection") -> None:
    """Print what torch can use."""
    from trnbench.cli.inspection_rows import device_rows
    from trnbench.cli.sheet import show_section

    show_section("torch can use", device_rows(seen))


def show_findings(findings: "Sequence[Finding]") -> None:
    """Print what is wrong, each with its fix; or that nothing is."""
    from trnbench.cli.sheet import show_text

    wrong = [f for verdict in ("problem", "warning") for f in findings if f.verdict == verdict]
    for finding in findings:
        if finding.verdict == "absent" and finding.name == "accelerator":
            show_text(f"{finding.evidence[0].upper()}{finding.evidence[1:]}.")
    for finding in wrong:
        show_text(f"{finding.verdict}: {finding.evidence}", then="  ")
        if finding.fix:
            show_text(finding.fix, first="  fix: ", then="       ")
    problems = sum(finding.verdict == "problem" for finding in wrong)
    warnings = len(wrong) - problems
    if not wrong:
        show_text("Nothing is wrong here.")
    else:
        show_text(f"{_count(problems, 'problem')}, {_count(warnings, 'warning')}.")


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"
