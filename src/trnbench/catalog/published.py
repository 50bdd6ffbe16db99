"""What others have published of their training runs, each with where it was read.

None of it was checked by trnbench: other models' sizes, other counts of operations, other timers.
It is shown as published, with its citation, wherever it stands beside a measurement.
"""

import functools
from dataclasses import dataclass
from datetime import date

from trnbench.catalog import number, read_table


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
    return tuple(
        PublishedResult(
            name=row["id"],
            source=row["source"],
            date=date.fromisoformat(row["published_date"]),
            model=row["model"],
            sequence_length=int(row["seq_len"]) if row["seq_len"] else None,
            accelerator=row["accelerator"],
            accelerators=int(row["accelerator_count"]) if row["accelerator_count"] else None,
            instance=row["instance_type"],
            precision=row["precision"],
            tokens_per_second=number(row["tokens_per_second_total"]),
            notes=row["notes"],
        )
        for row in read_table("published.csv")
    )


def is_same_model(one: str, other: str) -> bool:
    """Tell whether two names mean one model: case and punctuation say nothing."""
    return _squeezed(one) == _squeezed(other)


def _squeezed(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
