"""Ranks of one job for tests: real processes that meet on a socket which this process bound."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trnbench.protocol.parallel import Seat

ROOT = Path(__file__).parents[1]
SECONDS = 300.0
"""Ranks that wait for each other longer have lost each other."""


@dataclass(frozen=True, slots=True)
class RankEnd:
    """One rank that is over."""

    exit_code: int
    answer: Any
    """What it wrote as JSON to the file that its last argument names; None: nothing."""
    printed: str


def seats_of(world: int, listener: socket.socket) -> list[Seat]:
    """Return the seats of a job on this machine that meets on a listening socket."""
    return [
        Seat(
            rank=rank,
            local_rank=rank,
            world_size=world,
            local_world_size=world,
            port=listener.getsockname()[1],
            store_descriptor=listener.fileno() if rank == 0 else None,
        )
        for rank in range(world)
    ]


def seat_argument(text: str) -> Seat:
    """Return the seat of a rank's first argument."""
    return Seat(**json.loads(text))


def run_ranks(folder: Path, world: int, module: str, *arguments: str) -> list[RankEnd]:
    """Run a module of the tests once for each rank, to the end of all.

    Its arguments: the seat, those given here, and the path for its answer.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        seats = seats_of(world, listener)
        started = [
            _start(
                [module, json.dumps(asdict(seat)), *arguments, str(folder / f"{seat.rank}")], seat
            )
            for seat in seats
        ]
    ends = []
    try:
        for rank, process in enumerate(started):
            printed, _ = process.communicate(timeout=SECONDS)
            answer = folder / f"{rank}"
            told = json.loads(answer.read_text()) if answer.exists() else None
            ends.append(RankEnd(process.returncode, told, printed))
    finally:
        for process in started:
            process.kill()
            process.wait()
    return ends


def _start(command: Sequence[str], seat: Seat) -> subprocess.Popen[str]:
    passed = () if seat.store_descriptor is None else (seat.store_descriptor,)
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        pass_fds=passed,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "LOCAL_RANK": str(seat.local_rank)},
    )
