"""For how long a machine is billed when a job takes so many seconds.

Sources: EC2 user guide, "On-Demand Instances" (Linux is billed by the second, sixty at least) and
"Capacity Blocks pricing and billing" (one to fourteen days, then whole weeks to twenty-six); both
read 2026-11.
"""

import math

from trnbench.schema.price import PriceOption
from trnbench.schema.units import SECONDS_PER_HOUR

LEAST_SECONDS = 60
LONGEST_IN_DAYS = 14
_DAY = 24 * SECONDS_PER_HOUR
_BY_SECOND = ("on_demand", "spot", "savings_plan_1y", "savings_plan_3y")


def billed_seconds(option: PriceOption, seconds: float) -> float:
    """Return the seconds on the bill, had the machine been rented for this job alone.

    A reservation and a machine of one's own are paid for anyway: of them the job's own seconds
    count.
    """
    if math.isinf(seconds):
        return seconds
    if option == "capacity_block":
        return block_days(seconds / _DAY) * _DAY
    if option in _BY_SECOND:
        return max(LEAST_SECONDS, math.ceil(seconds))
    return seconds


def block_days(days: float) -> int:
    """Return the length of the capacity block, or blocks, that a job of so many days needs."""
    if days <= LONGEST_IN_DAYS:
        return max(1, math.ceil(days))
    return math.ceil(days / 7) * 7
