"""One case under the profiler: a worker profiles its steps, and what it found is kept.

results/<time>-<suite>-profile/profile.json    the plan, the device, classes and operators
                               trace.json.gz   for chrome://tracing and ui.perfetto.dev
                               capture/        what a vendor's own profiler wrote, if it did
"""

import contextlib
import gzip
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from trnbench.analysis.profile import make_profile
from trnbench.catalog.backends import INSPECT, backend_of
from trnbench.errors import ConfigError, RunError, TrnbenchError, UnavailableError
from trnbench.protocol.orders import ProfileSteps
from trnbench.protocol.parallel import ALONE, Communication, Seat
from trnbench.protocol.records import Environment, Profiled
from trnbench.redact import redact
from trnbench.run import outcomes
from trnbench.run.disk import StorageFull, write_whole
from trnbench.run.environment import environment_of_rank, user_cache_folder
from trnbench.run.meeting import Meeting
from trnbench.run.outcomes import End
from trnbench.run.session import too_large
from trnbench.run.store import RunFolder
from trnbench.run.watch import Interruption
from trnbench.run.worker import converse
from trnbench.schema.plan import Plan
from trnbench.schema.profile import Profile

PROFILE_FILE = "profile.json"
TRACE_FILE = "trace.json.gz"
CAPTURE_FOLDER = "capture"

KEPT = (PROFILE_FILE, TRACE_FILE, CAPTURE_FOLDER)

WARMUP_STEPS = 5
"""At least three before a profile's window, says the guide; two more settle a processor's caches.
Source: AWS Neuron documentation, tools/neuron-explorer/how-to-profile-pytorch (2.33)."""

RUN_HINT = "does `trnbench run` measure it?"
DOCTOR_HINT = "see `trnbench doctor`"
_HINTS = {"out_of_memory": "lower workload.micro_batch_size or sequence_length"}

_HOST_NAME = re.compile(r'("host_name"\s*:\s*)"[^"]*"')
_LINES_AT_ONCE = 20_000


def profile_case(
    plan: Plan,
    *,
    folder: Path,
    python: str,
    steps: int,
    interruption: Interruption,
    notify: Callable[[str], None],
) -> Profile | None:
    """Profile a case into a folder; a signal ends it with None, and nothing is kept then.

    Args:
        plan: the case.
        folder: made if it is not there; it must not hold a profile.
        python: the interpreter that trains.
        steps: under the profiler, and as many without it before and after.
        interruption: checked between events.
        notify: receives a line for people, when the worker is about to start.

    Raises:
        ConfigError: the folder holds a profile or cannot be written, the user set a variable that
            does not go with a profiler, or the model cannot be trained.
        UnavailableError: a device or a library is not here.
        RunError: the steps failed, or the profile could not be written.
    """
    variables_of(plan, os.environ, user_cache_folder())  # refused before anything is written
    refusal = too_large(plan)
    if refusal is not None:
        raise RunError(f"{plan.case_id}: {refusal.reason}", hint=refusal.hint or "")
    if any((folder / name).exists() for name in KEPT):
        raise ConfigError(
            f"{folder}: holds a profile already, and none is overwritten",
            hint="name another folder with `-o`",
        )
    was_there = folder.exists()
    held = RunFolder.open(folder)
    profile = None
    try:
        with tempfile.TemporaryDirectory() as scratch:
            task = ProfileSteps(
                order=plan.order,
                warmup_steps=WARMUP_STEPS,
                steps=steps,
                trace=str(Path(scratch) / "trace.json"),
                capture=str((folder / CAPTURE_FOLDER).resolve()),
            )
            notify(
                f"{plan.case_id}: {WARMUP_STEPS} steps to warm up, {steps} under the profiler, "
                "as many without it before and after"
            )
            sent = _run_ranks(plan, python, task, interruption)
            if sent is not None:
                profile = _keep(plan, folder, task, *sent)
    finally:
        held.close()
        if profile is None and not was_there:
            with contextlib.suppress(OSError):  # what a vendor's profiler left is kept
                folder.rmdir()
    return profile


def variables_of(
    plan: Plan, inherited: Mapping[str, str], caches: Path, seat: Seat = ALONE
) -> dict[str, str | None]:
    """Return the variables of a rank of a job that is profiled, on top of the inherited ones.

    The user may set what makes a compiler keep names for a profile; a timed run switches it off.

    Raises:
        ConfigError: the user set a variable that the backend cannot work with, or started another
            profiler: there cannot be two at once (AWS Neuron documentation, tools/neuron-explorer,
            2.33).
    """
    profiling_variables = backend_of(plan.order.backend).profiling_variables
    if INSPECT in profiling_variables and inherited.get(INSPECT, "0") not in ("", "0"):
        raise ConfigError(
            f"{INSPECT}={inherited[INSPECT]}: the Neuron runtime's own capture and torch's "
            "profiler cannot both be on",
            hint=f"unset {INSPECT}",
        )
    decided = environment_of_rank(plan.order, seat, inherited, caches)
    return {name: value for name, value in decided.items() if name not in profiling_variables}


def _run_ranks(
    plan: Plan, python: str, task: ProfileSteps, interruption: Interruption
) -> tuple[Environment, Profiled, Communication | None] | None:
    """Run every rank to its end, and rank 0 under the profiler; None if a signal ended them."""
    sent: dict[type, Any] = {}  # by rank 0, the last of each kind
    caches = user_cache_folder()
    with Meeting.of(plan.order.backend, plan.order.layout.world_size) as meeting:
        tasks = [replace(task, seat=seat) for seat in meeting.seats]
        variables = [variables_of(plan, os.environ, caches, seat) for seat in meeting.seats]
        job = meeting.start(python, tasks, variables)
    with job:
        try:
            for rank, record in converse(
                job,
                backend=plan.order.backend,
                hang=plan.measure.hang_seconds,
                check=interruption.check,
            ):
                if rank == 0:
                    sent[type(record)] = record
            if Environment not in sent or Profiled not in sent:
                raise outcomes.of_garbage("no profile", job.output_tail())
        except End as end:
            if interruption.signal is not None:
                return None
            raise _error_of(plan, end) from None
    return sent[Environment], sent[Profiled], sent.get(Communication)


def _error_of(plan: Plan, end: End) -> TrnbenchError:
    if end.status == "bad_model":
        return ConfigError(redact(end.reason), hint=end.hint or DOCTOR_HINT)
    if end.status == "unavailable":
        return UnavailableError(redact(end.reason), hint=end.hint or DOCTOR_HINT)
    hint = end.hint or _HINTS.get(end.status, RUN_HINT)
    return RunError(f"{plan.case_id}: {redact(end.reason)}", hint=hint)


def _keep(
    plan: Plan,
    folder: Path,
    task: ProfileSteps,
    environment: Environment,
    profiled: Profiled,
    communication: Communication | None,
) -> Profile:
    captured = (folder / CAPTURE_FOLDER).rglob("*")
    profile = make_profile(
        plan,
        environment,
        profiled,
        communication=communication,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        captured_files=sum(1 for file in captured if file.is_file()),
    )
    try:
        keep_trace(Path(task.trace), folder / TRACE_FILE)
        write_whole(folder / PROFILE_FILE, profile.model_dump_json(indent=1))
    except (OSError, StorageFull) as error:
        (folder / TRACE_FILE).unlink(missing_ok=True)  # half a profile is of no use
        raise RunError(
            f"{folder}: the profile could not be written: "
            f"{getattr(error, 'strerror', None) or error}",
            hint="free some disk, or name a folder on another one with `-o`",
        ) from error
    return profile


def keep_trace(source: Path, target: Path) -> None:
    """Write a trace compressed and redacted; raise an `OSError` and leave no part of it."""
    beside = target.with_name(f".{target.name}.new")
    try:
        with (
            source.open(encoding="utf-8", errors="replace") as lines,
            gzip.open(beside, "wt", encoding="utf-8", compresslevel=6) as compressed,
        ):
            # Many lines at once: the trace of a large model has millions.
            while part := "".join(islice(lines, _LINES_AT_ONCE)):
                compressed.write(_HOST_NAME.sub(r'\1"…"', redact(part)))
        beside.replace(target)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
