"""From operators' own times to where a step's time goes, by class.

An operator's own time leaves out that of the operators that it calls, and a moment at which several
threads work is divided between them: so classes sum to the accounted time, and the rest of the
window is unaccounted.
"""

from collections import defaultdict

from trnbench import __version__
from trnbench.catalog.facts import class_of
from trnbench.protocol.parallel import Communication
from trnbench.protocol.records import Environment, OperatorTime, Profiled
from trnbench.schema.plan import Plan
from trnbench.schema.profile import Profile, ProfiledClass, ProfiledOperator


def make_profile(
    plan: Plan,
    environment: Environment,
    profiled: Profiled,
    *,
    made_at: str,
    captured_files: int = 0,
    communication: Communication | None = None,
) -> Profile:
    """Classify and sort a worker's answer; `made_at` is UTC, ISO 8601."""
    is_device = any(operator.device_seconds for operator in profiled.operators)
    window = profiled.window_seconds
    operators = [
        ProfiledOperator(
            name=timed.name,
            within=timed.within,
            operator_class=class_of(timed.name, timed.within),
            calls=timed.calls,
            host_seconds=timed.host_seconds,
            device_seconds=timed.device_seconds,
            share=seconds_of(timed, is_device=is_device) / window,
        )
        for timed in profiled.operators
    ]
    operators.sort(key=lambda operator: (-operator.share, operator.name, operator.within or ""))
    classes = _classes(operators, window, is_device=is_device)
    accounted = sum(each.seconds for each in classes)
    return Profile(
        trnbench_version=__version__,
        made_at=made_at,
        plan=plan,
        environment=environment,
        warmup_steps=profiled.warmup_steps,
        steps=profiled.steps,
        plain_seconds=profiled.plain_seconds,
        profiled_seconds=profiled.profiled_seconds,
        window_seconds=window,
        attributed_to="device" if is_device else "host",
        # Sums of floats may pass the window by a rounding.
        unaccounted_seconds=max(0.0, window - accounted),
        classes=classes,
        operators=operators,
        captured_files=captured_files,
        communication=communication,
    )


def seconds_of(operator: OperatorTime | ProfiledOperator, *, is_device: bool) -> float:
    """Return an operator's own time, on the device or on the host."""
    return (operator.device_seconds or 0.0) if is_device else operator.host_seconds


def _classes(
    operators: list[ProfiledOperator], window: float, *, is_device: bool
) -> list[ProfiledClass]:
    """Return the classes that took any time, the longest first."""
    seconds: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)
    for operator in operators:
        own = seconds_of(operator, is_device=is_device)
        if own > 0:
            seconds[operator.operator_class] += own
            calls[operator.operator_class] += operator.calls
    return [
        ProfiledClass(name=name, calls=calls[name], seconds=own, share=own / window)
        for name, own in sorted(seconds.items(), key=lambda item: (-item[1], item[0]))
    ]
