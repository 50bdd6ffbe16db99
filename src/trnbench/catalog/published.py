"""Training runs that others have published, each with its source; trnbench has checked none."""

import functools
from dataclasses import dataclass
from datetime import date
from typing import cast

from trnbench.catalog import read_rows
from trnbench.catalog.accelerators import Accelerator, accelerators
from trnbench.catalog.models import models
from trnbench.protocol.model import ModelShape

Sizes = tuple[int, int, int, int, int, int]
"""Layers, width, heads, key and value heads, MLP width, vocabulary."""

PUBLICATIONS = (
    "Megatron-Bridge", "DGX Cloud", "NeMo AutoModel", "NeMo Framework", "Megatron MoE",
    "Megatron-LM", "awsome-distributed-training", "torchtitan", "torchneuronx",
    "LLM Foundry", "Neuron SDK",
    "tpu-recipes", "MaxText", "MLPerf Training", "Lambda", "ml-engineering",
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
    def publisher(self) -> str:
        """Who ran it: of a collection such as MLPerf's the submitter, else the publication."""
        folder = self.source.partition(":")[2].partition("/")[0]
        is_collection = self.publication == "MLPerf Training"
        return f"{self.publication}, {folder}" if is_collection else self.publication

    @property
    def chip(self) -> Accelerator | None:
        """The chip of our catalog; None where it has none."""
        return chip_of(self).accelerator

    @property
    def sizes(self) -> Sizes | None:
        """Of a dense model whose sizes are all known: two names of the same sizes are one work."""
        found = (
            self.layers, self.hidden_size, self.heads, self.kv_heads, self.intermediate_size,
            self.vocabulary_size,
        )  # fmt: skip
        return None if self.architecture != "dense" or None in found else cast(Sizes, found)


@dataclass(frozen=True, slots=True)
class PublishedChip:
    """What a published name of a chip means, and the instance that it is rented as by default."""

    published_as: str
    memory: str
    """Only of runs whose source names this memory; empty: of all others."""
    accelerator_name: str
    """In the table of accelerators; empty where that has no such chip."""
    instance: str
    """Empty where no price of an instance with the chip is known."""
    source: str

    @property
    def accelerator(self) -> Accelerator | None:
        """Its datasheet figures."""
        return accelerators().get(self.accelerator_name)


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


@functools.cache
def published_chips() -> tuple[PublishedChip, ...]:
    """Return every chip by the names that publications use; one with a memory is first."""
    rows = read_rows(
        PublishedChip,
        "published_chips.csv",
        accelerator_name="accelerator",
        instance="instance_type",
    )
    return tuple(sorted(rows, key=lambda row: not row.memory))


def chip_of(run: PublishedResult) -> PublishedChip:
    """Return the chip that a run was on.

    Raises:
        KeyError: the table of chips does not have it; a test holds that it has all.
    """
    said = f"{run.instance} {run.notes}".replace(" GB", "GB").replace("-GB", "GB")
    for chip in published_chips():
        if chip.published_as == run.accelerator and chip.memory in said:
            return chip
    raise KeyError(run.accelerator)


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that a command can name: of the catalog, or only of publications."""

    name: str
    shape: ModelShape | None
    """None where the catalog does not have its sizes."""
    sizes: Sizes | None

    def is_of(self, run: PublishedResult) -> bool:
        """Tell whether a run trained it, under this name or as another of the same sizes."""
        has_sizes = self.sizes is not None and run.sizes == self.sizes
        return has_sizes or is_same_model(run.model, self.name)


def find_model(name: str) -> KnownModel | None:
    """Return the model of a name, case and punctuation ignored; None where nothing has it."""
    for model in models().values():
        if is_same_model(model.name, name):
            return KnownModel(model.name, model.shape, _sizes_of(model.shape))
    for run in published_results():
        if is_same_model(run.model, name):
            return KnownModel(run.model, None, run.sizes)
    return None


def model_names() -> set[str]:
    """Return the names that `find_model` knows."""
    return {*models(), *(run.model for run in published_results())}


def _sizes_of(shape: ModelShape) -> Sizes | None:
    if shape.experts is not None:
        return None
    return (
        shape.layers, shape.hidden_size, shape.heads, shape.kv_heads, shape.intermediate_size,
        shape.vocabulary_size,
    )  # fmt: skip


def is_same_model(one: str, other: str) -> bool:
    """Tell whether two names mean one model: case and punctuation are ignored."""
    return plain_name(one) == plain_name(other)


def plain_name(name: str) -> str:
    """Return the letters and digits of a name, in lower case."""
    return "".join(c for c in name.lower() if c.isalnum())


def _publication(source: str) -> str:
    known = next((each for each in PUBLICATIONS if each in source), None)
    return known or source.split("(")[0].split(":")[0].strip()
