"""Weights and FLOPs of a model from its shape, exactly.

Symbols follow docs/metrics.md: d model width, q = heads x head_dim, kv = kv_heads x head_dim, f MLP
width, s sequence length. One multiply-add is 2 FLOP. Training is three times the forward pass: each
matmul Y = XW costs the same again for dX and for dW.
"""

import functools
from collections.abc import Callable, Mapping

from trnbench.model.families import GATED_MATRICES, family_of
from trnbench.protocol.model import Experts, ModelShape
from trnbench.protocol.orders import StepSettings

DEFAULT_CONVENTION = "matmul-causal-v1"
FULL_CONVENTION = "matmul-full-v1"
COUNTED_CONVENTION = "torch-counter-v1"
"""What torch's FLOP counter finds in a forward and backward pass, attention over all keys; for
external models of no known family."""
PLAIN = StepSettings()


# --- weights --------------------------------------------------------------------------------------


def parameter_count(shape: ModelShape) -> int:
    """Count the model's distinct weights; a tied head is counted once."""
    return all_block_parameters(shape) + family_of(shape).outside(shape)


@functools.lru_cache(maxsize=256)
def all_block_parameters(shape: ModelShape) -> int:
    """Count all weights of all blocks; kept, since a search asks for it of thousands of layouts."""
    return sum(block_parameters(shape, layer) for layer in range(shape.layers))


def active_parameter_count(shape: ModelShape) -> int:
    """Count the weights that one token meets: of routed experts only those that it is sent to.

    The whole input embedding counts, as in what Mistral publishes of Mixtral and Qwen of Qwen3.
    OpenAI leaves it out: 3.6 B of gpt-oss-20b for 4.19 B here, 5.1 B of gpt-oss-120b for 5.71 B.
    """
    experts = shape.experts
    if experts is None:
        return parameter_count(shape)
    idle = (experts.count - experts.per_token) * _expert_parameters(experts, shape.hidden_size)
    return parameter_count(shape) - (shape.layers - experts.dense_layers) * idle


def block_parameters(shape: ModelShape, layer: int) -> int:
    """Count all weights of block number `layer`, from 0; the last block has the most."""
    family, d = family_of(shape), shape.hidden_size
    attention = _attention_parameters(shape) + family.norms_and_biases(shape)
    experts = experts_of(shape, layer)
    if experts is None:
        return attention + family.mlp_matrices * d * shape.intermediate_size
    router = d * experts.count + (experts.count if experts.biases else 0)
    shared = GATED_MATRICES * d * experts.shared_size + (d if experts.shared_gate else 0)
    return attention + router + shared + experts.count * _expert_parameters(experts, d)


def block_matmul_parameters(shape: ModelShape, layer: int) -> int:
    """Count the weights of block `layer` that one token meets in matmuls."""
    d, attention = shape.hidden_size, _attention_parameters(shape)
    experts = experts_of(shape, layer)
    if experts is None:
        return attention + family_of(shape).mlp_matrices * d * shape.intermediate_size
    gated = GATED_MATRICES * d * (experts.per_token * experts.size + experts.shared_size)
    return attention + gated + d * experts.count + d * experts.shared_gate


def experts_of(shape: ModelShape, layer: int) -> Experts | None:
    """Return the experts of block `layer`; None where it has a plain MLP."""
    experts = shape.experts
    return None if experts is None or layer < experts.dense_layers else experts


def _attention_parameters(shape: ModelShape) -> int:
    """Count the weights of one block's queries, keys, values and output."""
    d, q, kv = shape.hidden_size, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    return d * (q + 2 * kv) + q * d


def _expert_parameters(experts: Experts, d: int) -> int:
    biases = 2 * experts.size + d if experts.biases else 0
    return GATED_MATRICES * d * experts.size + biases


def lora_parameter_count(shape: ModelShape, step: StepSettings) -> int:
    """Count the adapters' weights: rank x (inputs + outputs) of each matmul that has one."""
    if step.lora is None:
        return 0
    d, q, kv = shape.hidden_size, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    edges = [(d, q), (d, kv), (d, kv), (q, d)]
    if family_of(shape).joins_attention:
        edges = [(d, q + 2 * kv), (q, d)]
    if step.lora.targets == "all":
        edges += [(d, shape.intermediate_size)] * family_of(shape).mlp_matrices
    return shape.layers * step.lora.rank * sum(a + b for a, b in edges)


# --- FLOPs ----------------------------------------------------------------------------------------


def flops_per_token(
    shape: ModelShape,
    sequence_length: int,
    convention: str = DEFAULT_CONVENTION,
    step: StepSettings = PLAIN,
) -> float:
    """Return the training FLOPs of one token by a convention of `CONVENTIONS`."""
    return CONVENTIONS[convention](shape, sequence_length, step)


def recomputed_flops_per_token(
    shape: ModelShape, sequence_length: int, step: StepSettings
) -> float:
    """Return a token's FLOPs beyond those: forward passes made again, experts' empty places.

    full: each block's forward pass without what no gradient needs, which is the last matmul where
    only a sum follows it; selective: no matmul. Keys that a kernel masks but does not skip are left
    out.
    """
    blocks, experts = range(shape.layers), shape.experts
    is_full = step.recompute == "full"
    extra = 0.0
    if is_full:
        matmuls = _blocks_matmul_parameters(shape)
        if not family_of(shape).has_post_norm:
            dense = sum(experts_of(shape, layer) is None for layer in blocks)
            matmuls -= dense * shape.hidden_size * shape.intermediate_size
        # Adapters come before the frozen matmul beside them: none of theirs is a block's last.
        matmuls += lora_parameter_count(shape, step)
        core = sum(4 * _keys(shape, layer, sequence_length, step) for layer in blocks)
        extra += 2 * matmuls + core * shape.heads * shape.head_dim
    if step.expert_capacity is not None and experts is not None:
        row = GATED_MATRICES * shape.hidden_size * experts.size
        passes = (6 if step.lora is None else 4) + (2 if is_full else 0)
        empty = expert_rows_per_token(experts, step) - experts.per_token
        extra += passes * empty * row * (shape.layers - experts.dense_layers)
    return extra


def expert_rows_per_token(experts: Experts, step: StepSettings) -> float:
    """Return the rows that a block's experts multiply for one token, empty places among them.

    An expert has at most as many places as there are tokens; rounding to whole places is left out.
    """
    if step.expert_capacity is None:
        return experts.per_token
    return min(step.expert_capacity * experts.per_token, experts.count)


def _matmul_causal(shape: ModelShape, sequence_length: int, step: StepSettings) -> float:
    """Every matmul, attention over the keys that the mask leaves: s/2 of a causal one.

    Source: what Megatron-LM, NeMo and MaxText print since 2025; docs/metrics.md, "FLOPs".
    """
    layers = range(shape.layers)
    core = _core(shape, sum(_keys(shape, layer, sequence_length, step) for layer in layers))
    return _matmuls(shape, sequence_length, step) + core


def _matmul_full(shape: ModelShape, sequence_length: int, step: StepSettings) -> float:
    """Every matmul, attention over all keys, masked or not.

    Source: torchtitan `models/utils.py` to within 0.1 %; equals torch's own FLOP counter.
    """
    return _matmuls(shape, sequence_length, step) + _core(shape, shape.layers * sequence_length)


def _palm_6n(shape: ModelShape, sequence_length: int, step: StepSettings) -> float:
    """Six FLOPs for each weight that a token meets, embeddings included, attention over all keys.

    Source: PaLM, arXiv 2204.02311, appendix B. nanoGPT, llm-foundry and optimum-neuron follow it,
    the latter two with all experts counted.
    """
    return 6 * active_parameter_count(shape) + _core(shape, shape.layers * sequence_length)


def _aws_trn1(shape: ModelShape, sequence_length: int, step: StepSettings) -> float:
    """The blocks alone, attention over all keys, no head.

    Source: AWS Neuron documentation, Trn1 training benchmark table (recomputed from its rows).
    """
    core = _core(shape, shape.layers * sequence_length)
    return 6 * _blocks_matmul_parameters(shape) + core


CONVENTIONS: Mapping[str, Callable[[ModelShape, int, StepSettings], float]] = {
    DEFAULT_CONVENTION: _matmul_causal,
    FULL_CONVENTION: _matmul_full,
    "palm-6n": _palm_6n,
    "aws-trn1": _aws_trn1,
}


def _matmuls(shape: ModelShape, sequence_length: int, step: StepSettings) -> float:
    """Return the FLOPs of all matmuls with weights: 6 a weight, or 4 where it is frozen."""
    family, image = family_of(shape), shape.image
    head = family.head_weights(shape) * family.targets(sequence_length) / sequence_length
    weights = _blocks_matmul_parameters(shape) + head
    pixels = 0.0
    if image is not None:  # a pixel has no gradient: 4 a weight
        patch = image.channels * image.patch_size**2 * shape.hidden_size
        pixels = 4 * patch * (sequence_length - 1) / sequence_length
    if step.lora is None:
        return 6 * weights + pixels
    return 4 * weights + 6 * lora_parameter_count(shape, step) + pixels / 2


def _blocks_matmul_parameters(shape: ModelShape) -> int:
    return sum(block_matmul_parameters(shape, layer) for layer in range(shape.layers))


def _core(shape: ModelShape, keys: float) -> float:
    """Return the FLOPs of scores and weighted values: 3 x 4 x q for each key of each layer."""
    return 12 * shape.heads * shape.head_dim * keys


def _keys(shape: ModelShape, layer: int, sequence_length: int, step: StepSettings) -> float:
    """Return the mean number of keys that a query of block `layer` attends to.

    Source: Megatron-LM and MaxText use the same continuous form: s/2 under a causal mask,
    W - W^2 / 2s under one with a window, and of packed documents the mean by tokens.
    """
    length = min(step.document_length or sequence_length, sequence_length)
    whole, rest = divmod(sequence_length, length)
    keys = whole * length * _keys_in_document(shape, layer, length)
    if rest:
        keys += rest * _keys_in_document(shape, layer, rest)
    return keys / sequence_length


def _keys_in_document(shape: ModelShape, layer: int, tokens: int) -> float:
    if not family_of(shape).is_causal:
        return tokens
    every = shape.full_attention_every
    is_full = every is not None and (layer + 1) % every == 0
    if shape.sliding_window is None or is_full:
        return tokens / 2
    window = min(shape.sliding_window, tokens)
    return window - window**2 / (2 * tokens)


# --- partly in fp8 --------------------------------------------------------------------------------


def fp8_flops_per_token(shape: ModelShape) -> float:
    """Return the FLOPs that run in fp8: the blocks' matmuls with weights."""
    return 6.0 * _blocks_matmul_parameters(shape)


def mixed_rate(flops: float, fp8_flops: float, fp8_rate: float, other_rate: float) -> float:
    """Return the rate of `flops`, of which `fp8_flops` run in fp8: docs/metrics.md, "fp8"."""
    return flops / (fp8_flops / fp8_rate + (flops - fp8_flops) / other_rate)
