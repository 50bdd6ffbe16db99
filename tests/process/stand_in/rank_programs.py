"""What the tests of the stand-in run on several ranks: each function returns what can be JSON.

rank_programs.py DESCRIPTOR NAME...    on rank 0, which has the listening socket
rank_programs.py - NAME...             on the others, and where no ranks meet
"""

import dataclasses
import datetime
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

dist: Any = torch.distributed
NEURON: Any = torch.get_device_module("neuron")
STAND_IN = NEURON._stand_in
PATIENCE = datetime.timedelta(seconds=20)
STEPS, ROWS, WIDTH = 5, 8, 16
RANK, WORLD = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def meet(descriptor: str) -> None:
    """Make the group of all ranks."""
    listening = {} if descriptor == "-" else {"master_listen_fd": int(descriptor)}
    store = dist.TCPStore(
        os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), WORLD, RANK == 0,
        wait_for_workers=False, **listening,
    )  # fmt: skip
    dist.init_process_group("neuron", store=store, rank=RANK, world_size=WORLD)


def collectives() -> dict[str, Any]:
    """Find the values of each collective, and how often each was counted."""
    mine = torch.full((2,), float(RANK + 1), device="neuron")
    summed, sent = mine.clone(), mine.clone()
    dist.all_reduce(summed)
    dist.broadcast(sent, 1)
    gathered = [torch.empty_like(mine) for _ in range(WORLD)]
    dist.all_gather(gathered, mine)
    joined = torch.empty(2 * WORLD, device="neuron")
    dist.all_gather_single(joined, mine)
    part = torch.empty(1, device="neuron")
    dist.reduce_scatter_single(part, mine)
    swapped = torch.empty_like(mine)
    dist.all_to_all_single(swapped, mine)
    received = torch.empty_like(mine)
    exchange = [
        dist.P2POp(dist.isend, mine, (RANK + 1) % WORLD),
        dist.P2POp(dist.irecv, received, (RANK - 1) % WORLD),
    ]
    for work in dist.batch_isend_irecv(exchange):
        work.wait()
    objects = [None] * WORLD
    dist.all_gather_object(objects, {"rank": RANK})
    counted = {name: n for name, n in STAND_IN.tracker.calls.items() if name.startswith("c10d::")}
    return {
        "all_reduce": summed.tolist(),
        "broadcast": sent.tolist(),
        "all_gather": [each.tolist() for each in gathered],
        "all_gather_single": joined.tolist(),
        "reduce_scatter": part.tolist(),
        "all_to_all": swapped.tolist(),
        "received": received.tolist(),
        "objects": objects,
        "counted": counted,
    }


def missing_wait() -> dict[str, str]:
    """Find what a collective reads as before and after it is waited for."""
    x = torch.ones(1, device="neuron")
    work = dist.all_reduce(x, async_op=True)
    before = x.item()
    work.wait()
    return {"before": str(before), "after": str(x.item())}


def refusals() -> dict[str, str]:
    """Find what the group says to what it cannot do."""
    pair = dist.new_group(list(range(WORLD)))
    host = dist.new_group(backend="gloo")
    on_host = torch.ones(1)
    dist.all_reduce(on_host, group=host)
    number, numbers = torch.ones((), device="neuron"), [torch.ones((), device="neuron")] * WORLD
    uneven = torch.ones(3, device="neuron")
    return {
        "cpu": error_of(lambda: dist.all_reduce(torch.ones(1))),
        "host group": str(on_host.item()),
        "barrier of a part": error_of(lambda: pair.barrier()),
        "number": error_of(lambda: dist.all_gather(numbers, number)),
        "uneven": error_of(lambda: dist.all_to_all_single(uneven, uneven, [1, 2], [1, 2])),
        "twice": error_of(lambda: dist.init_process_group("neuron", store=dist.HashStore())),
    }


def names() -> dict[str, str]:
    """Find the backend's name in a group, and in one that fell back to gloo."""
    device = torch.device("neuron")
    found = dist.group.WORLD._get_backend(device).name()
    was = STAND_IN.settings
    STAND_IN.settings = dataclasses.replace(was, collectives="gloo")
    fallen = dist.new_group(list(range(WORLD)))
    STAND_IN.settings = was
    x = torch.ones(1, device="neuron")
    dist.all_reduce(x, group=fallen)
    return {
        "found": found,
        "fallen": fallen._get_backend(device).name(),
        "asked": dist.get_backend(fallen),
        "sum": str(x.item()),
    }


def skew() -> dict[str, float]:
    """Find a slow rank's device time, and when each rank's device ends a collective."""
    was = STAND_IN.settings
    STAND_IN.settings = dataclasses.replace(
        was, op_seconds=1e-4, link_bytes_per_second=1e6, slowness=3.0 if RANK == 1 else 1.0
    )
    given = STAND_IN.clock.seconds_given
    x = torch.ones(100, device="neuron")
    for _ in range(10):
        x.add_(1)
    own = STAND_IN.clock.seconds_given - given
    given = STAND_IN.clock.seconds_given
    dist.all_reduce(x)
    of_collective = STAND_IN.clock.seconds_given - given
    ended = STAND_IN.clock.busy_until
    STAND_IN.settings = was
    return {"own": own, "collective": of_collective, "ended": ended}


def training() -> dict[str, Any]:
    """Find the losses of DDP and FSDP2, and of one process of the CPU on the same rows."""
    torch.manual_seed(1)
    batches = [torch.randn(ROWS * WORLD, WIDTH) for _ in range(STEPS)]
    mine = [batch.chunk(WORLD)[RANK] for batch in batches]
    sharded = make_model().to("neuron")
    mesh = init_device_mesh("neuron", (WORLD,))
    for layer in (sharded[0], sharded[2]):
        fully_shard(layer, mesh=mesh)
    whole = sharded[0].weight.numel()
    fully_shard(sharded, mesh=mesh)
    return {
        "cpu": losses_of(make_model(), batches, "cpu"),
        "ddp": losses_of(DistributedDataParallel(make_model().to("neuron")), mine, "neuron"),
        "fsdp2": losses_of(sharded, mine, "neuron"),
        "share": sharded[0].weight.to_local().numel() / whole,
    }


def freed() -> dict[str, Any]:
    """Find what a freed storage reads as, and whether its bytes are counted."""
    x = torch.ones(1000, device="neuron")
    held = NEURON.memory_allocated()
    x.untyped_storage().resize_(0)
    after = NEURON.memory_allocated()
    read = x[0].item()
    x.untyped_storage().resize_(4000)
    return {
        "freed": held - after,
        "refilled": NEURON.memory_allocated() - after,
        "read": str(read),
        "half": error_of(lambda: x.untyped_storage().resize_(2000)),
    }


def make_model() -> Any:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(WIDTH, 32), nn.GELU(), nn.Linear(32, WIDTH))


def losses_of(model: nn.Module, batches: list[torch.Tensor], device: str) -> list[float]:
    """Train, and return the losses of this rank's rows; their mean over ranks is the job's."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for rows in batches:
        x = rows.to(device)
        loss = (model(x) - x).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def rules() -> dict[str, str]:
    """Find what a group says that is made at the wrong time or place: in one process."""
    was = STAND_IN.settings
    found = {}
    STAND_IN.settings = dataclasses.replace(was, visible_cores="0-3")
    found["range"] = make_group(2)
    STAND_IN.settings = was
    found["core of another"] = make_group(2)
    STAND_IN.settings = dataclasses.replace(was, visible_cores="1")
    torch.ones(1, device="neuron")
    found["touched before"] = make_group(1)
    STAND_IN.is_started = False
    STAND_IN.settings = dataclasses.replace(was, visible_cores="2")
    found["in order"] = make_group(1)
    found["twice"] = make_group(1)
    dist.destroy_process_group()
    found["again"] = make_group(1)
    return found


def make_group(world: int) -> str:
    settings = {"store": dist.HashStore(), "rank": 0, "world_size": world, "timeout": PATIENCE}
    return error_of(lambda: dist.init_process_group("neuron", **settings))


def error_of(call: Callable[[], object]) -> str:
    """Return the error's type and text; empty where there is none."""
    try:
        call()
    except (RuntimeError, ValueError, IndexError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


if __name__ == "__main__":
    descriptor, *programs = sys.argv[1:]
    if WORLD > 1:
        meet(descriptor)
    answers = {name: globals()[name]() for name in programs}
    if WORLD > 1:
        dist.all_reduce(torch.ones(1, device="neuron"))  # no rank leaves before the others
    sys.stdout.write(json.dumps(answers))
    sys.stdout.flush()
    os._exit(0)
