"""Training runs that others have published, each with its source; trnbench has checked none."""

import functools
from dataclasses import dataclass
from datetime import date

from trnbench.catalog import read_rows
from trnbench.catalog.accelerators import Accelerator, accelerators

CHIPS = {
    "A100": "a100-80",
    "H100": "h100-sxm",
    "TPU v4": "tpu-v4",
    "TPU v5e": "tpu-v5e",
    "TPU v5p": "tpu-v5p",
    "TPU v6e": "tpu-v6e",
    "TPU v7 (Ironwood)": "tpu-v7",
}
"""Chips of our catalog by what sources call them, where lower case is not enough. Both A100s have
one peak; H100 is the SXM part in every row."""

PUBLICATIONS = (
    "Megatron-Bridge", "DGX Cloud", "NeMo AutoModel", "NeMo Framework", "Megatron MoE",
    "Megatron-LM", "torchtitan", "torchneuronx", "LLM Foundry", "Neuron SDK", "MaxText",
    "tpu-recipes", "MLPerf Training", "Lambda", "ml-engineering", "awsome-distributed-training",
    "Intel Gaudi", "Primus", "nanochat", "modded-nanogpt", "Trainium Frontier", "Llama 3",
)  # fmt: skip
"""Publishers' tables by words of their sources: releases and files of one are not independent."""


@dataclass(frozen=True, slots=True)
class PublishedResult:
    """One published run, in its source's terms."""

    name: str
    source: str
    date: date
    model: str
    sequence_length: int | None
    accelerator: str
    """As the source calls it."""
    accelerators: int | None
    instance: str
    precision: str
    tokens_per_second: float | None
    """Of the whole job."""
    tokens_per_second_per_accelerator: float | None
    notes: str
    architecture: str
    """dense, moe or encoder."""
    parameters_billion: float | None
    layers: int | None
    hidden_size: int | None
    heads: int | None
    kv_heads: int | None
    intermediate_size: int | None
    """Of a mixture: of one expert."""
    vocabulary_size: int | None
    global_batch_size: int | None
    """Sequences."""
    parallelism: str
    """As the source writes it."""
    framework: str
    mfu_percent: float | None
    """In the source's own convention."""
    tflops_per_accelerator: float | None
    """In the source's own convention."""
    step_seconds: float | None
    accelerator_hours: float | None
    """Of a whole training run, restarts and all."""

    @property
    def is_adapter_training(self) -> bool:
        """Whether only low-rank adapters were trained: two thirds of the work for each token."""
        return "lora" in self.name.lower()

    @property
    def publication(self) -> str:
        """Who published it: the source without its release, its commit and its path."""
        return _publication(self.source)

    @property
    def chip(self) -> Accelerator | None:
        """The chip of our catalog; None where it has none."""
        return accelerators().get(CHIPS.get(self.accelerator, self.accelerator.lower()))


@functools.cache
def published_results() -> tuple[PublishedResult, ...]:
    """Return every published run of the catalog."""
    rows = read_rows(
        PublishedResult,
        "published.csv",
        name="id",
        date="published_date",
        sequence_length="seq_len",
        accelerators="accelerator_count",
        instance="instance_type",
        tokens_per_second="tokens_per_second_total",
        parameters_billion="params_billion",
        layers="n_layers",
        hidden_size="d_model",
        heads="n_heads",
        kv_heads="n_kv_heads",
        intermediate_size="d_ff",
        vocabulary_size="vocab_size",
        mfu_percent="mfu_percent_reported",
        tflops_per_accelerator="tflops_per_accelerator_reported",
        step_seconds="step_time_s",
        accelerator_hours="gpu_hours_total",
    )
    return tuple(rows)


def is_same_model(one: str, other: str) -> bool:
    """Tell whether two names mean one model: case and punctuation are ignored."""
    first, second = ([c for c in name.lower() if c.isalnum()] for name in (one, other))
    return first == second


def _publication(source: str) -> str:
    known = next((each for each in PUBLICATIONS if each in source), None)
    return known or source.split("(")[0].split(":")[0].strip()
