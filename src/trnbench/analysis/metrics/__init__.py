"""Every metric, in the order of reports: one function in a file of its family, one line here.

`MEASURED` come from a case's records. `DERIVED` come from the throughput, a peak and a price, so
that an old result can be re-costed without its records; of them a price changes `PRICED` alone.
"""

from collections.abc import Callable, Mapping

from trnbench.analysis.evidence import Evidence
from trnbench.analysis.metrics import (
    compilation,
    cost,
    energy,
    experts,
    memory,
    throughput,
    utilization,
)
from trnbench.analysis.metrics.base import Basis
from trnbench.schema.result import MetricValue

MEASURED: Mapping[str, Callable[[Evidence], MetricValue]] = {
    "tokens_per_second": throughput.tokens_per_second,
    "tokens_per_second_per_device": throughput.tokens_per_second_per_device,
    "step_time_mean_seconds": throughput.step_time_mean_seconds,
    "step_time_median_seconds": throughput.step_time_median_seconds,
    "step_time_p95_seconds": throughput.step_time_p95_seconds,
    "tail_overhead": throughput.tail_overhead,
    "stall_share": throughput.stall_share,
    "compile_seconds": compilation.compile_seconds,
    "peak_memory_bytes": memory.peak_memory_bytes,
    "mean_power_watts": energy.mean_power_watts,
    "joules_per_token": energy.joules_per_token,
    "joules_per_token_tdp_bound": energy.joules_per_token_tdp_bound,
    "expert_imbalance": experts.expert_imbalance,
}

UTILIZED: Mapping[str, Callable[[Basis], MetricValue]] = {
    "mfu": utilization.mfu,
    "mfu_full": utilization.mfu_full,
    "mfu_used_devices": utilization.mfu_used_devices,
    "mfu_bf16_equivalent": utilization.mfu_bf16_equivalent,
    "hfu": utilization.hfu,
    "ceiling_utilization": utilization.ceiling_utilization,
}

PRICED: Mapping[str, Callable[[Basis], MetricValue]] = {
    "usd_per_million_tokens": cost.usd_per_million_tokens,
    "tokens_per_usd": cost.tokens_per_usd,
    "usd_per_chip_hour": cost.usd_per_chip_hour,
    "usd_per_model_exaflop": cost.usd_per_model_exaflop,
    "usd_per_peak_petaflop_hour": cost.usd_per_peak_petaflop_hour,
    "grams_co2e_per_million_tokens": energy.grams_co2e_per_million_tokens,
    "case_usd": cost.case_usd,
    "case_billed_usd": cost.case_billed_usd,
}

DERIVED: Mapping[str, Callable[[Basis], MetricValue]] = {**UTILIZED, **PRICED}

METRICS = (*MEASURED, *DERIVED)
