"""How a worker's work can end, in words that say what to do; each is raised where it is noticed."""

from dataclasses import dataclass

from trnbench.analysis.step_time import MIN_SAMPLES
from trnbench.catalog.facts import Diagnosis, diagnose
from trnbench.redact import scrub
from trnbench.run.launch import Worker
from trnbench.schema.records import Outcome, Status, StopReason
from trnbench.schema.units import say_seconds
from trnbench.wire import WIRE_VERSION, Environment, Failed, WireError


@dataclass(frozen=True, slots=True)
class Over(Exception):  # noqa: N818 - the end of a case, not an error of ours
    """The work is over, and how."""

    status: Status
    reason: str
    hint: str | None = None
    detail: str | None = None
    code: str | None = None

    def outcome(self, at_seconds: float) -> Outcome:
        """Return it as the last record, without what tells whose machine this is."""
        return Outcome(
            at_seconds=at_seconds,
            status=self.status,
            reason=scrub(self.reason),
            hint=self.hint,
            detail=scrub(self.detail) if self.detail else None,
            code=self.code,
        )


def of_finish(samples: int, seconds: float, stopped: StopReason | None) -> Over:
    """Say how a worker that did as it was told ended: a limit may have left no time for a figure.

    Args:
        samples: that were timed.
        seconds: that the launch took.
        stopped: what ended the measuring.
    """
    took = say_seconds(seconds)
    if stopped not in ("max_minutes", "max_usd") or samples >= MIN_SAMPLES:
        return Over("finished", f"{samples} samples in {took}")
    when = "before a sample was timed"
    if samples:
        when = f"after {samples} of the {MIN_SAMPLES} samples that a figure needs"
    reason = f"measure.{stopped} was used up {when} ({took})"
    return Over("out_of_budget", reason, allow_more(stopped))


def allow_more(limit: StopReason) -> str:
    """Say which key gives a case more time."""
    return f"allow more {'dollars' if limit == 'max_usd' else 'minutes'} by measure.{limit}"


def of_failure(backend: str, failed: Failed, worker: Worker) -> Over:
    """Say it in our words, if the vendor's text is a known one; what is surely ours stays."""
    known = None
    if failed.reason not in ("unavailable", "wrong_order"):
        known = diagnose(backend, (failed.message, failed.detail, worker.last_words()))
    if known is None:
        return Over(failed.reason, failed.message, failed.hint, failed.detail)
    return _diagnosed(known, failed.detail)


def of_death(backend: str, exit_code: int, worker: Worker, phase: str) -> Over:
    """Say what is known of a worker that is gone without having said so."""
    words = worker.last_words().strip()
    known = diagnose(backend, [words])
    if known is not None:
        return _diagnosed(known, words)
    how = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
    hint = "its last words are in the outcome of its measurement.jsonl"
    if exit_code == -9:
        hint = "signal 9 often is the kernel's out-of-memory killer: try a smaller batch"
    last = words.splitlines()[-1][:200] if words else ""
    reason = f"the worker died ({how}) in phase {phase!r}"
    return Over("died", f"{reason}: {last}" if last else reason, hint, words or None)


def of_garbage(what: str, worker: Worker) -> Over:
    """Say that something came which no worker of ours sends."""
    return Over(
        "garbage",
        f"the worker sent something that is no record: {what}",
        "is `--python` a Python of your own, unchanged?",
        worker.last_words() or None,
    )


def of_unreadable(line: bytes, error: WireError, worker: Worker) -> Over:
    """Say it of a line."""
    return of_garbage(f"{error}: {line[:120].decode(errors='replace')!r}", worker)


def of_hang(silent_seconds: float, limit: str, worker: Worker, phase: str) -> Over:
    """Say that nothing was heard for long; `limit` is the setting that says how long, as typed."""
    return Over(
        "hung",
        f"no word from the worker for {say_seconds(silent_seconds)} in phase {phase!r}, and no "
        "compiler at work",
        f"if that is no hang, allow more than {limit}",
        worker.last_words() or None,
    )


def require_version(environment: Environment) -> None:
    """Make sure that the worker is of our own installation.

    Raises:
        Over: it is not.
    """
    if environment.wire_version != WIRE_VERSION:
        raise Over(
            "wrong_order",
            f"the worker speaks version {environment.wire_version} of the records, "
            f"not {WIRE_VERSION}",
            "this is a mixed installation: install trnbench again",
        )


def _diagnosed(known: Diagnosis, detail: str) -> Over:
    reason = f"{known.fault.meaning}: {known.line}"
    return Over(known.fault.reason, reason, known.fault.fix, detail, known.code)
