"""Losses and gradients of small models as other code computes them, beside those of ours.

The parity gate compares a device with our own model on the CPU, so it cannot see a fault that both
have: these answers were made by the classes of transformers, and share no code with our families.

Source: transformers 5.23's classes in fp32 on a CPU, from the weights and tokens made here;
tests/torch/train/test_known_answers.py makes them again.
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it

from trnbench.protocol.model import Experts, Image, ModelShape, RopeScaling
from trnbench.train.channel import finite
from trnbench.train.data import philox
from trnbench.train.models import family_class

SEQUENCES, TOKENS = 2, 24
MASKED_POSITIONS = (3, 8, 15, 21)
"""Where an encoder of text has targets."""
SPREAD = 0.3
"""Standard deviation of weights: far from the usual narrow start, so that attention is uneven."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownAnswer:
    """A small model, and its loss and the norm of its gradients by another implementation."""

    shape: ModelShape
    loss: float
    gradient_norm: float
    document_length: int | None = None


LLAMA = ModelShape(
    family="llama", layers=2, hidden_size=32, heads=4, kv_heads=2, head_dim=8, intermediate_size=48,
    vocabulary_size=128, max_positions=64, tied_embeddings=False, qk_norm=False, norm_epsilon=1e-5,
    rope_theta=10000.0, rope_scaling=None, init_std=0.02,
)  # fmt: skip
STRETCHED = RopeScaling(
    factor=8.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_max_positions=16
)
MIXTRAL = replace(LLAMA, family="moe", experts=Experts(count=4, per_token=2, size=24))
GPT_OSS = replace(
    MIXTRAL,
    attention_biases="all",
    attention_sinks=True,
    sliding_window=6,
    full_attention_every=2,
    experts=Experts(count=4, per_token=2, size=24, biases=True, clamped=True),
)
QWEN2_MOE = replace(
    MIXTRAL,
    attention_biases="qkv",
    experts=Experts(
        count=4, per_token=2, size=24, normalized=False, shared_size=40, shared_gate=True
    ),
)
GPT2 = replace(
    LLAMA, family="gpt2", kv_heads=4, intermediate_size=64, tied_embeddings=True, norm_epsilon=1e-5
)
BERT = replace(GPT2, family="bert", norm_epsilon=1e-12)
VIT = replace(
    BERT, family="vit", vocabulary_size=40, max_positions=17, tied_embeddings=False,
    image=Image(size=16, patch_size=4),
)  # fmt: skip

KNOWN_ANSWERS = {
    "llama": KnownAnswer(shape=LLAMA, loss=6.063833, gradient_norm=7.9141554),
    "llama, rotary of another base, stretched": KnownAnswer(
        shape=replace(LLAMA, rope_theta=500000.0, rope_scaling=STRETCHED),
        loss=5.771688,
        gradient_norm=6.1555442,
    ),
    "llama, queries and keys normalized, tied": KnownAnswer(
        shape=replace(LLAMA, qk_norm=True, tied_embeddings=True),
        loss=6.55328,
        gradient_norm=5.0956796,
    ),
    "llama, biases": KnownAnswer(
        shape=replace(LLAMA, attention_biases="qkv"), loss=6.507444, gradient_norm=6.5325564
    ),
    "llama, a window": KnownAnswer(
        shape=replace(LLAMA, sliding_window=7), loss=6.233934, gradient_norm=5.8561208
    ),
    "llama, packed documents": KnownAnswer(
        shape=LLAMA, loss=5.871647, gradient_norm=6.4814163, document_length=10
    ),
    "moe, as Mixtral": KnownAnswer(shape=MIXTRAL, loss=6.200783, gradient_norm=7.5963864),
    "moe, as Qwen2": KnownAnswer(shape=QWEN2_MOE, loss=6.457767, gradient_norm=7.0315427),
    "moe, as gpt-oss": KnownAnswer(shape=GPT_OSS, loss=6.662238, gradient_norm=8.8819104),
    "gpt2": KnownAnswer(shape=GPT2, loss=6.509527, gradient_norm=4.7001237),
    "bert": KnownAnswer(shape=BERT, loss=5.577753, gradient_norm=10.779136),
    "vit": KnownAnswer(shape=VIT, loss=4.36783, gradient_norm=20.176263),
}


def compare_known_answers(family: str) -> dict[str, list[float | None]]:
    """Return, by name, loss and gradient norm of our models of a family, and the known ones."""
    return {
        name: [*map(finite, answer_of(known)), known.loss, known.gradient_norm]
        for name, known in KNOWN_ANSWERS.items()
        if known.shape.family == family
    }


def answer_of(known: KnownAnswer) -> tuple[float, float]:
    """Return our model's loss and the norm of all its gradients, in fp32 on the CPU."""
    model = family_class(known.shape.family)(known.shape, TOKENS, known.document_length)
    set_weights(model)
    inputs, targets, positions = tokens_of(known.shape)
    logits = model(inputs, positions)
    loss = F.cross_entropy(logits.flatten(0, -2).float(), targets.flatten())
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return loss.item(), math.sqrt(sum(float((g.double() ** 2).sum()) for g in gradients))


@torch.no_grad()
def set_weights(model: torch.nn.Module) -> None:
    """Set all weights from integers, which are the same with every torch and machine."""
    for number, (name, parameter) in enumerate(model.named_parameters()):
        words = _words(parameter.numel(), number).to(torch.float64) / 2**32
        centre = 1.0 if name.endswith("norm.weight") else 0.0
        values = centre + SPREAD * math.sqrt(12) * (words - 0.5)
        parameter.copy_(values.view(parameter.shape))


def tokens_of(shape: ModelShape) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Return inputs, targets and, for an encoder of text, where the targets are."""
    if shape.image is not None:
        size = (SEQUENCES, shape.image.channels, shape.image.size, shape.image.size)
        pixels = (_words(math.prod(size), 1000) >> 24).to(torch.uint8).view(size)
        return pixels, _words(SEQUENCES, 1001) % shape.vocabulary_size, None
    drawn = _words(SEQUENCES * (TOKENS + 1), 1000) % shape.vocabulary_size
    tokens = drawn.view(SEQUENCES, TOKENS + 1)
    if not family_class(shape.family).is_masked:
        return tokens[:, :-1], tokens[:, 1:], None
    positions = torch.tensor(MASKED_POSITIONS).expand(SEQUENCES, -1)
    return tokens[:, :-1], tokens[:, 1:].gather(1, positions), positions


def _words(count: int, stream: int) -> torch.Tensor:
    """Return 32-bit words of Philox4x32-10, the number of the place as its counter."""
    places = torch.arange(count)
    zero = torch.zeros_like(places)
    return philox((places, zero, zero, zero + stream), (0, 0))[0]
