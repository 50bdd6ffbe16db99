"""What an external model is, found without a device: its weights, vocabulary, FLOPs and loss.

The model is tried on the CPU where that takes a second or two; of a class of transformers that is
too large, two blocks and a part of the vocabulary are tried on a few tokens, without gradients.
"""

import json
import math
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from trnbench.protocol.model import ExternalModel
from trnbench.protocol.orders import DescribeModel, StreamSettings
from trnbench.train.count import TooLong, count, limited
from trnbench.train.data import stream_of
from trnbench.train.external import (
    BadModel,
    ExternalObjective,
    blaming,
    build_external,
    is_tied,
    vocabulary_of,
)
from trnbench.train.huggingface import notes_of
from trnbench.train.software import library_versions

TRIAL_FLOPS = 2e11
"""A model whose first two sequences take less is tried: a second or two."""

TRIAL_SECONDS = 30.0
"""Of processor time: a trial gives up by itself."""

TRIAL_SEQUENCES = 2
TRIAL_STREAM = StreamSettings(alphabet_size=64, noise=0.1, seed=0)

CUT_BLOCKS, CUT_TOKENS, CUT_VOCABULARY = 2, 64, 8192
CUT_PARAMETERS = 600_000_000
"""A model that is too large even so is not tried: 2.4 GB in fp32."""
DRAWN_ONCE = 2**20
"""Weights of a model that is cut: larger tensors repeat the first draws."""

ALTERED, SEEN_SHARE = 20, 1e-4
"""Of `CUT_TOKENS` tokens one is altered; earlier logits may change by rounding alone, which is this
part of what later ones change by."""

FIRST_TOKENS_HINT = {
    "python": "its `forward(inputs, targets)` gets two int64 tensors, (batch, tokens)",
    "huggingface": "its sizes under `model.config`, or in the config.json, do not fit together",
}


def describe(task: DescribeModel) -> dict[str, Any]:
    """Return the fields of a `Described`, by torch's `meta` device, which has no memory.

    Raises:
        BadModel: it cannot be built, has nothing to train, does not say its vocabulary, sees the
            tokens that it is to predict, or returns no loss that depends on its weights.
    """
    external, length = task.external, task.sequence_length
    try:
        with torch.device("meta"):
            module = build_external(external, seed=0)
    except BadModel:  # it may need the values of its weights
        module = build_external(external, seed=0)
    parameters = list(module.parameters())
    if not any(p.requires_grad for p in parameters):
        raise BadModel(
            f"{external.target} has no weight that can be trained",
            hint="leave `requires_grad` at true for those that are to be trained",
        )
    _check_positions(module, external, length)
    vocabulary_size = vocabulary_of(module, external.target)
    notes = notes_of(external) if external.kind == "huggingface" else []
    untried = _try(module, replace(external, vocabulary_size=vocabulary_size), length)
    if untried is not None:
        notes.append(f"it was not tried before the run: {untried}")
    config: Any = getattr(module, "config", None)
    values = config.to_dict() if callable(getattr(config, "to_dict", None)) else None
    found = {
        "parameter_count": sum(p.numel() for p in parameters),
        "trained_count": sum(p.numel() for p in parameters if p.requires_grad),
        "embeddings_are_tied": is_tied(module),
        "vocabulary_size": vocabulary_size,
        "config": None if values is None else json.dumps(values, default=str),
        "versions": library_versions(external),
        "notes": notes,
    }
    counted = count(module, replace(external, vocabulary_size=vocabulary_size), length)
    return {
        **found,
        "flops_per_token": counted.flops,
        "flops_reason": counted.reason,
        "wasted_flops_per_token": counted.wasted,
        "flops_per_key": counted.per_key,
    }


def _check_positions(module: nn.Module, external: ExternalModel, length: int) -> None:
    """Refuse a sequence longer than the positions that are left after the padding's.

    RoBERTa and its kin count positions from one after the mark of padding.
    """
    for name, each in module.named_modules():
        is_table = isinstance(each, nn.Embedding) and name.endswith("position_embeddings")
        if not is_table or each.padding_idx is None:
            continue
        most = int(each.num_embeddings) - int(each.padding_idx) - 1
        if length > most:
            raise BadModel(
                f"workload.sequence_length: {length} is longer than the {most} positions that "
                f"max_position_embeddings={each.num_embeddings} has for {external.target} beside "
                f"pad_token_id={each.padding_idx}",
                hint=f"use at most {most}",
            )


# --- on the CPU -----------------------------------------------------------------------------------


def _try(module: nn.Module, external: ExternalModel, length: int) -> str | None:
    """Refuse a model that cannot train, by its first tokens; return why it was not tried, or None.

    The whole model is tried where that is quick, else a part of a class.
    """
    work = 6.0 * sum(p.numel() for p in module.parameters()) * length * TRIAL_SEQUENCES
    if (external.vocabulary_size or 0) <= TRIAL_STREAM.alphabet_size:
        return None  # planning refuses it
    try:
        with limited(TRIAL_SECONDS):
            if work <= TRIAL_FLOPS:
                _try_whole(external, length)
                return None
            cut = _cut(module, external)
            if cut is None:
                return "its weights are too many for that"
            _try_cut(cut, min(length, CUT_TOKENS))
    except TooLong:
        return f"its first tokens took more than {TRIAL_SECONDS:g} s of processor time"
    return None


def _try_whole(external: ExternalModel, length: int) -> None:
    """Refuse a model that has no gradients of a finite loss on its first tokens, or looks ahead."""
    module = build_external(external, seed=0)
    batch = stream_of(external, length, TRIAL_STREAM).batch(0, TRIAL_SEQUENCES)
    with blaming(external, "its first tokens", FIRST_TOKENS_HINT[external.kind]):
        objective = ExternalObjective(module, external, "fp32")
        loss = objective(batch.inputs, batch.targets, batch.positions)
        loss.total.backward()
    _check_loss(external, float(loss.cross_entropy))
    trained = [(name, p.grad) for name, p in module.named_parameters() if p.requires_grad]
    if not any(g is not None and bool(g.any()) for _, g in trained):
        raise BadModel(
            f"{external.target}: no weight has a gradient: its loss does not depend on them",
            hint="return the loss as it was computed, not detached from the graph",
        )
    unused = [name for name, gradient in trained if gradient is None]
    if unused and external.kind == "python":
        raise BadModel(
            f"{external.target}: {unused[0]} has no part in the loss",
            hint="leave it out, or set its `requires_grad` to false",
        )
    if external.kind == "huggingface" and external.task == "next_token":
        _check_causal(module.eval(), external, batch.inputs[:1, :CUT_TOKENS])


def _check_loss(external: ExternalModel, loss: float) -> None:
    if not math.isfinite(loss):
        raise BadModel(
            f"{external.target}: the loss of its first tokens is {loss}",
            hint="weights as they are drawn must give a finite loss",
        )


def _cut(module: nn.Module, external: ExternalModel) -> ExternalModel | None:
    """Return a part of a class; None where it stays too large, or does not come in parts."""
    if external.kind != "huggingface":
        return None
    values = {**json.loads(external.arguments), **cut_values(module.config)}
    cut = replace(external, arguments=json.dumps(values), vocabulary_size=values.get("vocab_size"))
    try:
        with torch.device("meta"):
            small = build_external(cut, seed=0)
    except BadModel:  # its blocks do not come in any number
        return None
    is_small = sum(p.numel() for p in small.parameters()) <= CUT_PARAMETERS
    return replace(cut, vocabulary_size=vocabulary_of(small, external.target)) if is_small else None


def cut_values(config: Any) -> dict[str, Any]:
    """Return the values of a config with fewer blocks and tokens.

    Lists with one entry a block are cut along, and marks of tokens that are gone become the first
    token: a class may take no null there.
    """
    values: dict[str, Any] = config.to_dict()
    name = config.attribute_map.get("num_hidden_layers", "num_hidden_layers")
    layers, vocabulary = values.get(name), values.get("vocab_size")
    cut: dict[str, Any] = {}
    if isinstance(layers, int) and layers > CUT_BLOCKS:
        cut = {
            key: value[:CUT_BLOCKS]
            for key, value in values.items()
            if isinstance(value, list) and len(value) == layers
        }
        cut[name] = CUT_BLOCKS
    if isinstance(vocabulary, int) and vocabulary > CUT_VOCABULARY:
        marks = [key for key in values if key.endswith("_token_id")]
        gone = [key for key in marks if isinstance(values[key], int | list)]
        cut |= {key: 0 for key in gone if _is_beyond(values[key], CUT_VOCABULARY)}
        cut["vocab_size"] = CUT_VOCABULARY
    return cut


def _is_beyond(mark: int | list[int], vocabulary_size: int) -> bool:
    return max(mark if isinstance(mark, list) else [mark], default=0) >= vocabulary_size


def _try_cut(external: ExternalModel, length: int) -> None:
    """Refuse a part of a class that has no finite loss on its first tokens, or looks ahead."""
    with _RepeatedDraws():
        module = build_external(external, seed=0)
    batch = stream_of(external, length, TRIAL_STREAM).batch(0, 1)
    with blaming(external, "its first tokens", FIRST_TOKENS_HINT[external.kind]), torch.no_grad():
        objective = ExternalObjective(module, external, "fp32")
        loss = objective(batch.inputs, batch.targets, batch.positions)
    _check_loss(external, float(loss.cross_entropy))
    if external.task == "next_token":
        _check_causal(module.eval(), external, batch.inputs)


class _RepeatedDraws(TorchDispatchMode):
    """Draws a part of each large tensor and repeats it: drawing all would take seconds."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        packet = func._overloadpacket
        is_draw = packet in (torch.ops.aten.normal_, torch.ops.aten.uniform_)
        if not is_draw or args[0].numel() <= DRAWN_ONCE or not args[0].is_contiguous():
            return func(*args, **(kwargs or {}))
        whole = args[0].view(-1)
        first = whole[:DRAWN_ONCE]
        func(first, *args[1:], **(kwargs or {}))
        for part in whole[DRAWN_ONCE:].split(DRAWN_ONCE):
            part.copy_(first[: part.numel()])
        return args[0]


def _check_causal(module: nn.Module, external: ExternalModel, inputs: torch.Tensor) -> None:
    """Refuse a decoder whose earlier logits change with a later token."""
    place = min(ALTERED, inputs.shape[1] // 2)
    if place == 0:
        return
    altered = inputs.clone()
    altered[0, place] = (altered[0, place] + 1) % (external.vocabulary_size or 1)
    with torch.no_grad():
        both = [module(input_ids=each, use_cache=False).logits for each in (inputs, altered)]
    change = (both[0] - both[1]).abs()[0]
    earlier, later = float(change[:place].max()), float(change[place:].max())
    if earlier > SEEN_SHARE * later:
        raise BadModel(
            f"{external.target} attends both ways: it would see the tokens that it is to predict",
            hint="`is_causal: true` or `is_decoder: true` under `model.config` makes some classes "
            "attend backwards alone; else name its ForMaskedLM",
        )
