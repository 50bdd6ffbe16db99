"""How far the estimate of a step is from published steps, each publication left out in turn.

Nothing of the publication that is judged has a part in the fit: neither the shares of datasheet
rates, nor its chips' slowness, nor the ranges. Beside it the plain table: the median MFU by chip
and kind of step of the other publications.

    python -m benchmarks.estimate_accuracy
"""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.fit_estimate import (
    LeftOut,
    Published,
    calibrated,
    left_out,
    middles,
    over_physics,
    read_rows,
    spreads,
)
from trnbench.catalog.models import models
from trnbench.estimate.calibration import Calibration, Shares, calibration
from trnbench.estimate.published import PublishedSetup
from trnbench.estimate.step import data_of, estimate_step
from trnbench.estimate.terms import bound_seconds, terms_of
from trnbench.model.memory import predict_memory
from trnbench.protocol.orders import Recompute, StepSettings
from trnbench.protocol.parallel import Layout
from trnbench.units import GIB

TARGET_KIND = "dense_bf16"
TARGET_CHIPS = ("a100", "h100", "h200", "b200", "trainium1", "tpu")


@dataclass(frozen=True, slots=True)
class Judged(Published):
    """A run whose publication was left out."""

    error: float | None
    """log(measured / estimated)."""
    is_covered: bool | None
    plain: float | None
    """The same of the plain table."""

    @property
    def is_target(self) -> bool:
        """Whether it is a dense bf16 step of the chips that the promise is about."""
        return self.kind == TARGET_KIND and self.chip.startswith(TARGET_CHIPS)


def judge(setups: Sequence[PublishedSetup]) -> list[Judged]:
    """Judge every run by what the other publications say."""
    left = left_out(setups)
    found = []
    for one in left:
        others = [each for each in left if each is not one]
        rows = calibrated(one.rows, spreads(others))
        known = Calibration(shares=one.shares, rows=rows)
        for each, error in one.errors:
            found.append(Judged(each, error, covered(each, known), plain(each, one)))
    return found


def covered(each: PublishedSetup, known: Calibration) -> bool | None:
    """Tell whether a run lies in its stated range; None without data for its chip."""
    data, _ = data_of(each.setup, known)
    if data is None:
        return None
    physics = terms_of(each.setup, known).seconds
    return physics * data.low <= each.seconds <= physics * data.high


def plain(each: PublishedSetup, left: LeftOut) -> float | None:
    """Return log(measured / by the plain table) of a run; None without like rows of its chip."""
    setup = each.setup
    like = [
        math.log(row.published.seconds / bound_seconds(row.published.setup))
        for row in left.rows
        if (row.chip, row.kind) == (setup.machine.chip.name, setup.kind)
    ]
    if not like:
        return None
    return math.log(each.seconds / bound_seconds(setup)) - statistics.median(like)


def by_model(setups: Sequence[PublishedSetup], shares: Shares) -> dict[str, list[float]]:
    """Return errors by chip, each model's rows left out in turn: of chips with one publication."""
    rows = [
        row
        for row in over_physics(setups, shares)
        if row.kind == TARGET_KIND and row.chip.startswith(TARGET_CHIPS)
    ]
    found = defaultdict(list)
    for row in rows:
        model = row.published.run.model
        rest = [each for each in rows if each.chip == row.chip]
        rest = [each for each in rest if each.published.run.model != model]
        if rest:
            middle = middles(rest)[row.chip, row.kind].slowness
            found[row.chip].append(row.log_slowness - math.log(middle))
    return found


def off(errors: Iterable[float]) -> list[float]:
    """Return |estimated / measured - 1| from logarithms, least first."""
    return sorted(abs(math.exp(-error) - 1) for error in errors)


def at(values: Sequence[float], share: float) -> float:
    """Return a quantile of sorted values."""
    return values[min(len(values) - 1, int(share * len(values)))]


def show(title: str, judged: Sequence[Judged]) -> None:
    """Print one line: errors of the estimate, its range's coverage, and the plain table."""
    errors = off(each.error for each in judged if each.error is not None)
    plains = off(each.plain for each in judged if each.plain is not None)
    inside = [each.is_covered for each in judged if each.is_covered is not None]
    none = len(judged) - len(errors)
    said = f"{title:34} {len(judged):4}"
    if errors:
        said += f" {statistics.median(errors):7.1%} {at(errors, 0.9):7.1%}"
        said += f" {statistics.fmean(inside):8.0%}"
    else:
        said += f" {'-':>7} {'-':>7} {'-':>8}"
    if plains:
        said += f" {statistics.median(plains):9.1%} {at(plains, 0.9):7.1%}"
    else:
        said += f" {'-':>9} {'-':>7}"
    print(said + (f"  {none} without other data of the chip" if none else ""))


def show_by(title: str, judged: Sequence[Judged], key: Callable[[Judged], str]) -> None:
    """Print a line for each value of a key."""
    print(f"\n{title:34} {'rows':>4} {'median':>7} {'p90':>7} {'in range':>8} {'plain med':>9} p90")
    groups = defaultdict(list)
    for each in judged:
        groups[key(each)].append(each)
    for name, found in sorted(groups.items()):
        show(name, found)


TITAN: tuple[tuple[str, str, int, int, Recompute, Layout, float], ...] = (
    ("8B FSDP8 mb2 op-SAC", "llama3-8b", 8192, 2, "selective",
     Layout(data_parallel_shard_size=8), 82.4),
    ("8B FSDP128 mb2 op-SAC", "llama3-8b", 8192, 2, "selective",
     Layout(data_parallel_shard_size=128), 67.0),
    ("8B FSDP8 32k full", "llama3-8b", 32768, 1, "full",
     Layout(data_parallel_shard_size=8), 83.9),
    ("8B FSDP4 x CP2 64k full", "llama3-8b", 65536, 1, "full",
     Layout(data_parallel_shard_size=4, context_parallel_size=2), 84.2),
    ("8B CP8 256k full, as FSDP2 x CP4", "llama3-8b", 131072, 1, "full",
     Layout(data_parallel_shard_size=2, context_parallel_size=4), 84.5),
    ("70B FSDP32 x TP8 mb16 full", "llama3.1-70b", 8192, 16, "full",
     Layout(data_parallel_shard_size=32, tensor_parallel_size=8), 71.9),
)  # fmt: skip
"""Peak reserved GiB that torchtitan publishes of eager runs. Source: torchtitan,
`benchmarks/llama3_h100_202412_torchtitan.md` and `docs/performance.md`; 84.5 is that of 256k over
CP8 and FSDP1, which shards states over context ranks: the same tokens and shards a rank."""


def op_sac_bytes(model: str, tokens: int) -> float:
    """Return what our `selective` keeps and torchtitan's does not: every second matmul's output.

    Source: metrics of docs/metrics.md, "Memory": keys or values, the projection, one of the MLP.
    """
    shape = models()[model].shape
    kv = shape.kv_heads * shape.head_dim
    each = 2 * (kv + shape.hidden_size + shape.intermediate_size)
    return float(each * shape.layers * tokens)


def show_memory() -> None:
    """Print the prediction beside torchtitan's published peaks, which are what was reserved."""
    print(f"\n{'torchtitan, GiB on a device':34} {'peak':>6} {'predicted':>9} {'error':>7}")
    errors = []
    for title, model, length, micro, recompute, layout, peak in TITAN:
        needed = predict_memory(
            models()[model].shape,
            sequence_length=length,
            micro_batch_size=micro,
            precision="bf16",
            layout=layout,
            step=StepSettings(recompute=recompute),
        ).total_bytes
        if recompute == "selective":
            needed -= op_sac_bytes(model, length * micro)
        errors.append(needed / GIB / peak - 1)
        print(f"{title:34} {peak:6.1f} {needed / GIB:9.1f} {errors[-1]:+7.1%}")
    within = sum(abs(error) <= 0.1 for error in errors)
    print(f"within 10 %: {within} of {len(errors)}; our own counts: benchmarks/prints/memory.txt")


def main() -> None:
    """Print errors by chip, publication and kind, then memory."""
    setups, reasons = read_rows()
    judged = judge(setups)
    total = len(setups) + sum(reasons.values())
    print(f"{len(setups)} of {total} published runs have a setup that can be estimated")
    print("Error: |estimated / measured - 1| of step time, its publication left out of the fit.")
    target = [each for each in judged if each.is_target]
    show_by("dense bf16", target, lambda each: "all of the promise")
    show_by("dense bf16 by chip", target, lambda each: each.chip)
    show_by("dense bf16 by publication", target, lambda each: each.source)
    show_by("all rows by kind of step", judged, lambda each: each.kind)
    show_by("all rows", judged, lambda each: "all")
    print(f"\n{'dense bf16, each model left out':34} {'rows':>4} {'median':>7} {'p90':>7}")
    for chip, errors in sorted(by_model(setups, calibration().shares).items()):
        found = off(errors)
        print(f"{chip:34} {len(found):4} {statistics.median(found):7.1%} {at(found, 0.9):7.1%}")
    assumed = Counter(word for each in setups for word in each.assumed)
    print("\nnot said by the source and assumed:", dict(assumed.most_common()))
    told = [each for each in setups if "recomputation" not in each.assumed and is_whole(each)]
    fits = Counter(estimate_step(each.setup).memory_verdict for each in told)
    print(f"memory verdict of the {len(told)} that ran and say how:", dict(fits.most_common()))
    show_memory()


def is_whole(each: PublishedSetup) -> bool:
    """Whether the setup's ranks are its devices: sizes that a source prints may not multiply."""
    devices = each.setup.chips * each.setup.machine.chip.devices_per_chip
    return each.setup.layout.world_size == devices


if __name__ == "__main__":
    main()
