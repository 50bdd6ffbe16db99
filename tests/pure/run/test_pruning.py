"""A launch of a search ends as soon as its samples show that it is not the best."""

import itertools

from tests.pure.run.scripted_worker import make_block, make_measure
from trnbench.protocol.orders import Finish, RunBlock
from trnbench.run.outcomes import of_finish
from trnbench.run.stopping import PRUNE_SAMPLES, PruningRule
from trnbench.tune.study import PRUNED


def launch(best_seconds: float | None, step_seconds: float, stall: float = 0.0) -> PruningRule:
    """Follow a launch to its end; every third sample stalls."""
    rule = PruningRule(make_measure(), "max_minutes", best_seconds)
    step = samples = 0
    while not isinstance(command := rule.next_command(is_out_of_budget=False), Finish):
        assert isinstance(command, RunBlock)
        seconds = step_seconds * (1 + 0.005 * (samples % 3)) * command.steps
        if command.purpose == "measure":
            samples += 1
            seconds += stall if samples % 3 == 0 else 0.0
        rule.observe(make_block(command, step, seconds))
        step += command.steps
        if samples > 500:
            break
    return rule


def test_a_slower_way_ends_after_the_first_samples() -> None:
    rule = launch(best_seconds=0.5, step_seconds=0.6)
    assert rule.stopped == "pruned"
    assert rule.samples == PRUNE_SAMPLES


def test_a_way_that_may_be_the_best_is_measured_in_full() -> None:
    for best, own in itertools.product([0.5], [0.3, 0.5, 0.505]):
        rule = launch(best_seconds=best, step_seconds=own)
        assert rule.stopped in ("precise", "max_samples")
        assert rule.samples > PRUNE_SAMPLES
    assert launch(best_seconds=None, step_seconds=0.6).stopped != "pruned"


def test_stalls_prune_nothing() -> None:
    """The mean is surely slower than the best, and most of the steps are not."""
    assert launch(best_seconds=0.5, step_seconds=0.45, stall=0.5).stopped != "pruned"


def test_a_pruned_launch_keeps_its_figures_and_says_so() -> None:
    end = of_finish(8, 3.0, "pruned")
    assert end.status == "finished"
    assert end.reason == "pruned: 8 samples in 3 s show that it is not the best"
    assert end.reason.startswith(PRUNED)
