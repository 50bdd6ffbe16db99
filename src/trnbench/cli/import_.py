"""`trnbench import`: logs of other programs as results, to be reported, compared and ranked."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, cast, get_args

import typer

from trnbench.cli import complete, options
from trnbench.cli.groups import cli_option
from trnbench.errors import ConfigError, DataError, Problem, did_you_mean
from trnbench.protocol.orders import Precision

if TYPE_CHECKING:
    from trnbench.schema.imported import Beside, Given
    from trnbench.schema.plan import PlannedDevice, PlannedModel

LogPrecision = StrEnum("LogPrecision", {n: n for n in get_args(Precision)})  # type: ignore[misc]

EXAMPLES = (
    "trnbench import train.log --on p5.48xlarge --model llama3-8b --precision bf16",
    "trnbench import megatron.log --sequence-length 2048 --on h100-sxm:8 -o results/mine",
)
"""For `--help`."""

MOST_TOKENS = 10**15


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFacts:
    """What the user says of a log."""

    PANEL: ClassVar[str] = "Log"

    on: str | None = cli_option(
        None,
        metavar="INSTANCE|CHIP[:N]",
        autocompletion=complete.instances,
        help="What it ran on: p5.48xlarge, two of them as p5.48xlarge:2, or 8 chips as h100-sxm:8.",
    )
    devices: int | None = cli_option(
        None,
        min=1,
        max=10**6,
        metavar="N",
        help="Devices that the job drove, of a machine that --on does not know or in part.",
    )
    model: str | None = cli_option(
        None,
        metavar="NAME",
        autocompletion=complete.models,
        help="The model, by its name in `trnbench models`.",
    )
    sequence_length: int | None = cli_option(
        None, min=1, max=2**31, metavar="N", help="Tokens of a sequence."
    )
    tokens_per_step: int | None = cli_option(
        None, min=1, max=MOST_TOKENS, metavar="N", help="Tokens of one optimizer step, whole job."
    )
    precision: LogPrecision | None = cli_option(None, help="The number formats that it trained in.")
    config: str | None = cli_option(
        None,
        metavar="CONFIG",
        autocompletion=complete.configs,
        help="A config of the run: of what neither the log nor an option says, its model, "
        "sequence length, batch, precision and instance are taken, and the result says so.",
    )
    format: str | None = cli_option(
        None,
        "--format",
        "-f",
        metavar="NAME",
        help="The program that wrote the log; by default it is found by what the log says.",
    )
    run: str | None = cli_option(
        None, metavar="N|NAME", help="Of a file with several runs: which, from 1."
    )

    def read(self) -> "Given":
        """Look up what is named.

        Raises:
            ConfigError: a name is not known, or two of them do not fit.
        """
        from trnbench.imports import require_format
        from trnbench.schema.imported import Given

        if self.format is not None:
            require_format(self.format)
        device = None if self.on is None else _read_machine(self.on)
        if device and self.devices and self.devices > device.devices_billed:
            raise ConfigError(
                f"--devices {self.devices}: --on {self.on} has {device.devices_billed}",
                hint="name all the machines: --on INSTANCE:N",
            )
        return Given(
            format=self.format,
            run=self.run,
            sequence_length=self.sequence_length,
            tokens_per_step=self.tokens_per_step,
            precision=None if self.precision is None else cast(Precision, self.precision.value),
            model=None if self.model is None else _read_model(self.model),
            device=device,
            device_count=self.devices or (None if device is None else device.devices_used),
            beside=None if self.config is None else _read_config(self.config),
        )


def import_(
    *,
    logs: Annotated[
        list[Path],
        typer.Argument(
            metavar="LOG", parser=options.read_path, help="Logs, one a result; .gz too."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            parser=options.read_path,
            help="The folder for the results.",
        ),
    ] = Path("results/imported"),
    facts: LogFacts,
) -> None:
    """Read logs of other programs into results; what they do not say stays empty."""
    from trnbench.cli.output import show
    from trnbench.reports.results import REPORT
    from trnbench.run.importing import import_log, store_imports

    given = facts.read()
    found, problems = [], list[Problem]()
    run_id = output.resolve().name
    for path in logs:
        try:
            found.append(import_log(path, given, run_id))
        except DataError as error:
            problems.extend(error.problems)
    if found:
        show(REPORT, store_imports(output, found), options.TERMINAL, None)
    if problems:
        raise DataError.of(problems)


def _read_config(named: str) -> "Beside":
    """Return what a config says of a run, as far as it is written there.

    Raises:
        ConfigError: it is wrong, has several cases, or names an instance that is not known.
    """
    from trnbench.config.load import Conflict, check_document
    from trnbench.imports.beside import beside_of
    from trnbench.plan.model import choose_model
    from trnbench.run.configs import open_config

    cases = check_document(open_config(named))
    if len(cases) > 1:
        raise ConfigError(
            f"--config {named}: has {len(cases)} cases, and a log is of one run",
            hint="name a config without a sweep",
        )
    (case,) = cases
    work, model = case.config.workload, case.config.model
    is_external = not isinstance(model, str) and (model.huggingface or model.python)
    length, batch = (
        value if value > 0 else None  # `auto` is below
        for value in (work.sequence_length, work.global_batch_size)
    )
    instance = case.config.price.instance
    try:
        planned = None if is_external else choose_model(model)
    except Conflict as conflict:
        raise case.explain(conflict) from conflict
    facts = {
        "model": planned,
        "model_name": is_external or None,
        "sequence_length": length,
        "sequences_per_step": batch,
        "tokens_per_step": length * batch if length and batch else None,
        "micro_batch_size": work.micro_batch_size,
        "precision": None if work.precision == "auto" else work.precision,
        "device": None if instance == "auto" else _read_machine(instance),
    }
    return beside_of(Path(named).name, facts)


def _read_model(name: str) -> "PlannedModel":
    from trnbench.catalog.models import models
    from trnbench.plan.model import choose_model

    if name not in models():
        raise ConfigError(
            f"--model {name}: is not a model of the catalog",
            hint=did_you_mean(name, models(), "`trnbench models` lists them"),
        )
    return choose_model(name)


def _read_machine(text: str) -> "PlannedDevice":
    """Read an instance type or a chip with how many there were.

    Raises:
        ConfigError: neither is known, or the number is none.
    """
    from trnbench.catalog.accelerators import accelerators
    from trnbench.catalog.instances import instances
    from trnbench.schema.plan import PlannedDevice

    name, _, written = text.partition(":")
    if not (written or "1").isdecimal() or not 1 <= int(written or 1) <= 10**6:
        raise ConfigError(
            f"--on {text}: {written} is not a number of machines", hint="e.g. --on p5.48xlarge:2"
        )
    count, instance = int(written or 1), instances().get(name)
    chip = accelerators().get(name) if instance is None else instance.accelerator
    if instance is None and chip is None:
        raise ConfigError(
            f"--on {text}: {name} is neither an instance type nor a chip that is known",
            hint=did_you_mean(name, [*instances(), *accelerators()], "e.g. --on p5.48xlarge"),
        )
    chips = count * (max(instance.chips, 1) if instance else 1)
    per_chip = chip.devices_per_chip if chip else 1
    return PlannedDevice(
        backend="imported",
        accelerator=chip.name if chip else None,
        instance=instance.name if instance else None,
        is_instance_recognised=False,
        devices_used=chips * per_chip,
        devices_per_chip=per_chip,
        chips_used=chips,
        chips_billed=chips,
        instances_billed=count if instance else 1,
        memory_bytes=chip.memory_bytes / per_chip if chip and chip.memory_bytes else None,
    )
