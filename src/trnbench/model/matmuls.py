"""The matmuls with weights that a model's training step makes, one by one.

Symbols as in `flops.py`, which counts the same matmuls as a sum.
"""

from dataclasses import dataclass

from trnbench.model.families import GATED_MATRICES, family_of
from trnbench.model.flops import has_experts
from trnbench.protocol.model import ModelShape


@dataclass(frozen=True, slots=True)
class LayerMatmul:
    """Rows through one weight: (rows, inputs) by (inputs, outputs)."""

    name: str
    rows: int
    inputs: int
    outputs: int
    count: int
    """Weights of this kind in the model."""
    passes: int = 3
    """Matmuls of one weight in a training step: the output, its input's gradient, its own."""

    @property
    def flops(self) -> float:
        """Of all of them, in one training step."""
        return 2.0 * self.rows * self.inputs * self.outputs * self.count * self.passes


def training_matmuls(shape: ModelShape, batch: int, tokens: int) -> list[LayerMatmul]:
    """Return the matmuls of one pass, forward and backward, that have weights.

    Args:
        shape: of the model; each expert is given its even share of the rows.
        batch: sequences of the pass.
        tokens: of each.
    """
    outside = _outside_matmuls(shape, batch, tokens)
    return [*block_matmuls(shape, batch, tokens), *outside]


def block_matmuls(shape: ModelShape, batch: int, tokens: int) -> list[LayerMatmul]:
    """Return those of the blocks alone: what is in fp8 of a model that is trained in it."""
    rows, d = batch * tokens, shape.hidden_size
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    family, layers = family_of(shape), shape.layers
    attention = (
        [LayerMatmul("queries, keys and values", rows, d, q + 2 * kv, layers)]
        if family.joins_attention
        else [
            LayerMatmul("queries", rows, d, q, layers),
            LayerMatmul("keys, values", rows, d, kv, 2 * layers),
        ]
    )
    dense = sum(not has_experts(shape, layer) for layer in range(layers))
    return [
        *attention,
        LayerMatmul("attention's output", rows, q, d, layers),
        *_mlp(rows, d, shape.intermediate_size, dense, family.mlp_matrices, ""),
        *_expert_matmuls(shape, rows, layers - dense),
    ]


def _mlp(rows: int, d: int, f: int, count: int, matrices: int, whose: str) -> list[LayerMatmul]:
    if count == 0:
        return []
    up = "MLP's gate, up" if matrices == GATED_MATRICES else "MLP's up"
    return [
        LayerMatmul(f"{whose}{up}", rows, d, f, (matrices - 1) * count),
        LayerMatmul(f"{whose}MLP's down", rows, f, d, count),
    ]


def _expert_matmuls(shape: ModelShape, rows: int, count: int) -> list[LayerMatmul]:
    experts, d = shape.experts, shape.hidden_size
    if experts is None or count == 0:
        return []
    share = max(rows * experts.per_token // experts.count, 1)
    found = [LayerMatmul("router", rows, d, experts.count, count)]
    found += _mlp(share, d, experts.size, count * experts.count, GATED_MATRICES, "experts' ")
    if experts.shared_gate:
        found.append(LayerMatmul("shared expert's gate", rows, d, 1, count))
    if experts.shared_size:
        found += _mlp(rows, d, experts.shared_size, count, GATED_MATRICES, "shared expert's ")
    return found


def _outside_matmuls(shape: ModelShape, batch: int, tokens: int) -> list[LayerMatmul]:
    """The head, and what stands before it: BERT's transform, a picture's patches."""
    d, family = shape.hidden_size, family_of(shape)
    rows = batch * family.targets(tokens)
    found = []
    if shape.image is not None:
        pixels = shape.image.channels * shape.image.patch_size**2
        # No pixel has a gradient.
        found.append(LayerMatmul("patches", batch * (tokens - 1), pixels, d, 1, passes=2))
    if family.has_head_transform:
        found.append(LayerMatmul("transform", rows, d, d, 1))
    return [*found, LayerMatmul("head", rows, d, shape.vocabulary_size, 1)]
