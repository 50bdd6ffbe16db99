"""How an instance is rented and where its price comes from, by name; light enough for `--help`."""

from typing import Literal, get_args

RentOption = Literal[
    "on_demand",
    "spot",
    "capacity_block",
    "savings_plan_1y",
    "savings_plan_3y",
    "reserved_1y",
    "reserved_3y",
]
"""How an instance is rented."""

RENT_OPTIONS: tuple[RentOption, ...] = get_args(RentOption)

PriceOption = RentOption | Literal["user", "owned"]
"""What a rate is of; `user`: the user gave it; `owned`: the user's own hardware."""

PriceSourceName = Literal["table", "live", "live_or_table"]
"""The dated table; the cloud, now; the cloud, and if it does not answer the table."""
