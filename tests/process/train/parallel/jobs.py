"""Starting the ranks of one job, each a process, on this machine's loopback."""

import os
import subprocess
import sys
from pathlib import Path


def run_ranks(module: str, folder: Path, ranks: int) -> None:
    """Run `python -m module FOLDER RANK RANKS` for every rank, all at once, to the end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", module, str(folder), str(rank), str(ranks)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(ranks)
    ]
    try:
        printed = [process.communicate(timeout=600)[0] for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    failed = [
        f"rank {rank}, exit code {process.returncode}:\n{text}"
        for rank, (process, text) in enumerate(zip(running, printed, strict=True))
        if process.returncode
    ]
    assert not failed, "\n".join(failed)
