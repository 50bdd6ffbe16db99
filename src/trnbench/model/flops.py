"""Parameters and floating-point operations of a model, exactly, from its shape.

Symbols follow docs/metrics.md: d model width, q = heads x head_dim, kv = kv_heads x head_dim,
f MLP width, V vocabulary, s sequence length, L layers, E experts of width e, k of them a token. One
multiply-add is 2 FLOP. Training is three times the forward pass: each matmul Y = XW costs the same
again for dX and for dW.
"""

from collections.abc import Callable, Mapping

from trnbench.model.families import GATED_MATRICES, family_of
from trnbench.protocol.model import Experts, ModelShape
from trnbench.protocol.orders import StepSettings

DEFAULT_CONVENTION = "matmul-causal-v1"
FULL_CONVENTION = "matmul-full-v1"
COUNTED_CONVENTION = "torch-counter-v1"
"""What torch's own counter finds in one forward and backward pass of an external model, with
attention over all keys; for models whose formula is not known."""
PLAIN = StepSettings()


# --- weights --------------------------------------------------------------------------------------


def parameter_count(shape: ModelShape) -> int:
    """Count the model's distinct weights; a tied head is counted once."""
    blocks = sum(block_parameters(shape, layer) for layer in range(shape.layers))
    return blocks + outside_parameters(shape)


def active_parameter_count(shape: ModelShape) -> int:
    """Count the weights that one token meets: of routed experts only those that it is sent to.

    Everything else counts in full, the whole of the input embedding included, as in what Mistral
    publishes of Mixtral and Qwen of Qwen3. OpenAI's cards leave the input embedding out: 3.6 B of
    gpt-oss-20b for 4.19 B here, 5.1 B of gpt-oss-120b for 5.71 B.
    """
    if shape.experts is None:
        return parameter_count(shape)
    experts = shape.experts
    idle = (experts.count - experts.per_token) * _expert_parameters(shape)
    return parameter_count(shape) - (shape.layers - experts.dense_layers) * idle


def outside_parameters(shape: ModelShape) -> int:
    """Count the weights outside the blocks: embeddings, head, the last norm."""
    return family_of(shape).outside(shape)


def layer_parameters(shape: ModelShape) -> int:
    """Count all weights of the last block, norms and biases included; no other has more."""
    return block_parameters(shape, shape.layers - 1)


def block_parameters(shape: ModelShape, layer: int) -> int:
    """Count all weights of block number `layer`, from 0."""
    family = family_of(shape)
    held = attention_parameters(shape) + family.norms_and_biases(shape)
    if not has_experts(shape, layer) or shape.experts is None:
        return held + family.mlp_matrices * shape.hidden_size * shape.intermediate_size
    experts, d = shape.experts, shape.hidden_size
    router = d * experts.count + (experts.count if experts.biases else 0)
    shared = GATED_MATRICES * d * experts.shared_size + (d if experts.shared_gate else 0)
    return held + router + shared + experts.count * _expert_parameters(shape)


def block_matmul_parameters(shape: ModelShape, layer: int) -> int:
    """Count the weights of block `layer` that one token meets in matmuls."""
    d = shape.hidden_size
    if not has_experts(shape, layer) or shape.experts is None:
        mlp = family_of(shape).mlp_matrices * d * shape.intermediate_size
        return attention_parameters(shape) + mlp
    experts = shape.experts
    gated = GATED_MATRICES * d * (experts.per_token * experts.size + experts.shared_size)
    return attention_parameters(shape) + gated + d * experts.count + d * experts.shared_gate


def attention_parameters(shape: ModelShape) -> int:
    """Count the weights of one block's attention matmuls: Q, K, V and the output."""
    d, q, kv = shape.hidden_size, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    return d * (q + 2 * kv) + q * d


def has_experts(shape: ModelShape, layer: int) -> bool:
    """Tell whether block `layer` has experts in the MLP's place."""
    return shape.experts is not None and layer >= shape.experts.dense_layers


def _expert_parameters(shape: ModelShape) -> int:
    """Count the weights of one routed expert."""
    experts, d = shape.experts, shape.hidden_size
    if experts is None:
        return 0
    biases = 2 * experts.size + d if experts.biases else 0
    return GATED_MATRICES * d * experts.size + biases


def lora_parameter_count(shape: ModelShape, step: StepSettings) -> int:
    """Count the adapters' weights: rank x (in + out) for each matmul that has one."""
    if step.lora is None:
        return 0
    d, q, kv = shape.hidden_size, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    edges = [(d, q), (d, kv), (d, kv), (q, d)]
    if family_of(shape).joins_attention:
        edges = [(d, q + 2 * kv), (q, d)]
    if step.lora.targets == "all":
        edges += [(d, shape.intermediate_size)] * family_of(shape).mlp_matrices
    return shape.layers * step.lora.rank * sum(a + b for a, b in edges)


# --- operations -----------------------------------------------------------------------------------


def flops_per_token(
    shape: ModelShape,
    sequence_length: int,
    convention: str = DEFAULT_CONVENTION,
    step: StepSettings = PLAIN,
) -> float:
    """Return the training FLOPs that one token needs, by the named convention.

    Raises:
        KeyError: no such convention.
    """
    return CONVENTIONS[convention](shape, sequence_length, step)


def recomputed_flops_per_token(
    shape: ModelShape, sequence_length: int, step: StepSettings
) -> float:
    """Return what a step does beyond that: forward passes made again, experts' empty places.

    full: each block's forward pass, but for what no gradient needs: the last matmul, where
    nothing but a sum comes after it. selective: no matmul. A mask that a kernel reads and does not
    skip by is not counted.
    """
    blocks = range(shape.layers)
    is_full = step.recompute == "full"
    extra = 0.0
    if is_full:
        matmuls = sum(block_matmul_parameters(shape, layer) for layer in blocks)
        matmuls -= sum(_unneeded_matmuls(shape, layer) for layer in blocks)
        # Adapters come before the frozen matmul beside them: none of theirs is a block's last.
        matmuls += lora_parameter_count(shape, step)
        core = sum(4 * _keys(shape, layer, sequence_length, step) for layer in blocks)
        extra += 2 * matmuls + core * shape.heads * shape.head_dim
    if step.expert_capacity is not None and shape.experts is not None:
        experts = shape.experts
        row = GATED_MATRICES * shape.hidden_size * experts.size
        passes = (6 if step.lora is None else 4) + (2 if is_full else 0)
        empty = expert_rows_per_token(experts, step) - experts.per_token
        extra += passes * empty * row * (shape.layers - experts.dense_layers)
    return extra


def expert_rows_per_token(experts: Experts, step: StepSettings) -> float:
    """Return the rows that a block's experts work on for one token, empty places among them.

    An expert has no more places than there are tokens, so no token takes more rows than there are
    experts. That places are whole is left out.
    """
    if step.expert_capacity is None:
        return experts.per_token
    return min(step.expert_capacity * experts.per_token, experts.count)


def _unneeded_matmuls(shape: ModelShape, layer: int) -> int:
    """Count the weights of a block's last matmul where its outcome is merely added to the rest."""
    if family_of(shape).has_post_norm or has_experts(shape, layer):
        return 0
    return shape.hidden_size * shape.intermediate_size


def _matmul_causal(shape: ModelShape, sequence_length: int, step: StepSettings) -> float:
    """Every matmul, attention over the keys that the mask leaves: s/2 for a causal one.

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

    Source: PaLM, arXiv 2204.02311, appendix B; nanoGPT, llm-foundry and optimum-neuron follow it,
    the latter two with all experts counted, whether a token meets them or not.
    """
    return 6 * active_parameter_count(shape) + _core(shape, shape.layers * sequence_length)


def _aws_trn1(shape: ModelShape, sequence_length: int, step: StepSettings) -> float:
    """The blocks alone, attention over all keys, no head.

    Source: AWS Neuron documentation, Trn1 training benchmark table (recomputed from its rows).
    """
    blocks = sum(block_matmul_parameters(shape, layer) for layer in range(shape.layers))
    return 6 * blocks + _core(shape, shape.layers * sequence_length)


CONVENTIONS: Mapping[str, Callable[[ModelShape, int, StepSettings], float]] = {
    DEFAULT_CONVENTION: _matmul_causal,
    FULL_CONVENTION: _matmul_full,
    "palm-6n": _palm_6n,
    "aws-trn1": _aws_trn1,
}


def _matmuls(shape: ModelShape, sequence_length: int, step: StepSettings) -> float:
    """Return the FLOPs of all matmuls with weights: 6 a weight, or 4 where it is frozen."""
    blocks = sum(block_matmul_parameters(shape, layer) for layer in range(shape.layers))
    family = family_of(shape)
    head = family.head_weights(shape) * family.targets(sequence_length) / sequence_length
    pixels = _patch_flops(shape, sequence_length)
    if step.lora is None:
        return 6 * (blocks + head) + pixels
    return 4 * (blocks + head) + 6 * lora_parameter_count(shape, step) + pixels / 2


def _patch_flops(shape: ModelShape, sequence_length: int) -> float:
    """Return those of patches: a pixel has no gradient, so 4 a weight."""
    if shape.image is None:
        return 0.0
    weights = shape.image.channels * shape.image.patch_size**2 * shape.hidden_size
    return 4 * weights * (sequence_length - 1) / sequence_length


def _core(shape: ModelShape, keys: float) -> float:
    """Scores and weighted values, forward and backward: 3 x 4 x q for each key of each layer."""
    return 12 * shape.heads * shape.head_dim * keys


def _keys(shape: ModelShape, layer: int, sequence_length: int, step: StepSettings) -> float:
    """Return the mean number of keys that block `layer` lets a query attend to.

    The continuous form that Megatron-LM and MaxText use: s/2 under a causal mask, W - W^2 / 2s
    under one with a window, and of packed documents the mean, weighted by their tokens.
    """
    length = step.document_length or sequence_length
    whole, rest = divmod(sequence_length, min(length, sequence_length))
    documents = [(whole, min(length, sequence_length)), (1, rest)]
    return (
        sum(
            count * tokens * _keys_in_document(shape, layer, tokens)
            for count, tokens in documents
            if tokens
        )
        / sequence_length
    )


def _keys_in_document(shape: ModelShape, layer: int, tokens: int) -> float:
    if not family_of(shape).is_causal:
        return tokens
    every = shape.full_attention_every
    is_windowed = not (every and (layer + 1) % every == 0)
    if shape.sliding_window is None or not is_windowed:
        return tokens / 2
    window = min(shape.sliding_window, tokens)
    return window - window**2 / (2 * tokens)


# --- work that is partly fp8 ----------------------------------------------------------------------


def fp8_flops_per_token(shape: ModelShape) -> float:
    """Return the operations of the blocks' matmuls with weights: 6 a weight and token."""
    return 6.0 * sum(block_matmul_parameters(shape, layer) for layer in range(shape.layers))


def mixed_rate(flops: float, fp8_flops: float, fp8_rate: float, other_rate: float) -> float:
    """Return the rate of `flops` of which a part runs in fp8: docs/metrics.md, "fp8"."""
    return flops / (fp8_flops / fp8_rate + (flops - fp8_flops) / other_rate)
