"""The columns of CSV, JSON and whatever reads them: names with units, in a stable order.

A column is never renamed and never changes its meaning; new ones are added at the end of their
group, and CHANGELOG.md says so. A meaning stands here only where the schema's docstring of the
field says none; docs/columns.md and docs/compare.md are printed from these lists.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args, get_type_hints

from pydantic import BaseModel

from trnbench.reports.document import Value, read_path
from trnbench.schema.comparison import CaseComparison, Comparison, MetricComparison
from trnbench.schema.result import Result

LOW, HIGH = "lower end of its 95 % interval", "upper end of its 95 % interval"


@dataclass(frozen=True, slots=True)
class Column:
    """One named figure or text; None is unknown."""

    name: str
    meaning: str
    read: Callable[[Any], Value]


def _at(root: type, path: str, name: str | None = None, meaning: str | None = None) -> Column:
    """Return the column of a field, named like it; without a meaning it has the schema's."""
    name = name or path.rpartition(".")[2]
    return Column(name, meaning or described(root, path), lambda of: read_path(of, path))


def described(root: type, path: str) -> str:
    """Return the schema's docstring of a field by its path, as a meaning; "" where it has none.

    When it is null is left out: every column is empty where a figure is not known.
    """
    text: str | None = None
    kind: type = root
    for step in path.split("."):
        field = kind.model_fields.get(step) if issubclass(kind, BaseModel) else None
        found = getattr(kind, step, None)
        if field is not None:
            text, hint = field.description, field.annotation
        elif isinstance(found, property):
            text, hint = found.__doc__, object
        else:
            text, hint = None, get_type_hints(kind).get(step, object)
        kind = next((each for each in (hint, *get_args(hint)) if isinstance(each, type)), object)
    text = re.split("; (?:null|None)", " ".join((text or "").split()))[0].removesuffix(".")
    return text[:1].lower() + text[1:] if not text[1:2].isupper() else text


# --- results --------------------------------------------------------------------------------------


def _result(path: str, name: str | None = None, meaning: str | None = None) -> Column:
    return _at(Result, path, name, meaning)


def _metric(name: str, meaning: str, *, has_interval: bool = True) -> Iterator[Column]:
    """Give a metric its column and, where it is an estimate, those of its 95 % interval."""
    path = f"metrics.{name}"
    yield _result(f"{path}.value", name, meaning)
    if has_interval:
        yield _result(f"{path}.low", f"{name}_ci95_low", LOW)
        yield _result(f"{path}.high", f"{name}_ci95_high", HIGH)


def _figure(name: str, meaning: str) -> Column:
    """Give a metric that has no interval its column."""
    return _result(f"metrics.{name}.value", name, meaning)


def _doubts(result: Result) -> str | None:
    checks = (c for c in result.checks if c.verdict in ("invalid", "doubtful"))
    return "; ".join(f"{c.name}: {c.verdict}: {c.evidence}" for c in checks) or None


COLUMNS: tuple[Column, ...] = (
    # which case
    _result("run_id", meaning="name of the run's folder"),
    _result("case_id", meaning="name of the case's folder; ends in a hash of the work"),
    _result("suite", meaning="name in the config"),
    _result("started_at", meaning="UTC, ISO 8601"),
    _result("trnbench_version", meaning="that derived this result"),
    # may it be used
    _result(
        "standing",
        meaning="sound; doubtful: use with care; invalid: must not be used; failed: no figure",
    ),
    _result("outcome.status", "outcome", "`finished`, or how the case ended"),
    _result("outcome.reason", "outcome_reason", "why"),
    Column("doubts", "checks that found it invalid or doubtful, with what they saw", _doubts),
    # what was trained
    _result("model.name", "model", "name in the catalog or the config"),
    _result("model.family", "model_family", "llama, gpt2, moe, bert or vit"),
    _result("model.parameter_count", meaning="distinct weights"),
    _result("workload.sequence_length", meaning="tokens a sequence"),
    _result("workload.global_batch_size", meaning="sequences in one optimizer step, all ranks"),
    _result("workload.micro_batch_size", meaning="sequences in one pass of one data-parallel rank"),
    _result("workload.gradient_accumulation_steps", meaning="passes in one optimizer step"),
    _result("workload.tokens_per_step"),
    _result("workload.precision", meaning="fp32, bf16, pure_bf16, bf16_master or fp8"),
    _result("workload.optimizer", meaning="by name"),
    _result("workload.step.recompute", "activation_checkpointing", "none, selective or full"),
    _result(
        "workload.step.loss_chunk_rows",
        meaning="rows whose logits exist at once; empty: all of a pass",
    ),
    _result(
        "workload.step.document_length",
        meaning="tokens of each document packed into a sequence; empty: one document",
    ),
    _result("workload.step.lora.rank", "lora_rank", "of adapters; empty: all weights are trained"),
    _result(
        "workload.step.expert_capacity",
        meaning="places of each expert over its mean rows; empty: as many as come",
    ),
    _result("model.active_parameter_count"),
    # on what
    _result("device.backend", meaning="device type, as torch names it"),
    _result("device_name"),
    _result("device_count"),
    _result("device.accelerator"),
    _result("device.chips_used", meaning="chips that the job drove"),
    _result("device.chips_billed"),
    _result("device.instances_billed", meaning="rented instances"),
    _result("threads"),
    _result("versions.torch", "torch_version", "of the child"),
    _result("versions.python", "python_version", "of the child"),
    # how fast
    *_metric("tokens_per_second", "tokens of a step over the mean step time, whole job"),
    *_metric("tokens_per_second_per_device", "the same for one device"),
    *_metric("step_time_mean_seconds", "mean of one optimizer step"),
    *_metric("step_time_median_seconds", "median of one optimizer step"),
    _figure("step_time_p95_seconds", "95th percentile"),
    _figure("tail_overhead", "mean over median, less 1"),
    _figure("stall_share", "time lost to stalls, 0 to 1"),
    _result("timing.samples", meaning="timed samples taken"),
    _result("timing.steps_per_sample", meaning="steps timed as one"),
    _result("timing.measured_steps", meaning="steps that count"),
    _result("timing.warmup_steps"),
    _result("timing.first_step_seconds", meaning="the very first step"),
    _result("timing.total_seconds"),
    _result("timing.gate_seconds"),
    _result("timing.gate_share", meaning="the gate's part of the case's time"),
    _result("timing.stopped_because", meaning="which limit ended it"),
    _result("timing.interval_method"),
    _result("timing.rules", "statistics_rules"),
    _result("compilation.execution"),
    _result(
        "compilation.cache",
        "compile_cache",
        "cold: compiled here; cached: found compiled; mixed; none; failed; unknown",
    ),
    _result("compilation.graphs", "compiled_graphs"),
    _result("compilation.programs", "compiled_programs"),
    _figure("compile_seconds", "of all compilations that were reported"),
    _figure("peak_memory_bytes", "device memory; for a CPU the process's resident set"),
    _result("timing.stalls"),
    Column("launches", "fresh processes it was measured in", lambda r: len(r.launches) or None),
    _result("spread.between_launches", "launch_deviation"),
    _result("spread.between_launches_low", "launch_deviation_ci95_low", LOW),
    _result("spread.between_launches_high", "launch_deviation_ci95_high", HIGH),
    _result("spread.within_launches", "launch_deviation_expected"),
    # what it drew
    _figure("mean_power_watts", "while it measured, of `energy_scope`"),
    *_metric("joules_per_token", "mean power over tokens per second"),
    _figure(
        "joules_per_token_tdp_bound",
        "no measurement: at most, if every billed chip drew its thermal rating",
    ),
    _result("energy.kind", "energy_kind"),
    _result("energy.scope", "energy_scope"),
    _result("energy.is_valid", "energy_is_valid", "1: may be used; 0: not, for `energy_reason`"),
    _result("energy.reason", "energy_reason"),
    *_metric(
        "grams_co2e_per_million_tokens",
        "by what was metered, the provider's PUE and the region's grid; null where one is unknown",
    ),
    # how well used
    *_metric("mfu", "model FLOPs utilization of the billed chips, 0 to 1"),
    *_metric("mfu_full", "the same by matmul-full-v1"),
    *_metric("mfu_used_devices", "`mfu` of the devices driven, not billed"),
    *_metric(
        "mfu_bf16_equivalent",
        "of work that is partly fp8, as if all peaks were bf16's; it may exceed 1",
    ),
    _result("metrics.mfu.reason", "mfu_reason", "why there is no MFU"),
    _result("utilization.convention", "flops_convention", "by which `mfu` counts"),
    Column(
        "flops_per_token",
        "training FLOPs of one token by that convention",
        lambda r: r.utilization.flops_per_token.get(r.utilization.convention),
    ),
    _result("utilization.peak_flops_per_second"),
    _result("utilization.peak_source", meaning="where the peak is from"),
    *_metric("hfu", "`mfu` with what was made again and experts' empty places"),
    _result("utilization.recomputed_flops_per_token"),
    _result("utilization.flops_source"),
    *_metric(
        "ceiling_utilization",
        "the same operations over what matrix products alone came to in the run, 0 to 1",
    ),
    _result("utilization.ceiling_flops_per_second"),
    _result("utilization.ceiling_source", meaning="which products"),
    _figure("expert_imbalance", "rows of the fullest expert over the mean"),
    # what it costs
    *_metric("usd_per_million_tokens", "at the price below"),
    *_metric("tokens_per_usd", "at the price below"),
    _figure("case_usd", "what measuring this case cost"),
    _figure(
        "case_billed_usd",
        "what is billed for it alone: 60 s at least, whole days of a capacity block",
    ),
    _figure("usd_per_chip_hour", "for one billed chip"),
    *_metric("usd_per_model_exaflop", "for 10^18 operations that the model needed"),
    _figure("usd_per_peak_petaflop_hour", "for an hour of 10^15 operations a second at the peak"),
    _result("price.usd_per_hour", "price_usd_per_hour"),
    _result("price.instance", "price_instance"),
    _result("price.option", "price_option", "how it is rented"),
    _result("price.region", "price_region", "where"),
    _result("price.date", "price_date"),
    _result("price.source", "price_source"),
    _result("price.note", "price_note"),
    _result("price.zone", "price_zone"),
    _result("price.retrieved_at", "price_retrieved_at"),
    _result("price_reason", meaning="why there is no price, and what sets it"),
    # did it learn
    _result("learning.initial_loss", meaning="nats a token, first step"),
    _result("learning.final_loss"),
    _result("learning.final_excess_loss"),
    _result("learning.entropy", "stream_entropy_nats", "lowest loss possible"),
)


def row(result: Result) -> dict[str, Value]:
    """Return one result as column → cell."""
    return {column.name: column.read(result) for column in COLUMNS}


# --- comparisons ----------------------------------------------------------------------------------


class Compared(NamedTuple):
    """One metric of one case of a comparison."""

    comparison: Comparison
    case: CaseComparison
    metric: MetricComparison


def _compared(path: str, name: str | None = None, meaning: str | None = None) -> Column:
    return _at(Compared, path, name, meaning)


def _side(side: str, label: str) -> Iterator[Column]:
    path = f"metric.{side}"
    yield _compared(f"{path}.value", side, f"geometric mean over {label}'s launches")
    yield _compared(f"{path}.low", f"{side}_ci95_low", LOW)
    yield _compared(f"{path}.high", f"{side}_ci95_high", HIGH)
    yield Column(
        f"{side}_launches",
        "launches that it rests on",
        lambda of: len(getattr(of.metric, side).launches),
    )


def _differences(of: Compared) -> str | None:
    texts = (f"{d.key}: {d.base} / {d.cand} ({d.kind})" for d in of.case.differences)
    return "; ".join(texts) or None


COMPARISON_COLUMNS: tuple[Column, ...] = (
    _compared("case.name", "case", "model, batch and precision; no two cases have one name"),
    _compared("metric.metric", meaning="what is compared"),
    _compared("metric.better", meaning="which of two values is better"),
    *_side("base", "BASE"),
    *_side("cand", "CAND"),
    _compared("metric.ratio.value", "ratio", "cand / base"),
    _compared("metric.ratio.low", "ratio_ci95_low", LOW),
    _compared("metric.ratio.high", "ratio_ci95_high", HIGH),
    _compared("metric.verdict", meaning="better, worse, same, cannot_tell"),
    _compared("metric.reason", "verdict_reason"),
    _compared("comparison.margin"),
    _compared("metric.ratio.least_change"),
    _compared("metric.ratio.launches_needed"),
    _compared("metric.ratio.method", meaning="where the spread is from"),
    _compared("metric.ratio.launch_deviation"),
    _compared("metric.ratio.p_value"),
    _compared("metric.ratio.p_adjusted"),
    _compared("comparison.correction", meaning="by which"),
    _compared("metric.ratio.permutation_p"),
    _compared("case.break_even.usd_per_hour", "break_even_usd_per_hour"),
    _compared("case.break_even.tokens_per_second", "break_even_tokens_per_second"),
    Column("differences", "in what the sides differ, beside what is measured", _differences),
    Column("notes", "what must be read beside it", lambda of: "; ".join(of.case.notes) or None),
)


def describe_columns(columns: Sequence[Column] = COLUMNS) -> str:
    """Return a column set as a Markdown table."""
    lines = ["| column | meaning |", "|---|---|"]
    lines += [f"| `{column.name}` | {column.meaning} |" for column in columns]
    return "\n".join(lines) + "\n"
