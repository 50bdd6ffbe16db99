"""What a kilowatt-hour emits where a cloud's regions are: dated averages of the grid there.

They are location-based: what the plants of that grid emit, whatever certificates were bought. A
region's grid is the one that its place lies in.
"""

import functools
from dataclasses import dataclass
from typing import Literal, cast

from trnbench.catalog.tables import read_table

PUE = 1.15
"""Power of the room over that of its machines, where nobody says otherwise.

Source: AWS sustainability page, "Data centers": 1.15 over all of AWS in 2024 (read 2026-11).
"""


@dataclass(frozen=True, slots=True)
class Grid:
    """One region's electricity."""

    region: str
    zone: str
    """By Electricity Maps' name."""
    grams_co2e_per_kwh: float
    year: int
    basis: Literal["location", "market"]
    """location: of the plants; market: of the contracts. They are different numbers."""
    source: str


@functools.cache
def grids() -> dict[str, Grid]:
    """Return every known region's electricity by its name."""
    return {
        row["region"]: Grid(
            region=row["region"],
            zone=row["grid_zone"],
            grams_co2e_per_kwh=float(row["grams_co2e_per_kwh"]),
            year=int(row["year"]),
            basis=cast(Literal["location", "market"], row["basis"]),
            source=row["source"],
        )
        for row in read_table("grid.csv")
    }
