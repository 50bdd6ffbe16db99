"""Promise: a fault in the training makes the run refuse its own figure, or fails a test.

A copy of the package has one text of its training replaced, as a bug would have it. `trnbench run`
from that copy must call its result invalid; what no run can see must fail the test that is named.

    python -m benchmarks.mutations [--only WORDS]
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # for the environment of a copy, which the tests have

import trnbench
from benchmarks.common.figures import machine_line
from tests.command import environment_of_copy

ROOT = Path(__file__).resolve().parents[1]
CONFIG = """
name: mutated
model: tiny-llama
workload: {sequence_length: 64, global_batch_size: 4, micro_batch_size: 2, threads: 1}
device: cpu
measure: {min_samples: 8, max_samples: 12, min_seconds: 0, ceiling: false, telemetry: false}
"""
WINDOW = ("--set", "model={base: tiny-llama, sliding_window: 16}")
PACKED = ("--set", "workload.document_length=16")
EXPERTS = ("--set", "model=tiny-moe")
BF16 = ("--set", "workload.precision=bf16")
LOOP = "tests/torch/train/test_loop.py"


@dataclass(frozen=True, slots=True)
class Mutation:
    """One text of the package, and what stands there instead."""

    what: str
    file: str
    before: str
    after: str
    settings: tuple[str, ...] = ()
    test: str | None = None
    """What must fail where no run can see the fault."""


MUTATIONS = (
    Mutation("nothing", "train/loop.py", "class TrainingStep:", "class TrainingStep:"),
    Mutation(
        "gradients are not cleared", "train/loop.py",
        "        self._optimizer.zero_grad(set_to_none=True)\n"
        "        self._parts.drop_gradients()\n",
        "",
    ),
    Mutation(
        "gradients are not clipped", "train/parallel/norm.py",
        "clip_grad_norm_(parts.parameters, limit)", "clip_grad_norm_(parts.parameters, 1e9)",
        test=f"{LOOP}::test_a_step_is_the_textbook_one",
    ),
    Mutation(
        "passes are summed and not averaged", "train/loop.py",
        "share = 1.0 / last", "share = 1.0",
    ),
    Mutation(
        "the last pass alone counts", "train/loop.py",
        "                (losses.total", "                number == last and (losses.total",
    ),
    Mutation(
        "the learning rate has no warm-up", "train/loop.py",
        "if warmup else 1.0", "if not warmup else 1.0",
    ),
    Mutation(
        "the learning rate is a fifth too high", "train/loop.py",
        "self._settings.learning_rate * part", "self._settings.learning_rate * part * 1.2",
    ),
    Mutation(
        "the first moment is kept for longer", "train/optimizer.py",
        "betas=(settings.beta1, settings.beta2)", "betas=(0.99, settings.beta2)",
    ),
    Mutation(
        "the second moment is kept for longer", "train/optimizer.py",
        "betas=(settings.beta1, settings.beta2)", "betas=(settings.beta1, 0.999)",
    ),
    Mutation(
        "weights do not decay", "train/optimizer.py",
        '"weight_decay": settings.weight_decay', '"weight_decay": 0.0',
        test=f"{LOOP}::test_a_step_is_the_textbook_one",
    ),
    Mutation(
        "every second step after the 30th is skipped", "train/loop.py",
        "        self._optimizer.step()\n",
        "        if self.steps_done < 30 or self.steps_done % 2:\n"
        "            self._optimizer.step()\n",
        test=f"{LOOP}::test_late_steps_move_the_weights_as_early_ones_do",
    ),
    Mutation(
        "half of the rows have no loss", "train/objective.py",
        "linear(rows_RD, weight_VD, bias_V).float(), targets_R.long()",
        "linear(rows_RD, weight_VD, bias_V).float()[::2], targets_R.long()[::2]",
    ),
    Mutation(
        "targets are the inputs", "train/data.py",
        "tokens[:, 1:].contiguous()", "tokens[:, :-1].contiguous()",
        test="tests/torch/train/test_data.py",
    ),
    Mutation(
        "attention sees the future", "train/layers/attention.py",
        "        is_causal=is_causal,\n        scale=scale,", "        scale=scale,",
    ),
    Mutation(
        "attention is scaled twice", "train/layers/attention.py",
        "scale = width**-0.5", "scale = 1.0 / width",
    ),
    Mutation(
        "keys are not rotated", "train/layers/attention.py",
        "            rotate(k_BKTH, cosines_TH, sines_TH),\n", "            k_BKTH,\n",
    ),
    Mutation(
        "the rotary base is another", "train/layers/rotary.py",
        "1.0 / shape.rope_theta**pairs", "1.0 / (shape.rope_theta * 1.25) ** pairs",
    ),
    Mutation(
        "grouped heads take turns with keys", "train/layers/attention.py",
        "        q_BNTH = self.query_norm(self.query(x_BTD).view(by_head)).transpose(1, 2)\n",
        "        q_BNTH = self.query_norm(self.query(x_BTD).view(by_head)).transpose(1, 2)\n"
        "        q_BNTH = q_BNTH.unflatten(1, (-1, self.key.out_features // self.head_dim))"
        ".transpose(1, 2).flatten(1, 2)\n",
    ),
    Mutation(
        "the window is ignored", "train/layers/attention.py",
        "Mask(window=shape.sliding_window, ", "Mask(", WINDOW,
    ),
    Mutation(
        "packed documents see each other", "train/layers/attention.py",
        ", document_length=document_length)", ")", PACKED,
    ),
    Mutation(
        "a token takes one expert too few", "train/layers/moe.py",
        "torch.topk(shares_ME, taken, dim=-1)",
        "torch.topk(shares_ME, max(taken - 1, 1), dim=-1)", EXPERTS,
    ),
    Mutation(
        "experts' weights are not normalised", "train/layers/moe.py",
        "        if self.experts.normalized:\n", "        if not self.experts.normalized:\n",
        EXPERTS,
    ),
    Mutation(
        "a block's residual is left out", "train/models/llama.py",
        "return x_BTD + self.mlp(self.mlp_norm(x_BTD))",
        "return self.mlp(self.mlp_norm(x_BTD))",
    ),
    Mutation(
        "fp32 is computed where bf16 was asked for", "train/precision.py",
        'return torch.float32 if precision == "fp32" else torch.bfloat16',
        "return torch.float32", BF16,
    ),
    Mutation(
        "blocks are recomputed though it was not asked", "train/build.py",
        "model.blocks.recompute = order.step.recompute", 'model.blocks.recompute = "full"',
        test=f"{LOOP}::test_each_block_runs_as_often_as_was_asked_for",
    ),
    Mutation(
        "tokens are made while the clock runs", "train/worker.py",
        "            step.run, prepared, backend",
        "            lambda tokens, outcomes: (prepare_tokens(\n"
        "                stream, order, first_step, 1, backend, mesh\n"
        "            ), step.run(tokens, outcomes)), prepared, backend",
        test=f"{LOOP}::test_no_token_is_made_while_the_clock_runs",
    ),
)  # fmt: skip


def main() -> None:
    """Plant each fault, and print what noticed it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="part of the faults' descriptions")
    only = parser.parse_args().only
    print(machine_line())
    noticed: list[bool] = []
    for mutation in MUTATIONS:
        if only not in mutation.what:
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = notice(mutation, Path(folder))
        print(f"{mutation.what:48s} {found or 'NOT NOTICED'}", flush=True)
        if mutation.what == "nothing":
            assert found is None, "right training was refused"
        else:
            noticed.append(found is not None)
    print(f"noticed: {sum(noticed)} of {len(noticed)} planted faults")


def notice(mutation: Mutation, folder: Path) -> str | None:
    """Return the checks that void a run with the fault, or the test that fails; None if nothing."""
    package = folder / "copy" / "trnbench"
    shutil.copytree(
        Path(trnbench.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    place = package / mutation.file
    text = place.read_text()
    assert text.count(mutation.before) == 1, f"{mutation.file} has changed: {mutation.what}"
    place.write_text(text.replace(mutation.before, mutation.after))
    (folder / "mutated.yaml").write_text(CONFIG)
    environment = {**environment_of_copy(package.parent), "XDG_CACHE_HOME": str(folder / "cache")}
    if (checks := _run(mutation, folder, environment)) is not None:
        return f"run: {checks}"
    if mutation.test is None:
        return None
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--basetemp", str(folder / "tests"), mutation.test],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return f"test: {mutation.test.rpartition('/')[2]}" if done.returncode == 1 else None


def _run(mutation: Mutation, folder: Path, environment: dict[str, str]) -> str | None:
    """Return which checks of a run are invalid, or how it failed; None where it has a figure."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "trnbench", "run", "mutated.yaml", "-o", "run"),
            *("--format", "json", *mutation.settings),
        ],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if not done.stdout:
        raise RuntimeError(f"{mutation.what}: {done.stderr}")
    (result,) = json.loads(done.stdout)["results"]
    if result["standing"] == "failed":
        return f"failed: {result['outcome_reason']}"
    wrong = [check["name"] for check in result["checks"] if check["verdict"] == "invalid"]
    return ", ".join(wrong) or None


if __name__ == "__main__":
    main()
