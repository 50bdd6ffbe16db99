"""Small shapes and orders that the tests of the child share."""

from dataclasses import replace
from typing import Any

from trnbench.catalog.models import complete_shape, models
from trnbench.protocol.model import ModelShape
from trnbench.protocol.orders import (
    PROTOCOL_VERSION,
    OptimizerSettings,
    StreamSettings,
    WorkOrder,
)

LLAMA = complete_shape(
    {
        "family": "llama", "layers": 2, "hidden_size": 32, "heads": 4, "kv_heads": 2,
        "intermediate_size": 48, "vocabulary_size": 128, "max_positions": 64,
    }
)  # fmt: skip
GPT2 = complete_shape(
    {
        "family": "gpt2", "layers": 2, "hidden_size": 32, "heads": 4, "intermediate_size": 64,
        "vocabulary_size": 128, "max_positions": 64, "tied_embeddings": True,
    }
)  # fmt: skip
MOE = complete_shape(
    {
        "family": "moe", "layers": 2, "hidden_size": 32, "heads": 4, "kv_heads": 2,
        "intermediate_size": 48, "vocabulary_size": 128, "max_positions": 64,
        "experts": {"count": 8, "per_token": 2, "size": 24},
    }
)  # fmt: skip
BERT = complete_shape(
    {
        "family": "bert", "layers": 2, "hidden_size": 32, "heads": 4, "intermediate_size": 64,
        "vocabulary_size": 128, "max_positions": 64, "tied_embeddings": True,
        "norm_epsilon": 1e-12,
    }
)  # fmt: skip
VIT = complete_shape(
    {
        "family": "vit", "layers": 2, "hidden_size": 32, "heads": 4, "intermediate_size": 64,
        "vocabulary_size": 40, "max_positions": 17, "norm_epsilon": 1e-12,
        "image": {"size": 16, "patch_size": 4},
    }
)  # fmt: skip

SETTINGS = OptimizerSettings(
    name="adamw",
    learning_rate=0.003,
    lr_warmup_steps=10,
    beta1=0.9,
    beta2=0.95,
    epsilon=1e-8,
    weight_decay=0.1,
    gradient_clip_norm=1.0,
)
STREAM = StreamSettings(alphabet_size=64, noise=0.1, seed=42)


def catalog_shape(name: str) -> ModelShape:
    """Return a shape of the catalog."""
    return models()[name].shape


def make_order(shape: ModelShape = LLAMA, **changes: Any) -> WorkOrder:
    """Return an order for the CPU of one small step, with some of it changed."""
    order = WorkOrder(
        wire_version=PROTOCOL_VERSION,
        shape=shape,
        sequence_length=16,
        micro_batch_size=2,
        gradient_accumulation_steps=1,
        precision="fp32",
        optimizer=SETTINGS,
        stream=STREAM,
        backend="cpu",
        threads=None,
        measure_ceiling=False,
        seed=7,
    )
    return replace(order, **changes)


def order_of(shape: ModelShape, **changes: Any) -> WorkOrder:
    """Return the same with the sequences and symbols that the shape's family takes."""
    if shape.image is None:
        return make_order(shape, **changes)
    pictures = replace(STREAM, alphabet_size=16)
    return make_order(shape, sequence_length=shape.max_positions, stream=pictures, **changes)
