"""Hugging Face's LlamaForCausalLM in its Trainer: fused AdamW, no logging, saving or clipping."""

import sys
import tempfile
import time
from typing import Any

import torch

from benchmarks.peers.bursts import (
    BETAS,
    LEARNING_RATE,
    WARMUP_STEPS,
    WEIGHT_DECAY,
    Records,
    prepare,
    read_options,
    tokens,
)
from benchmarks.peers.hugging_face import make_model


def main() -> None:
    """Let the Trainer run, and hold it at the end of each burst."""
    asked = read_options()
    prepare(asked)
    from transformers import Trainer, TrainerCallback, TrainingArguments

    records = Records(asked.records_fd)
    model = make_model(asked)

    class Bursts(TrainerCallback):
        """Times each step from its begin to the next one's, and waits between bursts."""

        def __init__(self) -> None:
            self.left = WARMUP_STEPS + 1
            self.times: list[float] = []
            self.began = 0.0
            self.is_ready = False

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            """End the last step's time, and wait if a burst is done."""
            if self.times or self.began:
                self._note()
            if self.left == 0:
                self._answer()
                self.left = self._wait()
            self.began = time.perf_counter()

        def _note(self) -> None:
            asked.synchronize()
            self.times.append(time.perf_counter() - self.began)
            self.left -= 1

        def _answer(self) -> None:
            if self.is_ready:
                records.send(seconds=self.times, peak_bytes=asked.peak_bytes())
            else:
                weights = sum(p.numel() for p in model.parameters())
                records.send(ready=True, weights=weights, first_step_seconds=self.times[0])
                self.is_ready = True
            self.times = []

        def _wait(self) -> int:
            line = sys.stdin.readline()
            if not line:
                sys.exit()
            return int(line)

    ready = [{"input_ids": row, "labels": row} for inputs, _ in tokens(asked) for row in inputs]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder, per_device_train_batch_size=asked.job.sequences, max_steps=10**6,
            optim="adamw_torch_fused", learning_rate=LEARNING_RATE, adam_beta1=BETAS[0],
            adam_beta2=BETAS[1], weight_decay=WEIGHT_DECAY, max_grad_norm=0.0,
            lr_scheduler_type="constant", logging_strategy="no", save_strategy="no", report_to=[],
            use_cpu=asked.device == "cpu", bf16=asked.precision == "bf16", disable_tqdm=True,
            torch_compile=asked.execution == "compile", dataloader_num_workers=0,
        )  # fmt: skip
        trainer = Trainer(model=model, args=arguments, train_dataset=ready, callbacks=[Bursts()])
        trainer.train()


if __name__ == "__main__":
    torch.set_grad_enabled(True)
    main()
