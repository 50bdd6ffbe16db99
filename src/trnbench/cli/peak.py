"""`trnbench peak`: how fast this device runs the parts of a training step."""

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import typer

from trnbench.cli.groups import cli_option
from trnbench.cli.nodes import enter_allocation
from trnbench.cli.options import (
    DeviceChoice,
    FormatChoice,
    Interpreter,
    Plots,
    read_device_option,
    read_path,
)
from trnbench.errors import ConfigError, RunError

if TYPE_CHECKING:
    from trnbench.plan.microbench import PeakPlan, PeakRequest
    from trnbench.schema.microbench import PeakDocument

EXAMPLES = (
    "trnbench peak",
    "trnbench peak --from peaks/20261201T100000Z-cpu -f csv",
)
"""For `--help`."""


class Precision(StrEnum):
    """The precisions of a matmul."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP8 = "fp8"


OF_PRINTING = ("again", "format", "as_json", "plots")
"""Options that have a meaning when nothing is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What is timed, and how large it is; None is left to the device."""

    PANEL: ClassVar[str] = "Sizes"

    model: str | None = cli_option(
        None,
        metavar="NAME",
        help="The model whose matmuls are timed, one of `trnbench models`.",
        show_default="gpt2-124m on a CPU, else llama3-8b",
    )
    batch: int | None = cli_option(
        None,
        metavar="N",
        min=1,
        max=65_536,
        help="Sequences in the pass whose matmuls are timed.",
        show_default="1 on a CPU, else 2",
    )
    sequence_length: int | None = cli_option(
        None,
        metavar="N",
        min=1,
        max=2**20,
        help="Tokens in each sequence.",
        show_default="1024 on a CPU, else 4096; at most what the model allows",
    )
    precision: list[Precision] | None = cli_option(
        None,
        metavar="PRECISION",
        help="The precision of the matmuls: fp32, bf16, fp8. Can be repeated.",
        show_default="fp32 and bf16",
    )
    ranks: int | None = cli_option(
        None,
        metavar="N",
        min=1,
        max=4096,
        help="Devices between which collectives are timed; 1 times none.",
        show_default="every number that divides the devices here; 2 processes on a CPU",
    )
    square: list[int] | None = cli_option(
        None,
        metavar="N",
        min=1,
        max=65_536,
        help="The edge of a square matmul. Can be repeated.",
        show_default="512 to 2048 on a CPU, else 1024 to 8192",
    )
    array_mib: int | None = cli_option(
        None,
        metavar="MIB",
        min=1,
        max=2**20,
        help="The size of each array that times memory; take several times the last-level cache.",
        show_default="256 on a CPU, else 1024",
    )
    message_mib: list[float] | None = cli_option(
        None,
        metavar="MIB",
        min=0.001,
        max=2**20,
        help="The message size of a collective. Can be repeated.",
        show_default="from 0.0625 up to 64 on a CPU, else to 1024",
    )
    seconds: float = cli_option(
        0.1,
        min=0.001,
        max=60,
        metavar="SECONDS",
        help="The duration of each of the six repeats of a timing.",
    )

    def request(self, device_index: int | None, memory_bytes: float) -> "PeakRequest":
        """Return the same as a request for one of this machine's devices."""
        from trnbench.plan.microbench import PeakRequest

        usual = (Precision.FP32, Precision.BF16)  # few devices have fp8
        return PeakRequest(
            device_index=device_index,
            model=self.model,
            batch=self.batch,
            sequence_length=self.sequence_length,
            precisions=[each.value for each in self.precision or usual],
            ranks=self.ranks,
            squares=self.square or (),
            array_mib=self.array_mib,
            messages_mib=self.message_mib or (),
            memory_bytes=memory_bytes,
            seconds_per_repeat=self.seconds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where the figures are kept, or read from."""

    PANEL: ClassVar[str] = "Output"

    output: Path | None = cli_option(
        None,
        "--output",
        "-o",
        metavar="FOLDER",
        parser=read_path,
        help="The folder for peak.json.",
        show_default="peaks/<date and device>",
    )
    again: Path | None = cli_option(
        None, "--from", metavar="FOLDER", help="Measure nothing; print this folder's peak.json."
    )


def peak(
    *,
    context: typer.Context,
    device: DeviceChoice = None,
    sizes: Sizes,
    python: Interpreter = sys.executable,
    folders: Folders,
    plots: Plots = None,
    form: FormatChoice,
) -> None:
    """Measure the device's peak rates: matmuls, memory, attention, collectives."""
    from trnbench.analysis.microbench import load_of_others
    from trnbench.cli.output import prepare_plots, show
    from trnbench.cli.prepare import default_folder
    from trnbench.plan.microbench import plan_peak
    from trnbench.reports.microbench import REPORT
    from trnbench.run.looking import look_around
    from trnbench.run.microbench import PEAKS, read_peak
    from trnbench.run.questions import require_device

    prepare_plots(plots)
    if folders.again is not None:
        _require_nothing_to_measure(context)
        show(REPORT, read_peak(folders.again), form.name, plots=plots)
        return
    asked = read_device_option(device)  # a typo is refused before anything is looked at
    enter_allocation(is_of_one_node=True)
    machine, devices = look_around(python)
    found = require_device(asked, devices)
    request = sizes.request(asked.first, machine.host.memory_bytes)
    plan = plan_peak(request, found, datetime.now(UTC))
    folder = folders.output or default_folder(found.backend, PEAKS)
    document, signal = _measure(plan, folder, python)
    if document.readings:
        show(REPORT, document, form.name, plots=plots)
    load = load_of_others(document)
    if load is not None:
        sys.stderr.write(f"warning: {load}\n")
    sys.stderr.write(f"peak: {folder}\n")
    if signal is not None:
        raise typer.Exit(128 + signal)
    if document.status != "finished":
        raise RunError(
            f"{folder}: {document.status}: {document.reason}",
            hint=document.hint or "what was measured before is kept",
        )


def _require_nothing_to_measure(context: typer.Context) -> None:
    """Refuse options that were typed and have no effect with `--from`."""
    typed = [
        each.opts[0]
        for each in context.command.params
        if each.name not in OF_PRINTING
        and (source := context.get_parameter_source(each.name or "")) is not None
        and source.name == "COMMANDLINE"
    ]
    if typed:
        raise ConfigError(
            f"{', '.join(typed)}: nothing is measured with --from",
            hint="leave it off, or leave off --from and measure",
        )


def _measure(plan: "PeakPlan", folder: Path, python: str) -> "tuple[PeakDocument, int | None]":
    """Time everything; return the document, and the signal that ended it, if one did."""
    from trnbench.reports.microbench import reading_as_line
    from trnbench.run.microbench import PeakRun
    from trnbench.run.watch import noted_signals

    with noted_signals() as interruption:
        run = PeakRun(
            plan.document,
            folder,
            python=python,
            interruption=interruption,
            notify=lambda reading: typer.echo(reading_as_line(reading), err=True),
        )
        run.measure_by_tool(plan.by_tool)
        return run.measure(plan.parts), interruption.signal
