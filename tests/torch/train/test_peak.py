"""The child of `trnbench peak`: a task that the device cannot do is told, and the rest is timed."""

import io
import json
from typing import Any

from trnbench.protocol.orders import MatmulTask, Microbench, MoveTask, PeakTask
from trnbench.train.backends.base import Claim
from trnbench.train.backends.cpu import CpuBackend
from trnbench.train.channel import Channel
from trnbench.train.microbench import measure_peaks

TOO_LARGE = MatmulTask(name="large", precision="fp32", m=10**7, n=10**7, k=8, layout="nn")  # 400 TB
COPY = MoveTask(name="copy", motion="copy", array_bytes=4096)


def points(*tasks: PeakTask) -> list[dict[str, Any]]:
    records = io.BytesIO()
    question = Microbench(
        backend="cpu", device_index=None, threads=None, repeats=3,
        seconds_per_repeat=1e-4, tasks=list(tasks),
    )  # fmt: skip
    measure_peaks(question, CpuBackend(Claim()), Channel(records, io.BytesIO()))
    return [json.loads(line) for line in records.getvalue().splitlines()]


def test_a_task_that_does_not_fit_is_told_and_the_next_one_is_timed() -> None:
    large, copy = points(TOO_LARGE, COPY)
    assert (large["seconds"], large["runs"]) == ([], 0)
    assert "not enough memory" in large["reason"]
    assert len(copy["seconds"]) == 3
    assert copy["reason"] is None
    assert copy["runs"] > 1
