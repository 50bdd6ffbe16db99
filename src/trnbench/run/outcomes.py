"""How a worker's work can end, with what to do about it; each is raised where it is noticed."""

import re
from dataclasses import dataclass

from trnbench.catalog.backends import backend_of
from trnbench.catalog.facts import Diagnosis, diagnose
from trnbench.errors import UnavailableError
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
    if stopped == "pruned":
        return End("finished", f"pruned: {samples} samples in {took} show that it is not the best")
    if stopped not in ("max_minutes", "max_usd", "run_max_usd") or samples >= MIN_SAMPLES:
        return End("finished", f"{samples} samples in {took}")
    when = "before a sample was timed"
    if samples:
        when = f"after {samples} of the {MIN_SAMPLES} samples that a figure needs"
    reason = f"{limit_key(stopped)} was used up {when} ({took})"
    return End("out_of_budget", reason, allow_more(stopped))


def allow_more(limit: StopReason) -> str:
    """Say which key gives a case more time."""
    return f"allow more {'minutes' if limit == 'max_minutes' else 'dollars'} by {limit_key(limit)}"


def of_refusal(error: UnavailableError) -> End:
    """Return the end of a launch that could not be started."""
    problem = error.problems[0]
    return End("unavailable", problem.message, problem.hint)


def limit_key(limit: str) -> str:
    """Return what a user sets a limit of time or money by."""
    return "--max-usd" if limit == "run_max_usd" else f"measure.{limit}"


def of_failure(backend: str | None, failed: Failed, output: str) -> End:
    """Say what a vendor's text means if it is a known one, else what the worker said."""
    if backend is None or failed.reason in ("bad_model", "wrong_order"):
        return End(failed.reason, failed.message, failed.hint, failed.detail)
    if failed.reason == "unavailable":
        return _unavailable(backend, failed, output)
    is_open = failed.reason in ("bug", "device_failure")
    # A mistake in a program is none of the device's, whatever the log says.
    log = output if is_open and not _is_mistake(backend, failed) else ""
    known = diagnose(backend, (failed.message, _words(failed.detail)), log)
    if known is not None and (is_open or known.fault.kind == "cause"):
        return _diagnosed(known, failed.detail)
    if failed.reason == "bug" and not _is_mistake(backend, failed):
        return _unknown(failed)
    return End(failed.reason, failed.message, failed.hint, failed.detail)


MISTAKES = frozenset({
    "ArithmeticError", "AssertionError", "AttributeError", "ImportError", "IndexError", "KeyError",
    "LookupError", "ModuleNotFoundError", "NameError", "NotImplementedError", "RecursionError",
    "StopIteration", "SyntaxError", "TypeError", "UnboundLocalError", "ValueError",
    "ZeroDivisionError",
})  # fmt: skip
"""Python's exceptions that mean a mistake in a program."""

VENDORS_PACKAGES = frozenset({
    "intel_extension_for_pytorch", "libneuronxla", "neuronxcc", "nki", "torch_neuronx",
    "torch_xla", "triton",
})  # fmt: skip


def _is_mistake(backend: str, failed: Failed) -> bool:
    """Return whether a program failed, ours or the user's, and not what drives the device."""
    if failed.raised_in in VENDORS_PACKAGES:
        return False
    if failed.error in MISTAKES:
        return True
    # On the processor torch itself is the software; its own classes say that it failed.
    return backend_of(backend).is_host and "." not in (failed.error or "")


def _unknown(failed: Failed) -> End:
    kind = (failed.error or "error").rpartition(".")[2]
    return End(
        "device_failure",
        f"the device's software failed, and trnbench does not know its words: {kind}: "
        f"{failed.message}",
        "the whole text is in the outcome's detail: look for it in the vendor's documents and "
        "issues, and attach it to an issue of trnbench",
        failed.detail,
    )


def _unavailable(backend: str, failed: Failed, output: str) -> End:
    """Add why a device cannot be used, where an error or torch's warning says it."""
    known = diagnose(backend, ("\n".join([failed.message, _words(failed.detail), output]),))
    if known is None or known.fault.reason not in ("device_not_ready", "device_busy"):
        return End(failed.reason, failed.message, failed.hint, failed.detail)
    reason = f"{failed.message}; {known.fault.meaning}: {known.line}"
    return End(failed.reason, reason, known.fault.fix, failed.detail)


_CODE_IN_TRACE = re.compile(r'^  File ".*\n(?:    .*\n)*', re.MULTILINE)


def _words(trace: str) -> str:
    """Return what a traceback's exceptions say, without paths and source lines."""
    return _CODE_IN_TRACE.sub("", trace)


SIGNALS = {
    -9: "signal 9 often is the kernel's out-of-memory killer: try a smaller batch",
    137: "exit code 137 is signal 9, often the container's out-of-memory killer: try a smaller "
    "batch, or give the container more memory",
    -7: "signal 7 often is a full /dev/shm or disk: give a container more by `--shm-size`",
    -4: "signal 4 is an instruction that this processor does not have: install a torch that was "
    "built for it",
}
"""What often is behind an exit code. Source: Linux man-pages, signal(7); Docker's documentation."""


def of_death(backend: str | None, exit_code: int, output: str, phase: str) -> End:
    """Say what is known of a worker that is gone without a last record."""
    output = output.strip()
    known = None if backend is None else diagnose(backend, [], output)
    if known is not None:
        return _diagnosed(known, output)
    how = f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
    last = output.splitlines()[-1][:200] if output else ""
    reason = f"the worker died ({how}) in phase {phase!r}"
    return End(
        "died", f"{reason}: {last}" if last else reason, SIGNALS.get(exit_code), output or None
    )


def of_lost_node(node: int, why: str, phase: str) -> End:
    """Say that nothing comes from a node any more, and so from none of its ranks."""
    return End(
        "died",
        f"node {node} is lost in phase {phase!r}: {why}",
        "did its machine or its container end? Run the same command with the same `-o` folder: "
        "what was measured is kept, and the rest is measured",
    )


def _diagnosed(known: Diagnosis, detail: str) -> End:
    meaning = known.fault.meaning
    reason = f"{meaning}: {known.line.removeprefix(f'{meaning}: ')}"
    return End(known.fault.reason, reason, known.fault.fix, detail, known.code)


def of_garbage(what: str, output: str) -> End:
    """Say that something came which no worker of ours sends."""
    return End(
        "garbage",
        f"the worker sent something that is no record: {what}",
        "is `--python` a Python of your own, unchanged?",
        output or None,
    )


def of_hang(
    silent_seconds: float, hint: str, phase: str, output: str, who: str = "the worker"
) -> End:
    """Say that nothing came for long; `phase` says what each rank was doing."""
    return End(
        "hung",
        f"no record from {who} for {say_seconds(silent_seconds)} in phase {phase}, and no "
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
