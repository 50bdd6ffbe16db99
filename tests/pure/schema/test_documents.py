"""Plan, Result and RunDocument: nothing can be changed, added, left out or made NaN."""

import copy
import json
import math
from collections.abc import Iterator
from typing import Any

import pydantic
import pytest

from tests.each import check_each
from trnbench.protocol.orders import PROTOCOL_VERSION
from trnbench.schema.base import Strict
from trnbench.schema.plan import Plan
from trnbench.schema.result import Result, RunDocument

SHAPE = {
    "family": "llama", "layers": 2, "hidden_size": 128, "heads": 4, "kv_heads": 2, "head_dim": 32,
    "intermediate_size": 352, "vocabulary_size": 2048, "max_positions": 2048,
    "tied_embeddings": False, "qk_norm": False, "norm_epsilon": 1e-5, "rope_theta": 1e4,
    "rope_scaling": None, "init_std": 0.02, "sliding_window": None, "full_attention_every": None,
    "attention_sinks": False, "attention_biases": "none", "experts": None, "image": None,
}  # fmt: skip
STEP = {
    "recompute": "full", "loss_chunk_rows": 256, "adamw": None, "document_length": None,
    "lora": {"rank": 8, "alpha": 16.0, "targets": "all"}, "expert_capacity": None,
}  # fmt: skip
PRICE = {
    "usd_per_hour": "35.7608", "instance": "trn2.48xlarge", "option": "capacity_block",
    "region": "us-east-2", "zone": None, "date": "2026-07-22", "source": "the pricing page",
    "note": None, "retrieved_at": None,
}  # fmt: skip
LAYOUT = {
    "data_parallel_replicate_size": 1, "data_parallel_shard_size": 1, "context_parallel_size": 1,
    "tensor_parallel_size": 1, "pipeline_parallel_size": 1, "expert_parallel_size": 1,
    "sequence_parallel": True, "reshard_after_forward": True, "pipeline_schedule": "1f1b",
    "pipeline_stages_per_rank": 1,
}  # fmt: skip
PLAN = {
    "schema_version": 3,
    "trnbench_version": "1.0",
    "suite": "my suite",
    "case_id": "a-1",
    "swept": {"workload.seed": 1},
    "model": {
        "name": "tiny-llama", "family": "llama", "parameter_count": 893568,
        "active_parameter_count": 893568, "layers": 2, "hidden_size": 128,
        "vocabulary_size": 2048, "source": "ours", "shape": SHAPE, "external": None,
        "described": None, "notes": [],
    },
    "workload": {
        "sequence_length": 128, "global_batch_size": 8, "micro_batch_size": 4,
        "gradient_accumulation_steps": 2, "precision": "fp32", "optimizer": "adamw",
        "tokens_per_step": 1024, "step": STEP, "reason": "as many as fit",
        "search": {
            "sizes": [{"micro_batch_size": 4, "memory_bytes": 1e8, "memory_verdict": "fits"}],
            "first": 4, "is_batch_given": True, "taken": 4,
            "trials": [
                {
                    "micro_batch_size": 4, "fits": True, "status": "finished", "reason": "ran",
                    "peak_memory_bytes": 9e7, "seconds": 3.5,
                }
            ],
        },
    },
    "parallel": {"world_size": 1, **LAYOUT, "nodes": 1, "reason": "one processor"},
    "device": {
        "backend": "cpu", "accelerator": None, "instance": None, "is_instance_recognised": False,
        "devices_used": 1, "devices_per_chip": 1, "chips_used": 1, "chips_billed": 1,
        "instances_billed": 1, "memory_bytes": 1e9,
    },
    "measure": {
        "launches": 3,
        "relative_precision": 0.005, "min_samples": 50, "max_samples": 1000, "min_seconds": 30.0,
        "max_minutes": 15.0, "max_usd": None, "gate": True, "ceiling": None,
        "telemetry": True, "numa_binding": "node", "hang_seconds": 600.0,
    },
    "price": PRICE,
    "price_reason": None,
    "flops_convention": "matmul-causal-v1",
    "prediction": {
        "flops_per_token": {"matmul-causal-v1": 1e6}, "recomputed_flops_per_token": 2e5,
        "memory_bytes": 1e8,
        "memory_states_bytes": 1e7, "memory_activations_bytes": 1e7, "memory_verdict": "fits",
        "step_seconds": None, "step_seconds_low": None,
        "step_seconds_high": None, "step_seconds_reason": "no peak", "max_seconds": 900.0,
        "max_usd": 8.94,
    },
    "order": {
        "wire_version": PROTOCOL_VERSION, "shape": SHAPE, "sequence_length": 128,
        "micro_batch_size": 4,
        "gradient_accumulation_steps": 2, "precision": "fp32",
        "optimizer": {
            "name": "adamw", "learning_rate": 1e-3, "lr_warmup_steps": 10, "beta1": 0.9,
            "beta2": 0.95, "epsilon": 1e-8, "weight_decay": 0.1, "gradient_clip_norm": 1.0,
        },
        "stream": {"alphabet_size": 64, "noise": 0.1, "seed": 42}, "backend": "cpu",
        "threads": None, "measure_ceiling": True, "seed": 42,
        "execution": "eager", "device_index": None, "layout": LAYOUT,
        "gate": None, "step": STEP, "external": None,
    },
}  # fmt: skip
RESULT = {
    "origin": "measured",
    "source": None,
    "schema_version": 2,
    "trnbench_version": "1.0",
    "run_id": "r-1",
    "case_id": "a-1",
    "suite": "my suite",
    "started_at": "2026-11-23T10:00:00Z",
    "standing": "sound",
    "outcome": {"status": "finished", "reason": "precise enough", "hint": None},
    "model": PLAN["model"],
    "workload": PLAN["workload"],
    "device": PLAN["device"],
    "environment": {
        "kind": "environment", "at_seconds": 1.5, "wire_version": PROTOCOL_VERSION,
        "backend": "cpu", "device_name": "a processor", "device_count": 1, "asynchronous": False,
        "proven": True, "threads": 2, "versions": {}, "settings": {}, "clock_step_seconds": 1e-7,
    },
    "timing": {
        "samples": 50, "steps_per_sample": 4, "measured_steps": 200, "warmup_steps": 3,
        "first_step_seconds": 1.5, "total_seconds": 42.0, "stopped_because": "precise",
        "interval_method": "ess-t mean", "rules": "stats-v2", "stalls": 1,
        "longest_stalls": [{"sample": 7, "seconds": 0.9}], "gate_seconds": 1.5,
    },
    "compilation": {
        "execution": "compile", "cache": "cold", "graphs": 1, "programs": 2, "cache_hits": None,
        "seconds_per_program": [1.5, 2.5],
    },
    "metrics": {
        "tokens_per_second": {"value": 6e4, "low": 5.9e4, "high": 6.1e4, "reason": None},
        "mfu": {"value": None, "low": None, "high": None, "reason": "no peak"},
    },
    "utilization": {
        "convention": "matmul-causal-v1", "flops_per_token": {"matmul-causal-v1": 1e6},
        "peak_flops_per_second": 1e11, "peak_source": "measured", "peak_reason": None,
        "used_share": 0.25, "recomputed_flops_per_token": 2e5, "flops_source": "the shape",
        "flops_reason": None, "ceiling_flops_per_second": 1e11, "ceiling_source": "measured",
        "ceiling_reason": None,
        "fp8": {"flops_per_token": 6e5, "flops_per_second": 1e11, "other_flops_per_second": 5e10},
    },
    "learning": {
        "initial_loss": 7.6, "final_loss": 0.8, "final_excess_loss": 0.05, "entropy": 0.7295,
    },
    "energy": {
        "kind": "counter", "scope": "the GPUs' boards", "source": "nvml", "is_valid": True,
        "reason": None, "mean_power_watts": 650.5, "tdp_bound_watts": 700.0, "tdp_source": "a page",
    },
    "parallel": {"world_size": 2, **LAYOUT, "data_parallel_shard_size": 2, "nodes": 1,
                 "reason": "two GPUs"},
    "ranks": {
        "count": 2, "process_group": "nccl", "step_seconds": [0.05, 0.051], "slowest_rank": 1,
        "slow_share": 0.9, "time_spread": 0.02, "fullest_rank": 0, "least_memory_bytes": 12345,
        "communication": {
            "ranks": 2, "steps": 3, "share": 0.2, "most_share": 0.25, "most_rank": 0,
            "exposed_share": 0.1, "most_exposed_share": 0.125, "operations": {"all_reduce": 0.2},
        },
        "communication_reason": None,
    },
    "price": PRICE,
    "price_reason": None,
    "checks": [{"name": "learned", "verdict": "sound", "evidence": "it did", "advice": None}],
    "launches": [
        {
            "started_at": "2026-11-23T10:00:00Z", "status": "finished", "standing": "sound",
            "samples": 50, "step_time_mean_seconds": 0.05, "step_time_median_seconds": 0.05,
            "standard_error": 0.001, "total_seconds": 42.0, "stopped_because": "precise",
        }
    ],
    "spread": {
        "launches": 3, "between_launches": 0.004, "between_launches_low": 0.002,
        "between_launches_high": 0.02, "within_launches": 0.001,
    },
    "measurement_bytes": 12345,
    "measurement_sha256": None,
    "seal": None,
}  # fmt: skip
RUN = {
    "schema_version": 1,
    "trnbench_version": "1.0",
    "run_id": "r-1",
    "suites": ["my suite"],
    "started_at": "2026-11-23T10:00:00Z",
    "ended_at": None,
    "state": "running",
    "machine": {"processor": "a processor"},
    "devices": [{"backend": "cpu"}],
    "versions": {"torch": "2.13.0"},
    "cases": [{"case_id": "a-1", "status": "waiting"}],
}

Path = tuple[str | int, ...]
LATER = {
    "compilation", "energy", "launches", "spread", "seal", "parallel", "ranks",
    "measurement_sha256", "origin", "source",
}  # fmt: skip
"""Parts that files of an older version lack: they are read without."""

FREE = {
    "swept", "flops_per_token", "metrics", "settings", "versions", "machine", "devices",
    "operations",
}  # fmt: skip
"""Mappings whose keys are not fixed, and what is inside them."""

DOCUMENTS: list[tuple[type[Strict], dict[str, Any]]] = [
    (Plan, PLAN),
    (Result, RESULT),
    (RunDocument, RUN),
]


def mappings(document: dict[str, Any], path: Path = ()) -> Iterator[Path]:
    """Walk the mappings whose keys are fixed."""
    yield path
    for key, value in document.items():
        if isinstance(value, dict) and key not in FREE:
            yield from mappings(value, (*path, key))


def at(document: Any, path: Path) -> Any:
    for key in path:
        document = document[key]
    return document


def refusal(model: type[Strict], document: dict[str, Any]) -> str:
    with pytest.raises(pydantic.ValidationError) as caught:
        model.model_validate_json(json.dumps(document))
    return caught.value.errors()[0]["type"]


EVERY_MAPPING = [
    (model, document, path) for model, document in DOCUMENTS for path in mappings(document)
]


@pytest.mark.parametrize(("model", "document"), DOCUMENTS)
def test_writing_and_reading_changes_nothing(model: type[Strict], document: dict[str, Any]) -> None:
    read = model.model_validate_json(json.dumps(document))
    assert json.loads(read.model_dump_json()) == document
    assert model.model_validate_json(read.model_dump_json()) == read


def test_a_key_that_nobody_reads_is_refused() -> None:
    def check(model: type[Strict], document: dict[str, Any], path: Path) -> None:
        changed = copy.deepcopy(document)
        at(changed, path)["stray"] = 1
        assert refusal(model, changed) in ("extra_forbidden", "unexpected_keyword_argument")

    check_each(EVERY_MAPPING, check)


EVERY_NUMBER = [
    (model, document, (*path, key))
    for model, document in DOCUMENTS
    for path in mappings(document)
    for key, value in at(document, path).items()
    if isinstance(value, float)
]


def test_not_a_number_is_refused_wherever_a_number_stands() -> None:
    def check(model: type[Strict], document: dict[str, Any], path: Path) -> None:
        for value in (math.nan, math.inf):
            changed = copy.deepcopy(document)
            at(changed, path[:-1])[path[-1]] = value
            assert refusal(model, changed) == "finite_number"

    check_each(EVERY_NUMBER, check)


def test_not_a_number_is_refused_as_a_metric() -> None:
    for value in (math.nan, math.inf):
        metrics = {"mfu": {"value": value}}
        assert refusal(Result, {**RESULT, "metrics": metrics}) == "finite_number"


def test_text_is_not_taken_for_a_number_nor_a_number_for_text() -> None:
    def check(model: type[Strict], document: dict[str, Any], path: Path) -> None:
        for key, value in at(document, path).items():
            if isinstance(value, bool | dict | list | None) or key == "usd_per_hour":
                continue
            changed = copy.deepcopy(document)
            at(changed, path)[key] = 3 if isinstance(value, str) else str(value)
            assert refusal(model, changed)

    check_each(EVERY_MAPPING, check)


@pytest.mark.parametrize(("model", "document"), DOCUMENTS)
@pytest.mark.parametrize("version", [0, 4, "1", None])
def test_another_version_is_refused(
    model: type[Strict], document: dict[str, Any], version: object
) -> None:
    assert refusal(model, {**document, "schema_version": version}) == "literal_error"


@pytest.mark.parametrize(("model", "document"), DOCUMENTS)
def test_a_document_without_one_of_its_parts_is_refused(
    model: type[Strict], document: dict[str, Any]
) -> None:
    for key in document.keys() - {"schema_version"} - LATER:
        without = {k: v for k, v in document.items() if k != key}
        assert refusal(model, without) == "missing"


def test_a_result_from_before_its_later_parts_is_read() -> None:
    price = {k: v for k, v in PRICE.items() if k not in ("zone", "retrieved_at")}
    old = {k: v for k, v in RESULT.items() if k not in LATER}
    read = Result.model_validate_json(json.dumps({**old, "price": price}))
    assert read.energy is None
    assert read.compilation is None
    assert read.price is not None
    assert (read.price.zone, read.price.retrieved_at) == (None, None)


@pytest.mark.parametrize(("model", "document"), DOCUMENTS)
def test_a_document_that_was_read_cannot_be_changed(
    model: type[Strict], document: dict[str, Any]
) -> None:
    read = model.model_validate_json(json.dumps(document))
    parts = [read, *(part for _, part in read if isinstance(part, Strict))]
    for part in parts:
        with pytest.raises(pydantic.ValidationError, match="frozen"):
            setattr(part, next(iter(type(part).model_fields)), "x")


@pytest.mark.parametrize(
    ("key", "value"), [("standing", "splendid"), ("price", 3), ("checks", {}), ("metrics", [])]
)
def test_a_result_refuses_words_that_it_does_not_know(key: str, value: object) -> None:
    assert refusal(Result, {**RESULT, key: value})
