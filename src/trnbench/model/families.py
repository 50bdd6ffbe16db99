"""How the families of models differ: one row each.

A new family is `train/models/<name>.py`, whose class is `<Name>`, and a row here. Symbols are those
of `flops.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from trnbench.protocol.model import ModelShape, masked_positions
from trnbench.protocol.parallel import Axis

Task = Literal["next_token", "masked_token", "image_class"]

ALPHABET_SIZE = 64
"""Symbols of the token stream; a vocabulary has at least as many."""
IMAGE_CLASSES = 16
"""Classes of synthetic images."""
LEAST_MASKED_LENGTH = 8
"""Tokens of a sequence in which one can be masked between two others."""

GATED_MATRICES, PLAIN_MATRICES = 3, 2
"""Matrices of an MLP: gate, up and down; or up and down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How one family is built, and what it is trained on."""

    name: str
    task: Task = "next_token"
    mlp_matrices: int
    norms_and_biases: Callable[[ModelShape], int]
    """Weights of one block that are in no matmul, without the experts' biases."""
    outside: Callable[[ModelShape], int]
    """Weights outside the blocks."""
    norm_bytes: int
    """What a norm keeps for the backward pass in bf16, per unit of width."""
    mlp_bytes: int
    """The same of the MLP, per unit of its inner width."""
    is_rotary: bool = False
    """Whether positions rotate queries and keys; then heads may be grouped, and attention may have
    a window."""
    is_causal: bool = True
    joins_attention: bool = False
    """Whether queries, keys and values come from one matmul."""
    has_post_norm: bool = False
    """Whether the norm follows the addition, so that the MLP's output is needed again."""
    has_head_transform: bool = False
    """Whether a square matmul precedes the head."""
    splits: tuple[Axis, ...] = ()
    """Axes that can share out its matmuls, sequences or blocks; data ranks can share any model."""
    needs: Literal["experts", "image"] | None = None
    """The part of a shape that its models have and no others do."""
    alphabet_size: int = ALPHABET_SIZE
    least_sequence_length: int = 1
    trains_in_fp8: bool = False
    """Whether the parity gate's tolerance in fp8 was measured on it."""
    parity_slack: float = 1.0
    """Factor on a decoder's tolerance for gradients in low precision: those of encoders are sums
    over few targets, which cancel."""

    def targets(self, sequence_length: int) -> int:
        """Return how many targets a sequence has, each of which is a row of logits."""
        if self.task == "masked_token":
            return masked_positions(sequence_length)
        return 1 if self.task == "image_class" else sequence_length

    def head_weights(self, shape: ModelShape) -> int:
        """Count the weights of the head and its transform, which each target meets in matmuls."""
        transform = shape.hidden_size**2 if self.has_head_transform else 0
        return transform + embedding_parameters(shape)


def embedding_parameters(shape: ModelShape) -> int:
    """Count the weights of the token embedding, or of the head."""
    return shape.vocabulary_size * shape.hidden_size


def _embeddings(shape: ModelShape) -> int:
    return (1 if shape.tied_embeddings else 2) * embedding_parameters(shape)


def _rotary_norms_and_biases(shape: ModelShape) -> int:
    d, q, kv = shape.hidden_size, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    biases = {"none": 0, "qkv": q + 2 * kv, "all": q + 2 * kv + d}[shape.attention_biases]
    sinks = shape.heads if shape.attention_sinks else 0
    return 2 * d + (2 * shape.head_dim if shape.qk_norm else 0) + biases + sinks


def _layer_norms_and_biases(shape: ModelShape) -> int:
    """Two LayerNorms; biases of queries, keys, values, the output and both MLP matmuls."""
    d, q, kv = shape.hidden_size, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    biases = (q + 2 * kv) + d + shape.intermediate_size + d
    return biases + 4 * d


def _rotary_outside(shape: ModelShape) -> int:
    """Embedding and head, the last norm."""
    return _embeddings(shape) + shape.hidden_size


def _gpt2_outside(shape: ModelShape) -> int:
    """Embeddings of tokens and positions, the last norm."""
    return _embeddings(shape) + (shape.max_positions + 2) * shape.hidden_size


def _bert_outside(shape: ModelShape) -> int:
    """Embeddings of tokens, positions and two segments, their norm; the head, its transform."""
    d = shape.hidden_size
    embeddings = _embeddings(shape) + (shape.max_positions + 2) * d + 2 * d
    return embeddings + d * d + d + 2 * d + shape.vocabulary_size


def _vit_outside(shape: ModelShape) -> int:
    """Projection of patches with its bias, class token, positions, last norm, classifier."""
    d, image = shape.hidden_size, shape.image
    patch = 0 if image is None else image.channels * image.patch_size**2 * d + d
    head = embedding_parameters(shape) + shape.vocabulary_size
    return patch + d + shape.max_positions * d + 2 * d + head


_ROTARY = Family(
    name="",
    mlp_matrices=GATED_MATRICES,
    norms_and_biases=_rotary_norms_and_biases,
    outside=_rotary_outside,
    norm_bytes=8,
    mlp_bytes=8,
    is_rotary=True,
    splits=("tensor", "context", "pipeline"),
)
_LAYER_NORM = Family(
    name="",
    mlp_matrices=PLAIN_MATRICES,
    norms_and_biases=_layer_norms_and_biases,
    outside=_gpt2_outside,
    norm_bytes=2,
    mlp_bytes=4,
    joins_attention=True,
)

ROWS = (
    replace(_ROTARY, name="llama", trains_in_fp8=True),
    replace(_LAYER_NORM, name="gpt2", trains_in_fp8=True, splits=("context",)),
    replace(_ROTARY, name="moe", needs="experts"),
    replace(
        _LAYER_NORM,
        name="bert",
        task="masked_token",
        outside=_bert_outside,
        is_causal=False,
        has_post_norm=True,
        has_head_transform=True,
        least_sequence_length=LEAST_MASKED_LENGTH,
        parity_slack=3.0,
    ),
    replace(
        _LAYER_NORM,
        name="vit",
        task="image_class",
        outside=_vit_outside,
        is_causal=False,
        needs="image",
        alphabet_size=IMAGE_CLASSES,
        parity_slack=3.0,
    ),
)

FAMILIES: Mapping[str, Family] = {row.name: row for row in ROWS}


def family_of(shape: ModelShape) -> Family:
    """Return the family of a shape."""
    return FAMILIES[shape.family]
