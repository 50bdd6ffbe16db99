"""Config: what the user asked for, as one YAML file says it.

Every field but the model has a default, which `trnbench run --dry-run` shows. Sizes that do not fit
together are found when a plan is made, because they depend on the model.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from trnbench.catalog.models import models
from trnbench.config.device import DeviceChoice, DeviceConfig
from trnbench.errors import did_you_mean
from trnbench.model.families import FAMILIES
from trnbench.protocol.parallel import PipelineSchedule
from trnbench.schema.base import Strict
from trnbench.schema.plan import MeasureConfig
from trnbench.schema.price import UsdPerHour
from trnbench.schema.rent import PriceSourceName, RentOption

if TYPE_CHECKING:
    FamilyName = str
else:
    FamilyName = Literal[tuple(FAMILIES)]

Count = Annotated[int, Field(gt=0, le=10**9)]

AUTO = -1
"""A size that is what is left of the devices."""


def _read_size(value: Any) -> Any:
    return AUTO if value == "auto" else value


def _check_size(value: int) -> int:
    if value != AUTO and not 1 <= value <= MOST_RANKS:
        raise ValueError(f"is no number of ranks; use 1 to {MOST_RANKS}, or auto for what is left")
    return value


MOST_RANKS = 10**6

Size = Annotated[
    int,
    BeforeValidator(_read_size),
    AfterValidator(_check_size),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MOST_RANKS},
                {"enum": ["auto", AUTO]},
            ],
            "examples": [4],
        }
    ),
]
"""Ranks along one axis: a number, or `auto`, also written -1, for what is left."""


def _check_amount(value: int) -> int:
    if value != AUTO and not 1 <= value <= MOST_AMOUNT:
        raise ValueError(f"is not in range; use 1 to {MOST_AMOUNT:,}, or auto")
    return value


MOST_AMOUNT = 10**9

Amount = Annotated[
    int,
    BeforeValidator(_read_size),
    AfterValidator(_check_amount),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MOST_AMOUNT},
                {"enum": ["auto", AUTO]},
            ]
        }
    ),
]
"""A number, or `auto`, also written -1, for what suits the model and the device."""


MAX = -2
"""A number of sequences that is the most that the device takes, found by trials."""


def _read_pass(value: Any) -> Any:
    if isinstance(value, int) and not 1 <= value <= MOST_AMOUNT:
        raise ValueError(f"is not in range; use 1 to {MOST_AMOUNT:,}, auto, or max")
    return {"auto": None, "max": MAX}.get(value, value) if isinstance(value, str) else value


Pass = Annotated[
    int | None,
    BeforeValidator(_read_pass),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MOST_AMOUNT},
                {"enum": ["auto", "max", None]},
            ],
            "examples": [1],
        }
    ),
]
"""Sequences in a pass: a number; `auto` or nothing; or `max`."""


def _check_model(name: str) -> str:
    if name in models():
        return name
    rest = "`trnbench models` lists them; or give your own sizes as a mapping"
    raise ValueError(f"is not in the catalog; {did_you_mean(name, models(), rest)}")


ModelName = Annotated[str, AfterValidator(_check_model), Field(examples=["llama3.2-1b"])]


class RopeScalingConfig(Strict):
    """Rotary frequencies slowed for a longer context: Llama 3.1's way, or YaRN's."""

    kind: Literal["llama3", "yarn"] = "llama3"
    factor: Annotated[float, Field(gt=0)]
    low_frequency_factor: Annotated[float, Field(gt=0)]
    """Turns in the original context below which a frequency is slowed in full."""
    high_frequency_factor: Annotated[float, Field(gt=0)]
    """Turns above which it is kept."""
    original_max_positions: Count


class ExpertsConfig(Strict):
    """A mixture of experts in the MLP's place; beside a `base`, what is not given stays."""

    count: Annotated[Count, Field(le=4096, examples=[8])] | None = None
    """Experts of a block."""
    per_token: Annotated[Count, Field(le=4096, examples=[2])] | None = None
    """Experts that each token is sent to."""
    size: Annotated[Count, Field(examples=[14336])] | None = None
    """Width of one expert's MLP."""
    shared_size: Annotated[int, Field(ge=0, le=10**9)] | None = None
    """Width of an MLP that every token goes through beside its experts; 0 for none."""
    shared_gate: bool | None = None
    """Whether a sigmoid of the token scales that MLP (Qwen2-MoE)."""
    normalized: bool | None = None
    """Whether the weights of a token's experts sum to one; by default they do."""
    biases: bool | None = None
    """Whether router and experts have biases (gpt-oss)."""
    clamped: bool | None = None
    """Whether the gate is gpt-oss's."""
    dense_layers: Annotated[int, Field(ge=0, le=10**6)] | None = None
    """Blocks at the start that keep a plain MLP of `intermediate_size`."""
    balance_coefficient: Annotated[float, Field(ge=0, le=10)] | None = None
    """Weight of the load-balancing loss in what is minimised; the reported loss is without it."""


class ImageConfig(Strict):
    """What a vision transformer looks at: a square of square patches."""

    size: Annotated[Count, Field(le=100_000, examples=[224])]
    """Pixels along an edge."""
    patch_size: Annotated[Count, Field(le=100_000, examples=[16])]
    channels: Annotated[Count, Field(le=1000)] = 3


class ModelConfig(Strict):
    """A model of your own sizes: a catalog model with some of them changed, or a family and all."""

    name: Annotated[str, Field(min_length=1, max_length=60)] | None = None
    """What reports call it; by default the base's name with a mark that sizes were changed."""
    base: ModelName | None = None
    """A model of `trnbench models` whose sizes hold where none is given here."""
    family: FamilyName | None = None
    """llama: RMSNorm, rotary embedding, grouped-query attention, SwiGLU. moe: the same with experts
    for the MLP. gpt2: LayerNorm, learned positions, GELU, biases. bert: an encoder that predicts
    masked tokens. vit: an encoder of images, whose vocabulary is the classes."""
    layers: Annotated[Count, Field(examples=[16])] | None = None
    hidden_size: Annotated[Count, Field(examples=[2048])] | None = None
    heads: Annotated[Count, Field(examples=[32])] | None = None
    """Query heads."""
    kv_heads: Annotated[Count, Field(examples=[8])] | None = None
    """Key and value heads; by default as many as query heads."""
    head_dim: Annotated[Count, Field(examples=[64])] | None = None
    """Width of one head; by default hidden_size / heads."""
    intermediate_size: Annotated[Count, Field(examples=[8192])] | None = None
    """Width of the MLP."""
    vocabulary_size: Annotated[Count, Field(examples=[32000])] | None = None
    max_positions: Annotated[Count, Field(examples=[8192])] | None = None
    """Longest sequence that the model can take."""
    tied_embeddings: bool | None = None
    """Whether the head is the input embedding."""
    qk_norm: bool | None = None
    """Whether queries and keys are normalised per head (Qwen3)."""
    norm_epsilon: Annotated[float, Field(gt=0, lt=1)] | None = None
    rope_theta: Annotated[float, Field(gt=0)] | None = None
    rope_scaling: RopeScalingConfig | None = None
    init_std: Annotated[float, Field(gt=0, le=1)] | None = None
    """Standard deviation of the initial weights."""
    sliding_window: Annotated[Count, Field(examples=[4096])] | None = None
    """Tokens that a position attends to, itself included (Mistral 7B v0.1: 4096); at most the
    sequence's length, which is no window at all."""
    full_attention_every: Annotated[Count, Field(le=10**6, examples=[2])] | None = None
    """Every so many blocks, one attends to all tokens in spite of the window (gpt-oss: 2)."""
    attention_sinks: bool | None = None
    """Whether each head has a learned logit in its softmax (gpt-oss)."""
    attention_biases: Literal["none", "qkv", "all"] | None = None
    """Which projections of a llama or moe have biases: none, those in (Qwen2), all (gpt-oss)."""
    experts: ExpertsConfig | None = None
    image: ImageConfig | None = None
    huggingface: Annotated[str, Field(min_length=1, examples=["LlamaForCausalLM"])] | None = None
    """Instead of a family: a class of transformers, or the path of a config.json that names one.
    Its weights are drawn, nothing is downloaded; the training interpreter needs transformers."""
    python: Annotated[str, Field(examples=["package.module:build"])] | None = None
    """Instead of a family: a function that returns a torch.nn.Module whose `forward(inputs,
    targets)`, or `training_step` of the same, returns the mean loss."""
    config: dict[str, Any] | None = None
    """Beside `huggingface`: keys of its config, over those of the file; beside `python`: the
    function's arguments by name."""
    small: dict[str, Any] | None = None
    """Beside `huggingface` or `python`: what of `config` is different in a model that is small
    enough to be trained on the CPU, for the parity gate."""


class LoraConfig(Strict):
    """Low-rank adapters are trained beside frozen weights, as in fine-tuning."""

    rank: Annotated[Count, Field(le=65_536, examples=[16])] = 16
    alpha: Annotated[float, Field(gt=0, le=10**6, examples=[32.0])] | None = None
    """The adapters' output is scaled by alpha / rank; by default twice the rank."""
    targets: Literal["attention", "all"] = "all"
    """Which matmuls have adapters: those of attention, or every one in the blocks."""


class WorkloadConfig(Strict):
    """One optimizer step: how many tokens, in which arithmetic, by which optimizer."""

    sequence_length: Annotated[Amount, Field(examples=[4096])] = AUTO
    """Tokens in a sequence; auto: 4096 on an accelerator and 128 on a CPU, if the model takes as
    many. An external model needs a number."""
    global_batch_size: Annotated[Amount, Field(examples=[64])] = AUTO
    """Sequences in one optimizer step, over all ranks; auto: one pass of each rank, of as many as
    fit by the prediction of memory."""
    micro_batch_size: Pass = None
    """Sequences in one pass of one data-parallel rank. auto, the default: all that fall to it; max:
    the most that the device takes, by the prediction of memory first and then by short trials, in
    which out of memory is an answer. A global batch that is written stays, in more passes."""
    precision: Literal["auto", "fp32", "bf16", "pure_bf16", "bf16_master", "fp8"] = "auto"
    """fp32; bf16: fp32 parameters, all else that a pass makes in bf16; pure_bf16: parameters and
    moments in bf16 too; bf16_master: parameters and gradients in bf16, fp32 masters and moments in
    the optimizer; fp8: bf16 with the blocks' matmuls in fp8, where the chip has it; auto: bf16 on
    an accelerator, fp32 on a CPU."""
    execution: Literal["auto", "eager", "compile"] = "auto"
    """eager: operator by operator; compile: by torch.compile and the device's compiler; auto:
    compile on neuron, in fp8, and on a GPU that has Triton and a C compiler where a launch has five
    minutes or more of `max_minutes` and the model is one of ours; eager elsewhere."""
    optimizer: Literal["adamw"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0, le=1, examples=[0.001])] = 0.001
    lr_warmup_steps: Annotated[int, Field(ge=0, le=10**6)] = 10
    """Steps in which the learning rate rises to its value."""
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.1
    gradient_clip_norm: Annotated[float, Field(gt=0)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 42
    """Seeds the initial weights and the token stream."""
    activation_checkpointing: Literal["auto", "none", "selective", "full"] = "auto"
    """What of a block is recomputed in the backward pass instead of kept: nothing; all but its
    matmuls and its attention; all of it. auto: the least with which the prediction of memory fits
    the device, none where its memory is not known."""
    loss: Literal["auto", "plain", "chunked"] = "auto"
    """chunked: the head's matmul, the cross-entropy and their gradients are computed for a part of
    the tokens at a time, so that the logits of a whole pass never exist; plain: all at once. auto:
    chunked wherever the logits of a pass are larger than a chunk."""
    loss_chunk_tokens: Annotated[Count, Field(examples=[2048])] | None = None
    """Tokens of one chunk; by default what suits the device."""
    adamw: Literal["auto", "fused", "foreach", "for-loop"] = "auto"
    """Which of torch's implementations steps the weights; auto: the device's best."""
    document_length: Annotated[Count, Field(examples=[1024])] | None = None
    """Tokens of each document, several of them packed into a sequence: attention and positions
    stay within a document. By default a sequence is one document."""
    lora: LoraConfig | None = None
    """Train adapters alone, all other weights frozen; by default every weight is trained."""
    expert_capacity: Annotated[float, Field(ge=1, le=1000, examples=[2.0])] | None = None
    """Places of each expert over the tokens that it gets on average: those beyond go without it.
    By default as many as come, but on neuron and xla, whose shapes must not move, 2."""
    threads: Annotated[Count, Field(le=4096, examples=[2])] | None = None
    """Threads of each rank of the CPU backend; by default torch's choice, of several ranks an equal
    part of the processors."""


class ParallelConfig(Strict):
    """How one job spreads over its devices; the sizes multiply to the number of ranks.

    Nothing of it is needed: by default a job takes every device that `device` gives it, as copies
    (DDP) where a copy fits one device, else sharded (FSDP2), and the plan says why. A size that is
    not written is 1, but for the data ranks: where neither of the first two is written, they fill
    what is left. One size can be auto (-1): what the others leave.
    """

    nodes: Annotated[Count, Field(le=100_000, examples=[2])] | None = None
    """Machines that the job's ranks are spread over, as many on each; by default all of the
    allocation that trnbench was started in."""
    data_parallel_replicate_size: Size | None = None
    """Groups that each hold the whole state (DDP)."""
    data_parallel_shard_size: Size | None = None
    """Ranks that the state is sharded over (FSDP2); with replicas, HSDP."""
    context_parallel_size: Size | None = None
    """Ranks that each have a part of every sequence."""
    tensor_parallel_size: Size | None = None
    """Ranks that each have a part of every matmul; on Trainium best the cores of one chip."""
    pipeline_parallel_size: Size | None = None
    """Ranks that each have some of the blocks; the passes of gradient accumulation are its
    microbatches."""
    expert_parallel_size: Size | None = None
    """Ranks of a tensor group that whole experts are shared out over: the tensor size, which is the
    default. It adds no ranks."""
    sequence_parallel: bool = True
    """Whether tensor ranks also share out the tokens between their matmuls."""
    reshard_after_forward: bool = True
    """Whether shard ranks free gathered weights after the forward pass; false takes more memory and
    gathers them once."""
    pipeline_schedule: PipelineSchedule = "1f1b"
    pipeline_stages_per_rank: Annotated[Count, Field(le=1024)] = 1
    """More than one with interleaved_1f1b or zero_bubble alone."""


class PriceConfig(Strict):
    """What the machine costs: a row of the price table, or a figure of your own."""

    instance: Annotated[str, Field(examples=["trn2.48xlarge"])] = "auto"
    """The instance type that is paid for; auto: what this machine says that it is."""
    option: RentOption | None = None
    """How it is rented; by default on demand where that is sold, else a capacity block."""
    region: Annotated[str, Field(examples=["us-east-2"])] | None = None
    """Needed where the price differs from region to region."""
    zone: Annotated[str, Field(examples=["use2-az3"])] | None = None
    """Needed where the price differs from zone to zone, as spot rates do; an id or a letter."""
    usd_per_hour: Annotated[UsdPerHour, Field(examples=[35.76])] | None = None
    """Your own rate for the whole instance, in US dollars; it wins over every source."""
    file: Annotated[str, Field(min_length=1, examples=["rates.yaml"])] | None = None
    """Your own rates, as CSV or YAML: contracts, discounts, machines that you bought. Then no
    other source is asked, but for the rate that a discount is off."""
    source: PriceSourceName = "table"
    """table: the dated table that ships with trnbench, offline; live: the cloud, now, or an error;
    live_or_table: the cloud, and where it does not answer the table, with the reason. AWS is asked
    by boto3: `pip install boto3`."""


class Config(Strict):
    """One suite of benchmark cases."""

    name: Annotated[str, Field(min_length=1, max_length=120)] = "unnamed"
    """What reports call this suite; by default the file's name."""
    model: ModelName | ModelConfig
    """A model of `trnbench models`, or a mapping of your own sizes."""
    workload: WorkloadConfig = WorkloadConfig()
    parallel: ParallelConfig = ParallelConfig()
    device: DeviceChoice = DeviceConfig()
    """What to train on: auto, every device of the best kind that is here and free; a kind, every
    one of it; `cuda:1`, that one of several, counted from 0; `neuron:0-15`, those; or a mapping,
    `{kind: neuron, count: 16}`. A processor is one process unless `count` or `parallel` say so."""
    measure: MeasureConfig = MeasureConfig()
    price: PriceConfig = PriceConfig()
    sweep: Annotated[
        dict[str, Annotated[list[Any], Field(min_length=1)]],
        Field(default_factory=dict, examples=[{"workload.micro_batch_size": [1, 2, 4]}]),
    ]
    """Keys of this file, with dots, and the values that each takes in turn: every combination is
    one case."""
    sweep_order: Literal["auto", "written", "spread"] = "auto"
    """In which order they are measured. written: the last key changes first; spread: any first part
    of the cases has each value of every key about equally often, so that a sweep that is cut tells
    the most; auto: written up to 100 cases, spread above."""
