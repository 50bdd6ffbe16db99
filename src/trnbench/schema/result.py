"""Result: the figures of a measurement with intervals, checks, price and sources; and its run.

`Result` is derived: it can be deleted and made again from the plan and the measurement. Its parts
stand above it in the order of its fields; `RunDocument` is the run that the case belongs to.

Format versions, and what changed in each:

1   first version
2   model, workload and device are those of the plan; what the worker found is `environment`
"""

import math
from typing import Any, Literal

from trnbench.protocol.records import Environment
from trnbench.schema.base import Strict
from trnbench.schema.imported import ImportedModel, ImportedSource, ImportedWorkload
from trnbench.schema.plan import PlannedDevice, PlannedModel, PlannedParallel, PlannedWorkload
from trnbench.schema.price import Price

NORMAL_975 = 1.959964
"""Half-width of a 95 % interval, in standard errors."""

Verdict = Literal["sound", "doubtful", "invalid", "not_judged"]

Validity = Literal["sound", "doubtful", "invalid", "failed"]
"""failed: no figure at all; invalid: a figure that must not be used; doubtful: with care."""


Origin = Literal["measured", "imported", "published", "estimated"]
"""measured: by trnbench; imported: read from another program's log; published: read from a source
that is cited; estimated: computed by a model of the machine, with a range."""


class MetricValue(Strict):
    """A figure with its 95 % interval, or why there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None
    """Why the value is null; never set beside a value."""

    @property
    def relative_error(self) -> float | None:
        """The relative standard error of which its interval is made; None without an interval.

        A rate's interval is the reciprocal of a time's, so it is symmetric on the logarithm.
        """
        if self.low is None or self.high is None or self.low <= 0:
            return None
        return math.log(self.high / self.low) / 2 / NORMAL_975


class CheckOutcome(Strict):
    """What one check found, and what to do about it."""

    name: str
    verdict: Verdict
    evidence: str
    advice: str | None = None


class ResultOutcome(Strict):
    """How the case ended."""

    status: str
    reason: str
    hint: str | None = None


class Stall(Strict):
    """A sample far above the rest."""

    sample: int
    """Counted from 0 over the samples that count."""
    seconds: float


class ResultTiming(Strict):
    """How the figures came about."""

    samples: int
    steps_per_sample: int
    measured_steps: int
    warmup_steps: int
    """Steps before the first sample that counts, found or forced."""
    first_step_seconds: float | None
    total_seconds: float
    """From the worker's start to its end: what the case took."""
    gate_seconds: float | None = None
    """Of that, the time of the parity gate; null where there was none, and in older results."""
    stopped_because: str | None
    interval_method: str | None
    """How the interval was made; null where there is none."""
    rules: str
    """The rule set of the statistics, by name and version."""
    stalls: int | None = None
    """Samples far above the rest, counted and kept; null in older results, as is the next one."""
    longest_stalls: tuple[Stall, ...] | None = None
    """Up to three of them, longest first."""

    @property
    def gate_share(self) -> float | None:
        """The parity gate's part of the case's time."""
        if self.gate_seconds is None or not self.total_seconds:
            return None
        return self.gate_seconds / self.total_seconds


class ResultLaunch(Strict):
    """One launch of a case: a fresh process, measured until its own stopping rule ends it."""

    started_at: str
    status: str
    standing: Validity
    samples: int
    step_time_mean_seconds: float | None
    step_time_median_seconds: float | None
    standard_error: float | None
    """Relative, of the mean, from the launch's own samples."""
    total_seconds: float
    stopped_because: str | None


class ResultSpread(Strict):
    """How much the launches of a case differ, beside the deviation within one."""

    launches: int
    """Those with a figure that may be used."""
    between_launches: float
    """Relative standard deviation of the launches' mean step times."""
    between_launches_low: float
    between_launches_high: float
    """Its 95 % interval, by chi-squared."""
    within_launches: float
    """The deviation between launches that their own samples explain."""


CompileCache = Literal["none", "cold", "cached", "mixed", "failed", "unknown"]
"""none: nothing was compiled; cold: all of it here; cached: all of it found; mixed: some of each;
failed: the compiler failed; unknown: this device's software does not say."""


class ResultCompilation(Strict):
    """What was compiled before the timing began, and where it came from."""

    execution: str
    """eager or compile, as planned."""
    cache: CompileCache
    graphs: int | None
    """Captured by torch; null where it is not reported, as are the two counts below."""
    programs: int | None
    """Made by the device's compiler in this case."""
    cache_hits: int | None
    """Found compiled."""
    seconds_per_program: tuple[float, ...]
    """Of each compilation that the compiler reports."""


class ResultFp8(Strict):
    """The two peaks of work that is partly fp8."""

    flops_per_token: float
    """Of the matmuls that are done in fp8."""
    flops_per_second: float
    """In fp8, of all chips that are billed."""
    other_flops_per_second: float
    """Of what is not fp8."""


class ResultUtilization(Strict):
    """What the MFU is computed from."""

    convention: str
    flops_per_token: dict[str, float]
    peak_flops_per_second: float | None
    """Of all chips that are billed."""
    peak_source: str | None
    peak_reason: str | None
    """Why there is no peak."""
    fp8: ResultFp8 | None = None
    """The two peaks that are combined, where matmuls are partly fp8."""
    used_share: float = 1.0
    """Of the billed chips' devices, the part that the job drove, 0 to 1."""
    recomputed_flops_per_token: float | None = 0.0
    """FLOPs that the model does not need: recomputed forward passes, experts' empty places; null
    where an imported log does not say."""
    flops_source: str = "the shape"
    """From what FLOPs were counted: the shape, a config of a known family, or torch's counter."""
    flops_reason: str | None = None
    """Why they were not counted."""
    ceiling_flops_per_second: float | None = None
    """Rate of matmuls alone in the same run, of the devices that the job drove."""
    ceiling_source: str | None = None
    ceiling_reason: str | None = "the version that wrote this result kept no ceiling"
    """Why there is none."""


class ResultEnergy(Strict):
    """What power was metered, and whether it may be used."""

    kind: Literal["counter", "power_samples", "none"]
    """counter: of energy that the device counted itself; power_samples: power, integrated."""
    scope: str | None
    """What the metered energy includes, and what not."""
    source: str | None
    """Of the readings."""
    is_valid: bool
    reason: str | None
    """Why it is not valid, or is not there."""
    mean_power_watts: float | None
    """Over the time that was measured, of all that the scope names."""
    tdp_bound_watts: float | None
    """No measurement: the thermal rating of all billed chips; null where none is published."""
    tdp_source: str | None


class ResultCommunication(Strict):
    """Time in collectives as parts of a step's, 0 to 1, from some steps under the profiler."""

    ranks: int
    """Whose profilers saw collectives."""
    steps: int
    share: float
    """In which any collective was under way, mean over ranks."""
    most_share: float
    """The same of the rank with the most."""
    most_rank: int
    exposed_share: float | None
    """In which a collective was under way and nothing else, mean over ranks; null where the
    profiler cannot tell."""
    most_exposed_share: float | None
    """The same of the rank with the most."""
    operations: dict[str, float]
    """By the profiler's name of the collective, mean over ranks."""

    @property
    def overlapped_share(self) -> float | None:
        """In which other work was under way beside a collective, mean over ranks."""
        return None if self.exposed_share is None else self.share - self.exposed_share


class ResultRanks(Strict):
    """What the ranks of one job did beside each other."""

    count: int
    process_group: str | None
    """torch.distributed's backend, as the ranks found it."""
    step_seconds: tuple[float, ...] | None
    """Median of each rank, in order; null where no step was measured."""
    slowest_rank: int | None
    slow_share: float | None
    """Of the samples, those in which this rank took longest, 0 to 1."""
    time_spread: float | None
    """Its median over that of the fastest rank of its pipeline stage, less 1; null where each stage
    has one."""
    fullest_rank: int | None
    """The one with the most peak memory; null where it is not known, as is the next one."""
    least_memory_bytes: int | None
    """Peak memory of the rank with the least."""
    communication: ResultCommunication | None
    communication_reason: str | None
    """Why nothing is known of communication; null where it is."""


class ResultLearning(Strict):
    """Whether it learned, on a stream whose entropy is known."""

    initial_loss: float | None
    final_loss: float | None
    """Nats a token, mean of the last five steps."""
    final_excess_loss: float | None
    """The same, above a model that knows the stream."""
    entropy: float | None
    """Null of a stream whose entropy is not known."""


class Result(Strict):
    """One case, as reports show it."""

    schema_version: Literal[2] = 2
    trnbench_version: str
    run_id: str
    case_id: str
    suite: str
    started_at: str
    standing: Validity
    outcome: ResultOutcome
    origin: Origin = "measured"
    source: ImportedSource | None = None
    """Of an imported result; null of a measured one."""
    model: PlannedModel | ImportedModel
    workload: PlannedWorkload | ImportedWorkload
    device: PlannedDevice
    environment: Environment | None
    """What the worker found; null if it never got that far."""
    timing: ResultTiming
    compilation: ResultCompilation | None = None
    """Null in older results."""
    metrics: dict[str, MetricValue]
    utilization: ResultUtilization
    learning: ResultLearning
    energy: ResultEnergy | None = None
    """Null in older results."""
    parallel: PlannedParallel | None = None
    """Null in older results, which are of one rank."""
    ranks: ResultRanks | None = None
    """Null for one rank."""
    price: Price | None
    price_reason: str | None
    checks: tuple[CheckOutcome, ...]
    launches: tuple[ResultLaunch, ...] = ()
    """In the order in which they were made; empty in older results."""
    spread: ResultSpread | None = None
    """Null with fewer than two launches that count."""
    measurement_bytes: int
    """Length of the files that this was derived from; another length means it is out of date."""
    measurement_sha256: str | None = None
    """Of these files, one after the other: a copy's dates tell nothing. Null in older results."""
    seal: str | None = None
    """SHA-256 of the file's own text with 64 zeros in the place of this; it shows an edit of the
    file, whose figures are then derived anew."""

    @property
    def device_name(self) -> str | None:
        """What the device calls itself; None if the worker never got that far."""
        if self.source is not None:
            return self.device.accelerator or self.source.device_name
        return self.environment.device_name if self.environment else None

    @property
    def device_count(self) -> int | None:
        """Devices that the job drove, or would have driven; None where a log does not say."""
        if self.source is not None:
            return self.source.device_count
        return self.environment.device_count if self.environment else self.device.devices_used

    @property
    def threads(self) -> int | None:
        """Of the CPU backend."""
        return self.environment.threads if self.environment else None

    @property
    def versions(self) -> dict[str, str]:
        """Of the packages that drove the device; empty if the worker never got that far."""
        return self.environment.versions if self.environment else {}

    @property
    def failure(self) -> str:
        """Why there is no figure, in a few words."""
        status = self.outcome.status
        return "too few samples" if status == "finished" else status


class RunCase(Strict):
    """One case and its state."""

    case_id: str
    status: str
    """`waiting`, `running`, or how it ended."""


class RunDocument(Strict):
    """The suite, where it ran, and how it ended."""

    schema_version: Literal[1] = 1
    trnbench_version: str
    run_id: str
    suites: list[str]
    started_at: str
    ended_at: str | None
    state: Literal["running", "finished", "failed", "interrupted"]
    """`running` also in the folder of a run that was killed."""
    machine: dict[str, Any]
    devices: list[dict[str, Any]]
    versions: dict[str, str]
    cases: list[RunCase]
