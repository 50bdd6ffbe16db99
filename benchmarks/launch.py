"""Promise: a job's start-up is no slower than torchrun's, and its throughput at least 0.99 of it.

Two gloo ranks train the same model with DDP: once as the parent's own workers, as `trnbench run`
starts and commands them, and once as a plain loop under `torchrun --standalone`. Start-up is the
time from the launch until every rank has made its first step. Then both jobs are there, one of them
waits, and they make blocks of five steps in turns, so that other load meets both alike; a block's
time is that of the slower rank. Each pair of jobs is started anew, in the order ABBA. What
`trnbench run` does beside is off on both sides: the probe, the parity gate, the ceiling.

    python -m benchmarks.launch [--pairs 6]
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.common.figures import machine_line, paired_ratio
from trnbench.cli.prepare import prepare, read_cases
from trnbench.protocol.orders import Finish, RunBlock, Train
from trnbench.protocol.records import Block, ChildRecord, Phase
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
for block in range({blocks}):
    if rank == 0:
        sys.stdin.readline()
    dist.barrier()
    prepared = [tokens(1 + block * {steps} + step) for step in range({steps})]
    dist.barrier()
    started = time.perf_counter()
    for each in prepared:
        run(each)
    slowest = torch.tensor(time.perf_counter() - started)
    dist.all_reduce(slowest, op=dist.ReduceOp.MAX)
    if rank == 0:
        print(slowest.item(), flush=True)
dist.destroy_process_group()
"""


class OurJob:
    """The job as workers of this process, commanded as a run does."""

    def __init__(self, plan: Plan) -> None:
        """Start it and make the first step."""
        order, caches = plan.order, user_cache_folder()
        with Meeting(RANKS) as meeting:
            variables = [environment_of_rank(order, seat, {}, caches) for seat in meeting.seats]
            tasks = [Train(order=order, seat=seat) for seat in meeting.seats]
            self._job = meeting.start(sys.executable, tasks, variables)
        self._records = converse(self._job, backend=order.backend)
        self._hear(lambda record: isinstance(record, Phase) and record.name == "train")
        self.block(steps=1)

    def _hear(self, is_it: Callable[[ChildRecord], bool]) -> list[ChildRecord]:
        """Return the next such record of each rank."""
        heard: list[ChildRecord] = []
        while len(heard) < RANKS:
            _, record = next(self._records)
            if is_it(record):
                heard.append(record)
        return heard

    def block(self, steps: int = BLOCK_STEPS) -> float:
        """Make a block, and return the slower rank's seconds."""
        self._job.send(RunBlock(steps=steps, purpose="measure"))
        blocks = self._hear(lambda record: isinstance(record, Block))
        return max(block.seconds for block in blocks if isinstance(block, Block))

    def end(self) -> None:
        """Let it finish, and leave no process."""
        with self._job:
            self._job.send(Finish())
            for _ in self._records:
                pass


class TorchrunJob:
    """The same job as a plain loop under torchrun."""

    def __init__(self, loop: Path, order: Path) -> None:
        """Start it and make the first step."""
        command = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={RANKS}"]
        self._process = subprocess.Popen(
            [sys.executable, *command, str(loop), str(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        if self._answer() != "began":
            raise RuntimeError("torchrun's job did not begin")

    def _answer(self) -> str:
        if self._process.stdout is None:
            raise RuntimeError("the process was started without standard output")
        return self._process.stdout.readline().strip()

    def block(self) -> float:
        """Make a block, and return the slower rank's seconds."""
        if self._process.stdin is None:
            raise RuntimeError("the process was started without standard input")
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return float(self._answer())

    def end(self) -> None:
        """Wait for its end."""
        with self._process:
            pass


AnyJob = OurJob | TorchrunJob


def main() -> None:
    """Launch in turns and print each ratio with its 95 % interval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=6, help="an even number from 4 on")
    pairs = parser.parse_args().pairs
    print(machine_line())
    starts, processors, blocks = list[float](), list[float](), list[float]()
    with tempfile.TemporaryDirectory() as folder:
        config, order, loop = (Path(folder) / name for name in ("c.yaml", "order.json", "loop.py"))
        config.write_text(CONFIG)
        plan = prepare(read_cases([str(config)], {}), sys.executable).plans[0]
        order.write_text(json.dumps({"order": json.loads(plan.model_dump_json())["order"]}))
        source = str(Path(__file__).resolve().parents[1] / "src")
        loop.write_text(PLAIN_LOOP.format(source=source, blocks=BLOCKS, steps=BLOCK_STEPS))
        for pair in range(pairs):
            makers: list[Callable[[], AnyJob]] = [
                lambda: OurJob(plan),
                lambda: TorchrunJob(loop, order),
            ]
            ours, theirs = in_turns(makers, is_ours_first=pair % 2 == 1)
            starts.append(ours.start_seconds / theirs.start_seconds)
            processors.append(ours.processor_seconds / theirs.processor_seconds)
            ratios = [a / b for a, b in zip(ours.blocks, theirs.blocks, strict=True)]
            blocks.append(statistics.median(ratios))
            print(
                f"pair {pair + 1}: {said('trnbench', ours)}; {said('torchrun', theirs)}; ratio of "
                f"blocks side by side {blocks[-1]:.3f}",
                flush=True,
            )
    for name, ratios, promise in (
        ("start-up, wall", starts, "at most 1"),
        ("processor time of the launch", processors, "not promised"),
        ("time of a block", blocks, f"at most {1 / 0.99:.3f}"),
    ):
        mean, low, high = paired_ratio(ratios)
        print(f"{name}, trnbench / torchrun: {mean:.3f} [{low:.3f}, {high:.3f}]; {promise}")


@dataclass(slots=True)
class Launched:
    """What one launch of the job took."""

    start_seconds: float = 0.0
    """Until every rank had made its first step."""
    processor_seconds: float = 0.0
    """Of all processes of the launch, to the end."""
    blocks: list[float] = field(default_factory=list)
    """Of the slower rank."""


def in_turns(makers: Sequence[Callable[[], AnyJob]], *, is_ours_first: bool) -> list[Launched]:
    """Start both jobs, make their blocks in turns, and end them; return ours first."""
    launched = [Launched(), Launched()]
    order = (0, 1) if is_ours_first else (1, 0)
    jobs: dict[int, AnyJob] = {}
    for side in order:
        began = time.perf_counter()
        jobs[side] = makers[side]()
        launched[side].start_seconds = time.perf_counter() - began
    for number in range(BLOCKS):
        for side in order if number % 2 else reversed(order):
            launched[side].blocks.append(jobs[side].block())
    for side in order:
        before = processor_seconds()
        jobs[side].end()
        launched[side].processor_seconds = processor_seconds() - before
    return launched


def said(name: str, launched: Launched) -> str:
    """Write one launch's figures."""
    return (
        f"{name} start {launched.start_seconds:.2f} s, block "
        f"{1e3 * statistics.median(launched.blocks):.0f} ms, "
        f"processor {launched.processor_seconds:.1f} s"
    )


def processor_seconds() -> float:
    """Return the processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
