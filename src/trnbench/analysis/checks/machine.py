"""Whether the machine was free for this alone, and ran as fast as it can."""

from collections import Counter

from trnbench.analysis.checks.base import said
from trnbench.analysis.evidence import Evidence
from trnbench.schema.result import CheckOutcome

MAX_FOREIGN_CPU_SHARE = 0.05
DEVICE_SOURCES = ("nvml", "neuron-monitor")
FAULT_FLAGS = ("ecc_uncorrected", "errors_hardware")


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
