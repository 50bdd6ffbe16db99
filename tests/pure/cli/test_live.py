"""What a run tells of its cost while it goes on, on a terminal and elsewhere."""

import io
import re
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from rich.console import Console
from rich.live import Live

from tests.builders import make_plan, make_result
from trnbench.cli.live import BAR_WIDTH, MOST_FAILURES, PHASES, LineObserver, make_observer
from trnbench.protocol.records import Phase
from trnbench.run.case import Progress
from trnbench.schema.result import Result, ResultOutcome
from trnbench.units import say_usd

FIRST = make_plan({"model": "tiny-llama"})
SECOND = make_plan({"model": "tiny-gpt2"})


def progress(usd: float | None, phase: str = "measure") -> Progress:
    return Progress(
        phase=phase, steps=9, samples=9, tokens_per_second=None, relative_half_width=None,
        elapsed_seconds=10.0, limit_seconds=900.0, usd_spent=usd,
    )  # fmt: skip


def result_of(plan_key: str, usd_per_hour: str = "3.6") -> Result:
    return make_result(make_plan({"model": plan_key, "price.usd_per_hour": usd_per_hour}))


def test_a_line_without_a_terminal_has_the_dollars_of_the_case_and_of_the_run() -> None:
    out = io.StringIO()
    observer = LineObserver(out)
    observer.case_begins(1, FIRST, 1)
    observer.case_moves(FIRST, progress(0.25))
    observer.case_begins(2, SECOND, 1)
    observer.case_moves(SECOND, progress(0.5))
    observer.case_begins(1, FIRST, 2)  # its second launch: dollars go on from its first
    observer.case_moves(FIRST, progress(0.375))
    lines = [line for line in out.getvalue().splitlines() if "$" in line]
    assert [line.split("at most 14.8 min more  ")[1] for line in lines] == [
        "$0.25",
        "$0.5  $0.75 in all",
        "$0.375  $0.875 in all",
    ]


def test_what_a_run_can_cost_is_said_before_it_begins() -> None:
    out = io.StringIO()
    LineObserver(out).run_begins(Path("results"), [FIRST, SECOND])  # 3.6 $/h, 15 minutes each
    assert FIRST.prediction.max_usd is not None
    assert out.getvalue() == "2 cases into results, for at most $1.8\n"
    LineObserver(out).run_begins(Path("results"), [FIRST, make_plan({"price": "{}"})])
    assert out.getvalue().endswith("2 cases into results\n")


def test_the_last_word_of_a_case_is_what_its_result_says_it_cost() -> None:
    out = io.StringIO()
    observer = LineObserver(out)
    ended = result_of("tiny-llama")
    observer.case_ends(1, ended, was_measured_before=False)
    observer.case_moves(SECOND, progress(0.5))
    usd = ended.metrics["case_usd"].value
    assert usd is not None
    first, second = out.getvalue().splitlines()
    assert first.endswith(f"  {say_usd(usd)}")
    assert second.endswith(f"  $0.5  {say_usd(usd + 0.5)} in all")


def test_what_was_measured_before_costs_this_run_nothing() -> None:
    out = io.StringIO()
    observer = LineObserver(out)
    observer.case_ends(1, result_of("tiny-llama"), was_measured_before=True)
    observer.case_moves(SECOND, progress(0.5))
    first, second = out.getvalue().splitlines()
    assert "$" not in first
    assert second.endswith("more  $0.5")


def test_without_a_price_no_dollars_are_told() -> None:
    out = io.StringIO()
    observer = LineObserver(out)
    observer.case_moves(FIRST, progress(None))
    observer.case_ends(1, make_result(make_plan({"price": "{}"})), was_measured_before=False)
    assert "$" not in out.getvalue()


def test_a_terminals_line_moves_with_the_dollars() -> None:
    times = iter([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=200, color_system=None)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        observer = LineObserver(out, live, clock=lambda: next(times))
        observer.run_begins(Path("results"), [FIRST, SECOND])
        observer.case_moves(FIRST, progress(0.25))
        observer.case_moves(SECOND, progress(0.5))
        observer.case_ends(2, result_of("tiny-gpt2"), was_measured_before=False)
    text = out.getvalue()
    assert "more  $0.25" in text
    assert "$0.5  $0.75 in all" in text


@pytest.mark.parametrize("usd", [0.0, 1e-9, 12345.678])
def test_every_amount_is_written_without_an_exponent(usd: float) -> None:
    out = io.StringIO()
    LineObserver(out).case_moves(FIRST, progress(usd))
    assert "e-" not in out.getvalue()
    assert "$" in out.getvalue()


MEASURING = Progress(
    phase="measure", steps=90, samples=81, tokens_per_second=12_345.0, relative_half_width=0.04,
    elapsed_seconds=300.0, limit_seconds=900.0, usd_spent=0.25,
)  # fmt: skip


def shown_at(width: int) -> str:
    """Return the line that moves, as a terminal of a width shows it."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, color_system=None)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        observer = LineObserver(out, live, clock=lambda: 0.0)
        observer.run_begins(Path("results"), [FIRST, SECOND])
        observer.case_begins(1, FIRST, 1)
        observer.case_moves(FIRST, MEASURING)
    lines = re.split(r"(?:\x1b\[[0-9;?]*[A-Za-z]|\r|\n)+", out.getvalue())
    return next(line for line in lines if "$0.25" in line)


def test_a_wide_terminal_shows_all_of_a_case() -> None:
    line = shown_at(200)
    assert "[1/2]  tiny-llama fp32 cpu  measuring, 81 samples" in line
    assert line.count("━") == BAR_WIDTH // 3
    assert "12,345 tokens/s ±4.0% (±0.5% is enough)  5 min, at most 10 min more  $0.25" in line


@pytest.mark.parametrize("width", [150, 120, 100, 80, 60, 40, 30])
def test_a_narrow_terminal_shows_whole_words_and_the_dollars(width: int) -> None:
    line = shown_at(width).rstrip()
    assert len(line) <= width
    assert line.endswith("$0.25")
    parts = [part for part in re.split(r"  +", line) if "━" not in part]
    assert set(parts) <= set(re.split(r"  +", shown_at(200).rstrip()))


def test_without_a_terminal_there_is_a_line_a_minute() -> None:
    now = iter([0.0, *range(1, 300)])
    out = io.StringIO()
    observer = LineObserver(out, clock=lambda: next(now))
    for _ in range(180):
        observer.case_moves(FIRST, MEASURING)
    assert len(out.getvalue().splitlines()) == 3


@pytest.mark.parametrize("kind", ["dumb", "unknown"])
def test_a_terminal_that_cannot_move_a_line_has_lines_that_stay(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", kind)
    out = Terminal()
    with make_observer(out) as observer:
        observer.case_begins(1, FIRST, 1)
        observer.case_moves(FIRST, MEASURING)
    assert "measuring, 81" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_launches_in_turns_are_counted_over_both_arms() -> None:
    out = io.StringIO()
    observer = LineObserver(out, launches=4)
    for folder, launch in (("a", 1), ("b", 1), ("b", 2), ("a", 2)):
        observer.run_begins(Path(folder), [FIRST])
        observer.case_begins(1, FIRST, launch)
    lines = out.getvalue().splitlines()
    assert [line for line in lines if "into" in line] == [
        "1 case into a, for at most $0.9",
        "1 case into b, for at most $0.9",
    ]
    assert [line.split("  ")[0] for line in lines if "into" not in line] == [
        f"[launch {number}/4]" for number in (1, 2, 3, 4)
    ]


def test_every_phase_of_a_worker_has_words() -> None:
    names = get_args(get_type_hints(Phase)["name"])
    assert {*names, "start", "warm up", "measure", "end"} == set(PHASES)


def test_of_many_cases_failures_and_one_line_a_minute_are_written() -> None:
    out, now = io.StringIO(), [0.0]
    plans = [make_plan({"model": "tiny-llama"})] * 300
    observer = LineObserver(out, clock=lambda: now[0])
    observer.run_begins(Path("results"), plans)
    good = result_of("tiny-llama")
    died = good.model_copy(
        update={
            "standing": "failed",
            "outcome": ResultOutcome(status="died", reason="the worker died"),
        }
    )
    for number in range(1, 301):
        observer.case_begins(number, plans[0], 1)
        observer.case_moves(plans[0], progress(0.25))
        now[0] += 1.0
        result = died if number in (7, 200) else good
        observer.case_ends(number, result, was_measured_before=False)
    first, *lines = out.getvalue().splitlines()
    assert first.startswith("300 cases into results")
    assert [line for line in lines if "died" in line] == [
        "[7/300]  tiny-llama fp32 cpu  died: the worker died  $0.00491",
        "[200/300]  tiny-llama fp32 cpu  died: the worker died  $0.00491",
    ]
    tallies = [line for line in lines if "of 300 cases" in line]
    assert len(tallies) == 5
    assert re.match(r"60 of 300 cases: 59 \w+, 1 failed; 60 s, about 4 min more", tallies[0])
    assert re.match(r"300 of 300 cases: 298 \w+, 2 failed; 5 min", tallies[-1])
    assert len(lines) == 7


def test_of_many_failures_the_first_have_a_line_and_the_others_are_counted() -> None:
    out, now = io.StringIO(), [0.0]
    observer = LineObserver(out, clock=lambda: now[0])
    observer.run_begins(Path("results"), [FIRST] * 300)
    outcome = ResultOutcome(status="out_of_memory", reason="too large")
    update = {"standing": "failed", "outcome": outcome}
    failed = result_of("tiny-llama").model_copy(update=update)
    for number in range(1, 301):
        observer.case_ends(number, failed, was_measured_before=False)
    lines = [line for line in out.getvalue().splitlines() if "out_of_memory" in line]
    assert len(lines) == MOST_FAILURES
    assert "more are counted" in lines[-1]
    assert "300 of 300 cases: 300 failed" in out.getvalue()
