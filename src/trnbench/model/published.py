"""The model of a published run, from what its row says, and the run's MFU in our convention.

A model of our catalog has its own sizes; of others the row's sizes are taken with what is known of
their family. Source of the conventions that others print: docs/metrics.md, "FLOPs".
"""

from dataclasses import dataclass
from typing import Any

from trnbench.catalog.models import complete_shape, models
from trnbench.catalog.published import PublishedResult, is_same_model
from trnbench.model import flops
from trnbench.protocol.model import ModelShape
from trnbench.protocol.orders import Lora, StepSettings

ALIASES = {
    "Llama-2-7B": "llama2-7b",
    "Llama-3-70B": "llama3.1-70b",  # the same sizes
    "Mistral-7B": "mistral-7b-v0.1",
}
"""Models of our catalog by sources' names, where letters and digits differ."""

PLAIN_MLP = ("GPT3", "MPT", "MT-NLG", "Megatron-GPT", "Nemotron-4", "Nemotron-8B", "Pythia",
             "StarCoder", "MaxText-22B", "modded-nanogpt", "nanochat")  # fmt: skip
"""Starts of the names of models whose MLP has two matrices. Their counts of weights say so too."""

PARTICULARS: dict[str, dict[str, Any]] = {
    "Gemma-3-12B": {"head_dim": 256, "sliding_window": 1024, "full_attention_every": 6},
    "PaLM-540B": {"head_dim": 256},
    "MaxText-22B": {"vocabulary_size": 32000},
    "Grok-1-314B": {
        "family": "moe",
        "head_dim": 128,
        "experts": {"count": 8, "per_token": 2, "size": 32768},
    },
    "Llama-4-Scout-17B-16E": {
        "family": "moe",
        "head_dim": 128,
        "experts": {"count": 16, "per_token": 1, "size": 8192, "shared_size": 8192},
    },
}
"""What rows do not say. Source: the models' published config.json, PaLM's table 1, and MaxText's
default `vocab_size`."""

PRINTED_CONVENTIONS = {
    "ml-engineering": flops.DEFAULT_CONVENTION,
    "Megatron MoE": flops.DEFAULT_CONVENTION,
    "MaxText": flops.FULL_CONVENTION,
    "Llama 3": flops.FULL_CONVENTION,
}
"""By which publications count the TFLOP/s that they print without a rate of tokens."""

UNUSUAL = {
    "DeepSeek": "its attention (MLA) is of no family here",
    "Nemotron-3": "it mixes attention with state-space blocks",
    "Nemotron-H": "it mixes attention with state-space blocks",
    "Nemotron-V3": "it mixes attention with state-space blocks",
    "Llama-4-Maverick": "only every other block has experts",
    "Gemma-4": "its blocks differ",
    "modded-nanogpt": "its attention has windows that the source does not list",
    "nanochat-derived": "its values come from embeddings",
    "pure ": "its attention is linear",
}
"""Starts of the names of models that no shape of ours describes."""

ROUGH = ("nanochat-derived",)
"""Of those, near enough to a plain transformer to calibrate a wide range with."""

ADAPTER = StepSettings(lora=Lora(rank=16, alpha=32, targets="attention"))
"""Adapters add under 1 % to the frozen weights' work at any usual rank; rows rarely name it."""

FP8 = ("fp8", "mxfp8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Utilization:
    """How much of its chips' peak a published run used: by its source, and in our convention."""

    reported_percent: float | None
    """As printed, in the source's convention and over the source's peak."""
    mfu: float | None
    """In our convention: model FLOPs over dense peak; of fp8 runs the share of ideal time."""
    peak_flops_per_second: float | None
    """Of one chip, for this model's mix of precisions."""
    convention: str = flops.DEFAULT_CONVENTION
    reason: str | None = None
    """Why there is no `mfu`."""


def published_utilization(run: PublishedResult) -> Utilization:
    """Return a published run's MFU as its source prints it, and recomputed in our convention."""
    shape, reason = published_shape(run)
    peak = rate = mfu = None
    if shape is not None:
        peak, reason = _peak(run, shape)
        rate = published_rate(run, shape)
    if reason is None and run.sequence_length is None:
        reason = "the source names no sequence length"
    elif reason is None and rate is None:
        reason = "the source has no rate of training"
    elif shape and peak and rate and run.sequence_length:
        work = flops.flops_per_token(shape, run.sequence_length, step=published_step(run))
        mfu = rate * work / peak
    return Utilization(
        reported_percent=run.mfu_percent, mfu=mfu, peak_flops_per_second=peak, reason=reason
    )


def published_rate(run: PublishedResult, shape: ModelShape) -> float | None:
    """Return the tokens/s of one chip: printed, or from the time of a step or from TFLOP/s."""
    if run.tokens_per_second and run.accelerators:
        return run.tokens_per_second / run.accelerators
    if run.tokens_per_second_per_accelerator:
        return run.tokens_per_second_per_accelerator
    if not run.sequence_length:
        return None
    if run.step_seconds and run.global_batch_size and run.accelerators:
        tokens = run.global_batch_size * run.sequence_length
        return tokens / run.step_seconds / run.accelerators
    convention = PRINTED_CONVENTIONS.get(run.publication)
    if convention is None or run.tflops_per_accelerator is None:
        return None
    work = flops.flops_per_token(shape, run.sequence_length, convention, published_step(run))
    return run.tflops_per_accelerator * 1e12 / work


def published_step(run: PublishedResult) -> StepSettings:
    """Return how the steps of a run are carried out, as far as it changes their work."""
    return ADAPTER if run.is_adapter_training else flops.PLAIN


def published_shape(
    run: PublishedResult, *, roughly: bool = False
) -> tuple[ModelShape | None, str | None]:
    """Return the shape of a run's model, or None and why it is not known.

    `roughly` takes those of `ROUGH` too, whose FLOPs come out within some ten per cent.
    """
    alias = ALIASES.get(run.model, run.model)
    named = next((row for name, row in models().items() if is_same_model(name, alias)), None)
    if named is not None:
        return named.shape, None
    for start, why in UNUSUAL.items():
        if run.model.startswith(start) and not (roughly and start in ROUGH):
            return None, f"{run.model}: {why}"
    sizes = {
        "family": "gpt2" if run.model.startswith(PLAIN_MLP) else "llama",
        "layers": run.layers,
        "hidden_size": run.hidden_size,
        "heads": run.heads,
        "kv_heads": run.kv_heads,
        "intermediate_size": run.intermediate_size,
        "vocabulary_size": run.vocabulary_size,
        "max_positions": run.sequence_length or 0,
        **PARTICULARS.get(run.model, {}),
    }
    if run.architecture != "dense" and sizes["family"] != "moe":
        return None, f"{run.model}: the source does not say what its {run.architecture} is made of"
    try:
        return complete_shape(sizes), None
    except KeyError as error:
        return None, f"{run.model}: the source names no {error.args[0]}"


def _peak(run: PublishedResult, shape: ModelShape) -> tuple[float | None, str | None]:
    """Return one chip's dense peak for a run, or None and why it is not known."""
    chip = run.chip
    if chip is None:
        return None, f"{run.accelerator} is not in the catalog of chips"
    if run.precision in ("bf16", "fp16"):
        peak = chip.bf16_flops_per_second
    elif run.precision == "fp32":
        peak = chip.fp32_flops_per_second
    elif run.precision in FP8:
        peak = _mixed_peak(run, shape)
    elif not run.precision:
        return None, "the source names no precision"
    else:
        return None, f"a utilization in {run.precision} is not defined here"
    return peak, None if peak else f"{chip.name} has no published peak in {run.precision}"


def _mixed_peak(run: PublishedResult, shape: ModelShape) -> float | None:
    """Return the rate of a step whose blocks' matmuls run in fp8 and whose rest runs in bf16."""
    chip = run.chip
    if chip is None or not chip.fp8_flops_per_second or not chip.bf16_flops_per_second:
        return None
    step = published_step(run)
    work = flops.flops_per_token(shape, run.sequence_length or shape.max_positions, step=step)
    of_blocks = flops.fp8_flops_per_token(shape)
    if step.lora is not None:
        of_blocks *= 4 / 6
    rates = chip.fp8_flops_per_second, chip.bf16_flops_per_second
    return flops.mixed_rate(work, of_blocks, *rates)
