"""`trnbench peak`: how fast this device runs the parts of a training step."""

import os
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trnbench.cli.options import TERMINAL, DeviceChoice, FormatOption, Interpreter
from trnbench.errors import ConfigError, RunError

if TYPE_CHECKING:
    from trnbench.machine.describe import Machine
    from trnbench.plan.microbench import PeakPlan
    from trnbench.protocol.records import FoundDevice
    from trnbench.schema.microbench import PeakDocument


class Precision(StrEnum):
    """The precisions of a matmul."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP8 = "fp8"


OF_PRINTING = ("again", "format_")
"""Options that have a meaning when nothing is measured."""

USUAL_PRECISIONS = (Precision.FP32, Precision.BF16)
"""Without fp8: few devices have it."""


Model = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The model whose matmuls are timed, one of `trnbench models`.",
        show_default="gpt2-124m on a CPU, else llama3-8b",
    ),
]
Batch = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        max=65_536,
        help="Sequences in the pass whose matmuls are timed.",
        show_default="1 on a CPU, else 2",
    ),
]
SequenceLength = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        max=2**20,
        help="Tokens in each sequence.",
        show_default="1024 on a CPU, else 4096; at most what the model allows",
    ),
]
Precisions = Annotated[
    list[Precision] | None,
    typer.Option(
        "--precision",
        help="The precision of the matmuls. Can be repeated.",
        show_default="fp32 and bf16",
    ),
]
Ranks = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        max=4096,
        help="Devices between which collectives are timed; 1 times none.",
        show_default="all devices here; 2 processes on a CPU",
    ),
]
Squares = Annotated[
    list[int] | None,
    typer.Option(
        "--square",
        metavar="N",
        min=1,
        max=65_536,
        help="The edge of a square matmul. Can be repeated.",
        show_default="512 to 2048 on a CPU, else 1024 to 8192",
    ),
]
ArrayMib = Annotated[
    int | None,
    typer.Option(
        metavar="MIB",
        min=1,
        max=2**20,
        help="The size of each array that times memory; take several times the last cache.",
        show_default="256 on a CPU, else 1024",
    ),
]
MessagesMib = Annotated[
    list[float] | None,
    typer.Option(
        "--message-mib",
        metavar="MIB",
        min=0.001,
        max=2**20,
        help="The message size of a collective. Can be repeated.",
        show_default="from 0.0625 up to 64 on a CPU, else to 1024",
    ),
]
Seconds = Annotated[
    float,
    typer.Option(min=0.001, max=60, help="The duration of each of the six repeats of a timing."),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FOLDER",
        help="The folder for peak.json.",
        show_default="peaks/<date and device>",
    ),
]
From = Annotated[
    Path | None,
    typer.Option(
        "--from", metavar="FOLDER", help="Measure nothing; print this folder's peak.json."
    ),
]


def peak(
    context: typer.Context,
    device: DeviceChoice = None,
    model: Model = None,
    batch: Batch = None,
    sequence_length: SequenceLength = None,
    precision: Precisions = None,
    ranks: Ranks = None,
    square: Squares = None,
    array_mib: ArrayMib = None,
    message_mib: MessagesMib = None,
    seconds: Seconds = 0.1,
    output: Output = None,
    python: Interpreter = sys.executable,
    again: From = None,
    format_: FormatOption = TERMINAL,
) -> None:
    """Measure the device's peak rates: matmuls, memory, attention, collectives."""
    from trnbench.analysis.microbench import load_of_others
    from trnbench.cli.output import show
    from trnbench.machine.describe import describe_machine
    from trnbench.plan.microbench import PeakRequest, plan_peak
    from trnbench.reports.microbench import REPORT
    from trnbench.run.microbench import read_peak

    if again is not None:
        _require_nothing_to_measure(context)
        show(REPORT, read_peak(again), format_)
        return
    machine = describe_machine()
    found, index = _find_device(machine, device or "auto", python)
    asked = PeakRequest(
        device_index=index,
        model=model,
        batch=batch,
        sequence_length=sequence_length,
        precisions=[each.value for each in precision or USUAL_PRECISIONS],
        ranks=ranks,
        squares=square or (),
        array_mib=array_mib,
        messages_mib=message_mib or (),
        memory_bytes=machine.host.memory_bytes,
        seconds_per_repeat=seconds,
    )
    now = datetime.now(UTC)
    folder = output or Path("peaks") / f"{now:%Y%m%dT%H%M%SZ}-{found.backend}"
    document, signal = _measure(plan_peak(asked, found, now), folder, python)
    if document.readings:
        show(REPORT, document, format_)
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


def _find_device(machine: "Machine", asked: str, python: str) -> "tuple[FoundDevice, int | None]":
    """Return the device that was asked for, and which of them."""
    from trnbench.cli.prepare import look_around
    from trnbench.run.questions import require_device

    _, devices = look_around(machine, python)
    require_device(asked, devices)
    kind, _, index = asked.partition(":")
    usable = [device for device in devices.found if device.supported]
    found = next(device for device in usable if kind in ("auto", device.backend))
    return found, int(index) if index else None


def _measure(plan: "PeakPlan", folder: Path, python: str) -> "tuple[PeakDocument, int | None]":
    """Time everything; return the document, and the signal that ended it, if one did."""
    from trnbench.reports.microbench import reading_as_line
    from trnbench.run.environment import environment_of_worker, user_cache_folder
    from trnbench.run.microbench import PeakFolder, PeakRun
    from trnbench.run.watch import noted_signals

    with noted_signals() as interruption:
        run = PeakRun(
            plan.document,
            PeakFolder(folder),
            python=python,
            variables=lambda question: environment_of_worker(
                question, os.environ, user_cache_folder()
            ),
            interruption=interruption,
            told=lambda reading: typer.echo(reading_as_line(reading), err=True),
        )
        run.measure_by_tool(plan.by_tool, plan.ranks)
        return run.measure(plan.parts), interruption.signal
