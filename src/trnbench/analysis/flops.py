"""Parameters and floating-point operations of a model, exactly, from its shape.

Symbols follow docs/metrics.md: d model width, q = heads x head_dim, kv = kv_heads x head_dim,
f MLP width, V vocabulary, s sequence length, L layers. One multiply-add is 2 FLOP. Training is
three times the forward pass: each product Y = XW costs the same again for dX and for dW.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trnbench.wire import ModelShape

DEFAULT_CONVENTION = "matmul-causal-v1"
FULL_CONVENTION = "matmul-full-v1"


def parameter_count(shape: ModelShape) -> int:
    """Count the model's distinct weights; a tied head is counted once."""
    heads = 1 if shape.tied_embeddings else 2
    family = _FAMILIES[shape.family]
    outside = heads * embedding_parameters(shape) + family.outside_layers(shape)
    return shape.layers * layer_parameters(shape) + outside


def embedding_parameters(shape: ModelShape) -> int:
    """Count the weights of the token embedding; the head has as many."""
    return shape.vocabulary_size * shape.hidden_size


def layer_parameters(shape: ModelShape) -> int:
    """Count all weights of one block, norms and biases included."""
    return layer_matmul_parameters(shape) + _FAMILIES[shape.family].norms_and_biases(shape)


def layer_matmul_parameters(shape: ModelShape) -> int:
    """Count the weights of one block's matrix products: projections and MLP."""
    d, q, kv = shape.hidden_size, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    mlp = _FAMILIES[shape.family].mlp_matrices * d * shape.intermediate_size
    return d * (q + 2 * kv) + q * d + mlp


def flops_per_token(
    shape: ModelShape, sequence_length: int, convention: str = DEFAULT_CONVENTION
) -> float:
    """Return the training FLOPs that one token needs, by the named convention.

    Raises:
        KeyError: no such convention.
    """
    return CONVENTIONS[convention](shape, sequence_length)


def _matmul_causal(shape: ModelShape, sequence_length: int) -> float:
    """Every matrix product, attention over the keys that a causal mask leaves: s/2 on average.

    Source: what Megatron-LM, NeMo and MaxText print since 2025; docs/metrics.md, "FLOPs".
    """
    return 6 * _matmul_parameters(shape) + _attention(shape, sequence_length / 2)


def _matmul_full(shape: ModelShape, sequence_length: int) -> float:
    """Every matrix product, attention over all keys, masked or not.

    Source: torchtitan `models/utils.py` to within 0.1 %; equals torch's own FLOP counter.
    """
    return 6 * _matmul_parameters(shape) + _attention(shape, sequence_length)


def _palm_6n(shape: ModelShape, sequence_length: int) -> float:
    """Six FLOPs for each parameter, embeddings included, and attention over all keys.

    Source: PaLM, arXiv 2204.02311, appendix B; nanoGPT, llm-foundry and optimum-neuron follow it.
    """
    return 6 * parameter_count(shape) + _attention(shape, sequence_length)


def _aws_trn1(shape: ModelShape, sequence_length: int) -> float:
    """The blocks alone, attention over all keys, no head.

    Source: AWS Neuron documentation, Trn1 training benchmark table (recomputed from its rows).
    """
    layers = shape.layers * layer_matmul_parameters(shape)
    return 6 * layers + _attention(shape, sequence_length)


CONVENTIONS: Mapping[str, Callable[[ModelShape, int], float]] = {
    DEFAULT_CONVENTION: _matmul_causal,
    FULL_CONVENTION: _matmul_full,
    "palm-6n": _palm_6n,
    "aws-trn1": _aws_trn1,
}


def _matmul_parameters(shape: ModelShape) -> int:
    """Count the weights that a token meets in matrix products: the blocks and the head."""
    return shape.layers * layer_matmul_parameters(shape) + embedding_parameters(shape)


def _attention(shape: ModelShape, keys: float) -> float:
    """Scores and weighted values of all layers, forward and backward: 3 x 4 x q x keys each."""
    return 12 * shape.heads * shape.head_dim * keys * shape.layers


# --- what differs between families ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Family:
    mlp_matrices: int
    norms_and_biases: Callable[[ModelShape], int]
    """Weights of one block that are in no matrix product."""
    outside_layers: Callable[[ModelShape], int]
    """Weights outside the blocks, but for the embedding and the head."""


def _llama_norms(shape: ModelShape) -> int:
    return 2 * shape.hidden_size + (2 * shape.head_dim if shape.qk_norm else 0)


def _gpt2_norms_and_biases(shape: ModelShape) -> int:
    d, q, kv = shape.hidden_size, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    biases = (q + 2 * kv) + d + shape.intermediate_size + d
    return biases + 4 * d


_FAMILIES: Mapping[str, _Family] = {
    "llama": _Family(3, _llama_norms, lambda shape: shape.hidden_size),
    "gpt2": _Family(
        2, _gpt2_norms_and_biases, lambda shape: (shape.max_positions + 2) * shape.hidden_size
    ),
}
