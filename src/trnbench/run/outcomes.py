"""How a worker's work can end, with what to do about it; each is raised where it is noticed."""

from dataclasses import dataclass

from trnbench.catalog.facts import Diagnosis, diagnose
from trnbench.protocol.orders import PROTOCOL_VERSION
from trnbench.protocol.records import Failed
from trnbench.redact import redact
from trnbench.schema.measurement import Outcome, Status, StopReason
from trnbench.units import say_seconds


@dataclass(eq=False)  # not frozen: its traceback is set while it passes through
class End(Exception):  # noqa: N818 - how a job ended, not an error of ours
    """A job is over, and how."""

    status: Status
    reason: str
    hint: str | None = None
    detail: str | None = None
    code: str | None = None

    def outcome(self, at_seconds: float) -> Outcome:
        """Return it as the last record, redacted."""
        return Outcome(
            at_seconds=at_seconds,
            status=self.status,
            reason=redact(self.reason),
            hint=self.hint,
            detail=redact(self.detail) if self.detail else None,
            code=self.code,
        )


def of_finish(samples: int, seconds: float, stopped: StopReason | None) -> End:
    """Return the end of a launch that did its task: a limit may have left no time for a figure."""
    from trnbench.analysis.step_time import MIN_SAMPLES  # here, for it imports numpy

    took = say_seconds(seconds)
    if stopped not in ("max_minutes", "max_usd") or samples >= MIN_SAMPLES:
        return End("finished", f"{samples} samples in {took}")
    when = "before a sample was timed"
    if samples:
        when = f"after {samples} of the {MIN_SAMPLES} samples that a figure needs"
    reason = f"measure.{stopped} was used up {when} ({took})"
    return End("out_of_budget", reason, allow_more(stopped))


def allow_more(limit: StopReason) -> str:
    """Say which key gives a case more time."""
    return f"allow more {'dollars' if limit == 'max_usd' else 'minutes'} by measure.{limit}"


def of_failure(backend: str | None, failed: Failed, output: str) -> End:
    """Say what a vendor's text means if it is a known one, else what the worker said."""
    known = None
    if backend is not None and failed.reason not in ("unavailable", "bad_model", "wrong_order"):
        known = diagnose(backend, (failed.message, failed.detail, output))
    if known is None:
        return End(failed.reason, failed.message, failed.hint, failed.detail)
    return _diagnosed(known, failed.detail)


def of_death(backend: str | None, exit_code: int, output: str, phase: str) -> End:
    """Say what is known of a worker that is gone without a last record."""
    output = output.strip()
    known = None if backend is None else diagnose(backend, [output])
    if known is not None:
        return _diagnosed(known, output)
    how = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
    hint = None
    if exit_code == -9:
        hint = "signal 9 often is the kernel's out-of-memory killer: try a smaller batch"
    last = output.splitlines()[-1][:200] if output else ""
    reason = f"the worker died ({how}) in phase {phase!r}"
    return End("died", f"{reason}: {last}" if last else reason, hint, output or None)


def _diagnosed(known: Diagnosis, detail: str) -> End:
    reason = f"{known.fault.meaning}: {known.line}"
    return End(known.fault.reason, reason, known.fault.fix, detail, known.code)


def of_garbage(what: str, output: str) -> End:
    """Say that something came which no worker of ours sends."""
    return End(
        "garbage",
        f"the worker sent something that is no record: {what}",
        "is `--python` a Python of your own, unchanged?",
        output or None,
    )


def of_hang(silent_seconds: float, hint: str, phase: str, output: str) -> End:
    """Say that nothing came for long; `phase` says what each rank was doing."""
    return End(
        "hung",
        f"no record from the worker for {say_seconds(silent_seconds)} in phase {phase}, and no "
        "compiler at work",
        hint,
        output or None,
    )


def of_version(version: int) -> End:
    """Say that the worker is of another installation than the parent."""
    return End(
        "wrong_order",
        f"the worker has version {version} of the protocol, not {PROTOCOL_VERSION}",
        "this is a mixed installation: install trnbench again",
    )
