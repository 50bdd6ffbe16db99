"""The terms of a job: on how many machines, for how long, and for how much at most. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from trnbench.errors import ConfigError
from trnbench.schema.plan import Plan
from trnbench.schema.price import Price
from trnbench.units import say_usd

START_MINUTES = 10
"""Beside the minutes of the cases: to start processes, to plan, and to write down the end."""

MOST_MINUTES = 60 * 24 * 365


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a job may take."""

    nodes: int
    minutes: int
    rate: Price | None
    """Of one instance."""
    no_rate: str | None
    """Why there is none."""
    idle_minutes: int = 0
    """For which machines are paid after the job, at the most."""
    is_cut: bool = False
    """Whether the time is what the dollars buy, and less than the cases may take."""

    @property
    def most_usd(self) -> Decimal | None:
        """What the job costs if it takes all its time."""
        minutes = self.minutes + self.idle_minutes
        return None if self.rate is None else _cost(self.rate, self.nodes, minutes)

    def say(self, where: str) -> list[str]:
        """Return the terms in words, a line each."""
        lines = [f"{self.nodes} x {where}, ended after {self.minutes} minutes at the latest"]
        if self.rate is None or self.most_usd is None:
            return [*lines, f"its price is not known: {self.no_rate}"]
        rate = self.rate
        how = ", ".join(str(part) for part in (rate.option, rate.region, rate.date) if part)
        each = "" if self.nodes == 1 else " for each"
        idle = f", and {self.idle_minutes} minutes after the job" if self.idle_minutes else ""
        return [
            *lines,
            f"at most {say_usd(self.most_usd)}: ${rate.usd_per_hour} an hour{each}{idle} ({how})",
        ]


def nodes_for(plans: Sequence[Plan], asked: int | None, devices_per_node: int | None) -> int:
    """Return the number of machines: as many as asked for, else as the cases take.

    Args:
        plans: of the cases.
        asked: by the user; None leaves it to the plans.
        devices_per_node: None where the machines' type is not known: then nothing is checked.

    Raises:
        ConfigError: a case takes more machines, or leaves one without work.
    """
    if devices_per_node is None:
        return asked or 1
    needed = {plan.case_id: plan.device.instances_billed for plan in plans}
    nodes = asked or max(needed.values())
    for plan in plans:
        used, has = plan.device.devices_used, nodes * devices_per_node
        takes = needed[plan.case_id]
        if takes != nodes:
            raise ConfigError(
                f"--nodes {nodes}: {plan.case_id} takes {used} devices, which are {takes} of these "
                f"machines, and {nodes} have {has}",
                hint=f"use --nodes {takes}, or change its sizes under `parallel`; cases of other "
                "sizes are jobs of their own",
            )
    return nodes


def terms_of(
    plans: Sequence[Plan],
    nodes: int,
    asked_minutes: int | None,
    max_usd: float | None,
    idle_minutes: int = 0,
) -> Terms:
    """Return how long the job may take, and what that costs.

    Args:
        plans: of the cases.
        nodes: machines.
        asked_minutes: by the user; None: what the cases may take, or what the dollars buy.
        max_usd: the most that the job may cost.
        idle_minutes: for which the engine may keep machines after the job.

    Raises:
        ConfigError: a limit in dollars without a price, or a time that costs more.
    """
    rates = [plan.price for plan in plans if plan.price is not None]
    rate = max(rates, key=lambda each: each.usd_per_hour) if len(rates) == len(plans) else None
    no_rate = next((plan.price_reason for plan in plans if plan.price is None), None)
    wanted = math.ceil(sum(plan.measure.max_minutes for plan in plans)) + START_MINUTES
    minutes = min(asked_minutes or wanted, MOST_MINUTES)
    terms = Terms(
        nodes=nodes, minutes=minutes, rate=rate, no_rate=no_rate, idle_minutes=idle_minutes
    )
    if max_usd is None:
        return terms
    if rate is None:
        raise ConfigError(
            f"--max-usd {max_usd:g} cannot be kept without a price: {no_rate}",
            hint="name the machines by --instance, or set your own rate by --usd-per-hour",
        )
    paid = Decimal(str(max_usd)) * 60 / (rate.usd_per_hour * nodes)
    bought = math.floor(paid) - idle_minutes
    if bought < 1:
        raise ConfigError(
            f"--max-usd {max_usd:g}: {nodes} x ${rate.usd_per_hour} an hour cost more before a job "
            f"has had a minute",
            hint="use more dollars, or fewer machines",
        )
    if asked_minutes is not None and asked_minutes > bought:
        raise ConfigError(
            f"--max-usd {max_usd:g}: {asked_minutes} minutes of {nodes} x ${rate.usd_per_hour} an "
            f"hour cost {say_usd(terms.most_usd or 0)}",
            hint=f"use --time {bought}min, or more dollars",
        )
    is_cut = asked_minutes is None and bought < minutes
    return replace(terms, minutes=min(minutes, bought), is_cut=is_cut)


def _cost(rate: Price, nodes: int, minutes: int) -> Decimal:
    return rate.usd_per_hour * nodes * minutes / 60
