"""The rate of work that is partly fp8: two peaks, each for its own part.

A decoder in fp8 makes its blocks' products with weights in fp8, and attention and the head in bf16.
The ideal time of a token is that of both parts, one after the other: F8 / P8 + (F - F8) / P16; the
peak that stands for both is F over it (docs/metrics.md, "fp8").
"""

from trnbench.analysis.flops import block_matmul_parameters
from trnbench.wire import ModelShape


def fp8_flops_per_token(shape: ModelShape) -> float:
    """Return the operations of the blocks' products with weights: 6 a weight and token."""
    return 6.0 * sum(block_matmul_parameters(shape, layer) for layer in range(shape.layers))


def mixed_rate(flops: float, fp8_flops: float, fp8_rate: float, other_rate: float) -> float:
    """Return the rate at which all of `flops` are done where `fp8_flops` of them run in fp8."""
    return flops / (fp8_flops / fp8_rate + (flops - fp8_flops) / other_rate)
