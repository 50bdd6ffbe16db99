"""The room that a machine stands in and the grid that feeds it, by its price's provider and region.

Source: docs/metrics.md, "Energy". A figure holds for the provider whose row states it: a machine of
one's own, or of a provider that is in no row, has none unless the user gives it.
"""

from dataclasses import dataclass

from trnbench.catalog.facts import grids, rooms
from trnbench.catalog.instances import instances
from trnbench.schema.price import Price


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """A room and its grid, each with its source or why it is not known."""

    pue: float | None
    pue_source: str
    grams_co2e_per_kwh: float | None
    grid_source: str

    @property
    def reason(self) -> str | None:
        """Why no emissions follow; None where they do."""
        lacking = [
            source
            for value, source in (
                (self.pue, self.pue_source),
                (self.grams_co2e_per_kwh, self.grid_source),
            )
            if value is None
        ]
        return "; ".join(lacking) or None


def find_surroundings(
    price: Price | None, pue: float | None = None, grams_co2e_per_kwh: float | None = None
) -> Surroundings:
    """Look up where a priced machine stands.

    Args:
        price: names the instance and its region.
        pue: the user's own, which wins.
        grams_co2e_per_kwh: the user's own, which wins.
    """
    found_pue, pue_source = _pue(price, pue)
    grams, grid_source = _grid(price, grams_co2e_per_kwh)
    return Surroundings(
        pue=found_pue,
        pue_source=pue_source,
        grams_co2e_per_kwh=grams,
        grid_source=grid_source,
    )


def _pue(price: Price | None, given: float | None) -> tuple[float | None, str]:
    if given is not None:
        return given, "given by the user"
    room = rooms().get(_provider(price) or "")
    if room is None:
        return None, "no PUE is known of who houses this machine (`trnbench cost --pue` sets one)"
    return room.pue, f"{room.year}: {room.source}"


def _grid(price: Price | None, given: float | None) -> tuple[float | None, str]:
    if given is not None:
        return given, f"{given:g} g a kWh, given by the user"
    region = price.region if price else None
    grid = grids().get((_provider(price) or "", region or ""))
    if grid is None:
        where = region or "this place"
        return None, f"no grid is known of {where} (`trnbench cost --grid` sets one)"
    return grid.grams_co2e_per_kwh, (
        f"{grid.grams_co2e_per_kwh:g} g a kWh, {grid.basis}-based, {grid.zone} {grid.year}: "
        f"{grid.source}"
    )


def _provider(price: Price | None) -> str | None:
    instance = instances().get(price.instance or "") if price else None
    return instance.provider if instance else None
