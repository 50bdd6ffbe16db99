"""torchtitan's Llama, compiled block by block with its loss as it does itself, in an own loop.

As it trains on one device, without a mesh: autocast over fp32 weights. It clips by default; here
nothing does.
"""

import torch

from benchmarks.peers.bursts import (
    BETAS,
    LEARNING_RATE,
    NORM_EPSILON,
    WEIGHT_DECAY,
    Asked,
    batches,
    prepare,
    read_options,
    serve,
)

MULTIPLE = 8
"""That its MLP's width is rounded up to."""


def make_model(asked: Asked) -> torch.nn.Module:
    """Return its model of the job, on the device, with torch's own attention."""
    from torchtitan.models.llama3 import Transformer, TransformerModelArgs

    job = asked.job
    arguments = TransformerModelArgs(
        dim=job.width, n_layers=job.layers, n_heads=job.heads, n_kv_heads=job.kv_heads,
        vocab_size=job.vocabulary, multiple_of=MULTIPLE,
        # It counts from two thirds of four times the model's width.
        ffn_dim_multiplier=job.mlp_width * 3 / (8 * job.width),
        norm_eps=NORM_EPSILON, rope_theta=job.rope_theta, max_seq_len=job.tokens,
    )  # fmt: skip
    with torch.device(asked.device):
        model = Transformer(arguments)
        with torch.no_grad():
            model.init_weights()
    if job.is_tied:
        model.output.weight = model.tok_embeddings.weight
    return model


def main() -> None:
    """Serve bursts of its training step."""
    asked = read_options()
    prepare(asked)
    from torchtitan.components.loss import cross_entropy_loss
    from torchtitan.config.job_config import Compile
    from torchtitan.models.llama3.infra.parallelize import apply_compile

    model = make_model(asked)
    sum_of_losses = asked.compiled(cross_entropy_loss)
    if asked.execution == "compile":
        apply_compile(model, Compile(enable=True))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True
    )
    take = batches(asked)

    def step() -> None:
        inputs, targets = take()
        with asked.autocast():
            loss = sum_of_losses(model(inputs), targets) / targets.numel()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    serve(step, sum(p.numel() for p in model.parameters()), asked)


if __name__ == "__main__":
    main()
