"""A minimal loop: the model in sixty lines, as an expert writes it first; no clipping."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name for it
from torch import nn

from benchmarks.peers.bursts import (
    BETAS,
    INIT_STD,
    LEARNING_RATE,
    NORM_EPSILON,
    WEIGHT_DECAY,
    Job,
    batches,
    prepare,
    read_options,
    serve,
)


class Block(nn.Module):
    """Attention and a gated MLP, each after a norm."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        width, kv_width = job.width, job.kv_heads * job.head_width
        self.head_width, self.shares_keys = job.head_width, job.kv_heads < job.heads
        self.norm1, self.norm2 = (nn.RMSNorm(width, eps=NORM_EPSILON) for _ in range(2))
        self.q, self.o = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.k, self.v = (nn.Linear(width, kv_width, bias=False) for _ in range(2))
        self.gate, self.up = (nn.Linear(width, job.mlp_width, bias=False) for _ in range(2))
        self.down = nn.Linear(job.mlp_width, width, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """Return the stream after this block, (batch, tokens, width)."""
        y = self.norm1(x)
        q, k, v = (
            m(y).unflatten(-1, (-1, self.head_width)).transpose(1, 2)
            for m in (self.q, self.k, self.v)
        )
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        mixed = F.scaled_dot_product_attention(
            q, k, v.to(q.dtype), is_causal=True, enable_gqa=self.shares_keys
        )
        x = x + self.o(mixed.transpose(1, 2).flatten(2))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn the halves of each head against each other, by position."""
    a, b = x.chunk(2, -1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


class Model(nn.Module):
    """A job's Llama with its loss."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.embedding = nn.Embedding(job.vocabulary, job.width)
        self.blocks = nn.ModuleList(Block(job) for _ in range(job.layers))
        self.norm = nn.RMSNorm(job.width, eps=NORM_EPSILON)
        self.head = nn.Linear(job.width, job.vocabulary, bias=False)
        if job.is_tied:
            self.head.weight = self.embedding.weight
        half = job.head_width // 2
        turns = job.rope_theta ** -(torch.arange(half) / half)
        angles = torch.outer(torch.arange(job.tokens).float(), turns)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        for weight in self.parameters():
            if weight.ndim > 1:
                nn.init.normal_(weight, 0.0, INIT_STD)

    def forward(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy."""
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def main() -> None:
    """Serve bursts of its training step."""
    asked = read_options()
    prepare(asked)
    with torch.device(asked.device):
        model = Model(asked.job)
    run: Any = asked.compiled(model)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True
    )
    take = batches(asked)

    def step() -> None:
        inputs, targets = take()
        with asked.autocast():
            loss = run(inputs, targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    serve(step, sum(p.numel() for p in model.parameters()), asked)


if __name__ == "__main__":
    main()
