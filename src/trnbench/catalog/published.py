"""Training runs that others have published, each with its source; trnbench has checked none."""

import functools
from dataclasses import dataclass
from datetime import date

from trnbench.catalog import read_rows


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """One published run, in its source's terms."""

    name: str
    source: str
    date: date
    model: str
    sequence_length: int | None
    accelerator: str
    """As the source calls it."""
    accelerators: int | None
    instance: str
    precision: str
    tokens_per_second: float | None
    """Of the whole job."""
    notes: str

    @property
    def is_adapter_training(self) -> bool:
        """Whether only low-rank adapters were trained: two thirds of the work for each token."""
        return "lora" in self.name.lower()


@functools.cache
def published_results() -> tuple[PublishedResult, ...]:
    """Return every published run of the catalog."""
    rows = read_rows(
        PublishedResult,
        "published.csv",
        name="id",
        date="published_date",
        sequence_length="seq_len",
        accelerators="accelerator_count",
        instance="instance_type",
        tokens_per_second="tokens_per_second_total",
    )
    return tuple(rows)


def is_same_model(one: str, other: str) -> bool:
    """Tell whether two names mean one model: case and punctuation are ignored."""
    first, second = ([c for c in name.lower() if c.isalnum()] for name in (one, other))
    return first == second
