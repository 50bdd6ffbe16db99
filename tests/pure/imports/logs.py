"""Small logs in the forms of other programs, with figures made up, and what must come of each."""

import json
from dataclasses import dataclass, field

TIMES = [9.0, 0.50, 0.52, 0.48, 0.51, 0.49, 0.50, 0.53, 0.47, 0.50]
"""Seconds of ten steps, the first with compilation."""

STEADY = 0.50
"""Mean of those that count."""


@dataclass(frozen=True)
class Sample:
    """A log, what the user says of it, and tokens a second of the job."""

    text: str
    rate: float
    arguments: list[str] = field(default_factory=list)
    doubts: tuple[str, ...] = ()


def _lines(form: str, first: int = 1) -> str:
    return "".join(
        form.format(step=number, s=seconds, ms=seconds * 1e3, loss=11 - number / 10) + "\n"
        for number, seconds in enumerate(TIMES, start=first)
    )


def torchtitan(devices: int = 8) -> str:
    """Rates of a device: 4 sequences of 1,024 tokens on `devices`."""
    head = (
        f"Building 1-D device mesh with ['dp_shard'], [{devices}]\n"
        "Model llama3 toy size: 1,000,000 total parameters\n"
        "Trainer is initialized with local batch size 4, global batch size 32, gradient "
        "accumulation steps 1, sequence length 1024, total steps 10 (warmup 2)\n"
    )
    return head + "".join(
        f"[rank0]:step: {number:2}  loss: 8.{number}  memory:  1.00GiB(2.00%)  "
        f"tps: {32 * 1024 / devices / seconds:,.0f}  mfu: 1.00%\n"
        for number, seconds in enumerate(TIMES, start=1)
    )


def mllog(blocks: int = 4) -> str:
    """Blocks of 100 steps of 0.5 s, and an evaluation of 20 s between."""

    def line(time: float, key: str, value: object, **more: object) -> str:
        entry = {"namespace": "", "time_ms": round(time * 1e3), "event_type": "POINT_IN_TIME",
                 "key": key, "value": value, "metadata": more}  # fmt: skip
        return f"0: :::MLLOG {json.dumps(entry)}\n"

    text = line(0, "global_batch_size", 16) + line(0, "max_sequence_length", 512)
    for block in range(blocks):
        start = 100 + 70 * block
        text += line(start, "block_start", None, samples_count=1600 * block)
        text += line(start + 50, "block_stop", None, samples_count=1600 * (block + 1))
    return text


def trainer_state() -> str:
    """Entries each five steps of 0.5 s with an evaluation of 30 s after the tenth."""
    entries: list[dict[str, object]] = []
    for number in range(1, 13):
        runtime = 2.5 * number + (30 if number > 2 else 0)
        entries.append({"step": 5 * number, "loss": 3.0, "train_runtime": runtime,
                        "num_input_tokens_seen": 5 * 1000 * number})  # fmt: skip
        if number == 2:
            entries.append({"step": 10, "eval_loss": 3.0})
    return json.dumps({"log_history": entries, "train_batch_size": 4, "logging_steps": 5})


def neuronx() -> str:
    """A moving mean of ten over steps of 0.5 s, of 64 sequences."""
    text = ""
    for number in range(1, len(TIMES) + 1):
        window = TIMES[max(number - 10, 0) : number]
        rate = len(window) * 64 / sum(window)
        text += (
            f"step {number} step_time {TIMES[number - 1] * 0.9:.6f}s throughput {rate!r} seq/s "
            "loss 3.0 grad norm 1.0\n"
        )
    return text


def modded() -> str:
    """A clock that is set back at step 10, and evaluations each 100 steps of 0.05 s."""
    text = "step:5/1000 train_loss:9.0 train_time:4000ms step_avg:nanms\n"
    text += "step:10/1000 train_loss:9.0 train_time:4300ms step_avg:nanms\n"
    for step in range(11, 1001):
        if step % 100 in (0, 11) and not (step > 11 and step % 100 == 11):
            kind = "val_loss" if step % 100 == 0 else "train_loss"
            text += (
                f"step:{step}/1000 {kind}:3.0 train_time:{(step - 10) * 50}ms step_avg:50.00ms\n"
            )
    return text


LOGS = {
    "torchtitan": Sample(torchtitan(), 32 * 1024 / STEADY, doubts=("per_device",)),
    "nanogpt": Sample(
        "tokens per iteration will be: 1,024\n"
        + _lines("iter {step}: loss {loss:.4f}, time {ms:.2f}ms, mfu 2.00%"),
        1024 / STEADY,
    ),
    "nanochat": Sample(
        _lines(
            "step {step:05d}/00100 (1.00%) | loss: {loss:.6f} | lrm: 1.00 | dt: {ms:.2f}ms | "
            "tok/sec: 65,536 | mfu: 40.00 | total time: 0.89m"
        ).replace("dt: 9000.00ms | tok/sec: 65,536", "dt: 9000.00ms | tok/sec: 3,641"),
        65536,
    ),
    "llm.c": Sample(
        _lines(
            "step {step}/10 | loss {loss:.6f} (+nanz)| norm 3.0 (+nanz)| lr 1.00e-04 | {ms:.2f} ms "
            "| 40.3% bf16 MFU | 910 tok/s"
        ),
        8192 / STEADY,
    ),
    "maxtext": Sample(
        _lines(
            "completed step: {step}, seconds: {s:.3f}, TFLOP/s/device: 1.0, Tokens/s/device: 1.0, "
            "total_weights: 4096, loss: {loss:.3f}"
        ),
        4096 / (sum(TIMES[3:]) / 7),
        doubts=("synchronised",),
    ),
    "megatron": Sample(
        _lines(
            " iteration {step:8}/ 10 | consumed samples: 50 | elapsed time per iteration (ms): "
            "{ms:.1f} | learning rate: 1E-08 | global batch size:     2 | lm loss: {loss:.6E} | "
            "number of skipped iterations:   0 | number of nan iterations:   0 |"
        ),
        2 * 2048 / STEADY,
        ["--sequence-length", "2048"],
    ),
    "nemo": Sample(
        _lines(
            "Training epoch 0, iteration {step}/99 | lr: 1e-6 | global_batch_size: 8 | "
            "global_step: {step} | reduced_train_loss: {loss:.2f} | train_step_timing in s: {s:.4g}"
        ),
        8 * 4096 / STEADY,
        ["--sequence-length", "4096"],
        ("synchronised",),
    ),
    "neuronx": Sample(
        neuronx(),
        64 * 512 / STEADY,
        ["--sequence-length", "512", "--tokens-per-step", str(64 * 512)],
        ("time_outside",),
    ),
    "mllog": Sample(mllog(), 16 * 512 / 0.5),
    "huggingface": Sample(trainer_state(), 1000 / 0.5, doubts=("cumulative_clock",)),
    "llamafactory": Sample(
        "".join(
            json.dumps({"current_steps": 10 * n, "total_steps": 200, "loss": 1.0,
                        "elapsed_time": f"1 day, 0:00:{5 * n:02}", "total_tokens": 5000 * n}) + "\n"
            for n in range(1, 11)
        ),
        500 / 0.5,
        doubts=("resolution", "evaluation_inside"),
    ),
    "optimum-benchmark": Sample(
        json.dumps({
            "overall": {"latency": {"unit": "s", "values": TIMES}},
            "warmup": {"latency": {"unit": "s", "values": TIMES[:1]}},
            "train": {"latency": {"unit": "s", "values": TIMES[1:]}, "memory": {}},
        }),
        100 / STEADY,
        ["--tokens-per-step", "100"],
        ("per_process",),
    ),
    "modded-nanogpt": Sample(
        modded(), 1000 / 0.05, ["--tokens-per-step", "1000"], ("cumulative_clock",)
    ),
    "wandb-csv": Sample(
        '"Step","a - b - train/loss","a - b - train/loss__MIN","a - b - _runtime","a - b - '
        '_runtime__MIN"\n'
        + "".join(f'"{n}","2.0","2.0","{n * 0.5}","{n * 0.5}"\n' for n in range(0, 100, 10)),
        100 / 0.5,
        ["--tokens-per-step", "100"],
        ("sampled",),
    ),
    "csv": Sample(
        "step,step_time_seconds,tokens,loss\n" + _lines("{step},{s},100,{loss}"), 100 / STEADY
    ),
}  # fmt: skip
"""By format."""
