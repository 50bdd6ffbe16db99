"""The way from configs to plans, shared by the commands that measure."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from trnbench.cli.nodes import enter_allocation
from trnbench.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from trnbench.cli.options import FormatChoice
    from trnbench.config.load import CaseConfig, Suite
    from trnbench.machine.describe import Devices, Machine
    from trnbench.run.case import Observer
    from trnbench.run.nodes import Nodes
    from trnbench.run.stopping import Spending
    from trnbench.run.watch import Interruption
    from trnbench.schema.plan import Plan


class Prepared(NamedTuple):
    """Everything that is known before the first launch."""

    plans: "list[Plan]"
    python: str
    """The interpreter that trains."""
    machine: "Machine"
    devices: "Devices"
    cases: "Sequence[CaseConfig]"
    """The configs that the plans were made of, one by one."""
    make: "Callable[..., list[Plan]]"
    """`plan_all` for this machine and its devices."""
    nodes: "Nodes | None" = None
    """The other nodes of the job, which have come."""


def read_cases(
    configs: Sequence[str] | None, overrides: Mapping[str, str], most: int | None = None
) -> "list[CaseConfig]":
    """Read configs, by path or by name, and models by name; without any, the quick suite's."""
    return expand(read_suites(configs, overrides), most)


def read_suites(configs: Sequence[str] | None, overrides: Mapping[str, str]) -> "list[Suite]":
    """Read configs as suites, whose sweeps are not expanded yet."""
    from trnbench.config.load import open_suite
    from trnbench.run.configs import DEFAULT_CONFIG, open_config

    return [open_suite(open_config(name), overrides) for name in configs or [DEFAULT_CONFIG]]


def expand(suites: "Sequence[Suite]", most: int | None = None) -> "list[CaseConfig]":
    """Return the cases of all suites, of each `most` at most."""
    return [case for suite in suites for case in suite.cases(most)]


def prepare(cases: "Sequence[CaseConfig]", python: str, nodes: "Nodes | None" = None) -> Prepared:
    """Plan every case on this machine and the other nodes, and refuse what they cannot train.

    Raises:
        Exit: there are other nodes, and none was passed: node 0 works alone.
    """
    from trnbench.machine.describe import describe_machine
    from trnbench.plan.make import plan_all
    from trnbench.run.looking import look_around
    from trnbench.run.questions import describer, require_device

    if nodes is None:
        enter_allocation(is_of_one_node=True)
    machine = describe_machine()
    make = partial(plan_all, today=datetime.now(UTC).date(), describe=describer(python))
    # First without devices: an error in a config needs no search for them.
    make(cases, machine=machine, devices=None)
    machine, devices = look_around(python, machine)
    for case in cases:
        require_device(case.config.device, devices)
    if nodes is not None:
        nodes.require_alike(devices)
        devices = replace(devices, nodes=nodes.count)

    here = partial(make, machine=machine, devices=devices)
    return Prepared(here(cases), python, machine, devices, cases, here, nodes)


def require_sizes(plans: "Sequence[Plan]") -> None:
    """Refuse `micro_batch_size: max` where no trials are made: only `run` makes them.

    Raises:
        ConfigError: a plan has no size yet.
    """
    open_ = next((plan for plan in plans if plan.workload.search is not None), None)
    if open_ is not None:
        raise ConfigError(
            f"{open_.suite}: workload.micro_batch_size: max is found by trials, which "
            "`trnbench run CONFIG` makes, and this command does not",
            hint="run the config, and give the size that it took by "
            "`--set workload.micro_batch_size=N`",
        )


def settle_pass_sizes(
    prepared: Prepared,
    folder: Path,
    *,
    observer: "Observer",
    interruption: "Interruption",
    spending: "Spending",
) -> "list[Plan]":
    """Make the trials that `micro_batch_size: max` needs; return the plans with what was found."""
    if all(plan.workload.search is None for plan in prepared.plans):
        return prepared.plans
    from trnbench.run.largest import settle_pass_size
    from trnbench.run.session import Session

    def plan_at(case: "CaseConfig", pass_size: int) -> "Plan":
        (plan,) = prepared.make([case], pass_size=pass_size)
        return plan

    open_session = partial(
        Session,
        python=prepared.python,
        machine=prepared.machine,
        devices=prepared.devices,
        interruption=interruption,
        spending=spending,
        nodes=prepared.nodes,
    )
    return [
        settle_pass_size(
            plan,
            partial(plan_at, case),
            folder,
            open_session=open_session,
            observer=observer,
            interruption=interruption,
            notify=partial(print, file=sys.stderr),
        )
        for case, plan in zip(prepared.cases, prepared.plans, strict=True)
    ]


def plan_only(
    cases: "Sequence[CaseConfig]",
    python: str,
    form: "FormatChoice",
    *,
    nodes: int = 1,
    is_strict: bool = False,
) -> None:
    """Print plans; where `run` would refuse one here, say so, and plan without the device.

    Each of the allocation's `nodes` is taken to have what this one has.

    Raises:
        UnavailableError: with `is_strict`, `run` would refuse one.
    """
    from trnbench.cli.output import show
    from trnbench.machine.describe import describe_machine
    from trnbench.plan.make import plan_all
    from trnbench.reports.plans import REPORT
    from trnbench.run.looking import look_around
    from trnbench.run.questions import describer, require_device

    machine = describe_machine()
    make = partial(plan_all, today=datetime.now(UTC).date(), describe=describer(python))
    plans = make(cases, machine=machine, devices=None)
    refused: dict[str, list[str]] = {}
    try:
        machine, devices = look_around(python, machine, is_dry=True)
    except UnavailableError as error:
        refused[str(error)] = [plan.case_id for plan in plans]
    else:
        devices = replace(devices, nodes=nodes)
        for number, case in enumerate(cases):
            try:
                require_device(case.config.device, devices)
                require_instance(case, plans[number], machine, devices)
                (plans[number],) = make([case], machine=machine, devices=devices)
            except UnavailableError as error:
                refused.setdefault(str(error), []).append(plans[number].case_id)
    show(REPORT, plans, form.name)
    # To plan for a machine that is somewhere else is what a dry run is for.
    for why, names in refused.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        sys.stderr.write(f"{names[0]}{more}: plan only: `run` would refuse it here: {why}\n")
    if refused and is_strict:
        count = sum(map(len, refused.values()))
        raise UnavailableError(
            f"--strict: `run` would refuse {count} of {len(plans)} plans on this machine",
            hint="run them on a machine that they suit, or leave --strict out",
        )


def require_instance(
    case: "CaseConfig", plan: "Plan", machine: "Machine", devices: "Devices"
) -> None:
    """Require that this machine is the instance that a config names, if its chips are others.

    Raises:
        UnavailableError: it has another number of devices of that chip, or other chips.
    """
    from trnbench.catalog.accelerators import accelerator_of_device
    from trnbench.catalog.instances import instances
    from trnbench.run.questions import require_device

    named = instances().get(case.config.price.instance)
    found = require_device(case.config.device, devices)
    if named is None or named.accelerator is None or machine.instance == named.name:
        return
    there, here = named.chips * plan.device.devices_per_chip, found.device_count
    chip = accelerator_of_device(found.device_name)
    if chip != named.accelerator or here != there:
        said = f"{here} of {chip.name if chip else found.device_name}"
        raise UnavailableError(
            f"{named.name} has {there} devices of {named.accelerator.name}, and here are {said}",
            hint="leave `price.instance` out to plan for this machine",
        )


def default_folder(words: str, under: Path = Path("results")) -> Path:
    """Return the name of a new folder, from the time and what is measured."""
    tame = "".join(c if c.isalnum() or c in ".-" else "-" for c in words)[:40].strip("-.")
    return under / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{tame or 'run'}"
