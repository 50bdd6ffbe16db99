"""Hugging Face's LlamaForCausalLM in a loop of one's own; no clipping."""

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


def make_model() -> Any:
    """Return the model, from its config, with torch's own attention."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes: dict[str, Any] = dict(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=MLP_WIDTH,
        num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=HEADS,
        max_position_embeddings=TOKENS, rms_norm_eps=1e-5, tie_word_embeddings=False,
        use_cache=False, attn_implementation="sdpa", bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    return LlamaForCausalLM(LlamaConfig(**sizes))


def main() -> None:
    """Serve bursts of its training step."""
    asked = options()
    prepare(asked)
    model = make_model().train()
    run: Any = torch.compile(model, dynamic=False) if asked.execution == "compile" else model
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True
    )
    take = batches()

    def step() -> None:
        inputs, _ = take()
        with torch.autocast("cpu", torch.bfloat16, enabled=asked.precision == "bf16"):
            loss = run(input_ids=inputs, labels=inputs).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    serve(step, sum(p.numel() for p in model.parameters()), asked)


if __name__ == "__main__":
    main()
