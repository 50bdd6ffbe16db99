"""Whether the machine was free for this alone, and ran as fast as it can."""

import statistics
from collections import Counter

from trnbench.analysis.checks.base import said
from trnbench.analysis.evidence import Evidence
from trnbench.schema.result import CheckOutcome

MAX_FOREIGN_CPU_SHARE = 0.05
DEVICE_SOURCES = ("nvml", "neuron-monitor")
FAULT_FLAGS = ("ecc_uncorrected", "errors_hardware")
MAX_RANK_LAG = 0.02
SLOWEST_OVER_EVEN = 3.0
"""Times as often the slowest as each of even ranks would be, and no more than 90 % of all: that is
what makes one rank slow, where chance makes another one the slowest each time."""
FEWEST_RANK_SAMPLES = 10


def check_foreign_load(evidence: Evidence) -> CheckOutcome:
    """Nobody else kept the processors busy meanwhile."""
    watches = [w for w in evidence.measurement.watches if w.purpose == "measure"]
    seconds = sum(watch.seconds for watch in watches)
    if not seconds:
        return said("foreign_load", "not_judged", "the measuring was too short to look")
    share = sum(w.foreign_cpu_share * w.seconds for w in watches) / seconds
    seen = f"others used {share:.1%} of the processors"
    if share <= MAX_FOREIGN_CPU_SHARE:
        return said("foreign_load", "sound", seen)
    return said("foreign_load", "doubtful", seen, "stop the other work and measure again")


def check_throttling(evidence: Evidence) -> CheckOutcome:
    """The device did not slow itself down, and its memory made no errors."""
    readings = evidence.measurement.readings
    valid = [reading for reading in readings if reading.is_valid]
    if not any(reading.source in DEVICE_SOURCES for reading in valid):
        return said("throttling", "not_judged", "no source told of the device's own state")
    flags = Counter(
        flag
        for reading in valid
        for flag in reading.flags
        if flag.startswith("throttle_") or flag in FAULT_FLAGS
    )
    if not flags:
        return said("throttling", "sound", f"no throttling in {len(valid)} readings")
    seen = ", ".join(f"{flag} in {count} readings" for flag, count in sorted(flags.items()))
    advice = "see to cooling and power, or replace the device; measure again"
    return said("throttling", "doubtful", seen, advice)


def check_ranks(evidence: Evidence) -> CheckOutcome:
    """No rank is slower than the others again and again, so that all wait for it.

    Source: docs/metrics.md, "Checks", slow rank.
    """
    name = "ranks"
    blocks = [b.rank_seconds for b in evidence.measurement.blocks if b.purpose == "measure"]
    told = [seconds for seconds in blocks if seconds is not None and len(seconds) > 1]
    if not told:
        return said(name, "not_judged", "one rank has no other to be slower than")
    count = min(len(seconds) for seconds in told)
    if len(told) < FEWEST_RANK_SAMPLES:
        few = f"{len(told)} samples of {count} ranks are too few to tell chance from a slow one"
        return said(name, "not_judged", few)
    slowest = Counter(max(range(count), key=seconds.__getitem__) for seconds in told)
    rank, times = slowest.most_common(1)[0]
    middles = [statistics.median(seconds[i] for seconds in told) for i in range(count)]
    own = middles.pop(rank)
    lag = own / statistics.median(middles) - 1
    seen = f"rank {rank} of {count} is the slowest in {times / len(told):.0%}, by {lag:+.1%}"
    often = times / len(told) > min(SLOWEST_OVER_EVEN / count, 0.9)
    if not often or lag <= MAX_RANK_LAG:
        return said(name, "sound", seen)
    advice = "all ranks wait for it: look at its device's clock, cooling and links, or replace it"
    return said(name, "doubtful", seen, advice)
