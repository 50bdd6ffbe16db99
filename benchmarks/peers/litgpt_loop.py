"""litgpt's GPT with its own chunked cross-entropy, in a loop of one's own; no clipping."""

import torch

from benchmarks.peers.bursts import (
    BETAS,
    LEARNING_RATE,
    NORM_EPSILON,
    WEIGHT_DECAY,
    batches,
    prepare,
    read_options,
    serve,
)


def main() -> None:
    """Serve bursts of its training step."""
    asked = read_options()
    prepare(asked)
    from litgpt import GPT, Config
    from litgpt.utils import chunked_cross_entropy

    job = asked.job
    config = Config(
        block_size=job.tokens, vocab_size=job.vocabulary, padded_vocab_size=job.vocabulary,
        n_layer=job.layers, n_head=job.heads, n_embd=job.width, n_query_groups=job.kv_heads,
        rotary_percentage=1.0, parallel_residual=False, bias=False, norm_class_name="RMSNorm",
        norm_eps=NORM_EPSILON, mlp_class_name="LLaMAMLP", intermediate_size=job.mlp_width,
        rope_base=int(job.rope_theta),
    )  # fmt: skip
    with torch.device(asked.device):
        model = GPT(config)
    if job.is_tied:
        model.lm_head.weight = model.transformer.wte.weight
    run = asked.compiled(model)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True
    )
    take = batches(asked)

    def step() -> None:
        inputs, targets = take()
        with asked.autocast():
            logits = run(inputs)
        # As litgpt's own pretraining calls it: all logits at once.
        loss = chunked_cross_entropy(logits, targets, chunk_size=0)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    serve(step, sum(p.numel() for p in model.parameters()), asked)


if __name__ == "__main__":
    main()
