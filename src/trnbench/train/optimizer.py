"""AdamW in the implementation of torch that the backend names, with fp32 masters or without."""

from collections.abc import Sequence

import torch

from trnbench.protocol.orders import AdamW, OptimizerSettings, Precision


class MasterAdamW:
    """AdamW on fp32 masters of bf16 weights: small updates are not lost to bf16's eight bits."""

    def __init__(
        self,
        parameters: Sequence[torch.nn.Parameter],
        settings: OptimizerSettings,
        adamw: AdamW,
    ) -> None:
        self._weights = list(parameters)
        self.masters = [torch.nn.Parameter(p.detach().float()) for p in self._weights]
        self._inner = make_adamw(self.masters, settings, adamw)
        self.param_groups = self._inner.param_groups
        self.state = self._inner.state

    def step(self) -> None:
        """Step the masters by the weights' gradients, and round the weights from them."""
        with torch.no_grad():
            for master, weight in zip(self.masters, self._weights, strict=True):
                master.grad = None if weight.grad is None else weight.grad.float()
                weight.grad = None
            self._inner.step()
            self._inner.zero_grad(set_to_none=True)
            torch._foreach_copy_([*self._weights], [*self.masters])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Do nothing: `step` has freed the gradients."""


def make_optimizer(
    parameters: Sequence[torch.nn.Parameter],
    settings: OptimizerSettings,
    adamw: AdamW,
    precision: Precision = "fp32",
) -> torch.optim.Optimizer | MasterAdamW:
    """Build AdamW; the precision `bf16_master` keeps fp32 masters of the weights."""
    if precision == "bf16_master":
        return MasterAdamW(parameters, settings, adamw)
    return make_adamw(parameters, settings, adamw)


def make_adamw(
    parameters: Sequence[torch.nn.Parameter], settings: OptimizerSettings, adamw: AdamW
) -> torch.optim.Optimizer:
    """Build torch's AdamW; weight decay applies to matrices alone, as in GPT-2 and Llama."""
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=adamw == "fused",
        foreach=adamw == "foreach",
    )
