"""fp32 products by oneDNN, which torch has beside MKL, and takes for bf16 alone.

The sums are fp32 all the same: no operand is rounded.
"""

import torch

_PRODUCT = "mkldnn::_linear_pointwise"
"""What torch's compiler makes of a linear layer on a CPU; not public, so it is looked for."""


def has_onednn() -> bool:
    """Tell whether this torch has oneDNN's product."""
    if not torch.backends.mkldnn.is_available():
        return False
    namespace, _, name = _PRODUCT.partition("::")
    return hasattr(getattr(torch.ops, namespace), name)


# Not by torch.library.custom_op, whose first call imports the whole of torch's compiler.
torch.library.define("trnbench::product", "(Tensor left, Tensor right) -> Tensor")


def _product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    if left.dtype != torch.float32:
        return torch.mm(left, right)
    made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(left, right.t(), None, "none", [], "")
    return made


def _like_product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return left.new_empty(left.shape[0], right.shape[1])


torch.library.impl("trnbench::product", "CPU", _product)
torch.library.register_fake("trnbench::product", _like_product)


def multiply(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Return left @ right, both 2-D in fp32; other types go torch's way."""
    made: torch.Tensor = torch.ops.trnbench.product(left, right)
    return made
