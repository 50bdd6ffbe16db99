"""Gates: what may be written, and what an interval means for one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trnbench.compare.gates import Gate, judge_gate, parse_gates
from trnbench.compare.metrics import COMPARABLES
from trnbench.compare.ratio import (
    LogDifference,
    Sample,
    find_difference,
    launches_needed,
)
from trnbench.errors import ConfigError

SPREAD = 0.005
LIMIT = "tokens_per_second > -2%"


def gate(text: str) -> Gate:
    (found,) = parse_gates([text])
    return found


def of_interval(value: float, half_width: float) -> LogDifference:
    """Return a difference with this interval, in logarithms."""
    return LogDifference(
        value=value,
        standard_error=half_width / 1.959963984540054,
        degrees_of_freedom=None,
        launch_deviation=SPREAD,
        method="welch",
    )


def judged(text: str, value: float, half_width: float) -> str:
    found = of_interval(value, half_width)
    one = gate(text)
    return judge_gate(one, found, found.p_value(np.log1p(one.reference)))


@pytest.mark.parametrize(
    ("text", "relation", "limit"),
    [
        ("tokens_per_second > -2%", ">", -0.02),
        ("usd_per_million_tokens < +1%", "<", 0.01),
        ("  peak_memory_bytes<=5% ", "<=", 0.05),
        ("mfu>=0.5%", ">=", 0.005),
        ("tokens_per_second > \u22122%", ">", -0.02),
        ("compile_seconds < 10000%", "<", 100.0),
    ],
)
def test_a_gate_is_a_metric_a_relation_and_a_percentage(
    text: str, relation: str, limit: float
) -> None:
    found = gate(text)
    assert str(found.relation) == relation
    assert found.limit == pytest.approx(limit)
    assert found.text == text.strip()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not a gate"),
        ("tokens_per_second", "is not a gate"),
        ("tokens_per_second > ", "is not a gate"),
        ("tokens_per_second => -2%", "is not a gate"),
        ("tokens_per_second > -2% or so", "is not a gate"),
        ("tokens_per_second > nan%", "is not a gate"),
        ("tokens_per_second > -2% ; rm -rf /", "is not a gate"),
        ("tokens_per_second > -2", "has no percent sign"),
        ("token_per_second > -2%", "did you mean tokens_per_second"),
        ("flops > -2%", "is not a metric that can be compared"),
        ("tokens_per_second > -100%", "a change of -100% cannot be"),
        ("tokens_per_second > -1000%", "cannot be"),
        ("tokens_per_second < 1e9%", "is not a gate"),
        ("tokens_per_second < 99999999999%", "cannot be"),
        ("tokens_per_second < -2%", "write 'tokens_per_second > -2%'"),
        ("mfu <= 3%", "write 'mfu > -3%'"),
        ("peak_memory_bytes > -2%", "write 'peak_memory_bytes < +2%'"),
    ],
)
def test_a_text_that_is_no_gate_is_told_with_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_gates([text])
    (problem,) = raised.value.problems
    assert repr(text) in problem.message
    assert said in f"{problem.message} {problem.hint}"
    assert problem.hint


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        parse_gates(["one", LIMIT, "two > 1%"])
    assert len(raised.value.problems) == 2


@given(st.text(max_size=40))
def test_no_text_breaks_the_reader_of_gates(text: str) -> None:
    try:
        (found,) = parse_gates([text])
    except ConfigError:
        return
    assert found.metric in COMPARABLES


@pytest.mark.parametrize(
    ("text", "value", "half_width", "state"),
    [
        # A loss of up to 2 % is tolerated: the lower end decides, not the point.
        (LIMIT, -0.010, 0.005, "passed"),
        (LIMIT, -0.019, 0.0005, "passed"),
        (LIMIT, -0.015, 0.010, "failed"),
        (LIMIT, -0.050, 0.010, "failed"),
        (LIMIT, -0.015, 0.020, "undecided"),
        (LIMIT, +0.000, 0.030, "undecided"),
        (LIMIT, +0.050, 0.060, "passed"),
        # A rise of up to 1 % is tolerated.
        ("usd_per_million_tokens < +1%", 0.004, 0.005, "passed"),
        ("usd_per_million_tokens < +1%", 0.008, 0.006, "failed"),
        ("usd_per_million_tokens < +1%", 0.008, 0.020, "undecided"),
        # A gain is asked for: short of it is a failure, though nothing was lost.
        ("tokens_per_second > +5%", 0.08, 0.02, "passed"),
        ("tokens_per_second > +5%", 0.02, 0.01, "failed"),
        ("tokens_per_second > +5%", 0.05, 0.02, "undecided"),
        ("usd_per_million_tokens < -10%", -0.02, 0.01, "failed"),
        ("usd_per_million_tokens < -10%", -0.20, 0.05, "passed"),
        ("tokens_per_second > 0%", 0.02, 0.01, "passed"),
        ("tokens_per_second > 0%", -0.02, 0.01, "failed"),
        ("tokens_per_second > 0%", 0.00, 0.01, "undecided"),
    ],
)
def test_a_gate_reads_the_ends_of_the_interval(
    text: str, value: float, half_width: float, state: str
) -> None:
    assert judged(text, value, half_width) == state


def test_only_a_relation_with_equality_takes_the_limit_itself() -> None:
    exact = of_interval(float(np.log1p(-0.02)), 0.0)
    assert judge_gate(gate("mfu >= -2%"), exact, 1.0) == "passed"
    assert judge_gate(gate("mfu > -2%"), exact, 1.0) == "undecided"


def test_one_bad_interval_among_many_does_not_fail_a_build() -> None:
    found = of_interval(-0.020, 0.019)
    assert judge_gate(gate(LIMIT), found, 0.04) == "failed"
    assert judge_gate(gate(LIMIT), found, 0.40) == "undecided"


@given(st.floats(-0.2, 0.2), st.floats(0, 0.1), st.floats(-0.5, 0.5), st.floats(0, 0.4))
def test_a_looser_limit_never_makes_a_passed_gate_fail(
    value: float, half_width: float, limit: float, looser: float
) -> None:
    tight = judged(f"mfu > {limit:.4f}%".replace("+", ""), value, half_width)
    loose = judged(f"mfu > {limit - looser:.4f}%", value, half_width)
    if tight == "passed":
        assert loose == "passed"


@given(st.floats(-0.2, 0.2), st.floats(0, 0.1), st.floats(0, 50))
def test_speed_and_its_inverse_are_judged_alike(
    value: float, half_width: float, percent: float
) -> None:
    """A loss of a fifth of the speed is a rise of a quarter of the cost."""
    loss = round(percent / 100, 4)
    rise = 1 / (1 - loss) - 1
    speed = judged(f"tokens_per_second > -{100 * loss:.10f}%", value, half_width)
    cost = judged(f"usd_per_million_tokens < {100 * rise:.10f}%", -value, half_width)
    edge = abs(value - half_width - np.log1p(-loss))
    assert speed == cost or edge < 1e-9


# --- how often it is wrong, by simulation ---------------------------------------------------------


def outcomes(change: float, count: int, spread: float, runs: int, seed: int) -> dict[str, float]:
    """Return how often the gate comes to each state where the truth is `change`."""
    rng = np.random.default_rng(seed)
    one = gate(LIMIT)
    states = {"passed": 0, "failed": 0, "undecided": 0}
    for _ in range(runs):
        base, cand = np.exp(rng.normal(0, spread, (2, count))) * [[1.0], [1.0 + change]]
        found = find_difference(
            Sample(values=tuple(base.tolist()), errors=(0.001,) * count),
            Sample(values=tuple(cand.tolist()), errors=(0.001,) * count),
            is_alike=True,
        )
        assert isinstance(found, LogDifference)
        states[judge_gate(one, found, found.p_value())] += 1
    return {state: times / runs for state, times in states.items()}


@pytest.mark.parametrize("spread", [0.003, 0.005, 0.01])
def test_with_the_launches_it_asks_for_it_is_seldom_wrong(spread: float) -> None:
    count = launches_needed(spread, 0.02)
    assert count is not None
    same = outcomes(0.0, count, spread, 1500, seed=1)
    worse = outcomes(-0.02, count, spread, 1500, seed=2)
    assert same["failed"] <= 0.05
    assert same["passed"] >= 0.90
    assert worse["failed"] >= 0.95


def test_with_too_few_launches_it_is_undecided_and_not_wrong() -> None:
    same = outcomes(0.0, 1, 0.01, 500, seed=3)
    assert same["failed"] == 0
    assert same["undecided"] > 0.9
    assert outcomes(-0.3, 1, 0.01, 200, seed=4)["failed"] == 1
