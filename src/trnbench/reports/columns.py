"""The one column set of CSV, JSON and whatever reads them: names with units, in a stable order.

A column is never renamed and never changes its meaning; new ones are added at the end of their
group, and CHANGELOG.md says so. `docs/columns.md` is this list, and a test holds the two together.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from trnbench.reports.document import Value
from trnbench.schema.comparison import CaseComparison, Comparison, MetricComparison
from trnbench.schema.result import CheckOutcome, MetricValue, Result


@dataclass(frozen=True, slots=True)
class Column:
    """One named figure or text of a result; None is unknown."""

    name: str
    meaning: str
    read: Callable[[Result], Value]


def _metric(name: str, meaning: str, *, has_interval: bool) -> Iterable[Column]:
    """Give a metric its column and, where it is an estimate, those of its 95 % interval."""
    yield Column(name, meaning, lambda r: _value(r, name).value)
    if has_interval:
        yield Column(
            f"{name}_ci95_low", "lower end of its 95 % interval", lambda r: _value(r, name).low
        )
        yield Column(
            f"{name}_ci95_high", "upper end of its 95 % interval", lambda r: _value(r, name).high
        )


def _value(result: Result, name: str) -> MetricValue:
    absent = MetricValue(value=None, reason="the version that wrote this result had no such metric")
    return result.metrics.get(name, absent)


def _compilation(result: Result, name: str) -> Value:
    cell: Value = getattr(result.compilation, name) if result.compilation else None
    return cell


def _spread(result: Result, name: str) -> Value:
    cell: Value = getattr(result.spread, name) if result.spread else None
    return cell


def _said(checks: Iterable[CheckOutcome]) -> str | None:
    return "; ".join(f"{c.name}: {c.verdict}: {c.evidence}" for c in checks) or None


def _lora_rank(result: Result) -> int | None:
    lora = result.workload.step.lora
    return None if lora is None else lora.rank


COLUMNS: tuple[Column, ...] = (
    # which case
    Column("run_id", "name of the run's folder", lambda r: r.run_id),
    Column("case_id", "name of the case's folder; ends in a hash of the work", lambda r: r.case_id),
    Column("suite", "name in the config", lambda r: r.suite),
    Column("started_at", "UTC, ISO 8601", lambda r: r.started_at),
    Column("trnbench_version", "that derived this result", lambda r: r.trnbench_version),
    # may it be used
    Column(
        "standing",
        "sound; doubtful: use with care; invalid: must not be used; failed: no figure",
        lambda r: r.standing,
    ),
    Column("outcome", "`finished`, or how the case ended", lambda r: r.outcome.status),
    Column("outcome_reason", "why", lambda r: r.outcome.reason),
    Column(
        "doubts",
        "checks that found it invalid or doubtful, with what they saw",
        lambda r: _said(c for c in r.checks if c.verdict in ("invalid", "doubtful")),
    ),
    # what was trained
    Column("model", "name in the catalog or the config", lambda r: r.model.name),
    Column("model_family", "llama, gpt2, moe, bert or vit", lambda r: r.model.family),
    Column("parameter_count", "distinct weights", lambda r: r.model.parameter_count),
    Column("sequence_length", "tokens a sequence", lambda r: r.workload.sequence_length),
    Column(
        "global_batch_size",
        "sequences in one optimizer step, all ranks",
        lambda r: r.workload.global_batch_size,
    ),
    Column(
        "micro_batch_size",
        "sequences in one pass of one data-parallel rank",
        lambda r: r.workload.micro_batch_size,
    ),
    Column(
        "gradient_accumulation_steps",
        "passes in one optimizer step",
        lambda r: r.workload.gradient_accumulation_steps,
    ),
    Column("tokens_per_step", "target tokens, all ranks", lambda r: r.workload.tokens_per_step),
    Column(
        "precision",
        "fp32, bf16, pure_bf16, bf16_master or fp8",
        lambda r: r.workload.precision,
    ),
    Column("optimizer", "by name", lambda r: r.workload.optimizer),
    Column(
        "activation_checkpointing",
        "none, selective or full",
        lambda r: r.workload.step.recompute,
    ),
    Column(
        "loss_chunk_rows",
        "rows whose logits exist at once; empty: all of a pass",
        lambda r: r.workload.step.loss_chunk_rows,
    ),
    Column(
        "document_length",
        "tokens of each document packed into a sequence; empty: one document",
        lambda r: r.workload.step.document_length,
    ),
    Column("lora_rank", "of adapters; empty: all weights are trained", _lora_rank),
    Column(
        "expert_capacity",
        "places of each expert over its mean rows; empty: as many as come",
        lambda r: r.workload.step.expert_capacity,
    ),
    Column(
        "active_parameter_count",
        "weights that one token meets: of many experts those that it is sent to",
        lambda r: r.model.active_parameter_count,
    ),
    # on what
    Column("backend", "device type, as torch names it", lambda r: r.device.backend),
    Column("device_name", "as the device names itself", lambda r: r.device_name),
    Column("device_count", "devices that the job drove", lambda r: r.device_count),
    Column("accelerator", "chip, by its catalog name", lambda r: r.device.accelerator),
    Column("chips_used", "chips that the job drove", lambda r: r.device.chips_used),
    Column("chips_billed", "chips of all rented instances", lambda r: r.device.chips_billed),
    Column("instances_billed", "rented instances", lambda r: r.device.instances_billed),
    Column("threads", "of the CPU backend", lambda r: r.threads),
    Column("torch_version", "of the child", lambda r: r.versions.get("torch")),
    Column("python_version", "of the child", lambda r: r.versions.get("python")),
    # how fast
    *_metric(
        "tokens_per_second",
        "tokens of a step over the mean step time, whole job",
        has_interval=True,
    ),
    *_metric("tokens_per_second_per_device", "the same for one device", has_interval=True),
    *_metric("step_time_mean_seconds", "mean of one optimizer step", has_interval=True),
    *_metric("step_time_median_seconds", "median of one optimizer step", has_interval=True),
    *_metric("step_time_p95_seconds", "95th percentile", has_interval=False),
    *_metric("tail_overhead", "mean over median, less 1", has_interval=False),
    *_metric("stall_share", "time lost to stalls, 0 to 1", has_interval=False),
    Column("samples", "timed samples taken", lambda r: r.timing.samples),
    Column("steps_per_sample", "steps timed as one", lambda r: r.timing.steps_per_sample),
    Column("measured_steps", "steps that count", lambda r: r.timing.measured_steps),
    Column("warmup_steps", "steps before those", lambda r: r.timing.warmup_steps),
    Column("first_step_seconds", "the very first step", lambda r: r.timing.first_step_seconds),
    Column("total_seconds", "worker's start to end", lambda r: r.timing.total_seconds),
    Column("gate_seconds", "of that, the gate's", lambda r: r.timing.gate_seconds),
    Column("gate_share", "the gate's part of the case's time", lambda r: r.timing.gate_share),
    Column("stopped_because", "which limit ended it", lambda r: r.timing.stopped_because),
    Column("interval_method", "of the mean", lambda r: r.timing.interval_method),
    Column("statistics_rules", "rule set, by name and version", lambda r: r.timing.rules),
    Column("execution", "eager or compile", lambda r: _compilation(r, "execution")),
    Column(
        "compile_cache",
        "cold: compiled here; cached: found compiled; mixed; none; failed; unknown",
        lambda r: _compilation(r, "cache"),
    ),
    Column(
        "compiled_graphs",
        "captured by torch",
        lambda r: _compilation(r, "graphs"),
    ),
    Column(
        "compiled_programs",
        "made by the device's compiler",
        lambda r: _compilation(r, "programs"),
    ),
    *_metric("compile_seconds", "of all compilations that were told of", has_interval=False),
    *_metric(
        "peak_memory_bytes",
        "device memory; for a CPU the process's resident set",
        has_interval=False,
    ),
    Column("stalls", "samples far above the rest; they count", lambda r: r.timing.stalls),
    Column("launches", "fresh processes it was measured in", lambda r: len(r.launches) or None),
    Column(
        "launch_deviation",
        "relative standard deviation between launches",
        lambda r: _spread(r, "between_launches"),
    ),
    Column(
        "launch_deviation_ci95_low",
        "lower end of its 95 % interval",
        lambda r: _spread(r, "between_launches_low"),
    ),
    Column(
        "launch_deviation_ci95_high",
        "upper end of its 95 % interval",
        lambda r: _spread(r, "between_launches_high"),
    ),
    Column(
        "launch_deviation_expected",
        "what the launches' own steps would make one expect for it",
        lambda r: _spread(r, "within_launches"),
    ),
    # what it drew
    *_metric("mean_power_watts", "while it measured, of `energy_scope`", has_interval=False),
    *_metric("joules_per_token", "mean power over tokens per second", has_interval=True),
    *_metric(
        "joules_per_token_tdp_bound",
        "no measurement: at most, if every billed chip drew its thermal rating",
        has_interval=False,
    ),
    Column(
        "energy_kind",
        "counter, power_samples, or none",
        lambda r: r.energy.kind if r.energy else None,
    ),
    Column("energy_scope", "what was metered", lambda r: r.energy.scope if r.energy else None),
    Column(
        "energy_is_valid",
        "1: may be used; 0: not, for `energy_reason`",
        lambda r: int(r.energy.is_valid) if r.energy else None,
    ),
    Column(
        "energy_reason",
        "why no energy is known, or it may not be used",
        lambda r: r.energy.reason if r.energy else None,
    ),
    *_metric(
        "grams_co2e_per_million_tokens",
        "by what was metered, the provider's PUE and the region's grid; null where one is unknown",
        has_interval=True,
    ),
    # how well used
    *_metric("mfu", "model FLOPs utilization of the billed chips, 0 to 1", has_interval=True),
    *_metric("mfu_full", "the same by matmul-full-v1", has_interval=True),
    *_metric("mfu_used_devices", "`mfu` of the devices driven, not billed", has_interval=True),
    *_metric(
        "mfu_bf16_equivalent",
        "of work that is partly fp8, as if all peaks were bf16's; it may exceed 1",
        has_interval=True,
    ),
    Column("mfu_reason", "why there is no MFU", lambda r: _value(r, "mfu").reason),
    Column("flops_convention", "by which `mfu` counts", lambda r: r.utilization.convention),
    Column(
        "flops_per_token",
        "training FLOPs of one token by that convention",
        lambda r: r.utilization.flops_per_token.get(r.utilization.convention),
    ),
    Column(
        "peak_flops_per_second",
        "of all billed chips",
        lambda r: r.utilization.peak_flops_per_second,
    ),
    Column("peak_source", "where the peak is from", lambda r: r.utilization.peak_source),
    *_metric("hfu", "`mfu` with what was made again and experts' empty places", has_interval=True),
    Column(
        "recomputed_flops_per_token",
        "FLOPs of one token beyond the model's need",
        lambda r: r.utilization.recomputed_flops_per_token,
    ),
    Column("flops_source", "where operations were counted", lambda r: r.utilization.flops_source),
    *_metric(
        "ceiling_utilization",
        "the same operations over what matrix products alone came to in the run, 0 to 1",
        has_interval=True,
    ),
    Column(
        "ceiling_flops_per_second",
        "what they came to, of the devices driven",
        lambda r: r.utilization.ceiling_flops_per_second,
    ),
    Column("ceiling_source", "which products", lambda r: r.utilization.ceiling_source),
    *_metric("expert_imbalance", "rows of the fullest expert over the mean", has_interval=False),
    # what it costs
    *_metric("usd_per_million_tokens", "at the price below", has_interval=True),
    *_metric("tokens_per_usd", "at the price below", has_interval=True),
    *_metric("case_usd", "what measuring this case cost", has_interval=False),
    *_metric(
        "case_billed_usd",
        "what is billed for it alone: 60 s at least, whole days of a capacity block",
        has_interval=False,
    ),
    *_metric("usd_per_chip_hour", "for one billed chip", has_interval=False),
    *_metric(
        "usd_per_model_exaflop", "for 10^18 operations that the model needed", has_interval=True
    ),
    *_metric(
        "usd_per_peak_petaflop_hour",
        "for an hour of 10^15 operations a second at the peak",
        has_interval=False,
    ),
    Column(
        "price_usd_per_hour",
        "for one instance",
        lambda r: float(r.price.usd_per_hour) if r.price else None,
    ),
    Column("price_instance", "instance type", lambda r: r.price.instance if r.price else None),
    Column("price_option", "how it is rented", lambda r: r.price.option if r.price else None),
    Column("price_region", "where", lambda r: r.price.region if r.price else None),
    Column(
        "price_date",
        "the day on which it held",
        lambda r: r.price.date.isoformat() if r.price else None,
    ),
    Column("price_source", "who says so", lambda r: r.price.source if r.price else None),
    Column("price_note", "to know beside it", lambda r: r.price.note if r.price else None),
    Column("price_zone", "availability zone", lambda r: r.price.zone if r.price else None),
    Column(
        "price_retrieved_at",
        "when the cloud was asked, UTC; empty where it was not",
        lambda r: r.price.retrieved_at if r.price else None,
    ),
    Column("price_reason", "why there is no price, and what sets it", lambda r: r.price_reason),
    # did it learn
    Column("initial_loss", "nats a token, first step", lambda r: r.learning.initial_loss),
    Column("final_loss", "nats a token, last five steps", lambda r: r.learning.final_loss),
    Column(
        "final_excess_loss",
        "the same above a model that knows the stream",
        lambda r: r.learning.final_excess_loss,
    ),
    Column("stream_entropy_nats", "lowest loss possible", lambda r: r.learning.entropy),
)


def row(result: Result) -> dict[str, Value]:
    """Return one result as column → cell."""
    return {column.name: column.read(result) for column in COLUMNS}


# --- comparisons ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ComparisonColumn:
    """One named figure or text of a metric of a case; None is unknown."""

    name: str
    meaning: str
    read: Callable[[Comparison, CaseComparison, MetricComparison], Value]


def _joined(texts: list[str]) -> str | None:
    return "; ".join(texts) or None


COMPARISON_COLUMNS: tuple[ComparisonColumn, ...] = (
    ComparisonColumn(
        "case", "model, batch and precision; no two cases have one name", lambda _, c, m: c.name
    ),
    ComparisonColumn("metric", "what is compared", lambda _, c, m: m.metric),
    ComparisonColumn("better", "which of two values is better", lambda _, c, m: m.better),
    ComparisonColumn("base", "geometric mean over BASE's launches", lambda _, c, m: m.base.value),
    ComparisonColumn("base_ci95_low", "lower end of its 95 % interval", lambda _, c, m: m.base.low),
    ComparisonColumn(
        "base_ci95_high", "upper end of its 95 % interval", lambda _, c, m: m.base.high
    ),
    ComparisonColumn(
        "base_launches", "launches that it rests on", lambda _, c, m: len(m.base.launches)
    ),
    ComparisonColumn("cand", "geometric mean over CAND's launches", lambda _, c, m: m.cand.value),
    ComparisonColumn("cand_ci95_low", "lower end of its 95 % interval", lambda _, c, m: m.cand.low),
    ComparisonColumn(
        "cand_ci95_high", "upper end of its 95 % interval", lambda _, c, m: m.cand.high
    ),
    ComparisonColumn(
        "cand_launches", "launches that it rests on", lambda _, c, m: len(m.cand.launches)
    ),
    ComparisonColumn("ratio", "cand / base", lambda _, c, m: m.ratio.value),
    ComparisonColumn(
        "ratio_ci95_low", "lower end of its 95 % interval", lambda _, c, m: m.ratio.low
    ),
    ComparisonColumn(
        "ratio_ci95_high", "upper end of its 95 % interval", lambda _, c, m: m.ratio.high
    ),
    ComparisonColumn("verdict", "better, worse, same, cannot_tell", lambda _, c, m: m.verdict),
    ComparisonColumn("verdict_reason", "why", lambda _, c, m: m.reason),
    ComparisonColumn(
        "margin", "the relative change that does not matter", lambda x, c, m: x.margin
    ),
    ComparisonColumn(
        "least_change",
        "the least relative change that would have been found 95 times in 100",
        lambda _, c, m: m.ratio.least_change,
    ),
    ComparisonColumn(
        "launches_needed",
        "launches a side that tell a change of the margin's size from none",
        lambda _, c, m: m.ratio.launches_needed,
    ),
    ComparisonColumn("method", "where the spread is from", lambda _, c, m: m.ratio.method),
    ComparisonColumn(
        "launch_deviation",
        "relative standard deviation between launches",
        lambda _, c, m: m.ratio.launch_deviation,
    ),
    ComparisonColumn("p_value", "two-sided, for no difference", lambda _, c, m: m.ratio.p_value),
    ComparisonColumn("p_adjusted", "the same, corrected", lambda _, c, m: m.ratio.p_adjusted),
    ComparisonColumn("correction", "by which", lambda x, c, m: x.correction),
    ComparisonColumn(
        "permutation_p",
        "the same by exact permutation of the launches",
        lambda _, c, m: m.ratio.permutation_p,
    ),
    ComparisonColumn(
        "break_even_usd_per_hour",
        "rate for CAND's instance at which a token costs the same",
        lambda _, c, m: c.break_even.usd_per_hour,
    ),
    ComparisonColumn(
        "break_even_tokens_per_second",
        "speed of CAND at which, at the prices that are paid, a token costs the same",
        lambda _, c, m: c.break_even.tokens_per_second,
    ),
    ComparisonColumn(
        "differences",
        "in what the sides differ, beside what is measured",
        lambda _, c, m: _joined(
            [f"{d.key}: {d.base} / {d.cand} ({d.kind})" for d in c.differences]
        ),
    ),
    ComparisonColumn(
        "notes", "what must be read beside it", lambda _, c, m: _joined(list(c.notes))
    ),
)


def describe_columns(columns: Sequence[Column | ComparisonColumn] = COLUMNS) -> str:
    """Return a column set as a Markdown table."""
    lines = ["| column | meaning |", "|---|---|"]
    lines += [f"| `{column.name}` | {column.meaning} |" for column in columns]
    return "\n".join(lines) + "\n"
