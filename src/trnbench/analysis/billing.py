"""How long a rented machine is on the bill.

Source: EC2 user guide, "On-Demand Instances" (Linux by the second, sixty at least) and "Capacity
Blocks pricing and billing" (one to fourteen days, then whole weeks to twenty-six); read 2026-11.
"""

import math

from trnbench.schema.rent import PriceOption
from trnbench.units import SECONDS_PER_DAY

LEAST_SECONDS = 60
LONGEST_IN_DAYS = 14

_BY_SECOND = ("on_demand", "spot", "savings_plan_1y", "savings_plan_3y")


def billed_seconds(option: PriceOption, seconds: float) -> float:
    """Return the seconds on the bill, had the machine been rented for this job alone.

    Of a reservation, or a machine that the user owns, the job's seconds count: it is paid for
    anyway.
    """
    if math.isinf(seconds):
        return seconds
    if option == "capacity_block":
        days = max(1, math.ceil(seconds / SECONDS_PER_DAY))
        return (days if days <= LONGEST_IN_DAYS else math.ceil(days / 7) * 7) * SECONDS_PER_DAY
    if option in _BY_SECOND:
        return max(LEAST_SECONDS, math.ceil(seconds))
    return seconds
