"""From the options of `trnbench launch` to a job: the suite planned, machines, time and dollars."""

import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from trnbench.cli import complete, options, price_options
from trnbench.cli.groups import cli_option
from trnbench.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from trnbench.catalog.instances import Instance
    from trnbench.config.load import CaseConfig
    from trnbench.launchers.base import Engine, JobRequest, SuiteFile
    from trnbench.launchers.terms import Terms
    from trnbench.schema.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """What the job may take, and what is done with it."""

    PANEL: ClassVar[str] = "Job"

    nodes: int | None = cli_option(
        None,
        metavar="N",
        min=1,
        max=100_000,
        help="Machines of the job.",
        show_default="as many as the suite's layout takes",
    )
    instance: str | None = cli_option(
        None,
        metavar="TYPE",
        autocompletion=complete.instances,
        help="Their instance type, e.g. trn2.48xlarge.",
        show_default="the config's price.instance",
    )
    max_usd: float | None = cli_option(
        None,
        metavar="USD",
        min=0.01,
        help="The most that the job may cost; it limits its time, and `trnbench run` keeps it too.",
        show_default="no limit but each case's measure.max_usd",
    )
    max_minutes: float | None = cli_option(
        None, metavar="MINUTES", min=0.01, help="Of each case, as measure.max_minutes."
    )
    time: str | None = cli_option(
        None,
        metavar="TIME",
        help="After which the engine ends the job: 90min, 2h.",
        show_default="the minutes of all cases and 10 more",
    )
    write: Path | None = cli_option(
        None,
        metavar="FILE",
        parser=options.read_output_file,
        help="Write the job to this file instead of to stdout.",
    )
    submit: bool = cli_option(
        False, "--submit", help="Submit it, follow it to its end, and bring the results home."
    )
    follow: str | None = cli_option(
        None, metavar="JOB", help="Follow a job that was submitted before, by its number or name."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """What a node runs, and where."""

    PANEL: ClassVar[str] = "Node"

    image: str | None = cli_option(
        None,
        metavar="IMAGE",
        help="The container with torch and trnbench, which Kubernetes needs; for SkyPilot a "
        "container or a machine image (ami-…).",
    )
    setup: str | None = cli_option(
        None,
        metavar="COMMAND",
        help="A shell command that each node runs first, e.g. `source /opt/venv/bin/activate`.",
    )
    env: list[str] | None = cli_option(
        None, metavar="NAME=VALUE", help="A variable of each node's environment. Can be repeated."
    )
    partition: str | None = cli_option(None, metavar="NAME", help="Slurm's partition.")
    account: str | None = cli_option(None, metavar="NAME", help="Slurm's account.")
    sbatch: list[str] | None = cli_option(
        None,
        metavar="DIRECTIVE",
        help="A further #SBATCH line, e.g. --sbatch=--gres=gpu:8. Can be repeated.",
    )
    namespace: str | None = cli_option(None, metavar="NAME", help="Kubernetes' namespace.")
    form: str | None = cli_option(
        None,
        metavar="FORM",
        help="Kubernetes' object: job, which every cluster has, or jobset.",
        show_default="job",
    )
    infra: str | None = cli_option(
        None,
        metavar="INFRA",
        help="Where SkyPilot takes machines: aws/us-east-2, kubernetes, slurm/CLUSTER.",
        show_default="the instance's cloud",
    )

    def place(self, engine: "Engine") -> dict[str, str]:
        """Return what an engine's own options say.

        Raises:
            ConfigError: an option is another engine's.
        """
        named = {
            "partition": self.partition,
            "account": self.account,
            "namespace": self.namespace,
            "form": self.form,
            "infra": self.infra,
        }
        foreign = [name for name, value in named.items() if value and name not in engine.options]
        if self.sbatch and engine.name != "slurm":
            foreign.append("sbatch")
        if foreign:
            raise ConfigError(
                f"--{foreign[0]}: is not an option of {engine.name}",
                hint=f"its own: {', '.join(f'--{name}' for name in engine.options)}",
            )
        chosen = {name: named[name] or default for name, default in engine.options.items()}
        return {name: value for name, value in chosen.items() if value}

    def variables(self) -> dict[str, str]:
        """Return the variables that the user gives."""
        found = {}
        for text in self.env or ():
            name, equals, value = text.partition("=")
            if not equals or not name.isidentifier():
                raise ConfigError(
                    f"--env {text}: is not NAME=VALUE", hint="write e.g. --env NCCL_DEBUG=WARN"
                )
            found[name] = value
        return found


def request_job(
    engine: "Engine",
    suite: str,
    output: Path | None,
    job: JobOptions,
    node: NodeOptions,
    case: options.CaseOptions,
    price: price_options.PriceChoice,
) -> "JobRequest":
    """Plan a suite for the machines of a job, and return the job.

    Raises:
        ConfigError: the suite, or the job's size, time or dollars.
        UnavailableError: a live price was asked for, and no source has it.
    """
    from trnbench.cli.prepare import read_cases
    from trnbench.launchers.base import JobRequest, job_name
    from trnbench.launchers.terms import terms_of
    from trnbench.prices.table import SEVERAL_REGIONS

    overrides = case.overrides(
        {
            **price.keys(),
            "price.instance": job.instance,
            "measure.max_minutes": job.max_minutes,
        }
    )
    cases = read_cases([suite], overrides)
    name = cases[0].config.name
    words = [word for key, value in overrides.items() for word in ("--set", f"{key}={value}")]
    if not engine.sees_files:
        words += _words_of_container(cases, suite, name)
    instance = _instance(cases, job.instance)
    plans, nodes = _plan(cases, instance, job.nodes, case.python)
    terms = terms_of(plans, nodes, _minutes(job.time), job.max_usd, engine.idle_minutes)
    if case.python != sys.executable:
        words += ["--python", case.python]
    if job.max_usd is not None:
        words += ["--max-usd", f"{job.max_usd:g}"]
    home = home_of(output, name, engine)
    rate = terms.rate
    return JobRequest(
        name=job_name(name, secrets.token_hex(3)),
        title=_title(name, engine, instance, terms),
        suite=_suite_file(suite),
        words=words,
        nodes=nodes,
        minutes=terms.minutes,
        backend=_backend(plans, instance),
        instance=instance,
        output=home,
        command=_command(engine, node),
        setup=node.setup,
        variables=node.variables(),
        image=node.image,
        region=rate.region if rate and rate.region not in SEVERAL_REGIONS else None,
        is_spot=bool(rate and rate.option == "spot"),
        place=node.place(engine),
        directives=node.sbatch or (),
    )


def _instance(cases: "Sequence[CaseConfig]", named: str | None) -> "Instance | None":
    """Return the type of the machines; None where nothing names one."""
    from trnbench.catalog.instances import instances

    names = {case.config.price.instance for case in cases} - {"auto"}
    if len(names) > 1:
        raise ConfigError(
            f"price.instance: the cases name {', '.join(sorted(names))}, and a job has one type",
            hint="use --instance, or a job for each",
        )
    name = named or next(iter(names), None)
    if name is not None and name not in instances():
        raise ConfigError(
            f"--instance {name}: is not in the table of instances",
            hint=did_you_mean(name, instances(), "`trnbench prices` lists them"),
        )
    return instances()[name] if name is not None else None


def _plan(
    cases: "Sequence[CaseConfig]", instance: "Instance | None", nodes: int | None, python: str
) -> "tuple[Sequence[Plan], int]":
    """Plan every case for the machines of the job, and return how many machines there are."""
    from datetime import UTC, datetime
    from functools import partial

    from trnbench.launchers.terms import nodes_for
    from trnbench.machine.describe import describe_machine
    from trnbench.plan.make import plan_all
    from trnbench.run.questions import describer

    make = partial(
        plan_all,
        machine=describe_machine(),
        devices=None,
        today=datetime.now(UTC).date(),
        describe=describer(python),
    )
    chip = instance.accelerator if instance else None
    if instance is None or chip is None:
        return make(cases), nodes_for((), nodes, None)
    per_node = instance.chips * chip.devices_per_chip
    plans = make(cases)
    try:
        return plans, nodes_for(plans, nodes, per_node)
    except ConfigError as error:
        # Sizes that the config leaves open are shared out over all machines, if they can be.
        try:
            plans = make([_on_all(each, (nodes or 1) * per_node) for each in cases])
        except ConfigError as why_not:
            raise ConfigError.of([*error.problems, *why_not.problems]) from None
    return plans, nodes_for(plans, nodes, per_node)


def _on_all(case: "CaseConfig", devices: int) -> "CaseConfig":
    """Return a case that asks for so many devices, unless it says how many it takes."""
    asked = case.config.device
    if asked.count is not None or asked.first is not None:
        return case
    every = asked.model_copy(update={"count": devices})
    return replace(case, config=case.config.model_copy(update={"device": every}))


def _minutes(text: str | None) -> int | None:
    import math

    from trnbench.units import read_seconds

    if text is None:
        return None
    try:
        return max(1, math.floor(read_seconds(text) / 60))
    except ValueError as error:
        raise ConfigError(f"--time {text}: {error}", hint="write e.g. --time 90min") from None


def _backend(plans: "Sequence[Plan]", instance: "Instance | None") -> str:
    """Return the kind of device of all cases, which the machines must have."""
    from trnbench.catalog.backends import backend_of

    kinds = {plan.device.backend for plan in plans}
    if len(kinds) > 1:
        raise ConfigError(
            f"device: the cases train on {', '.join(sorted(kinds))}, and a job has one kind",
            hint="use --device, or a job for each",
        )
    kind = next(iter(kinds))
    vendors, chip = backend_of(kind).vendors, instance.accelerator if instance else None
    if instance is not None and chip is not None and vendors and chip.vendor not in vendors:
        raise ConfigError(
            f"device: {kind}, and a {instance.name} has {chip.name} of {chip.vendor}",
            hint="name an --instance with chips that it drives, or another --device",
        )
    return kind


def _title(name: str, engine: "Engine", instance: "Instance | None", terms: "Terms") -> list[str]:
    where = instance.name if instance else "machine of a type that is not named"
    first, *rest = terms.say(where)
    cut = ["less than the cases may take: --max-usd buys no more"] if terms.is_cut else []
    return [f"{' '.join(name.split())}: a job for {engine.name}, {first}", *rest, *cut]


def home_of(output: Path | None, name: str, engine: "Engine") -> Path:
    """Return the absolute folder for the results.

    Raises:
        ConfigError: it holds a run that the job cannot see, and so cannot complete.
    """
    from trnbench.cli.prepare import default_folder

    home = (output or default_folder(name)).absolute()
    if not engine.sees_files and (home / "run.json").exists():
        raise ConfigError(
            f"{output}: holds a run, which a job of {engine.name} cannot see and complete",
            hint="name a new folder with -o",
        )
    return home


def _command(engine: "Engine", node: NodeOptions) -> str:
    """Return how a node starts trnbench: by this very interpreter where it sees this machine's."""
    import shlex

    if engine.sees_files and node.setup is None:
        return f"{shlex.quote(sys.executable)} -m trnbench"
    return "trnbench"


def _suite_file(named: str) -> "SuiteFile":
    from trnbench.launchers.base import SuiteFile
    from trnbench.run.configs import shipped_configs

    path = Path(named)
    if path.exists():
        return SuiteFile(argument=str(path.absolute()), text=path.read_text(encoding="utf-8"))
    shipped = shipped_configs()
    if named in shipped:
        return SuiteFile(argument=named, text=shipped[named].read_text(encoding="utf-8"))
    return SuiteFile(
        argument=named, text=f"name: {json.dumps(named)}\nmodel: {json.dumps(named)}\n"
    )


def _words_of_container(cases: "Sequence[CaseConfig]", suite: str, name: str) -> list[str]:
    """Return what a job says of a suite whose file it is given under another name.

    Raises:
        ConfigError: the suite names another file of this machine, which the job does not see.
    """
    from trnbench.run.configs import open_config

    for case in cases:
        model = case.config.model
        named: Mapping[str, str | None] = {
            "price.file": case.config.price.file,
            "model.huggingface": None if isinstance(model, str) else model.huggingface,
        }
        for key, value in named.items():
            if value is not None and Path(value).exists():
                raise ConfigError(
                    f"{key}: {value}: is a file of this machine, which the job does not see",
                    hint="put its values into the suite, or use --usd-per-hour for a price",
                )
    data = open_config(suite).data
    is_named = isinstance(data, dict) and "name" in data
    return [] if is_named else ["--set", f"name={json.dumps(name)}"]
