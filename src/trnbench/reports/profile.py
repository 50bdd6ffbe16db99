"""A profile to terminal, Markdown, JSON and CSV: where the time went, by class and by operator."""

import csv
import io
from collections.abc import Iterator

from trnbench.analysis.profile import seconds_of
from trnbench.catalog.facts import OTHERS
from trnbench.reports.as_csv import safe
from trnbench.reports.clean import escaped_json, escaped_markdown, one_line
from trnbench.reports.document import Page
from trnbench.reports.lines import wrapped
from trnbench.reports.tables import table_as_markdown, table_as_text
from trnbench.schema.profile import Profile
from trnbench.schema.units import say_change, say_percent, say_seconds

CLASS_HEADINGS = ("ms a step", "share", "calls a step", "where the time went")
OPERATOR_HEADINGS = ("ms a step", "share", "calls a step", "class", "operator")
FIGURES = (0, 1, 2)

DISTORTED = 0.5
"""What a step may take longer under the profiler, as a part of it, before the shares are doubted
aloud: a choice."""

MOST_OPERATORS = 15
MOST_OTHERS = 3
LONGEST_NAME = 64
"""Of an operator in a table; names of compiled graphs end in hashes that tell nobody anything."""

CSV_HEADINGS = (
    "operator", "class", "within", "calls", "host_seconds", "device_seconds", "share",
)  # fmt: skip


def profile_as_text(profile: Profile, page: Page) -> str:
    """Return both tables for a terminal, under what must be read beside them."""
    told = [_title(profile), *_facts(profile)]
    text = "".join(f"{line}\n" for each in told for line in wrapped(one_line(each), page.width))
    classes = table_as_text(CLASS_HEADINGS, _class_rows(profile), page.width, FIGURES)
    operators = table_as_text(OPERATOR_HEADINGS, _operator_rows(profile), page.width, FIGURES)
    return f"{text}\n{classes}\n{operators}"


def profile_as_markdown(profile: Profile, page: Page) -> str:
    """Return both tables in Markdown."""
    facts = "".join(f"- {escaped_markdown(fact)}\n" for fact in _facts(profile))
    classes = table_as_markdown(CLASS_HEADINGS, _class_rows(profile), FIGURES)
    operators = table_as_markdown(OPERATOR_HEADINGS, _operator_rows(profile), FIGURES)
    return f"### {escaped_markdown(_title(profile))}\n\n{facts}\n{classes}\n{operators}"


def profile_as_json(profile: Profile, page: Page) -> str:
    """Return the document that profile.json holds."""
    return escaped_json(profile.model_dump_json(indent=1)) + "\n"


def profile_as_csv(profile: Profile, page: Page) -> str:
    """Return a row for each operator, all of them, seconds being those of all profiled steps."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADINGS)
    for each in profile.operators:
        cells = (
            each.name, each.operator_class, each.within, each.calls, each.host_seconds,
            each.device_seconds, each.share,
        )  # fmt: skip
        writer.writerow([safe(cell) for cell in cells])
    return text.getvalue()


def _title(profile: Profile) -> str:
    plan, device = profile.plan, profile.device
    work = plan.workload
    threads = f", {device.threads} threads" if device.threads else ""
    return (
        f"{plan.model.name} {work.global_batch_size}x{work.sequence_length} {work.precision} "
        f"{plan.order.execution} on {device.name}{threads}"
    )


def _facts(profile: Profile) -> Iterator[str]:
    under, *plain = (
        say_seconds(seconds / profile.steps)
        for seconds in (profile.profiled_seconds, *profile.plain_seconds)
    )
    cost = say_change(profile.profiler_cost)
    if profile.is_cost_in_noise:
        cost = "what the profiler costs is lost in this machine's noise"
    yield (
        f"{_steps(profile.steps)} after {profile.warmup_steps} to warm up: {under} a step under "
        f"the profiler; without it {' before and '.join(plain)} after ({cost})"
    )
    yield (
        f"times are operators' own, on the {profile.attributed_to}; shares are of the profiled "
        "wall time"
    )
    if profile.profiler_cost > DISTORTED:
        yield (
            f"under the profiler a step took {1 + profile.profiler_cost:.2g} times as long, by its "
            "cost or by other work on this machine: the shares may not be those of a plain one"
        )
    if profile.device.asynchronous and profile.attributed_to == "host":
        yield _nothing_of_the_device(profile.device.backend)
    if profile.captured_files:
        files = "1 file" if profile.captured_files == 1 else f"{profile.captured_files} files"
        yield f"the vendor's own profiler left {files} in capture/, for its own viewer"
    if not profile.device.proven:
        yield (
            f"the project has not run the backend {profile.device.backend} on such a device: "
            "nothing here is proven"
        )
    others = [each for each in profile.operators if each.operator_class == OTHERS and each.share]
    if others:
        named = ", ".join(
            f"{_short(o.name)} ({say_percent(o.share)})" for o in others[:MOST_OTHERS]
        )
        more = f" and {len(others) - MOST_OTHERS} more" if len(others) > MOST_OTHERS else ""
        yield f"others are what no row of catalog/operator_classes.csv knows: {named}{more}"


def _nothing_of_the_device(backend: str) -> str:
    if backend == "xla":
        return (
            "torch-neuronx up to 2.9 shows torch's profiler the host's operators alone: they trace "
            "and launch, and say nothing of the device's time"
        )
    return (
        "the profiler saw no time of the device: these are the host's operators, which launch work "
        "and wait for it"
    )


def _class_rows(profile: Profile) -> list[tuple[str, ...]]:
    rest = "between operators (Python, launches)"
    if profile.device.asynchronous:
        rest = "between operators (Python, launches, waiting)"
    if profile.attributed_to == "device":
        rest = "device idle"
    rows = [
        (
            _milliseconds(each.seconds, profile),
            say_percent(each.share),
            _calls(each.calls, profile),
            each.name,
        )
        for each in profile.classes
    ]
    unaccounted = _milliseconds(profile.unaccounted_seconds, profile)
    rows.append((unaccounted, say_percent(profile.unaccounted_share), "", rest))
    return [*rows, (_milliseconds(profile.window_seconds, profile), say_percent(1.0), "", "all")]


def _operator_rows(profile: Profile) -> list[tuple[str, ...]]:
    is_device = profile.attributed_to == "device"
    return [
        (
            _milliseconds(seconds_of(each, is_device=is_device), profile),
            say_percent(each.share),
            _calls(each.calls, profile),
            each.operator_class,
            _short(each.name),
        )
        for each in profile.operators[:MOST_OPERATORS]
        if each.share > 0
    ]


def _milliseconds(seconds: float, profile: Profile) -> str:
    return f"{1e3 * seconds / profile.steps:,.3f}"


def _calls(calls: int, profile: Profile) -> str:
    return f"{calls / profile.steps:,.4g}"


def _steps(steps: int) -> str:
    return "1 step" if steps == 1 else f"{steps} steps"


def _short(name: str) -> str:
    text = one_line(name)
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…"
