"""What both sides call things: devices, ways to train, and reasons to stop."""

from typing import Literal

WIRE_VERSION = 5
"""Raised when a task, a command or a record changes; parent and child must agree on it."""

Precision = Literal["fp32", "bf16", "pure_bf16", "bf16_master", "fp8"]
"""fp32; fp32 parameters with bf16 matrix products; everything in bf16, moments included; bf16
parameters and gradients with fp32 masters and moments; bf16 with the blocks' products in fp8."""

Execution = Literal["eager", "compile"]
"""eager: operator by operator; compile: through torch.compile and the device's own compiler."""

Recompute = Literal["none", "selective", "full"]
"""What of each block is made again in the backward pass: nothing; what lies between its matrix
products and its attention; all of it."""

AdamW = Literal["fused", "foreach", "for-loop"]
"""Which of torch's implementations steps the weights."""

Purpose = Literal["warmup", "measure"]

FailureReason = Literal[
    "unavailable",
    "device_busy",
    "device_not_ready",
    "out_of_memory",
    "compile_failure",
    "unsupported",
    "collective_timeout",
    "device_failure",
    "recompiled",
    "bad_model",
    "wrong_order",
    "bug",
]
"""What stopped the child: the device is not here, held by another process, or its driver does not
answer; device or host memory; the compiler; an operator or a type that the chip lacks; ranks that
wait for each other; the hardware; a new compilation in the measuring; a model of
the user's that cannot be trained; else a fault of ours."""

NeuronGeneration = Literal["native", "xla", "stub"]
"""Two products and an empty package share the name torch-neuronx: the first makes torch's device
`neuron`, the second `xla`, and the third, of the public index, nothing at all."""
