"""The trials behind `micro_batch_size: max`: their order, their answers, and what is said."""

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pure.run.scripted_worker import make_block, make_measure
from trnbench.protocol.orders import Finish, RunBlock
from trnbench.run.largest import find_largest, say_taken
from trnbench.run.stopping import TRIAL_STEPS, TrialRule
from trnbench.schema.plan import PassSearch, PassTrial

SIZES = [1, 2, 4, 8, 16, 32]


def trial(size: int, fits: bool | None) -> PassTrial:
    status = {True: "finished", False: "out_of_memory", None: "hung"}[fits]
    return PassTrial(
        micro_batch_size=size, fits=fits, status=status, reason="no room for 9 GiB", seconds=2.0
    )


def tried(first: int, most: int) -> list[int]:
    made = find_largest(SIZES, first, lambda size: trial(size, size <= most))
    return [each.micro_batch_size for each in made]


def test_from_the_predicted_size_upwards_while_it_fits() -> None:
    assert tried(first=4, most=8) == [4, 8, 16]


def test_and_downwards_ever_faster_where_it_does_not() -> None:
    assert tried(first=32, most=2) == [32, 16, 4, 1, 2]


def test_a_right_prediction_costs_two_trials_and_one_at_the_end_of_the_sizes() -> None:
    assert tried(first=8, most=8) == [8, 16]
    assert tried(first=32, most=32) == [32]


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(1, 10_000), min_size=1, max_size=40, unique=True).map(sorted),
    data=st.data(),
)
def test_the_largest_that_fits_is_found_whatever_was_predicted(
    sizes: list[int], data: st.DataObject
) -> None:
    first = data.draw(st.sampled_from(sizes))
    most = data.draw(st.integers(0, 10_000))
    made = [*find_largest(sizes, first, lambda size: trial(size, size <= most))]
    fitting = [each.micro_batch_size for each in made if each.fits]
    assert max(fitting, default=None) == max((s for s in sizes if s <= most), default=None)
    assert len({each.micro_batch_size for each in made}) == len(made)


def test_a_failure_of_another_kind_ends_it() -> None:
    def attempt(size: int) -> PassTrial:
        return trial(size, None if size == 8 else True)

    assert [each.micro_batch_size for each in find_largest(SIZES, 4, attempt)] == [4, 8]
    assert [each.micro_batch_size for each in find_largest(SIZES, 8, attempt)] == [8]


def test_what_was_tried_what_failed_and_what_was_taken_are_said() -> None:
    search = PassSearch(
        sizes=(), first=8, is_batch_given=True, trials=(trial(8, False), trial(4, True)), taken=4
    )
    assert say_taken(search) == (
        "micro_batch_size max: 8 out_of_memory (no room for 9 GiB); 4 fits: 4 is taken, the global "
        "batch stays (trials took 4 s)"
    )
    none = search.model_copy(update={"trials": (trial(1, False),), "taken": None})
    assert "none was seen to fit, so 1 is launched" in say_taken(none)
    other = search.model_copy(update={"trials": (trial(4, True), trial(8, None))})
    assert "no other size was tried" in say_taken(other)


def test_a_trial_is_a_few_steps() -> None:
    rule = TrialRule(make_measure(), "max_minutes")
    commands = [*_commands(rule)]
    assert commands == [RunBlock(steps=1, purpose="warmup")] * TRIAL_STEPS
    assert rule.stopped == "trial"


def _commands(rule: TrialRule) -> Iterator[RunBlock]:
    step = 0
    while not isinstance(command := rule.next_command(is_out_of_budget=False), Finish):
        assert isinstance(command, RunBlock)
        yield command
        rule.observe(make_block(command, step, 0.5))
        step += command.steps
