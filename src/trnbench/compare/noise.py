"""A machine's noise floor: by how much the same work differs, and what then a gate costs.

Source: docs/metrics.md, "Launches" and "Comparison".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from trnbench.analysis.statistics import (
    LEAST_LAUNCHES,
    Deviation,
    between_launches,
    within_launches,
)
from trnbench.compare.gates import TARGET_EXCESS_NATS
from trnbench.compare.launches import Launch
from trnbench.compare.matching import Group, group_launches, match_groups
from trnbench.compare.metrics import COMPARABLES
from trnbench.compare.ratio import (
    ALPHA,
    LogDifference,
    Sample,
    find_difference,
    launches_needed,
)
from trnbench.errors import DataError

METRIC = "tokens_per_second"

GATE_CHANGES = (0.01, 0.02, 0.05)
"""Changes that people gate on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateCost:
    """Launches a side after which a gate is right 97.5 times in 100; None: over 1,000."""

    change: float
    apart: int | None
    """Both sides measured at any time."""
    apart_most: int | None
    """The same if launches differ by as much as the upper end of the interval says."""
    in_turns: int | None
    """Both measured in turns, by the standard deviation of the differences of pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseFloor:
    """One case compared with itself."""

    name: str
    device: str
    launches: int
    """Of both arms."""
    doubtful: int
    """How many of them are doubtful."""
    middle_tokens_per_second: float
    between: Deviation
    """Relative standard deviation between launches."""
    within: float | None
    """What their own samples predict for it; None where nothing is known."""
    ratio: float
    ratio_low: float
    ratio_high: float
    """Of the second arm to the first, in turns; both are the same, so 1 is right."""
    p_value: float
    gates: tuple[GateCost, ...]

    @property
    def is_alarm(self) -> bool:
        """Whether the arms seem to differ: 5 times in 100 chance alone does that."""
        return self.p_value < ALPHA


def find_noise(first: Sequence[Launch], second: Sequence[Launch]) -> list[NoiseFloor]:
    """Return the noise floor of each case that both arms measured, launch beside launch.

    Raises:
        DataError: an arm has fewer than three launches of a case that can be used.
    """
    matching = match_groups(group_launches(first), group_launches(second), ())
    return [_floor(*groups) for groups in matching.pairs]


def _floor(first: Group, second: Group) -> NoiseFloor:
    sides = [[one for one in group.launches if one.is_usable] for group in (first, second)]
    fewest = min(map(len, sides))
    if fewest < LEAST_LAUNCHES:
        raise DataError(
            f"{first.name}: {fewest} of the launches of an arm can be used, and {LEAST_LAUNCHES} "
            "are needed to see how launches differ",
            hint="see why with `trnbench report`, then measure again",
        )
    samples = [_sample(side[:fewest]) for side in sides]
    everything = _sample([*sides[0], *sides[1]])
    between = between_launches(everything.values)
    found = find_difference(*samples, is_alike=True, is_paired=True)
    if not isinstance(found, LogDifference):
        raise DataError(f"{first.name}: {found}", hint="measure again with this version")
    errors = [error for error in everything.errors if error is not None]
    ratio, low, high = found.ratios()
    return NoiseFloor(
        name=first.name,
        device=sides[0][0].result.device_name or sides[0][0].result.device.backend,
        launches=len(everything.values),
        doubtful=sum(one.result.standing == "doubtful" for side in sides for one in side),
        middle_tokens_per_second=geometric_mean(everything.values),
        between=between,
        within=within_launches(errors),
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        p_value=found.p_value(),
        gates=tuple(
            GateCost(
                change=change,
                apart=launches_needed(between.value, change),
                apart_most=launches_needed(between.high, change),
                in_turns=launches_needed(found.launch_deviation, change, is_paired=True),
            )
            for change in GATE_CHANGES
        ),
    )


def _sample(launches: Sequence[Launch]) -> Sample:
    found = COMPARABLES[METRIC].sample(launches, TARGET_EXCESS_NATS)
    if isinstance(found, str):
        raise DataError(f"a launch has no throughput: {found}", hint="measure it again")
    return found
