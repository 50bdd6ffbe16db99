"""Numbers of ranks that a runtime supports on one machine, where its vendor lists them."""

import functools
from dataclasses import dataclass

from trnbench.catalog import read_rows


@dataclass(frozen=True, slots=True)
class Worlds:
    """One chip, at one number of devices a chip (at one LNC)."""

    accelerator: str
    devices_per_chip: int
    worlds: tuple[str, ...]
    source: str

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of ranks, in order; each group begins at a multiple of its size.

        Source: AWS Neuron documentation, archive/nxd-training/torch-neuron-envvars (2.32).
        """
        return tuple(int(size) for size in self.worlds)


@functools.cache
def _table() -> dict[tuple[str, int], Worlds]:
    rows = read_rows(Worlds, "worlds.csv")
    return {(row.accelerator, row.devices_per_chip): row for row in rows}


def worlds_of(accelerator: str, devices_per_chip: int) -> tuple[int, ...] | None:
    """Return the worlds that are supported; None where no list is known, and any may be."""
    row = _table().get((accelerator, devices_per_chip))
    return None if row is None else row.sizes
