"""The way from configs to plans, shared by the commands that measure."""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from trnbench.schema.errors import UnavailableError

if TYPE_CHECKING:
    from trnbench.config.load import CaseConfig
    from trnbench.machine.describe import Devices, Machine
    from trnbench.plan.external import Guests
    from trnbench.schema.plan import Plan


class Prepared(NamedTuple):
    """Everything that is known before the first launch."""

    plans: "list[Plan]"
    machine: "Machine"
    devices: "Devices"


def read_cases(configs: Sequence[str] | None, overrides: Mapping[str, str]) -> "list[CaseConfig]":
    """Read configs, by path or by name, to their cases; without any, the quick suite's."""
    from trnbench.config.load import read_config
    from trnbench.run.configs import DEFAULT_CONFIG, find_config

    return [
        case
        for name in configs or [DEFAULT_CONFIG]
        for case in read_config(find_config(name), overrides)
    ]


def prepare(cases: "Sequence[CaseConfig]", python: str) -> Prepared:
    """Plan every case on what is here, and refuse what cannot be trained here."""
    from trnbench.machine.describe import describe_machine
    from trnbench.run.guests import meet_guests

    machine = describe_machine()
    # Whatever is wrong with a model that is not ours is told before a device is looked for.
    guests = meet_guests(cases, python)
    # A fault in the config is told before an interpreter is started for it.
    make_plans(cases, machine, None, guests)
    machine, devices = look_around(machine, python)
    require_devices(cases, devices)
    return Prepared(make_plans(cases, machine, devices, guests), machine, devices)


def look_around(machine: "Machine", python: str) -> "tuple[Machine, Devices]":
    """Probe for devices, and meanwhile look at the chips, which no run has to wait for."""
    from concurrent.futures import ThreadPoolExecutor

    from trnbench.machine.describe import look_at_accelerators
    from trnbench.run.devices import probe_devices, with_chips

    with ThreadPoolExecutor(max_workers=1) as beside:
        seen = beside.submit(look_at_accelerators)
        devices = probe_devices(python)
    chips = seen.result()
    return machine.with_accelerators(chips), with_chips(devices, chips.neuron)


def make_plans(
    cases: "Sequence[CaseConfig]",
    machine: "Machine",
    devices: "Devices | None",
    guests: "Guests | None" = None,
) -> "list[Plan]":
    """Resolve every case, giving each conflict its file and line."""
    from trnbench.config.load import Conflict
    from trnbench.plan.make import make_plan

    plans = []
    today = datetime.now(UTC).date()
    for case in cases:
        try:
            plan = make_plan(
                case, machine=machine, devices=devices, today=today, guests=guests or {}
            )
            plans.append(plan)
        except Conflict as conflict:
            raise case.explain(conflict) from None
    return plans


def require_devices(cases: "Sequence[CaseConfig]", devices: "Devices") -> None:
    """Refuse, before anything is launched, what cannot be trained here."""
    from trnbench.run.devices import require_device

    for case in cases:
        require_device(case.config.device, devices)
        sizes = case.config.parallel
        ranks = (
            sizes.tensor_parallel_size
            * sizes.pipeline_parallel_size
            * sizes.context_parallel_size
            * sizes.data_parallel_size
        )
        if ranks > 1:
            raise UnavailableError(
                f"{case.config.name}: `parallel` asks for {ranks} devices; this version trains on "
                "one and plans for more",
                hint="see the plan with `--dry-run`, or set the sizes under `parallel` to 1",
            )


def plan_only(cases: "Sequence[CaseConfig]", python: str, *, is_json: bool) -> None:
    """Print plans; without torch or the device they are made as far as they go without it."""
    from trnbench.cli.output import show
    from trnbench.machine.describe import describe_machine
    from trnbench.reports.plans import REPORT
    from trnbench.run.devices import require_device
    from trnbench.run.guests import meet_guests

    machine = describe_machine()
    guests = meet_guests(cases, python)
    make_plans(cases, machine, None, guests)
    devices = None
    try:
        machine, devices = look_around(machine, python)
        for case in cases:
            require_device(case.config.device, devices)
    except UnavailableError as error:
        # To plan for a machine that is somewhere else is what a dry run is for.
        sys.stderr.write(f"planned without the device: {error}\n")
    plans = make_plans(cases, machine, devices, guests)
    show(REPORT, plans, "json" if is_json else "terminal")


def default_folder(suite: str, now: datetime) -> Path:
    """Return a new folder's name from the time and the suite."""
    words = "".join(c if c.isalnum() or c in ".-" else "-" for c in suite)[:40].strip("-.")
    return Path("results") / f"{now:%Y%m%dT%H%M%SZ}-{words or 'run'}"
