"""A study: what is tried, when it ends, and what its frontier is."""

from collections.abc import Callable

from tests.pure.tune.studies import (
    pruned_study,
    result_of,
    space_of_sizes,
    study_of,
    trials_of,
    way_of,
)
from trnbench.tune.space import MICRO, Way
from trnbench.tune.study import Measure, Study, Trial, hopeless_places, run_study

SPACE = space_of_sizes()
SECONDS: dict[int, float | None] = {8: 0.2, 4: 0.1, 2: 0.15, 1: 0.3}


def never() -> None:
    return None


def scripted(
    seconds: dict[int, float | None], made: list[tuple[int, float | None]] | None = None
) -> Measure:
    """Return a measure that knows what every way takes, and notes what it is asked."""

    def measure(way: Way, limit: float | None) -> Trial:
        micro = way.settings[MICRO]
        if made is not None:
            made.append((micro, limit))
        number = len(made or ()) or 1
        return Trial(number=number, way=way, result=result_of(way, seconds[micro]))

    return measure


def study(measure: Measure, trials: int = 20, why_stop: Callable[[], str | None] = never) -> Study:
    return run_study(SPACE, measure, [], most_trials=trials, why_stop=why_stop)


def test_every_way_is_tried_and_the_fastest_is_the_best() -> None:
    made: list[tuple[int, float | None]] = []
    found = study(scripted(SECONDS, made))
    assert [micro for micro, _ in made[:3]] == [8, 4, 2]
    assert found.ended == "all 4 ways are tried"
    assert found.best is not None
    assert found.best.way.settings[MICRO] == 4


def test_a_trial_is_given_the_upper_end_of_the_best_so_far() -> None:
    made: list[tuple[int, float | None]] = []
    study(scripted(SECONDS, made))
    limits = [limit for _, limit in made]
    assert limits[0] is None
    assert limits[1] is not None
    assert 0.2 < limits[1] < 0.21
    assert limits[2] is not None
    assert 0.1 < limits[2] < 0.105


def test_a_limit_of_trials_counts_those_of_earlier_commands() -> None:
    earlier = trials_of(SPACE, {8: 0.2, 4: 0.1})
    made: list[tuple[int, float | None]] = []
    found = run_study(SPACE, scripted(SECONDS, made), earlier, most_trials=3, why_stop=never)
    assert [micro for micro, _ in made] == [2]
    assert len(found.trials) == 3
    assert found.ended == "--trials 3: so many are made"


def test_what_stops_it_is_asked_before_each_trial() -> None:
    made: list[tuple[int, float | None]] = []
    reasons = iter([None, "--max-usd: less is left than a trial costs"])
    found = study(scripted(SECONDS, made), why_stop=lambda: next(reasons))
    assert len(made) == len(found.trials) == 1
    assert found.ended == "--max-usd: less is left than a trial costs"


def test_an_interrupted_trial_is_no_trial() -> None:
    def measure(way: Way, limit: float | None) -> Trial:
        return Trial(number=1, way=way, result=result_of(way, 0.1, status="interrupted"))

    reasons = iter([None, "stopped by Ctrl-C"])
    found = study(measure, why_stop=lambda: next(reasons))
    assert found.trials == []
    assert found.ended == "stopped by Ctrl-C"


def test_a_trial_that_its_own_limit_ended_is_an_answer() -> None:
    def measure(way: Way, limit: float | None) -> Trial:
        return Trial(number=1, way=way, result=result_of(way, None, status="out_of_budget"))

    found = study(measure)
    assert {each.state for each in found.trials} == {"failed"}
    assert len(found.trials) == 4
    assert found.best is None


def test_what_needs_more_memory_than_what_ran_out_is_left_out() -> None:
    trials = trials_of(SPACE, {4: None})
    left_out = [SPACE.ways[place].settings[MICRO] for place in hopeless_places(SPACE.ways, trials)]
    assert left_out == [8, 4]
    found = run_study(SPACE, scripted(SECONDS), trials, most_trials=20, why_stop=never)
    assert sorted(each.way.settings[MICRO] for each in found.trials) == [1, 2, 4]
    assert found.left_out == 1


def test_a_way_that_differs_in_more_is_not_left_out() -> None:
    space = space_of_sizes({"sweep": "{workload.adamw: [fused, foreach]}"})
    failed = Trial(number=1, way=way_of(space, 8), result=result_of(way_of(space, 8), None))
    assert [*hopeless_places(space.ways, [failed])] == [space.ways.index(failed.way)]


def test_the_frontier_is_what_nothing_surely_beats() -> None:
    clear = study_of({8: 0.2, 4: 0.1})
    assert [each.way.settings[MICRO] for each in clear.frontier] == [4]
    close = study_of({8: 0.1001, 4: 0.1})
    assert [each.way.settings[MICRO] for each in close.frontier] == [4, 8]


def test_of_a_figure_without_an_interval_nothing_is_sure() -> None:
    space = space_of_sizes()
    fast, slow = trials_of(space, {8: 0.1, 4: 0.2})
    bare = {
        name: figure.model_copy(update={"low": None, "high": None})
        for name, figure in slow.result.metrics.items()
    }
    unsure = Trial(number=2, way=slow.way, result=slow.result.model_copy(update={"metrics": bare}))
    assert Study(space=space, trials=[fast, slow], ended="").frontier == [fast]
    assert Study(space=space, trials=[fast, unsure], ended="").frontier == [fast, unsure]


def test_states_and_order() -> None:
    found = pruned_study("--trials 4: so many are made")
    assert [(each.number, each.state) for each in found.ordered] == [
        (2, "measured"), (3, "measured"), (4, "pruned"), (1, "out_of_memory"),
    ]  # fmt: skip
    assert [each.number for each in found.frontier] == [2]
    assert found.best is not None
    assert found.best.number == 2


def test_wrong_training_is_never_the_best() -> None:
    space = space_of_sizes()
    right, wrong = trials_of(space, {8: 0.2, 4: 0.1})
    invalid = wrong.result.model_copy(update={"standing": "invalid"})
    found = Study(
        space=space, trials=[right, Trial(number=2, way=wrong.way, result=invalid)], ended=""
    )
    assert found.trials[1].state == "invalid"
    assert found.best is right
