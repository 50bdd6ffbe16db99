"""Tables: W&B's export of charts, and CSV with named columns.

Source: W&B's chart export: "<x axis>", then for each run "<run> - <metric>" with "__MIN" and
"__MAX" beside it; what the page exports is sampled. A table of one's own has `step` and
`step_time_seconds` (or `elapsed_seconds`, cumulative), and may have `tokens` and `loss`.
"""

import csv
import re

from trnbench.errors import DataError
from trnbench.imports.base import ImportedLog, Reader, Sample, refuse, steps_since
from trnbench.schema.imported import Given

CLOCKS = ("_runtime", "_timestamp", "Relative Time (Process)", "Relative Time (Wall)")
SECONDS = ("step_time_seconds", "seconds", "step_seconds", "time_seconds")
ELAPSED = ("elapsed_seconds", "runtime_seconds")
TOKENS = ("tokens", "tokens_per_step")
NAMED = (*SECONDS, *ELAPSED, "step_time_ms")


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error:  # a cell of more than 128 KiB: no table of figures
        return [line]


class _Table(Reader):
    """Rows under one heading."""

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.heading: list[str] = []
        self.damaged = 0
        self._last: tuple[int, float] | None = None

    def feed(self, line: str) -> bool:
        cells = _cells(line)
        if not any(cell.strip() for cell in cells):
            return False
        if not self.heading:
            self.heading = [cell.strip() for cell in cells]
            self.begin()
        elif len(cells) != len(self.heading):
            self.damaged += 1
        else:
            self.row(dict(zip(self.heading, cells, strict=True)))
        return True

    def begin(self) -> None:
        """Look at the heading."""

    def row(self, row: dict[str, str]) -> None:
        """Take in a row."""
        raise NotImplementedError

    def elapsed(self, step: int, seconds: float, loss: float | None, tokens: float | None) -> None:
        """Add what lies between two rows of a clock that runs on; one that falls was reset."""
        last, self._last = self._last, (step, seconds)
        if last is None or step == last[0]:
            self._last = last or self._last
            return
        if step < last[0] or seconds <= last[1]:
            self.restart()
            return
        steps = step - last[0]
        self.add(Sample(step=step, steps=steps, seconds=(seconds - last[1]) / steps,
                        loss=loss, tokens=tokens))  # fmt: skip


class WandbCsv(_Table):
    """One run of an export; which, says `--run` where there are several."""

    name = "wandb-csv"
    program = "Weights & Biases"

    @classmethod
    def recognise(cls, head: str) -> bool:
        first = next((line for line in head.splitlines() if line.strip()), "")
        return bool(re.search(r'" ?- ?|\S - \S', first)) and "__MIN" in first

    def begin(self) -> None:
        """Choose the run, whose name may hold " - " itself: the metric is what stands last."""
        runs: dict[str, dict[str, str]] = {}
        for name in self.heading[1:]:
            if name.endswith(("__MIN", "__MAX")):
                continue
            run, _, metric = name.rpartition(" - ")
            runs.setdefault(run, {})[metric] = name
        wanted, names = self.given.run, list(runs)
        if wanted is None and len(runs) > 1:
            listed = ", ".join(names[:5]) + (" and more" if len(names) > 5 else "")
            raise DataError(
                f"holds {len(runs)} runs: {listed}", hint=f"name one: --run {names[0]!r}"
            )
        if wanted is not None and wanted.isdigit() and 1 <= int(wanted) <= len(names):
            wanted = names[int(wanted) - 1]
        if wanted is not None and wanted not in runs:
            raise DataError(f"holds no run {wanted!r}", hint=f"it holds {', '.join(names[:5])}")
        self.columns = runs[wanted if wanted is not None else names[0]] if runs else {}
        self.clock = next((self.columns[name] for name in CLOCKS if name in self.columns), None)
        self.axis = self.heading[0]
        if self.clock is None and self.axis in CLOCKS:
            self.clock = self.axis
        losses = ("train/loss", "loss", "train_loss")
        self.loss = next((self.columns[name] for name in losses if name in self.columns), None)
        self.step = next((self.columns[n] for n in ("_step", "step", "train/global_step")
                          if n in self.columns), self.axis)  # fmt: skip

    def row(self, row: dict[str, str]) -> None:
        if self.clock is None or not row[self.clock].strip() or not row[self.step].strip():
            return
        try:
            step, seconds = int(float(row[self.step])), float(row[self.clock])
        except ValueError:
            self.damaged += 1
            return
        loss = self.loss_of(row[self.loss] or None) if self.loss else None
        self.elapsed(step, seconds, loss, None)

    def finish(self) -> ImportedLog:
        if self.clock is None:
            raise refuse(
                "has no time: the export has none of " + ", ".join(CLOCKS),
                "export the run's _runtime beside it",
            )
        log = self.found(time_basis="cumulative", synchronised="unknown", scope="job")
        log.doubt("sampled", "a chart's export is sampled: rows between those that are in it lack")
        log.doubt("evaluation_inside", "the clock runs on while the run evaluates and saves")
        return log


class NamedCsv(_Table):
    """A table of one's own."""

    name = "csv"
    program = "a table"

    @classmethod
    def recognise(cls, head: str) -> bool:
        first = next((line for line in head.splitlines() if line.strip()), "")
        return bool({cell.strip() for cell in _cells(first)} & set(NAMED))

    def begin(self) -> None:
        def first_of(names: tuple[str, ...]) -> str | None:
            return next((name for name in names if name in self.heading), None)

        self.seconds, self.elapsed_name = first_of((*SECONDS, "step_time_ms")), first_of(ELAPSED)
        self.tokens, self.loss = first_of(TOKENS), first_of(("loss", "train_loss"))
        self.step = first_of(("step", "Step", "iteration"))
        if self.seconds is None and self.elapsed_name is None:
            raise refuse(
                "has no column of times",
                f"name one of them {' or '.join((*SECONDS[:1], *ELAPSED))}",
            )

    def row(self, row: dict[str, str]) -> None:
        try:
            keys = (self.seconds, self.elapsed_name, self.tokens)
            numbers = {key: float(row[key]) for key in keys if key and row[key].strip()}
            step = int(float(row[self.step])) if self.step else len(self.samples) + 1
            loss = self.loss_of(row[self.loss] or None) if self.loss else None
        except ValueError:
            self.damaged += 1
            return
        tokens = numbers.get(self.tokens or "")
        if self.seconds in numbers:
            scale = 1e-3 if self.seconds == "step_time_ms" else 1.0
            steps = 1 if self.tokens else steps_since(self.samples, step)
            self.add(Sample(step=step, steps=steps, seconds=numbers[self.seconds] * scale,
                            tokens=tokens, loss=loss))  # fmt: skip
        elif self.elapsed_name in numbers:
            self.elapsed(step, numbers[self.elapsed_name], loss, tokens)

    def finish(self) -> ImportedLog:
        is_cumulative = getattr(self, "seconds", None) is None
        log = self.found(
            time_basis="cumulative" if is_cumulative else "step",
            synchronised="unknown",
            scope="job",
        )
        if self.damaged:
            log.doubt("damaged", f"{self.damaged} rows of the table cannot be read")
        return log
