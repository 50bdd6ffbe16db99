"""Whether a model can be trained in fp8 on a device, before either is touched."""

from trnbench.catalog.accelerators import Accelerator
from trnbench.config.load import Conflict
from trnbench.config.model import Config
from trnbench.schema.plan import PlannedModel

FAMILIES = ("llama", "gpt2")
"""Whose training in fp8 the gate's tolerance was measured on."""

MULTIPLE = 16
"""What edges of an fp8 product must be multiples of. Source: PyTorch, `_scaled_mm`'s checks."""


def check_device(backend: str, accelerator: Accelerator | None) -> None:
    """Refuse a device that has no fp8 products, or none of torch's formats.

    A GPU that the catalog does not know is asked by the worker, once it has it.

    Raises:
        Conflict: it has none.
    """
    lacks = lack_of_fp8(backend, accelerator)
    if lacks is not None:
        raise Conflict(
            ("workload", "precision"),
            f"workload.precision: fp8 cannot be trained in: {lacks}",
            hint="use bf16",
            others=(("device",),),
        )


def lack_of_fp8(backend: str, accelerator: Accelerator | None) -> str | None:
    """Say why torch cannot multiply in fp8 on a device; None where nothing is known against it."""
    if accelerator is not None and accelerator.vendor == "AWS":
        # Source: AWS Neuron documentation, compiler/error-codes/EVRF051 (2.32).
        lacks = "has cFP8 and not the F8E4M3FN that torch trains with (NCC_EVRF051)"
        return f"{accelerator.name} {lacks}"
    if backend == "auto":
        backend = "cpu" if accelerator is None else "cuda"
    if backend != "cuda":
        return f"{backend} has no fp8 products that torch knows, only NVIDIA's GPUs from Ada on"
    if accelerator is not None and accelerator.fp8_flops_per_second is None:
        return f"no fp8 peak of {accelerator.name} is published"
    return None


def check_model(config: Config, model: PlannedModel) -> None:
    """Refuse a model whose products fp8 kernels cannot take, or that nobody has held to fp32.

    Raises:
        Conflict: names the size, or the option that does not go with fp8.
    """
    if model.guest is not None or model.own_shape.family not in FAMILIES:
        family = "a model of your own" if model.guest is not None else model.own_shape.family
        raise Conflict(
            ("workload", "precision"),
            f"workload.precision: fp8 trains {' and '.join(FAMILIES)} models, and {model.name} is "
            f"{family}",
            hint="use bf16",
            others=(("model",),),
        )
    if config.workload.lora is not None:
        raise Conflict(
            ("workload", "lora"),
            "workload.lora: adapters are too narrow to gain by fp8",
            hint="leave it out, or use precision: bf16",
            others=(("workload", "precision"),),
        )
    shape = model.own_shape
    for section, key, value in (
        ("model", "hidden_size", shape.hidden_size),
        ("model", "head_dim", shape.head_dim),
        ("model", "intermediate_size", shape.intermediate_size),
        ("workload", "sequence_length", config.workload.sequence_length),
    ):
        if value % MULTIPLE:
            raise Conflict(
                (section, key),
                f"{section}.{key}: {value} is not a multiple of {MULTIPLE}, as fp8 products need",
                hint="change it, or use precision: bf16",
                others=(("workload", "precision"),),
            )
