"""`trnbench init`: write a commented config for this machine, or for an instance type."""

import json
import shlex
import sys
import textwrap
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from trnbench.cli import complete
from trnbench.cli.options import Interpreter, read_path
from trnbench.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from trnbench.machine.describe import Devices, Machine
    from trnbench.schema.plan import Plan

EXAMPLES = (
    "trnbench init",
    "trnbench init --instance trn2.48xlarge -o trn2.yaml",
)
"""For `--help`."""

MODELS = ("llama3.1-8b", "llama3.2-1b", "gpt2-124m", "tiny-llama")
"""The first that fits an accelerator is taken."""

HOST_MODELS = ("gpt2-124m", "tiny-llama")

DEFAULT_FILE = Path("trnbench.yaml")

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        parser=read_path,
        help="The file to write; one that is there is left as it is.",
        show_default=str(DEFAULT_FILE),
    ),
]
InstanceName = Annotated[
    str | None,
    typer.Option(
        metavar="INSTANCE",
        autocompletion=complete.instances,
        help="Write it for this instance type, e.g. trn2.48xlarge.",
        show_default="this machine",
    ),
]
Region = Annotated[
    str | None,
    typer.Option(metavar="REGION", help="Where it is rented, if its price differs by region."),
]
ModelChoice = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        autocompletion=complete.models,
        help="A model of `trnbench models`.",
        show_default="the largest of four that fits",
    ),
]


def init(
    *,
    output: ConfigFile = None,
    instance: InstanceName = None,
    region: Region = None,
    model: ModelChoice = None,
    python: Interpreter = sys.executable,
) -> None:
    """Write a commented config for this machine, ready to run and to edit."""
    from trnbench.machine.describe import describe_machine

    output = output or DEFAULT_FILE
    _require_free(output)  # before a second is spent
    machine, devices = describe_machine(), None
    if instance is None:
        machine, devices = _look(machine, python)
    plan = _choose(machine, devices, _Where(instance, region), model)
    text = "\n".join(_lines(plan, instance)) + "\n"
    _plan(text, machine, devices)  # what is written is what was planned
    try:
        with output.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        _require_free(output)
    except OSError as error:
        raise ConfigError(
            f"{output}: cannot be written: {error.strerror}",
            hint="name a file in a folder that exists, with -o",
        ) from error
    config = shlex.quote(str(output))
    sys.stdout.write(
        f"wrote {output}: {plan.model.name} on {_where(plan)}\n"
        f"next: trnbench run {config} --dry-run  what it will do, need and cost\n"
        f"      trnbench run {config}            measure it\n"
    )


def _require_free(output: Path) -> None:
    if output.exists() or output.is_symlink():
        raise ConfigError(
            f"{output}: is there already, and is left as it is",
            hint="name another file with -o, or move that one away",
        )


def _look(machine: "Machine", python: str) -> "tuple[Machine, Devices | None]":
    """Look for devices; where that interpreter cannot train, the config is for the machine."""
    from trnbench.run.looking import look_around

    sys.stderr.write("looking at this machine …\n")
    try:
        return look_around(python, machine, is_dry=True)
    except UnavailableError as error:
        sys.stderr.write(f"trnbench: {error}; the config is written without the devices\n")
        return machine, None


# --- what is planned ------------------------------------------------------------------------------


class _Where(NamedTuple):
    """What the config is for, as far as it is said."""

    instance: str | None
    region: str | None

    def keys(self) -> str:
        """Return the keys of a config that say it."""
        from trnbench.catalog.instances import hint_at_instances, instances

        if self.instance is None:
            return "" if self.region is None else f"price: {{region: {json.dumps(self.region)}}}\n"
        row = instances().get(self.instance)
        if row is None:
            raise ConfigError(
                f"--instance {self.instance}: is not in the table of instances",
                hint=hint_at_instances(self.instance, "`trnbench prices` lists them"),
            )
        device = _backend_of(row.accelerator.vendor if row.accelerator else None)
        region = "" if self.region is None else f", region: {json.dumps(self.region)}"
        return f"device: {device}\nprice: {{instance: {self.instance}{region}}}\n"


def _choose(
    machine: "Machine", devices: "Devices | None", where: _Where, model: str | None
) -> "Plan":
    """Plan the model that is asked for, or the largest of a few that fits."""
    from trnbench.config.explain import OptionText

    keys = where.keys()
    if model is not None:
        typed = OptionText.of("--model", model, json.dumps(model))
        return _plan(f"model: {MODELS[-1]}\n{keys}", machine, devices, {"model": typed})
    plan = _plan(f"model: {MODELS[-1]}\n{keys}", machine, devices)
    for name in HOST_MODELS if plan.device.accelerator is None else MODELS:
        plan = _plan(f"model: {name}\n{keys}", machine, devices)
        if plan.prediction.memory_verdict == "fits":
            break
    return plan


def _backend_of(vendor: str | None) -> str:
    from trnbench.catalog.backends import BACKENDS

    return next(
        row.name
        for row in BACKENDS.values()
        if (row.is_host if vendor is None else vendor in row.vendors)
    )


def _plan(
    text: str,
    machine: "Machine",
    devices: "Devices | None",
    overrides: Mapping[str, str] | None = None,
) -> "Plan":
    from trnbench.config.load import check_document
    from trnbench.config.yaml import parse_document
    from trnbench.plan.make import plan_all

    cases = check_document(parse_document(text, "trnbench init"), overrides)
    today = datetime.now(UTC).date()
    (plan,) = plan_all(cases, machine=machine, devices=devices, today=today)
    return plan


# --- what is written ------------------------------------------------------------------------------


def _where(plan: "Plan") -> str:
    count, chip = plan.device.devices_used, plan.device.accelerator
    said = f"{count} x {plan.device.backend}" if count > 1 else plan.device.backend
    return f"{said} ({chip})" if chip else said


def _lines(plan: "Plan", instance: str | None) -> Iterator[str]:
    from trnbench.units import say_bytes

    work, device = plan.workload, plan.device
    is_host = device.accelerator is None
    # Of a CPU only that of this machine is known.
    memory = None if is_host and instance else device.memory_bytes
    room = f", {say_bytes(memory)}{'' if is_host else ' each'}" if memory else ""
    name = f"{plan.model.name} on {instance or device.instance or 'this machine'}"
    yield f"# {name}: {_where(plan)}{room}. Written by `trnbench init`."
    yield "# `trnbench schema config` has every key; `--set KEY=VALUE` replaces one for a run."
    yield f"name: {name}"
    yield _line(f"model: {plan.model.name}", "`trnbench models` lists others")
    yield f"# The sizes: {work.reason}."
    yield "workload:"
    yield _line(f"  sequence_length: {work.sequence_length}", "tokens")
    yield _line(
        f"  global_batch_size: {work.global_batch_size}", "sequences in a step of all ranks"
    )
    yield _line(f"  micro_batch_size: {work.micro_batch_size}", "of them in one pass of a rank")
    yield _line(f"  precision: {work.precision}", "fp32, bf16, pure_bf16, bf16_master, fp8")
    kind = device.backend if instance else "auto"
    yield _line(f"device: {kind}", "auto: every device of the best kind that is here and free")
    yield "measure:"
    precision = 0.02 if is_host else 0.005
    yield _line(f"  relative_precision: {precision}", "half-width of the 95 % interval")
    yield _line("  launches: 1", "fresh processes; three or more show how they differ")
    yield _line("  max_minutes: 15", "a case, start and compilation included")
    yield from _price_lines(plan)
    yield _line("# sweep:", "every combination is a case")
    yield "#   workload.micro_batch_size: [1, 2, 4]"


def _line(text: str, comment: str) -> str:
    return f"{text:<28} # {comment}"


def _price_lines(plan: "Plan") -> Iterator[str]:
    price, instance = plan.price, plan.device.instance
    if instance is None:
        yield _line("# price:", "the price of this machine is not known")
        yield _line("#   usd_per_hour: 0.10", "your own rate; then max_usd can limit a case")
        return
    yield "price:"
    yield _line(f"  instance: {instance}", f"`trnbench prices {instance}` lists its rates")
    if price is None:
        yield from textwrap.wrap(
            f"{plan.price_reason}",
            98,
            initial_indent="  # ",
            subsequent_indent="  # ",
            break_on_hyphens=False,
        )
        return
    yield _line(f"  option: {price.option}", f"${price.usd_per_hour} an hour on {price.date}")
    if price.region is not None:
        yield f"  region: {price.region}"
