"""Which trainers are compared: each is a process that makes bursts of steps on command."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trnbench.catalog.backends import GLIBC, KEEP_TRACED, UNFRAGMENTED

ROOT = Path(__file__).resolve().parents[2]


class Trainer(NamedTuple):
    """Whose step is timed."""

    module: str
    """In `benchmarks/peers`."""
    library: str | None = None
    """What it must be able to import, and the environment that has it; None: torch alone."""
    environment: str | None = None
    precision: str | None = None
    """Where it is another than the setting's."""
    is_for_gpus: bool = False
    """Whether it needs triton, which comes with a torch for GPUs alone."""


PEER_TRAINERS: Mapping[str, Trainer] = {
    "minimal loop": Trainer("minimal"),
    "Hugging Face, own loop": Trainer("hugging_face", "transformers", "hugging_face"),
    "Hugging Face Trainer": Trainer("hugging_face_trainer", "accelerate", "hugging_face"),
    "litgpt": Trainer("litgpt_loop", "litgpt", "litgpt"),
    "torchtitan": Trainer("torchtitan_loop", "torchtitan", "torchtitan", is_for_gpus=True),
}
"""By the name that is printed."""


class Contestant:
    """A trainer's process, which makes bursts of steps on command."""

    def __init__(
        self, module: str, python: str, arguments: Sequence[str], variables: Mapping[str, str]
    ) -> None:
        self._module = module
        records, records_end = os.pipe()
        self._process = subprocess.Popen(
            [python, "-m", f"benchmarks.peers.{module}", "--records-fd", str(records_end),
             *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            pass_fds=(records_end,), cwd=ROOT,
            env={
                **os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "HF_HUB_OFFLINE": "1",
                # As `trnbench run` starts its workers; the same for all.
                KEEP_TRACED: "1", GLIBC: UNFRAGMENTED, **variables,
            },
        )  # fmt: skip
        os.close(records_end)
        self._records = os.fdopen(records)

    def hear(self) -> dict[str, Any]:
        """Return its next record."""
        line = self._records.readline()
        if not line:
            _, said = self._process.communicate()
            raise SystemExit(f"a peer ended: {self._module}\n{said}")
        heard: dict[str, Any] = json.loads(line)
        return heard

    def burst(self, steps: int) -> dict[str, Any]:
        """Let it make so many steps."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{steps}\n")
        self._process.stdin.flush()
        return self.hear()

    def end(self) -> None:
        """Close its input, which ends it."""
        self._process.communicate()
        self._records.close()

    def cpu_seconds(self) -> float:
        """Return the processor time that it has had."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
