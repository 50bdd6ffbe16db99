"""A profile as a report: where the time went, by class and by operator."""

from collections.abc import Iterator

from trnbench.analysis.profile import seconds_of
from trnbench.catalog.backends import backend_of
from trnbench.catalog.facts import OTHERS
from trnbench.protocol.parallel import Communication
from trnbench.reports import document as doc
from trnbench.reports.texts import plural
from trnbench.schema.profile import Profile
from trnbench.units import say_change, say_percent, say_seconds

FIGURES = (">ms a step", ">share", ">calls a step")
CLASS_COLUMNS = doc.columns(*FIGURES, "where the time went")
OPERATOR_COLUMNS = doc.columns(*FIGURES, "class", "operator")

DISTORTED = 0.5
"""Relative cost of the profiler above which the report doubts the shares: a choice."""

MOST_OPERATORS = 15
MOST_OTHERS = 3
LONGEST_NAME = 64
"""Names of compiled graphs end in hashes that say nothing."""


def _document(profile: Profile, page: doc.Page) -> doc.Document:
    return doc.Document(
        [
            doc.Heading(_title(profile)),
            doc.Lines([*_facts(profile)]),
            doc.Table(CLASS_COLUMNS, _class_rows(profile)),
            doc.Table(OPERATOR_COLUMNS, _operator_rows(profile)),
        ],
        backing=lambda: _backing(profile),
    )


MOST_ANSWERED = 3
"""Classes of operators that a page's answer names."""


def _backing(profile: Profile) -> doc.Backing:
    from trnbench.reports import charts
    from trnbench.reports.axes import Axis

    shares = [*((each.name, each.share) for each in profile.classes)]
    shares.append((_rest(profile), profile.unaccounted_share))
    shares.sort(key=lambda each: -each[1])
    said = ", ".join(f"{say_percent(share)} {name}" for name, share in shares[:MOST_ANSWERED])
    mean = sum(profile.plain_seconds) / len(profile.plain_seconds) / profile.steps
    answer = f"{_title(profile)}: of a step's {say_seconds(mean)} the most goes to {said}."
    if profile.communication is not None:
        answer += f" {_communication(profile.communication, profile.environment.device_count)}."
    figures = [("classes", "Where the time of a step goes", shares)]
    operators = [(_short(o.name), o.share) for o in profile.operators[:MOST_OPERATORS] if o.share]
    if operators:
        figures.append(("operators", "The longest operators", operators))
    made = [
        charts.bars(
            name=f"profile-{name}",
            title=title,
            sentence="Parts of the profiled wall time, by self times of operators on the "
            f"{profile.attributed_to}.",
            axis=Axis(title="of a step, %", format="d"),
            rows=[(label, "share", 100 * share, say_percent(share)) for label, share in found],
        )
        for name, title, found in figures
    ]
    return doc.Backing(answer=[answer], charts=made)


def _rows(profile: Profile) -> doc.Rows:
    """Return a row for each operator; seconds are those of all profiled steps."""
    return doc.rows_at(
        profile.operators, "operator=name", "class=operator_class", "within", "calls:int",
        "host_seconds:float", "device_seconds:float", "share:float",
    )  # fmt: skip


REPORT: doc.Report[Profile] = doc.Report(
    title="Where the time of a step goes",
    document=_document,
    rows=_rows,
    record=lambda profile, page: profile.model_dump(mode="json"),
)
"""Its record is what profile.json holds."""


def _title(profile: Profile) -> str:
    plan, device = profile.plan, profile.environment
    work = plan.workload
    threads = f", {device.threads} threads" if device.threads else ""
    ranks = f", {device.device_count} ranks" if device.device_count > 1 else ""
    return (
        f"{plan.model.name} {work.global_batch_size}x{work.sequence_length} {work.precision} "
        f"{plan.order.execution} on {device.device_name}{threads}{ranks}"
    )


def _facts(profile: Profile) -> Iterator[str]:
    under, *plain = (
        say_seconds(seconds / profile.steps)
        for seconds in (profile.profiled_seconds, *profile.plain_seconds)
    )
    cost = say_change(profile.profiler_cost)
    if profile.is_cost_in_noise:
        cost = "the profiler's cost is below this machine's noise"
    yield (
        f"{plural(profile.steps, 'step')} after {profile.warmup_steps} to warm up: {under} a step "
        f"under the profiler; without it {' before and '.join(plain)} after ({cost})"
    )
    yield (
        f"times are self times of operators, on the {profile.attributed_to}; shares are of the "
        "profiled wall time"
    )
    if profile.communication is not None:
        yield _communication(profile.communication, profile.environment.device_count)
    if profile.profiler_cost > DISTORTED:
        yield (
            f"under the profiler a step took {1 + profile.profiler_cost:.2g} times as long, by its "
            "cost or by other work on this machine: the shares without it may differ"
        )
    backend = profile.environment.backend
    if profile.environment.asynchronous and profile.attributed_to == "host":
        yield backend_of(backend).unseen_by_profiler or (
            "the profiler saw no time of the device: these are the host's operators, which launch "
            "work and wait for it"
        )
    if profile.captured_files:
        files = plural(profile.captured_files, "file")
        yield f"the vendor's own profiler left {files} in capture/, for its own viewer"
    if not profile.environment.proven:
        yield (
            f"the project has not run the backend {backend} on such a device: nothing here is "
            "proven"
        )
    others = [each for each in profile.operators if each.operator_class == OTHERS and each.share]
    if others:
        named = (f"{_short(o.name)} ({say_percent(o.share)})" for o in others[:MOST_OTHERS])
        more = f" and {len(others) - MOST_OTHERS} more" if len(others) > MOST_OTHERS else ""
        known = "others match no row of catalog/operator_classes.csv"
        yield f"{known}: {', '.join(named)}{more}"


def _communication(seen: Communication, ranks: int) -> str:
    """Say which part of the profiled time was collectives', and which part was that alone."""
    whose = f"this is rank {seen.rank} of {ranks}"
    if seen.seconds is None or not seen.window_seconds:
        return f"{whose}; its time in collectives is unknown: {seen.reason}"
    said = f"collectives were under way {_part(seen.seconds, seen)} of the time"
    if seen.exposed_seconds is not None:
        said += f", and {_part(seen.exposed_seconds, seen)} while nothing else worked"
    return f"{whose}: {said}; waits for other ranks count"


def _part(seconds: float, seen: Communication) -> str:
    return say_percent(seconds / seen.window_seconds) if seen.window_seconds else "none"


def _rest(profile: Profile) -> str:
    """Name the time in which no operator worked."""
    if profile.attributed_to == "device":
        return "device idle"
    if profile.environment.asynchronous:
        return "between operators (Python, launches, waiting)"
    return "between operators (Python, launches)"


def _class_rows(profile: Profile) -> list[tuple[str, ...]]:
    rest = (profile.unaccounted_seconds, profile.unaccounted_share)
    return [
        *((*_figures(profile, c.seconds, c.share, c.calls), c.name) for c in profile.classes),
        (
            *_figures(profile, *rest),
            _rest(profile),
        ),
        (*_figures(profile, profile.window_seconds, 1.0), "all"),
    ]


def _operator_rows(profile: Profile) -> list[tuple[str, ...]]:
    is_device = profile.attributed_to == "device"
    return [
        (
            *_figures(profile, seconds_of(each, is_device=is_device), each.share, each.calls),
            each.operator_class,
            _short(each.name),
        )
        for each in profile.operators[:MOST_OPERATORS]
        if each.share > 0
    ]


def _figures(
    profile: Profile, seconds: float, share: float, calls: int | None = None
) -> tuple[str, str, str]:
    """Return the cells of `FIGURES`, from sums over all profiled steps."""
    of_step = "" if calls is None else f"{calls / profile.steps:,.4g}"
    return f"{1e3 * seconds / profile.steps:,.3f}", say_percent(share), of_step


def _short(name: str) -> str:
    text = doc.one_line(name)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"
