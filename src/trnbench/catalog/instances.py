"""Instance types: which chips each has, and how many."""

import functools
from dataclasses import dataclass

from trnbench.catalog import read_table
from trnbench.catalog.accelerators import Accelerator, accelerators
from trnbench.errors import did_you_mean


@dataclass(frozen=True, slots=True)
class Instance:
    """One instance type."""

    name: str
    provider: str
    accelerator: Accelerator | None
    """None without accelerators, and where their figures are not known."""
    chips: int
    source: str
    efa_interfaces: int | None = None
    """Network interfaces with EFA that it can have, 0 for none; None where that is not known."""


@functools.cache
def instances() -> dict[str, Instance]:
    """Return every known instance type by name."""
    found = {}
    efa = {row["instance_type"]: int(row["efa_interfaces"]) for row in read_table("efa.csv")}
    for row in read_table("instances.csv"):
        found[row["instance_type"]] = Instance(
            name=row["instance_type"],
            provider=row["provider"],
            accelerator=accelerators()[row["accelerator"]] if row["accelerator"] else None,
            chips=int(row["chips"]),
            source=row["source"],
            efa_interfaces=efa.get(row["instance_type"]),
        )
    return found


def hint_at_instances(name: str, rest: str = "") -> str:
    """Return a hint at the known instance types of near names, if any, and the rest of the hint."""
    return did_you_mean(name, instances(), rest, cutoff=0.5)
