"""What the scripts print alike: the machine that they ran on, and the ratio of paired runs."""

import math
import platform
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime

from scipy.special import stdtrit

from trnbench.machine.describe import describe_machine


def machine_line() -> str:
    """Return the day and this machine, in the line that every print begins with."""
    host = describe_machine().host
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {host.processor}, {host.logical_cpus} logical CPUs, "
        f"{host.operating_system}, Python {platform.python_version()}"
    )


def paired_ratio(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Return the geometric mean of an even number of ratios, and its 95 % interval.

    Two pairs of opposite order make one estimate: whatever favours the first place cancels.
    """
    logs = [math.log(a * b) / 2 for a, b in zip(ratios[::2], ratios[1::2], strict=True)]
    mean = statistics.fmean(logs)
    half = float(stdtrit(len(logs) - 1, 0.975)) * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)
