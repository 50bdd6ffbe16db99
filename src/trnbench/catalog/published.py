"""What others have published of their training runs, each with where it was read.

None of it was checked by trnbench: other models' sizes, other counts of operations, other timers.
It is shown as published, with its citation, wherever it stands beside a measurement.
"""

import functools
from dataclasses import dataclass
from datetime import date

from trnbench.catalog import read_rows


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """One published run, in its source's own terms."""

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
        """Whether only a low-rank adapter was trained: two thirds of the work for each token."""
        return "lora" in self.name.lower()


@functools.cache
def published_results() -> tuple[PublishedResult, ...]:
    """Return every published run of the catalog."""
    columns = {
        "name": "id",
        "date": "published_date",
        "sequence_length": "seq_len",
        "accelerators": "accelerator_count",
        "instance": "instance_type",
        "tokens_per_second": "tokens_per_second_total",
    }
    return tuple(read_rows(PublishedResult, "published.csv", **columns))


def is_same_model(one: str, other: str) -> bool:
    """Tell whether two names mean one model: case and punctuation say nothing."""
    return _squeezed(one) == _squeezed(other)


def _squeezed(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
