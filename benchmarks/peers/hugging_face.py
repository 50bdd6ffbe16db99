"""Hugging Face's LlamaForCausalLM in a loop of one's own; no clipping."""

from typing import Any

import torch

from benchmarks.peers.bursts import (
    BETAS,
    LEARNING_RATE,
    NORM_EPSILON,
    WEIGHT_DECAY,
    Asked,
    Job,
    batches,
    prepare,
    read_options,
    serve,
)


def make_config(job: Job, **others: Any) -> Any:
    """Return the job's shape as a config of theirs."""
    from transformers import LlamaConfig

    sizes: dict[str, Any] = dict(
        vocab_size=job.vocabulary, hidden_size=job.width, intermediate_size=job.mlp_width,
        num_hidden_layers=job.layers, num_attention_heads=job.heads,
        num_key_value_heads=job.kv_heads, max_position_embeddings=job.tokens,
        rms_norm_eps=NORM_EPSILON, tie_word_embeddings=job.is_tied, rope_theta=job.rope_theta,
    )  # fmt: skip
    return LlamaConfig(**{**sizes, **others})


def make_model(asked: Asked) -> Any:
    """Return the model on its device, from its config, with torch's own attention."""
    from transformers import LlamaForCausalLM

    config = make_config(
        asked.job, use_cache=False, attn_implementation="sdpa", bos_token_id=None, eos_token_id=None
    )
    with torch.device(asked.device):
        return LlamaForCausalLM(config)


def main() -> None:
    """Serve bursts of its training step."""
    asked = read_options()
    prepare(asked)
    model = make_model(asked).train()
    run = asked.compiled(model)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True
    )
    take = batches(asked)

    def step() -> None:
        inputs, _ = take()
        with asked.autocast():
            loss = run(input_ids=inputs, labels=inputs).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    serve(step, sum(p.numel() for p in model.parameters()), asked)


if __name__ == "__main__":
    main()
