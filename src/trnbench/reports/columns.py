"""The columns of CSV, JSON and whatever reads them: names with units, in a stable order.

A column is never renamed and never changes its meaning; new ones are added at the end of their
group, and CHANGELOG.md says so. A meaning is here only where the schema's docstring of the
field has none; docs/columns.md and docs/compare.md are printed from these lists.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from trnbench.analysis.idle import idle_note
from trnbench.reports.document import Kind, Rows, Value, name_and_path, reader_of
from trnbench.schema.comparison import CaseComparison, Comparison, MetricComparison
from trnbench.schema.result import Result

LOW, HIGH = "lower end of its 95 % interval", "upper end of its 95 % interval"


@dataclass(frozen=True, slots=True)
class Column:
    """One named figure or text; None is unknown."""

    name: str
    meaning: str
    read: Callable[[Any], Value]
    kind: Kind = "text"


def rows_of(columns: Sequence[Column], items: Iterable[Any]) -> Rows:
    """Return a row for each item."""
    names = [column.name for column in columns]
    readers, kinds = [each.read for each in columns], [each.kind for each in columns]
    return Rows(names, [[read(item) for read in readers] for item in items], kinds)


def describe_columns(columns: Sequence[Column] | None = None) -> str:
    """Return columns, by default those of results, as a Markdown table."""
    lines = [f"| `{each.name}` | {each.kind} | {each.meaning} |" for each in columns or COLUMNS]
    return "\n".join(["| column | kind | meaning |", "|---|---|---|", *lines]) + "\n"


def _at(root: type, column: str, meaning: str | None = None, kind: Kind | None = None) -> Column:
    """Return a column that `name_and_path` reads; without a meaning it has the schema's.

    Its kind is that of the schema, too, unless another is named.
    """
    name, path = name_and_path(column)
    reader = reader_of(path)
    return Column(name, meaning or described(root, path), reader, kind or kind_of(root, path))


def described(root: type, path: str) -> str:
    """Return the schema's docstring of a field by its path, as a meaning; "" where it has none.

    When it is null is left out: every column is empty where a figure is not known.
    """
    text, _ = _field(root, path)
    text = re.split("; (?:null|None)", " ".join((text or "").split()))[0].removesuffix(".")
    return text[:1].lower() + text[1:] if not text[1:2].isupper() else text


def kind_of(root: type, path: str) -> Kind:
    """Return the kind of a field by its path, from the schema's annotation."""
    _, hint = _field(root, path)
    held = {hint, *get_args(hint)}
    kinds: Mapping[Any, Kind] = {
        bool: "flag", int: "int", float: "float", Decimal: "float", date: "day",
    }  # fmt: skip
    return next((kind for each, kind in kinds.items() if each in held), "text")


def _field(root: type, path: str) -> tuple[str | None, Any]:
    """Return the docstring and the annotation of a field by its path."""
    text: str | None = None
    kind: type = root
    hint: Any = root
    for step in path.split("."):
        field = kind.model_fields.get(step) if issubclass(kind, BaseModel) else None
        found = getattr(kind, step, None)
        if field is not None:
            text, hint = field.description, field.annotation
        elif isinstance(found, property):
            text, hint = found.__doc__, get_type_hints(found.fget)["return"]
        elif issubclass(kind, dict):
            text, hint = None, get_args(hint)[1]
        else:
            text, hint = None, get_type_hints(kind).get(step, object)
        classes = (dict if get_origin(each) is dict else each for each in (hint, *get_args(hint)))
        kind = next((each for each in classes if isinstance(each, type)), object)
    return text, hint


# --- results --------------------------------------------------------------------------------------


_result = partial(_at, Result)


def _figure(name: str, meaning: str, kind: Kind = "float") -> Column:
    return Column(name, meaning, _metric(name, "value"), kind)


def _estimate(name: str, meaning: str) -> Iterator[Column]:
    yield _figure(name, meaning)
    yield Column(f"{name}_ci95_low", LOW, _metric(name, "low"), "float")
    yield Column(f"{name}_ci95_high", HIGH, _metric(name, "high"), "float")


def _metric(name: str, part: str) -> Callable[[Result], Value]:
    """Return a reader of part of a metric, which an older result may lack."""

    def read(result: Result) -> Value:
        metric = result.metrics.get(name)
        return None if metric is None else getattr(metric, part)

    return read


def _doubts(result: Result) -> str | None:
    checks = (c for c in result.checks if c.verdict in ("invalid", "doubtful"))
    return "; ".join(f"{c.name}: {c.verdict}: {c.evidence}" for c in checks) or None


def _idle(result: Result) -> str | None:
    return idle_note(result.device)


COLUMNS: tuple[Column, ...] = (
    # which case
    _result("run_id", "name of the run's folder"),
    _result("case_id", "name of the case's folder; ends in a hash of the work"),
    _result("suite", "name in the config"),
    _result("started_at", "UTC, ISO 8601", "time"),
    _result("trnbench_version", "that derived this result"),
    # may it be used
    _result("standing", "sound, doubtful (use with care), invalid (do not use) or failed"),
    _result("outcome=outcome.status", "`finished`, or how the case ended"),
    _result("outcome_reason=outcome.reason", "why"),
    Column("doubts", "checks that found it invalid or doubtful, with what they saw", _doubts),
    # what was trained
    _result("model=model.name", "name in the catalog or the config"),
    _result("model_family=model.family", "llama, gpt2, moe, bert or vit"),
    _result("model.parameter_count", "distinct weights"),
    _result("workload.sequence_length", "tokens a sequence"),
    _result("workload.global_batch_size", "sequences in one optimizer step, all ranks"),
    _result("workload.micro_batch_size", "sequences in one pass of one data-parallel rank"),
    _result("workload.gradient_accumulation_steps", "passes in one optimizer step"),
    _result("workload.tokens_per_step"),
    _result("workload.precision", "fp32, bf16, pure_bf16, bf16_master or fp8"),
    _result("workload.optimizer", "by name"),
    _result("activation_checkpointing=workload.step.recompute", "none, selective or full"),
    _result("workload.step.loss_chunk_rows", "rows with logits at one time; empty: all of a pass"),
    _result("workload.step.document_length", "tokens of a packed document; empty: one document"),
    _result("lora_rank=workload.step.lora.rank", "of adapters; empty: all weights are trained"),
    _result(
        "workload.step.expert_capacity",
        "places of an expert over its mean rows; empty: no limit",
    ),
    _result("model.active_parameter_count"),
    # on what
    _result("device.backend", "device type, as torch names it"),
    _result("device_name"),
    _result("device_count"),
    _result("device.accelerator"),
    _result("device.chips_used", "chips that the job drove"),
    _result("device.chips_billed"),
    _result("device.instances_billed", "rented instances"),
    _result("threads"),
    _result("torch_version=versions.torch", "of the child"),
    _result("python_version=versions.python", "of the child"),
    _result("device.devices_used"),
    _result("device.devices_billed"),
    Column("idle_note", "what of the billed devices is idle, and what it costs", _idle),
    _result("layout=parallel.in_words", "axes of the mesh with their ranks, outermost first"),
    _result("parallel.world_size", "ranks of the job"),
    _result("parallel.data_parallel_replicate_size", "replicas of the whole state (DDP, HSDP)"),
    _result("parallel.data_parallel_shard_size", "shards of one replica's state (FSDP2)"),
    _result("parallel.context_parallel_size", "parts of a sequence"),
    _result("parallel.tensor_parallel_size", "parts of a matmul"),
    _result("parallel.pipeline_parallel_size", "pipeline stages, a rank each"),
    _result("parallel.expert_parallel_size", "ranks of a tensor group that share out the experts"),
    _result("layout_reason=parallel.reason", "why this layout"),
    _result("process_group=ranks.process_group"),
    # how fast
    *_estimate("tokens_per_second", "tokens of a step over the mean step time, whole job"),
    *_estimate("tokens_per_second_per_device", "the same for one device"),
    *_estimate("step_time_mean_seconds", "mean of one optimizer step"),
    *_estimate("step_time_median_seconds", "median of one optimizer step"),
    _figure("step_time_p95_seconds", "95th percentile"),
    _figure("tail_overhead", "mean over median, less 1"),
    _figure("stall_share", "time lost to stalls, 0 to 1"),
    _result("timing.samples", "timed samples taken"),
    _result("timing.steps_per_sample", "steps timed as one"),
    _result("timing.measured_steps", "steps that count"),
    _result("timing.warmup_steps"),
    _result("timing.first_step_seconds", "the very first step"),
    _result("timing.total_seconds"),
    _result("timing.gate_seconds"),
    _result("timing.gate_share", "the gate's part of the case's time"),
    _result("timing.stopped_because", "which limit ended it"),
    _result("timing.interval_method"),
    _result("statistics_rules=timing.rules"),
    _result("compilation.execution"),
    _result(
        "compile_cache=compilation.cache",
        "cold (compiled here), cached, mixed, none, failed or unknown",
    ),
    _result("compiled_graphs=compilation.graphs"),
    _result("compiled_programs=compilation.programs"),
    _figure("compile_seconds", "of all compilations that were reported"),
    _figure("peak_memory_bytes", "device memory; for a CPU the process's resident set", "int"),
    _result("timing.stalls"),
    Column(
        "launches", "fresh processes it was measured in", lambda r: len(r.launches) or None, "int"
    ),
    _result("launch_deviation=spread.between_launches"),
    _result("launch_deviation_ci95_low=spread.between_launches_low", LOW),
    _result("launch_deviation_ci95_high=spread.between_launches_high", HIGH),
    _result("launch_deviation_expected=spread.within_launches"),
    *_estimate("tokens_per_second_per_chip", "of the chips that the job drove, wholly or in part"),
    *_estimate("tokens_per_second_per_instance", "of the instances that are billed"),
    *_estimate(
        "scaling_efficiency",
        "tokens/s per device over one device's, where that is among the results; 1 is linear",
    ),
    # the ranks of a job
    _result("ranks.slowest_rank", "the one whose median step is the longest"),
    _result("slowest_rank_share=ranks.slow_share"),
    _result(
        "rank_time_spread=ranks.time_spread",
        "median step of the slowest rank over that of the fastest of its pipeline stage, less 1",
    ),
    _result("ranks.fullest_rank", "the one with the most peak memory"),
    _result("least_rank_memory_bytes=ranks.least_memory_bytes"),
    _result(
        "communication_share=ranks.communication.share",
        "part of a step's time in which a collective was under way, mean over ranks, 0 to 1",
    ),
    _result("most_communication_share=ranks.communication.most_share"),
    _result(
        "exposed_communication_share=ranks.communication.exposed_share",
        "that part of it in which nothing else was under way, mean over ranks",
    ),
    _result("most_exposed_communication_share=ranks.communication.most_exposed_share"),
    _result(
        "overlapped_communication_share=ranks.communication.overlapped_share",
        "`communication_share` less the exposed part: other work was under way too",
    ),
    _result("communication_reason=ranks.communication_reason"),
    # energy
    _figure("mean_power_watts", "mean while it measured, of `energy_scope`"),
    *_estimate("joules_per_token", "mean power over tokens per second"),
    _figure(
        "joules_per_token_tdp_bound",
        "upper bound: every billed chip draws its thermal rating",
    ),
    _result("energy_kind=energy.kind"),
    _result("energy_scope=energy.scope"),
    _result("energy_is_valid=energy.is_valid", "1: may be used; 0: not, for `energy_reason`"),
    _result("energy_reason=energy.reason"),
    *_estimate(
        "grams_co2e_per_million_tokens",
        "by the meter, the provider's PUE and the region's grid",
    ),
    # how well used
    *_estimate("mfu", "model FLOPs utilization of the billed chips, 0 to 1"),
    *_estimate("mfu_full", "the same by matmul-full-v1"),
    *_estimate("mfu_used_devices", "`mfu` of the devices driven, not billed"),
    *_estimate(
        "mfu_bf16_equivalent",
        "of partly fp8 work as if all peaks were bf16's; may exceed 1",
    ),
    _result("mfu_reason=metrics.mfu.reason", "why there is no MFU"),
    _result("flops_convention=utilization.convention", "by which `mfu` counts"),
    Column(
        "flops_per_token",
        "training FLOPs of one token by that convention",
        lambda r: r.utilization.flops_per_token.get(r.utilization.convention),
        "float",
    ),
    _result("utilization.peak_flops_per_second"),
    _result("utilization.peak_source", "where the peak is from"),
    *_estimate("hfu", "`mfu` with recomputation and experts' empty places"),
    _result("utilization.recomputed_flops_per_token"),
    _result("utilization.flops_source"),
    *_estimate(
        "ceiling_utilization", "the same operations by the rate of matmuls alone in the run, 0 to 1"
    ),
    _result("utilization.ceiling_flops_per_second"),
    _result("utilization.ceiling_source", "which matmuls"),
    _figure("expert_imbalance", "rows of the fullest expert over the mean"),
    # what it costs
    *_estimate("usd_per_million_tokens", "at the price below"),
    *_estimate("tokens_per_usd", "at the price below"),
    _figure("case_usd", "what measuring this case cost"),
    _figure("case_billed_usd", "billed if rented alone: 60 s at least, whole days of a block"),
    _figure("usd_per_chip_hour", "for one billed chip"),
    *_estimate("usd_per_model_exaflop", "for 10^18 operations that the model needed"),
    _figure("usd_per_peak_petaflop_hour", "for an hour of 10^15 operations a second at the peak"),
    _result("price_usd_per_hour=price.usd_per_hour"),
    _result("price_instance=price.instance"),
    _result("price_option=price.option", "how it is rented"),
    _result("price_region=price.region", "where"),
    _result("price_date=price.date"),
    _result("price_source=price.source"),
    _result("price_note=price.note"),
    _result("price_zone=price.zone"),
    _result("price_retrieved_at=price.retrieved_at", None, "time"),
    _result("price_reason", "why there is no price, and what sets it"),
    # did it learn
    _result("learning.initial_loss", "nats a token, first step"),
    _result("learning.final_loss"),
    _result("learning.final_excess_loss"),
    _result("stream_entropy_nats=learning.entropy", "lowest loss possible"),
    # where it is from
    _result("origin", "measured by trnbench, or imported: read from another program's log"),
    _result("imported_from=source.program", "the program that wrote the log"),
    _result("time_basis=source.time_basis", "what a printed time is of, e.g. step, interval, run"),
    _result(
        "clock_synchronised=source.synchronised",
        "yes, no or unknown: whether that program waited for the device before reading the clock",
    ),
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


_compared = partial(_at, Compared)


def _side(side: str, label: str) -> Iterator[Column]:
    yield _compared(f"{side}=metric.{side}.value", f"geometric mean over {label}'s launches")
    yield _compared(f"{side}_ci95_low=metric.{side}.low", LOW)
    yield _compared(f"{side}_ci95_high=metric.{side}.high", HIGH)
    yield Column(
        f"{side}_launches",
        "launches that it rests on",
        lambda of: len(getattr(of.metric, side).launches),
        "int",
    )


def _differences(of: Compared) -> str | None:
    texts = (f"{d.key}: {d.base} / {d.cand} ({d.kind})" for d in of.case.differences)
    return "; ".join(texts) or None


COMPARISON_COLUMNS: tuple[Column, ...] = (
    _compared("case=case.name", "model, batch and precision; no two cases have one name"),
    _compared("metric.metric", "what is compared"),
    _compared("metric.better", "which of two values is better"),
    *_side("base", "BASE"),
    *_side("cand", "CAND"),
    _compared("ratio=metric.ratio.value", "cand / base"),
    _compared("ratio_ci95_low=metric.ratio.low", LOW),
    _compared("ratio_ci95_high=metric.ratio.high", HIGH),
    _compared("metric.verdict", "better, worse, same, cannot_tell"),
    _compared("verdict_reason=metric.reason"),
    _compared("comparison.margin"),
    _compared("metric.ratio.least_change"),
    _compared("metric.ratio.launches_needed"),
    _compared("metric.ratio.method", "where the spread is from"),
    _compared("metric.ratio.launch_deviation"),
    _compared("metric.ratio.p_value"),
    _compared("metric.ratio.p_adjusted"),
    _compared("comparison.correction", "by which"),
    _compared("metric.ratio.permutation_p"),
    _compared("break_even_usd_per_hour=case.break_even.usd_per_hour"),
    _compared("break_even_tokens_per_second=case.break_even.tokens_per_second"),
    Column("differences", "in what the sides differ, beside what is measured", _differences),
    Column("notes", "what must be read beside it", lambda of: "; ".join(of.case.notes) or None),
)
