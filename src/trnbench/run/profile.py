"""One case under the profiler: a worker asked where its steps' time goes, its answer kept.

results/<time>-<suite>-profile/profile.json    the plan, the device, classes and operators
                               trace.json.gz   for chrome://tracing and ui.perfetto.dev
                               capture/        what a vendor's own profiler wrote, if it did
"""

import contextlib
import gzip
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from trnbench.analysis.profile import make_profile
from trnbench.catalog.backends import INSPECT, backend_of
from trnbench.errors import ConfigError, RunError, TrnbenchError, UnavailableError
from trnbench.protocol.orders import ProfileSteps
from trnbench.protocol.records import Environment, Profiled
from trnbench.redact import redact
from trnbench.run import outcomes
from trnbench.run.environment import environment_of_worker, user_cache_folder
from trnbench.run.outcomes import End
from trnbench.run.session import too_large
from trnbench.run.store import RunFolder, StorageFull, write_whole
from trnbench.run.watch import Interruption
from trnbench.run.worker import converse, start
from trnbench.schema.plan import Plan
from trnbench.schema.profile import Profile

PROFILE_FILE = "profile.json"
TRACE_FILE = "trace.json.gz"
CAPTURE_FOLDER = "capture"

KEPT = (PROFILE_FILE, TRACE_FILE, CAPTURE_FOLDER)

WARMUP_STEPS = 5
"""At least three before a profile's window, says the guide; two more settle a processor's caches.
Source: AWS Neuron documentation, tools/neuron-explorer/how-to-profile-pytorch (2.33)."""


_HOST_NAME = re.compile(r'("host_name"\s*:\s*)"[^"]*"')
_LINES_AT_ONCE = 20_000

RUN_HINT = "does `trnbench run` measure it?"
_HINTS = {"out_of_memory": "lower workload.micro_batch_size or sequence_length"}
DOCTOR_HINT = "see `trnbench doctor`"


class ProfileRun:
    """Profiles one plan into one folder."""

    def __init__(
        self,
        plan: Plan,
        *,
        folder: Path,
        python: str,
        steps: int,
        interruption: Interruption,
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Prepare; nothing is touched yet.

        Args:
            plan: the case.
            folder: where the profile goes; made if it is not there, and must not hold one.
            python: the interpreter that trains.
            steps: under the profiler, and as many without it before and after.
            interruption: looked at between events.
            tell: is given a line for whoever waits, once the worker is about to start.
            clock: of hangs.
        """
        self._plan = plan
        self._folder = folder
        self._python = python
        self._steps = steps
        self._interruption = interruption
        self._tell = tell
        self._clock = clock

    def run(self) -> Profile | None:
        """Profile the case; None if somebody stopped it, and nothing is kept then.

        Raises:
            ConfigError: the folder holds a profile or cannot be written, a variable that the user
                set cannot stand, or the model cannot be trained.
            UnavailableError: a device or a library is not here.
            RunError: the steps failed, or what came of them could not be written.
        """
        variables = variables_of(self._plan, os.environ, user_cache_folder())
        refusal = too_large(self._plan)
        if refusal is not None:
            raise RunError(f"{self._plan.case_id}: {refusal.reason}", hint=refusal.hint or "")
        if any((self._folder / name).exists() for name in KEPT):
            raise ConfigError(
                f"{self._folder}: holds a profile already, and none is overwritten",
                hint="name another folder with `-o`",
            )
        was_there = self._folder.exists()
        held = RunFolder.open(self._folder)
        profile = None
        try:
            profile = self._profile(variables)
        finally:
            held.close()
            if profile is None and not was_there:
                with contextlib.suppress(OSError):  # what a vendor's profiler left stays
                    self._folder.rmdir()
        return profile

    def _profile(self, variables: Mapping[str, str]) -> Profile | None:
        capture = self._folder / CAPTURE_FOLDER
        with tempfile.TemporaryDirectory() as scratch:
            trace = Path(scratch) / "trace.json"
            task = ProfileSteps(
                order=self._plan.order,
                warmup_steps=WARMUP_STEPS,
                steps=self._steps,
                trace=str(trace),
                capture=str(capture.resolve()),
            )
            heard = self._ask(task, variables)
            if heard is None:
                return None
            profile = make_profile(
                self._plan,
                *heard,
                made_at=datetime.now(UTC).isoformat(timespec="seconds"),
                captured_files=sum(1 for file in capture.rglob("*") if file.is_file()),
            )
            try:
                keep_trace(trace, self._folder / TRACE_FILE)
                write_whole(self._folder / PROFILE_FILE, profile.model_dump_json(indent=1))
            except (OSError, StorageFull) as error:
                (self._folder / TRACE_FILE).unlink(missing_ok=True)  # half a profile is none
                raise RunError(
                    f"{self._folder}: the profile could not be written: "
                    f"{getattr(error, 'strerror', None) or error}",
                    hint="free some disk, or name a folder on another one with `-o`",
                ) from error
        return profile

    def _ask(
        self, task: ProfileSteps, variables: Mapping[str, str]
    ) -> tuple[Environment, Profiled] | None:
        """Start the worker and hear it to its end; None if somebody stopped it."""
        self._tell(
            f"{self._plan.case_id}: {WARMUP_STEPS} steps to warm up, {self._steps} under the "
            "profiler, as many without it before and after"
        )
        environment: Environment | None = None
        profiled: Profiled | None = None
        hang = self._plan.measure.hang_seconds
        with start(self._python, [task], [variables]) as job:
            try:
                for _, record in converse(
                    job,
                    backend=self._plan.order.backend,
                    hang=hang,
                    hang_hint=f"if that is no hang, allow more than measure.hang_seconds={hang:g}",
                    clock=self._clock,
                    check=self._interruption.check,
                ):
                    if isinstance(record, Environment):
                        environment = record
                    elif isinstance(record, Profiled):
                        profiled = record
            except End as end:
                if self._interruption.signal is not None:
                    return None
                raise self._error_of(end) from None
            if environment is None or profiled is None:
                raise self._error_of(outcomes.of_garbage("no profile", job.output_tail()))
        return environment, profiled

    def _error_of(self, end: End) -> TrnbenchError:
        if end.status == "bad_model":
            return ConfigError(redact(end.reason), hint=end.hint or DOCTOR_HINT)
        if end.status == "unavailable":
            return UnavailableError(redact(end.reason), hint=end.hint or DOCTOR_HINT)
        hint = end.hint or _HINTS.get(end.status, RUN_HINT)
        return RunError(f"{self._plan.case_id}: {redact(end.reason)}", hint=hint)


def variables_of(plan: Plan, inherited: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return the variables of a worker that profiles, on top of the inherited ones.

    What makes a compiler keep names for a profile is the user's to set here; in a timed run it is
    switched off.

    Raises:
        ConfigError: a variable that the user set cannot stand. Two profilers at once cannot: AWS
            Neuron documentation, tools/neuron-explorer (2.33).
    """
    profiling_variables = backend_of(plan.order.backend).profiling_variables
    if INSPECT in profiling_variables and inherited.get(INSPECT, "0") not in ("", "0"):
        raise ConfigError(
            f"{INSPECT}={inherited[INSPECT]}: the Neuron runtime's own capture and torch's "
            "profiler cannot both be on",
            hint=f"unset {INSPECT}",
        )
    decided = environment_of_worker(plan.order, inherited, home)
    return {name: value for name, value in decided.items() if name not in profiling_variables}


def keep_trace(source: Path, target: Path) -> None:
    """Write a trace compressed, without what tells whose machine it came from.

    Raises:
        OSError: it cannot be written; no part of it is left then.
    """
    beside = target.with_name(f".{target.name}.new")
    try:
        with (
            source.open(encoding="utf-8", errors="replace") as lines,
            gzip.open(beside, "wt", encoding="utf-8", compresslevel=6) as compressed,
        ):
            for part in _parts(lines):
                compressed.write(_HOST_NAME.sub(r'\1"…"', redact(part)))
        beside.replace(target)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def _parts(lines: Iterator[str]) -> Iterator[str]:
    """Yield many lines at once: a trace of a large model has millions."""
    while part := "".join(islice(lines, _LINES_AT_ONCE)):
        yield part
