"""A published run as a setup: its layout as its source writes it, or the one an expert would take.

What a source does not say is chosen as the fastest that fits: published runs are tuned. Every
choice is named in `assumed`.
"""

import re
from dataclasses import dataclass, replace

from trnbench.catalog.accelerators import Accelerator
from trnbench.catalog.instances import instances
from trnbench.catalog.published import PublishedResult
from trnbench.estimate.calibration import Calibration
from trnbench.estimate.layouts import fastest
from trnbench.estimate.machine import Machine, machine_of
from trnbench.estimate.step import estimate_layouts
from trnbench.estimate.terms import Setup
from trnbench.model.published import FP8, published_rate, published_shape, published_step
from trnbench.protocol.orders import Precision, Recompute
from trnbench.protocol.parallel import Layout

USUAL_TOKENS_PER_CHIP = 16384
"""Of a step, where the source names no batch."""

SIZES = re.compile(r"\b(TP|PP|CP|VP|EP|DP|FSDP|MBS|GA)=?(\d+)")
INTERLEAVED = {"Llama 3": 8}
"""Stages of each pipeline rank where a publication has an interleaved schedule and no row says so:
at most a block each. Source: arXiv 2407.21783, section 3.3.2."""

NEURON_TENSOR = re.compile(r"(\d+)xNC\(TP\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSetup:
    """A published run as a setup, and the seconds that its step took."""

    run: PublishedResult
    setup: Setup
    seconds: float
    assumed: tuple[str, ...]
    """What the source does not say."""


def published_setup(
    run: PublishedResult, known: Calibration | None = None
) -> tuple[PublishedSetup | None, str | None]:
    """Return a published run as a setup, or None and why it cannot be one."""
    shape, reason = published_shape(run, roughly=True)
    chip, precision = run.chip, _precision(run)
    reason = reason or why_not(run)
    if reason is not None or shape is None or chip is None or precision is None:
        return None, reason
    rate = published_rate(run, shape)
    if rate is None or not run.accelerators or not run.sequence_length:
        return None, "the source lacks the rate, the number of chips or the sequence length"
    machine = machine_of(chip.name, run.instance if run.instance in instances() else None)
    named = {key: int(value) for key, value in SIZES.findall(run.parallelism)}
    neuron = NEURON_TENSOR.search(run.parallelism)
    if neuron:
        named["TP"] = int(neuron[1])
    batch, assumed = _batch(run, named, chip, machine)
    setup = Setup(
        shape=shape,
        sequence_length=run.sequence_length,
        global_batch_size=batch,
        precision=precision,
        step=published_step(run),
        machine=machine,
        chips=run.accelerators,
    )
    setup, more = _laid_out(run, setup, named, known)
    return PublishedSetup(
        run=run,
        setup=setup,
        seconds=setup.tokens / (rate * run.accelerators),
        assumed=(*assumed, *more),
    ), None


def why_not(run: PublishedResult) -> str | None:
    """Return why a run says nothing of how fast a step is on its chip; None: it may."""
    chip, precision, notes = run.chip, _precision(run), run.notes
    if chip is None:
        return f"{run.accelerator} is not in the catalog of chips"
    if precision is None:
        return f"precision {run.precision or '(not named)'} is not one of ours"
    if machine_of(chip.name).peak_flops_per_second(precision) is None:
        return f"{chip.name} has no published peak in {precision}"
    if is_whole_run(run):
        return "tokens of a whole run over its hours, restarts and all"
    if "offload" in run.parallelism.lower():
        return "it moves states to the host's memory, which no term has"
    if "500 W" in notes or "low-TDP" in notes:
        return "its chips are limited below their rated power"
    if "inconsistent" in notes or "does not multiply" in notes:
        return "the source contradicts itself"
    return None


def is_whole_run(run: PublishedResult) -> bool:
    """Whether a row is tokens over hours of a whole training run, its downtime included."""
    return run.name.startswith("runs-") or "-run" in run.name or "whole run" in run.notes


def _precision(run: PublishedResult) -> Precision | None:
    if run.precision in FP8:
        return "fp8"
    if run.publication == "Trainium Frontier":  # it gives its MFU of the bf16 peak
        return "bf16_master"
    known: dict[str, Precision] = {"bf16": "bf16_master", "fp16": "bf16_master", "fp32": "fp32"}
    return known.get(run.precision)


def _batch(
    run: PublishedResult, named: dict[str, int], chip: Accelerator, machine: Machine
) -> tuple[int, list[str]]:
    """Return the sequences of a step, and what of them is assumed."""
    devices = (run.accelerators or 1) * chip.devices_per_chip
    inner = named.get("TP", 1) * named.get("PP", 1) * named.get("CP", 1)
    data = max(1, devices // inner)
    if run.global_batch_size:
        return run.global_batch_size, []
    if "MBS" in named:
        passes = named.get("GA", 4 * named.get("PP", 1) if named.get("PP", 1) > 1 else 1)
        return data * named["MBS"] * passes, ["passes"] if "GA" not in named else []
    tokens = USUAL_TOKENS_PER_CHIP * (run.accelerators or 1)
    batch = max(1, round(tokens / (run.sequence_length or 1) / data)) * data
    return batch, ["batch"]


def _laid_out(
    run: PublishedResult, setup: Setup, named: dict[str, int], known: Calibration | None
) -> tuple[Setup, list[str]]:
    """Return the setup with the named layout, or with the fastest where none is named."""
    words = run.parallelism.upper()
    devices = setup.chips * setup.machine.chip.devices_per_chip
    is_sharded = any(word in words for word in ("SHARD", "FSDP", "ZERO"))
    if not named and not is_sharded and words not in ("DP", "HSDP"):
        best = fastest(setup, known)
        return (best.setup, ["layout", "recomputation"]) if best else (setup, ["layout"])
    sizes = {key: named.get(key, 1) for key in ("TP", "PP", "CP")}
    data = max(1, devices // (sizes["TP"] * sizes["PP"] * sizes["CP"]))
    stages = named.get("VP", INTERLEAVED.get(run.publication, 1)) if sizes["PP"] > 1 else 1
    stages = max(1, min(stages, setup.shape.layers // sizes["PP"]))
    # Data ranks of Megatron and Neuron share the optimizer's state (ZeRO-1), not weights.
    keeps_weights = "SHARD_GRAD_OP" in words or "ZERO-1" in words or "ZERO-2" in words
    is_zero = is_sharded or bool(named)
    layout = Layout(
        tensor_parallel_size=sizes["TP"],
        pipeline_parallel_size=sizes["PP"],
        context_parallel_size=sizes["CP"],
        data_parallel_shard_size=data if is_zero else 1,
        data_parallel_replicate_size=1 if is_zero else data,
        expert_parallel_size=named.get("EP", 1) if setup.shape.experts else 1,
        reshard_after_forward=is_sharded and not keeps_weights,
        pipeline_stages_per_rank=stages,
        pipeline_schedule="interleaved_1f1b" if stages > 1 else "1f1b",
    )
    each = max(1, setup.global_batch_size // data)
    micros = [named["MBS"]] if "MBS" in named else [n for n in (1, 2, 4, 8, 16, 32) if n <= each]
    return _recomputing(run, replace(setup, layout=layout), micros, known)


def _recomputing(
    run: PublishedResult, setup: Setup, micros: list[int], known: Calibration | None
) -> tuple[Setup, list[str]]:
    """Return the setup with what the source says of recomputation, or the least that fits."""
    notes = (run.notes + run.parallelism).lower()
    kinds: list[Recompute] = ["none", "selective", "full"]
    assumed = ["recomputation"]
    if "selective" in notes and "selective layer" not in notes:
        kinds, assumed = ["selective"], []
    elif "activation checkpointing: no" in notes or "no activation checkpointing" in notes:
        kinds, assumed = ["none"], []
    elif "activation checkpointing" in notes or "full ac" in notes:
        kinds, assumed = ["full"], []
    elif "MBS" in run.parallelism or "TP" in run.parallelism:
        # Recipes whose layout was tuned until it fits recompute no matmul.
        kinds = ["selective"]
    candidates = [
        replace(setup, micro_batch_size=micro, step=replace(setup.step, recompute=kind))
        for micro in micros
        for kind in kinds
    ]
    found = list(estimate_layouts(candidates, known))
    fitting = [each for each in found if each.verdict != "does_not_fit"]
    if fitting:
        return min(fitting, key=lambda each: each.seconds).setup, assumed
    return min(found, key=lambda each: each.memory_bytes).setup, [*assumed, "memory"]
