"""`nccom-test`: AWS's own timing of collectives between NeuronCores.

It claims the cores, so it runs before any worker does, and it leaves folders where it runs. Its
GB/s are GiB/s and are not read; what is read is the size and the mean time, from which any
bandwidth follows. Nobody has run it for this project; a stand-in proves how it is called and read.
Source: AWS Neuron documentation 2.32, tools/neuron-sys-tools/nccom-test.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trnbench.run.machine.files import ROOT
from trnbench.run.machine.tools import find_tool, run_tool
from trnbench.wire import CollectiveTask

TOOL = "nccom-test"
SECONDS = 300.0
_TOOLS = "opt/aws/neuron/bin"
OPERATIONS = {"all_reduce": "allr", "all_gather": "allg", "reduce_scatter": "redsct"}
SIZE_KEY, TIME_KEY = "size(B)", "time:avg(us)"


@dataclass(frozen=True, slots=True)
class Timed:
    """What the tool said of one task: seconds, or why there are none."""

    seconds: float | None
    reason: str | None = None


def find_nccom_test(root: Path = ROOT) -> str | None:
    """Return the tool's path, if it is installed."""
    return find_tool(TOOL, root / _TOOLS)


def time_collective(
    tool: str, task: CollectiveTask, ranks: int, *, seconds: float = SECONDS
) -> Timed:
    """Have one collective timed between the first cores of this machine."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        answer = run_tool(_command(tool, task, ranks, report), seconds, Path(folder))
        if answer.reason is not None:
            return Timed(None, answer.reason)
        try:
            text = report.read_text(encoding="utf-8")
        except OSError:
            last = answer.text.strip().splitlines()[-1:] or ["nothing"]
            return Timed(
                None,
                f"{TOOL} ended with {answer.exit_code} and no report; it said: {last[0][:200]}",
            )
    return read_report(text, task.whole_bytes)


def _command(tool: str, task: CollectiveTask, ranks: int, report: Path) -> Sequence[str]:
    size = str(task.whole_bytes)
    return (
        tool, "-r", str(ranks), "-b", size, "-e", size, "-f", "2", "-d", "fp32",
        OPERATIONS[task.operation], "--non-interactive", "--report-to-json-file", str(report),
    )  # fmt: skip


def read_report(text: str, whole_bytes: int) -> Timed:
    """Read the mean time of one size out of a report; whatever is odd is no time."""
    try:
        results = json.loads(text)["results"]
        rows = [row for row in results if int(row[SIZE_KEY]) == whole_bytes]
        seconds = float(rows[0][TIME_KEY]) / 1e6
    except (ValueError, TypeError, KeyError, IndexError) as error:
        return Timed(
            None, f"{TOOL}'s report has no {TIME_KEY!r} of {whole_bytes} bytes ({error!r:.80})"
        )
    if not 0 < seconds < SECONDS:
        return Timed(None, f"{TOOL} says {seconds:g} s of one operation, which cannot be")
    return Timed(seconds)
