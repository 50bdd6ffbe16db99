"""What is trained: one of our families by its sizes, or an external model."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeScaling:
    """Rotary frequencies slowed for contexts longer than the original: Llama 3.1's way, or YaRN's.

    Source: Hugging Face transformers, `modeling_rope_utils.py`, `rope_type: llama3` and `yarn`.
    """

    factor: float
    low_frequency_factor: float
    """Turns in the original context below which a frequency is slowed in full (YaRN: beta_slow)."""
    high_frequency_factor: float
    """Turns above which it is kept (YaRN: beta_fast)."""
    original_max_positions: int
    kind: Literal["llama3", "yarn"] = "llama3"


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """A mixture of gated MLPs in place of the MLP: each token goes to a few of many."""

    count: int
    per_token: int
    size: int
    """Width of one expert's MLP."""
    shared_size: int = 0
    """Width of the MLP that every token goes through as well; 0 for none."""
    shared_gate: bool = False
    """Whether a sigmoid of the token scales the shared MLP (Qwen2-MoE)."""
    normalized: bool = True
    """Whether the weights of a token's experts sum to one (Mixtral), or are the router's
    probabilities over all experts (Qwen2-MoE, DeepSeekMoE)."""
    biases: bool = False
    """Whether router and experts have biases (gpt-oss)."""
    clamped: bool = False
    """Whether the gate is gpt-oss's: clamped, with slope 1.702, and one added to `up`."""
    dense_layers: int = 0
    """Blocks at the start that keep the plain MLP (DeepSeekMoE)."""
    balance_coefficient: float = 0.0
    """Weight of the load-balancing loss in what is minimised; reported losses are without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A vision transformer's input: a square of square patches."""

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
    """Tokens that a position attends to, itself included; null: all before it."""
    full_attention_every: int | None = None
    """One block in this many attends to all tokens in spite of the window (gpt-oss: 2)."""
    attention_sinks: bool = False
    """Whether each head's softmax has a learned logit without a value."""
    attention_biases: Literal["none", "qkv", "all"] = "none"
    """Which of a rotary model's projections have biases: none, those in (Qwen2), all (gpt-oss)."""
    experts: Experts | None = None
    image: Image | None = None


ExternalKind = Literal["huggingface", "python"]

ExternalTask = Literal["next_token", "masked_token"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalModel:
    """A class of transformers with its config, or a module of the user's; nothing is downloaded."""

    kind: ExternalKind
    target: str
    """The class's name; or `package.module:function`, which returns the module."""
    arguments: str
    """A JSON object: the whole config, or the function's arguments by name."""
    checked_keys: list[str]
    """Those of `arguments` that the class must know: a person wrote them, not a config file."""
    file_keys: list[str] = field(default_factory=list)
    """Those that a config file has."""
    task: ExternalTask = "next_token"
    vocabulary_size: int | None = None
    """Null until the model has been described."""


def masked_positions(sequence_length: int) -> int:
    """Return how many tokens of a sequence an encoder must fill in: 15 %, at least one.

    Source: Devlin et al., arXiv 1810.04805, section 3.1; 76 of 512 are MLPerf Training's too.
    """
    return max(1, sequence_length * 15 // 100)
