"""litgpt's GPT with its own chunked cross-entropy, in a loop of one's own; no clipping."""

from typing import Any

import torch

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


def main() -> None:
    """Serve bursts of its training step."""
    asked = options()
    prepare(asked)
    from litgpt import GPT, Config
    from litgpt.utils import chunked_cross_entropy

    config = Config(
        block_size=TOKENS, vocab_size=VOCABULARY, padded_vocab_size=VOCABULARY, n_layer=LAYERS,
        n_head=HEADS, n_embd=WIDTH, n_query_groups=HEADS, rotary_percentage=1.0,
        parallel_residual=False, bias=False, norm_class_name="RMSNorm", norm_eps=1e-5,
        mlp_class_name="LLaMAMLP", intermediate_size=MLP_WIDTH,
    )  # fmt: skip
    model = GPT(config)
    run: Any = torch.compile(model, dynamic=False) if asked.execution == "compile" else model
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True
    )
    take = batches()

    def step() -> None:
        inputs, targets = take()
        with torch.autocast("cpu", torch.bfloat16, enabled=asked.precision == "bf16"):
            logits = run(inputs)
        # As litgpt's own pretraining calls it: all logits at once.
        loss = chunked_cross_entropy(logits, targets, chunk_size=0)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    serve(step, sum(p.numel() for p in model.parameters()), asked)


if __name__ == "__main__":
    main()
