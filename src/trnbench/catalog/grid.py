"""What a kilowatt-hour emits where a cloud's regions are, and what its rooms add: dated averages.

Emissions are location-based: what the plants of that grid emit, whatever certificates were bought.
A region's grid is the one that its place lies in. What no row says is not known.
"""

import functools
from dataclasses import dataclass
from typing import Literal, cast

from trnbench.catalog.tables import read_table


@dataclass(frozen=True, slots=True)
class Grid:
    """One region's electricity."""

    provider: str
    """Whose region it is: others have regions of the same name elsewhere."""
    region: str
    zone: str
    """By Electricity Maps' name."""
    grams_co2e_per_kwh: float
    year: int
    basis: Literal["location", "market"]
    """location: of the plants; market: of the contracts. They are different numbers."""
    source: str


@dataclass(frozen=True, slots=True)
class Rooms:
    """A provider's buildings."""

    provider: str
    pue: float
    """Power of the room over that of its machines: an average over all its sites."""
    year: int
    source: str


@functools.cache
def grids() -> dict[tuple[str, str], Grid]:
    """Return every known region's electricity by provider and region."""
    return {
        (row["provider"], row["region"]): Grid(
            provider=row["provider"],
            region=row["region"],
            zone=row["grid_zone"],
            grams_co2e_per_kwh=float(row["grams_co2e_per_kwh"]),
            year=int(row["year"]),
            basis=cast(Literal["location", "market"], row["basis"]),
            source=row["source"],
        )
        for row in read_table("grid.csv")
    }


@functools.cache
def rooms() -> dict[str, Rooms]:
    """Return every known provider's buildings by its name."""
    return {
        row["provider"]: Rooms(
            provider=row["provider"],
            pue=float(row["pue"]),
            year=int(row["year"]),
            source=row["source"],
        )
        for row in read_table("pue.csv")
    }
