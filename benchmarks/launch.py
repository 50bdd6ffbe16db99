"""Promise: a job's start-up is no slower than torchrun's, and its throughput at least 0.99 of it.

Two gloo ranks train the same model with DDP: once as the parent's own workers, as `trnbench run`
starts and commands them, and once as a plain loop under `torchrun --standalone`. Start-up is the
time from the launch until every rank has made its first step; throughput is that of the slower
rank, block by block of five steps. The launches alternate in the order ABBA. What `trnbench run`
does beside is off on both sides: the probe, the parity gate, the ceiling.

    python benchmarks/launch.py [--pairs 6]
"""

import argparse
import json
import math
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from scipy.special import stdtrit

from trnbench.cli.prepare import prepare, read_cases
from trnbench.machine.describe import describe_machine
from trnbench.protocol.orders import Finish, RunBlock, Train
from trnbench.protocol.records import Block, Phase
from trnbench.run.environment import environment_of_rank, user_cache_folder
from trnbench.run.meeting import Meeting
from trnbench.run.worker import converse
from trnbench.schema.plan import Plan

RANKS = 2
BLOCKS = 20
BLOCK_STEPS = 5

CONFIG = f"""
name: launch
model: tiny-llama
workload: {{sequence_length: 128, global_batch_size: 8, learning_rate: 0.003, threads: 1}}
parallel: {{data_parallel_replicate_size: {RANKS}}}
device: cpu
measure: {{gate: false, ceiling: false}}
"""

PLAIN_LOOP = """
import json, os, sys, time
sys.path.insert(0, {source!r})
from pathlib import Path
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from trnbench.protocol.codec import from_json
from trnbench.protocol.orders import WorkOrder
from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.build import build_objective, make_stream

order = from_json(WorkOrder, json.loads(Path(sys.argv[1]).read_text())["order"])
dist.init_process_group("gloo")
rank, ranks = dist.get_rank(), dist.get_world_size()
backend = CpuBackend.open(Claim(precision=order.precision, threads=order.threads))
objective = build_objective(order, backend)
model = DistributedDataParallel(objective, gradient_as_bucket_view=True)
weights = list(objective.parameters())
settings = order.optimizer
optimizer = torch.optim.AdamW(
    weights, lr=settings.learning_rate, betas=(settings.beta1, settings.beta2),
    eps=settings.epsilon, weight_decay=settings.weight_decay, fused=True,
)
stream = make_stream(order)
micro, passes = order.micro_batch_size, order.gradient_accumulation_steps


def tokens(step):
    first = (step * ranks + rank) * micro * passes
    batch = stream.numbered(torch.arange(first, first + micro * passes))
    return list(zip(batch.inputs.split(micro), batch.targets.split(micro), strict=True))


def run(step):
    for number, (inputs, targets) in enumerate(step, 1):
        model.require_backward_grad_sync = number == passes
        (model(inputs, targets).total / passes).backward()
    torch.nn.utils.clip_grad_norm_(weights, settings.gradient_clip_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


run(tokens(0))
dist.barrier()
if rank == 0:
    print("began", flush=True)
seconds = []
for block in range({blocks}):
    prepared = [tokens(1 + block * {steps} + step) for step in range({steps})]
    dist.barrier()
    started = time.perf_counter()
    for each in prepared:
        run(each)
    seconds.append(time.perf_counter() - started)
slowest = torch.tensor(seconds)
dist.all_reduce(slowest, op=dist.ReduceOp.MAX)
if rank == 0:
    print(json.dumps(slowest.tolist()), flush=True)
dist.destroy_process_group()
"""


@dataclass(frozen=True, slots=True)
class Launched:
    """What one launch of the job took."""

    start_seconds: float
    """Until every rank had made its first step."""
    block_seconds: float
    """Median over the timed blocks, of the slower rank."""
    processor_seconds: float
    """Of all processes of the launch, from its start to its end."""


def main() -> None:
    """Launch in turns and print each ratio with its 95 % interval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=6, help="an even number from 4 on")
    pairs = parser.parse_args().pairs
    machine = describe_machine().host
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {machine.processor}, {machine.logical_cpus} logical CPUs, "
        f"{machine.operating_system}, Python {platform.python_version()}"
    )
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        config, order, loop = (Path(folder) / name for name in ("c.yaml", "order.json", "loop.py"))
        config.write_text(CONFIG)
        plan = prepare(read_cases([str(config)], {}), sys.executable).plans[0]
        order.write_text(json.dumps({"order": json.loads(plan.model_dump_json())["order"]}))
        source = str(Path(__file__).resolve().parents[1] / "src")
        loop.write_text(PLAIN_LOOP.format(source=source, blocks=BLOCKS, steps=BLOCK_STEPS))
        for pair in range(pairs):
            if pair % 2:
                ours.append(by_trnbench(plan))
                theirs.append(by_torchrun(loop, order))
            else:
                theirs.append(by_torchrun(loop, order))
                ours.append(by_trnbench(plan))
            print(f"pair {pair + 1}: {said('trnbench', ours[-1])}; {said('torchrun', theirs[-1])}")
    for name, figure, promise in (
        ("start-up, wall", "start_seconds", "at most 1"),
        ("processor time of the launch", "processor_seconds", "not promised"),
        ("time of a block", "block_seconds", "at most 1 / 0.99"),
    ):
        ratios = [
            getattr(a, figure) / getattr(b, figure) for a, b in zip(ours, theirs, strict=True)
        ]
        mean, low, high = estimate(ratios)
        print(f"{name}, trnbench / torchrun: {mean:.3f} [{low:.3f}, {high:.3f}]; {promise}")


def said(name: str, launched: Launched) -> str:
    """Write one launch's figures."""
    return (
        f"{name} start {launched.start_seconds:.2f} s, block {1e3 * launched.block_seconds:.0f} "
        f"ms, processor {launched.processor_seconds:.1f} s"
    )


def by_trnbench(plan: Plan) -> Launched:
    """Launch the job as workers of this process, and command them as a run does."""
    order, caches = plan.order, user_cache_folder()
    before, began = processor_seconds(), time.perf_counter()
    ready, blocks, started = 0, dict[int, list[float]](), 0.0
    with Meeting(RANKS) as meeting:
        variables = [environment_of_rank(order, seat, {}, caches) for seat in meeting.seats]
        tasks = [Train(order=order, seat=seat) for seat in meeting.seats]
        with meeting.start(sys.executable, tasks, variables) as job:
            for rank, record in converse(job, backend=order.backend):
                if isinstance(record, Phase) and record.name == "train":
                    ready += 1
                    if ready == RANKS:
                        job.send(RunBlock(steps=1, purpose="warmup"))
                elif isinstance(record, Block):
                    blocks.setdefault(rank, []).append(record.seconds)
                    if len({len(each) for each in blocks.values()}) > 1 or len(blocks) < RANKS:
                        continue
                    started = started or time.perf_counter()
                    if len(blocks[0]) > BLOCKS:
                        job.send(Finish())
                    else:
                        job.send(RunBlock(steps=BLOCK_STEPS, purpose="measure"))
    slowest = [max(each) for each in zip(*(blocks[rank][1:] for rank in range(RANKS)), strict=True)]
    return Launched(started - began, statistics.median(slowest), processor_seconds() - before)


def by_torchrun(loop: Path, order: Path) -> Launched:
    """Launch the plain loop by torchrun."""
    command = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={RANKS}"]
    before, began = processor_seconds(), time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *command, str(loop), str(order)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        if process.stdout is None or process.stdout.readline().strip() != "began":
            raise RuntimeError("torchrun's job did not begin")
        started = time.perf_counter()
        seconds = json.loads(process.stdout.readline())
    return Launched(started - began, statistics.median(seconds), processor_seconds() - before)


def processor_seconds() -> float:
    """Return the processor time of this process and of all children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def estimate(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Return the geometric mean and its 95 % interval.

    Two pairs of opposite order make one estimate: whatever favours the first place cancels.
    """
    logs = [math.log(a * b) / 2 for a, b in zip(ratios[::2], ratios[1::2], strict=True)]
    mean = statistics.fmean(logs)
    half = float(stdtrit(len(logs) - 1, 0.975)) * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


if __name__ == "__main__":
    main()
