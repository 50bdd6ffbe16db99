"""optimum-benchmark, by itself: what it prints of a training run, and what that comes to.

It divides the samples of all timed steps by the mean time of one step, so its throughput is too
high by the number of timed steps. Printed on one line: its own figure, the number of timed steps,
and the mean and median of a step in seconds.

Source: optimum-benchmark 0.6.0, `scenarios/training/scenario.py` (`train_volume`) and
`trackers/latency.py` (`Throughput.from_latency`).
"""

import json
import logging
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers.bursts import Asked, Records, prepare, read_options
from benchmarks.peers.hugging_face import make_config

STEPS, WARMUP_STEPS = 30, 8


def main() -> None:
    """Run its training scenario once, fp32, eager, on the CPU."""
    asked = read_options()
    prepare(asked)
    os.environ["HF_HUB_OFFLINE"] = "1"
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        _save_model(asked, Path(folder) / "model")
        report = _launch(asked, Path(folder))
    seconds = report.train.latency.values
    Records(asked.records_fd).send(
        printed_samples_per_second=report.train.throughput.value,
        steps=len(seconds),
        mean_seconds=statistics.fmean(seconds),
        median_seconds=statistics.median(seconds),
    )


def _save_model(asked: Asked, folder: Path) -> None:
    """Keep a model with weights: without, it asks the hub even for a folder."""
    from transformers import LlamaForCausalLM

    config = make_config(asked.job, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    LlamaForCausalLM(config).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)


def _launch(asked: Asked, folder: Path) -> Any:
    from optimum_benchmark import (
        Benchmark,
        BenchmarkConfig,
        InlineConfig,
        PyTorchConfig,
        TrainingConfig,
    )

    job = asked.job
    arguments = {
        "per_device_train_batch_size": job.sequences, "gradient_accumulation_steps": 1,
        "use_cpu": True,
        "max_grad_norm": 0.0, "optim": "adamw_torch_fused", "output_dir": str(folder / "out"),
        "disable_tqdm": True, "logging_strategy": "no",
    }  # fmt: skip
    training = TrainingConfig(
        max_steps=STEPS, warmup_steps=WARMUP_STEPS, latency=True, training_arguments=arguments,
        dataset_shapes={"dataset_size": STEPS * job.sequences, "sequence_length": job.tokens},
    )  # fmt: skip
    backend = PyTorchConfig(
        model=str(folder / "model"), device="cpu", task="text-generation", library="transformers",
        eval_mode=False, attn_implementation="sdpa",
    )  # fmt: skip
    config = BenchmarkConfig(
        name="step_speed", scenario=training, backend=backend, launcher=InlineConfig()
    )
    return Benchmark.launch(config)


if __name__ == "__main__":
    print(json.dumps({"peer": "optimum-benchmark"}))
    main()
