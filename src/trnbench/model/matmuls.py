"""The matmuls with weights of a training step, one by one; `flops.py` counts the same as a sum."""

from dataclasses import dataclass

from trnbench.model.families import GATED_MATRICES, family_of
from trnbench.model.flops import experts_of
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
    """Matmuls of one weight in a training step: the output, dX, dW; 2 where there is no dX."""

    @property
    def flops(self) -> float:
        """Of all weights of this kind, in one training step."""
        return 2.0 * self.rows * self.inputs * self.outputs * self.count * self.passes


def training_matmuls(shape: ModelShape, batch: int, tokens: int) -> list[LayerMatmul]:
    """Return the matmuls of a forward and backward pass over `batch` sequences of `tokens` each.

    Each expert has its even share of the rows.
    """
    return [*block_matmuls(shape, batch, tokens), *_outside_matmuls(shape, batch, tokens)]


def block_matmuls(shape: ModelShape, batch: int, tokens: int) -> list[LayerMatmul]:
    """Return those of the blocks alone, which run in fp8 in a model that is trained in it."""
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
    dense = sum(experts_of(shape, layer) is None for layer in range(layers))
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
    """Return the head, BERT's transform before it, and the patches of an image."""
    d, family = shape.hidden_size, family_of(shape)
    rows = batch * family.targets(tokens)
    found = []
    if shape.image is not None:
        pixels = shape.image.channels * shape.image.patch_size**2
        found.append(LayerMatmul("patches", batch * (tokens - 1), pixels, d, 1, passes=2))
    if family.has_head_transform:
        found.append(LayerMatmul("transform", rows, d, d, 1))
    return [*found, LayerMatmul("head", rows, d, shape.vocabulary_size, 1)]
