"""Hundreds of results on a terminal: a summary, the best rows, and the command that shows all."""

from tests.builders import make_plan, make_result
from trnbench.reports import render
from trnbench.reports.document import Page
from trnbench.reports.many import BEST, MANY
from trnbench.reports.plans import REPORT as PLANS
from trnbench.reports.results import REPORT
from trnbench.schema.result import MetricValue, Result, ResultOutcome

COMMAND = "trnbench report results | less"


def many(count: int = MANY + 40) -> list[Result]:
    """Return results whose tokens/s rise with their number; every tenth ran out of memory."""
    made = {
        size: make_result(make_plan({"workload.global_batch_size": str(size)})) for size in (2, 4)
    }
    results = []
    for number in range(count):
        result = made[2 if number % 2 else 4]
        speed = MetricValue(value=1000.0 + number, low=990.0 + number, high=1010.0 + number)
        cost = MetricValue(value=1 / (1000.0 + number))
        update: dict[str, object] = {
            "case_id": f"case-{number}",
            "metrics": {
                **result.metrics, "tokens_per_second": speed, "usd_per_million_tokens": cost
            },
        }  # fmt: skip
        if number % 10 == 9:
            update |= {
                "standing": "failed",
                "outcome": ResultOutcome(status="out_of_memory", reason="it is too large"),
            }
        results.append(result.model_copy(update=update))
    return results


def shown(results: list[Result], **page: object) -> str:
    return render(REPORT, results, "terminal", Page(width=200, **page))  # type: ignore[arg-type]


def test_a_terminal_shows_how_many_ended_what_a_setting_came_to_and_the_best() -> None:
    text = shown(many(), all_rows=COMMAND)
    lines = text.splitlines()
    assert lines[0] == "240 results: 216 sound, 24 failed (out_of_memory 24)"
    (size_2,) = [line for line in lines if line.startswith("                   4  ")] or [""]
    (first,) = [line for line in lines if line.startswith("global_batch_size")]
    assert first.split()[1:4] == ["2", "120", "96"]
    assert "1,237" in first  # its best is the last that did not fail: 239 did
    assert size_2.split()[:3] == ["4", "120", "120"]
    rows = [line for line in lines if line.startswith("tiny-llama")]
    assert len(rows) == BEST
    assert "1,238" in rows[0]
    said = f"the {BEST} of 240 with the fewest $ per M tokens; all of them: {COMMAND}"
    assert said in lines


def test_a_pipe_and_few_results_have_every_row() -> None:
    for results, page in ((many(), {}), (many(MANY), {"all_rows": COMMAND})):
        text = shown(results, **page)
        rows = [line for line in text.splitlines() if line.startswith("tiny-llama")]
        assert len(rows) == len(results)
        assert "results: " not in text


def test_where_all_failed_the_first_are_shown() -> None:
    failed = [each for each in many(3000) if each.standing == "failed"]
    text = shown(failed, all_rows=COMMAND)
    assert text.startswith("300 results: 300 failed (out_of_memory 300)")
    assert sum(line.startswith("tiny-llama") for line in text.splitlines()) == BEST


def test_a_terminal_shows_the_first_of_many_plans_and_what_all_come_to() -> None:
    plans = [make_plan()] * 60
    command = "trnbench run --dry-run | less"
    text = render(PLANS, plans, "terminal", Page(width=200, all_rows=command))
    assert text.startswith("60 cases: up to 15 h in all, for at most $54")
    assert f"the first 3 of 60 plans; all of them: {command}" in text
    assert text.count("[3/60]") == 1
    assert "[4/60]" not in text
    assert "[60/60]" in render(PLANS, plans, "terminal", Page(width=200))
