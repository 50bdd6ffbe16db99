"""What is trained: one of our families by its sizes, or an external model."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeScaling:
    """Rotary frequencies slowed for contexts longer than the original: Llama 3.1's way, or YaRN's.

    Source: Hugging Face transformers, `modeling_rope_utils.py`, `rope_type: llama3` and `yarn`.
    """

    factor: float
    low_frequency_factor: float
    """Turns in the original context below which one is slowed in full (YaRN's beta_slow)."""
    high_frequency_factor: float
    """Turns above which it is kept (YaRN's beta_fast)."""
    original_max_positions: int
    kind: Literal["llama3", "yarn"] = "llama3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """A mixture of gated MLPs in the MLP's place: each token goes to a few of many."""

    count: int
    per_token: int
    size: int
    """Width of one expert's MLP."""
    shared_size: int = 0
    """Width of the MLP that every token goes through beside its experts; 0 for none."""
    shared_gate: bool = False
    """Whether a sigmoid of the token scales the shared MLP (Qwen2-MoE)."""
    normalized: bool = True
    """Whether the weights of a token's experts sum to one (Mixtral); else they are the router's
    probabilities over all experts (Qwen2-MoE, DeepSeekMoE)."""
    biases: bool = False
    """Whether router and experts have biases (gpt-oss)."""
    clamped: bool = False
    """Whether the gate is gpt-oss's: clamped, with slope 1.702, and one added to `up`."""
    dense_layers: int = 0
    """Blocks at the start that keep the plain MLP (DeepSeekMoE)."""
    balance_coefficient: float = 0.0
    """Weight of the load-balancing loss in what is minimised; the loss told is without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What a vision transformer looks at: a square of square patches."""

    size: int
    """Pixels along an edge."""
    patch_size: int
    channels: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The sizes that define a model; nothing in it depends on a device."""

    family: str
    layers: int
    hidden_size: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate_size: int
    vocabulary_size: int
    max_positions: int
    tied_embeddings: bool
    qk_norm: bool
    norm_epsilon: float
    rope_theta: float
    rope_scaling: RopeScaling | None
    init_std: float
    sliding_window: int | None = None
    """Tokens that a position attends to, itself included; null for all before it."""
    full_attention_every: int | None = None
    """Every so many blocks one attends to all tokens in spite of the window: 2 is gpt-oss's."""
    attention_sinks: bool = False
    """Whether each head has a learned logit that takes part in the softmax and has no value."""
    attention_biases: Literal["none", "qkv", "all"] = "none"
    """Which of a rotary model's projections have biases: none, those in (Qwen2), all (gpt-oss)."""
    experts: Experts | None = None
    image: Image | None = None


ExternalKind = Literal["huggingface", "python"]

ExternalTask = Literal["next_token", "masked_token"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalModel:
    """A model that is not ours: a class of transformers with its config, or a module of the user's.

    Its code is found by the training interpreter alone; nothing is downloaded.
    """

    kind: ExternalKind
    target: str
    """The class's name; or `package.module:function`, which returns the module."""
    arguments: str
    """A JSON object: the whole config, or the function's arguments by name."""
    checked_keys: list[str]
    """Keys of it that must be known: those that a person wrote, not those of a config file."""
    task: ExternalTask = "next_token"
    vocabulary_size: int | None = None
    """Of the tokens that it is given; null until it has been described."""


def masked_positions(sequence_length: int) -> int:
    """Return how many tokens of a sequence an encoder must fill in: 15 %, and never none.

    Source: Devlin et al., arXiv 1810.04805, section 3.1; 76 of 512 are MLPerf Training's too.
    """
    return max(1, sequence_length * 15 // 100)
