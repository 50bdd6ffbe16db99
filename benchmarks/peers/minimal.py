"""A minimal loop: the model in sixty lines, as an expert writes it first; no clipping."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from torch import nn

from benchmarks.peers.bursts import (
    BETAS,
    HEADS,
    LAYERS,
    LEARNING_RATE,
    MLP_WIDTH,
    TOKENS,
    VOCABULARY,
    WEIGHT_DECAY,
    WIDTH,
    batches,
    options,
    prepare,
    serve,
)


class Block(nn.Module):
    """Attention and a gated MLP, each after a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(WIDTH, eps=1e-5), nn.RMSNorm(WIDTH, eps=1e-5)
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.gate, self.up = (nn.Linear(WIDTH, MLP_WIDTH, bias=False) for _ in range(2))
        self.down = nn.Linear(MLP_WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """Return the stream after this block, (batch, tokens, width)."""
        b, t, _ = x.shape
        y = self.norm1(x)
        q, k, v = (m(y).view(b, t, HEADS, -1).transpose(1, 2) for m in (self.q, self.k, self.v))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        mixed = F.scaled_dot_product_attention(q, k, v.to(q.dtype), is_causal=True)
        x = x + self.o(mixed.transpose(1, 2).reshape(b, t, WIDTH))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn the halves of each head against each other, by position."""
    a, b = x.chunk(2, -1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Model(nn.Module):
    """The Llama shape of `bursts`, with its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.RMSNorm(WIDTH, eps=1e-5)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        half = WIDTH // HEADS // 2
        angles = torch.outer(torch.arange(TOKENS).float(), 1e4 ** -(torch.arange(half) / half))
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        for weight in self.parameters():
            if weight.ndim > 1:
                nn.init.normal_(weight, 0.0, 0.02)

    def forward(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy."""
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def main() -> None:
    """Serve bursts of its training step."""
    asked = options()
    prepare(asked)
    model = Model()
    run: Any = torch.compile(model, dynamic=False) if asked.execution == "compile" else model
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True
    )
    take = batches()

    def step() -> None:
        inputs, targets = take()
        with torch.autocast("cpu", torch.bfloat16, enabled=asked.precision == "bf16"):
            loss = run(inputs, targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    serve(step, sum(p.numel() for p in model.parameters()), asked)


if __name__ == "__main__":
    main()
