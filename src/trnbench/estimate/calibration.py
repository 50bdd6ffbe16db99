"""What was fitted to published steps, and what a user's own measurements say instead.

The time of a step by physics uses shared fractions of datasheet rates; a chip's published steps
took `slowness` times that, with a spread. `benchmarks/fit_estimate.py` makes the table.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from trnbench.catalog import read_rows
from trnbench.protocol.orders import Precision

COVERAGE = 0.8
"""Of a stated range: the part of steps that lie in it, each publication left out in turn."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """One row of the table: what published steps of a kind took beside physics."""

    chip: str
    """`any`: what chips have in common, for those whose own ceilings a user measured."""
    kind: str
    """dense_bf16, dense_fp8, dense_fp32, experts, encoder or adapters."""
    slowness: float
    low: float
    """Least slowness of the 80 % range."""
    high: float
    rows: int
    chips: int
    """Of the largest job among them."""
    sources: str
    """Publications, separated by `|`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Parts of datasheet rates that steps reach, the same on every chip."""

    matmul: float = 0.75
    """Of peak FLOP/s in large matmuls. Source: docs/peak.md; 0.73 to 0.87 on NVIDIA's chips."""
    attention: float = 0.6
    """Of `matmul`, in attention's two products."""
    memory: float = 0.75
    """Of memory bytes/s."""
    traffic: float = 2.0
    """Times that what a block keeps is moved, over both passes."""
    links: float = 0.7
    """Of links' and networks' bytes/s."""
    overlap: float = 0.8
    """Of data-parallel collectives, the most that compute can hide."""
    exposed: float = 0.5
    """Of collectives inside blocks, what is not hidden."""
    launch_seconds_per_block: float = 0.0004
    """Of the host, for one block's kernels in one pass, where each is launched by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Everything that an estimate rests on beside datasheets."""

    shares: Shares = field(default_factory=Shares)
    rows: Mapping[tuple[str, str], Calibrated] = field(default_factory=dict)
    """By chip and kind."""
    own: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Which rows are the user's own, and in words what they rest on."""
    matmul: Mapping[tuple[str, Precision], float] = field(default_factory=dict)
    """Measured part of peak FLOP/s in matmuls, by chip and precision."""
    memory: Mapping[str, float] = field(default_factory=dict)
    """Measured part of memory bytes/s, by chip."""

    def of(self, chip: str, kind: str) -> Calibrated | None:
        """Return what is known of a chip's steps of a kind; None: no data."""
        return self.rows.get((chip, kind))


@functools.cache
def calibration() -> Calibration:
    """Return what the catalog's table says."""
    shares = {row.name: row.value for row in read_rows(_Share, "estimate_shares.csv")}
    rows = read_rows(Calibrated, "calibration.csv")
    return Calibration(shares=Shares(**shares), rows={(row.chip, row.kind): row for row in rows})


@dataclass(frozen=True, slots=True)
class _Share:
    name: str
    value: float
